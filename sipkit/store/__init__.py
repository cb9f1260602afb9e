"""Where rooms, PINs, bridges, callers and the timeline live; shared by the notebook and the server.

Every method is one transaction: when it returns, what it wrote survives kill -9 of any process.
Several processes may call at once. None of them looks first and writes after: the unique
constraints of `schema` decide, and the loser of a race runs its transaction again.
"""

import time
from typing import Self

from sqlalchemy import Connection, insert, select

from sipkit.errors import StoreError
from sipkit.store.bridge_book import BridgeBook
from sipkit.store.caller_book import CallerBook
from sipkit.store.journal import Journal
from sipkit.store.room_book import RoomBook
from sipkit.store.schema import DURABLE, SCHEMA_VERSION, facts, metadata, open_engine

__all__ = ["Store"]


class Store(RoomBook, BridgeBook, CallerBook, Journal):
    """The store of one environment. Safe to share between threads; open one per process.

    Use `Store.open`. Methods raise `StoreError` when the database fails; no error text of it holds
    a PIN, a number or a token.
    """

    @classmethod
    def open(cls, url: str, environment: str, pin_length: int = 4) -> Self:
        """Open the store, making its file and tables if there are none.

        Args:
            url: SQLAlchemy URL, usually ``Settings.store_url``.
            environment: Which cloud and project; rooms of another one are not seen.
            pin_length: Digits of new PINs.

        Raises:
            StoreError: If it cannot be opened, or was written by another version of this kit.
        """
        store = cls(open_engine(url), environment, pin_length)
        found = store.run(DURABLE, _make_tables)
        if found != SCHEMA_VERSION:
            raise StoreError(
                f"The store was written by another version of sipkit (its tables are version {found}).",
                "`make clean` removes the data folder and its rooms.",
            )
        return store


def _make_tables(conn: Connection) -> str:
    """Make what is missing, and return the version of the tables."""
    metadata.create_all(conn)
    here = (facts.c.environment == "") & (facts.c.key == "schema")
    found = conn.scalar(select(facts.c.value).where(here))
    if found is None:
        conn.execute(insert(facts).values(environment="", key="schema", value=SCHEMA_VERSION, set_at=time.time()))
        return SCHEMA_VERSION
    return str(found)
