"""Where rooms, PINs, bridges, callers and the timeline live; shared by the notebook and the server.

Every method is one transaction: when it returns, what it wrote survives kill -9 of any process. Those that the
work of `answered` calls are one transaction together.
Several processes, on several hosts, may call at once. What they look at before they write is decided by the unique
constraints of `schema`, or held until they have written: by SQLite, whose writers queue, or by row locks in
PostgreSQL. The loser of a race runs its transaction again.
"""

import contextlib
from typing import Self

from sipkit.errors import StoreError
from sipkit.pins import DEFAULT_LENGTH
from sipkit.store.bridge_book import BridgeBook
from sipkit.store.caller_book import CallerBook
from sipkit.store.charge_book import ChargeBook
from sipkit.store.key_book import KeyBook
from sipkit.store.lease_book import LeaseBook
from sipkit.store.leg_book import LegBook
from sipkit.store.lockout_book import LockoutBook
from sipkit.store.migrations import make_tables
from sipkit.store.replay_book import ReplayBook
from sipkit.store.room_book import RoomBook
from sipkit.store.schema import DURABLE, SCHEMA_VERSION, open_engine
from sipkit.store.turnstile import Turnstile

__all__ = ["Store"]


class Store(
    RoomBook, LockoutBook, BridgeBook, LeaseBook, CallerBook, ChargeBook, LegBook, KeyBook, Turnstile, ReplayBook
):
    """The store of one environment. Safe to share between threads; open one per process.

    Use `Store.open`. Methods raise `StoreError` when the database fails; no error text of it holds
    a PIN, a number or a token.
    """

    @classmethod
    def open(cls, url: str, environment: str, pin_length: int = DEFAULT_LENGTH, pin_hours: float = 24.0) -> Self:
        """Open the store, making its file and tables if there are none.

        Args:
            url: SQLAlchemy URL, usually ``Settings.store_url``.
            environment: Which cloud and project; rooms of another one are not seen.
            pin_length: Digits of new PINs.
            pin_hours: Hours after which a room's new PIN expires; 0: with the room.

        Raises:
            StoreError: If it cannot be opened, or was written by another version of this kit.
        """
        store = cls(open_engine(url), environment, pin_length, pin_hours)
        with contextlib.ExitStack() as not_opened:
            not_opened.callback(store.close)
            found = store.run(DURABLE, make_tables)
            if found != SCHEMA_VERSION:
                raise StoreError(
                    f"The store was written by another version of sipkit (its tables are version {found}).",
                    "Use that version, or another store: `make clean` removes the data folder's file and its rooms.",
                )
            store.run(DURABLE, store.settle_clock)
            not_opened.pop_all()
        return store
