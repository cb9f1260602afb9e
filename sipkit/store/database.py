"""One transaction at a time: how every part of the store reads and writes."""

from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sipkit.errors import StoreError

T = TypeVar("T")

MAX_ATTEMPTS: Final = 50
"""Lost races in a row before a write gives up; two or three is what happens."""


class Database:
    """An engine, and the environment whose rows are seen through it."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self.environment = environment
        self._engine = engine

    def close(self) -> None:
        """Close all connections; safe to call twice."""
        self._engine.dispose()

    def run(self, access: str, work: Callable[[Connection], T]) -> T:
        """Run one transaction; run it again when another process won a race for the same place.

        Args:
            access: READ, QUICK or DURABLE of `schema`.
            work: Reads and writes. A unique constraint it hits undoes all it did and calls it anew,
                and then it sees what the winner wrote.

        Raises:
            StoreError: If the database fails. Errors of the kit that `work` raises pass through.
        """
        try:
            for _attempt in range(MAX_ATTEMPTS):
                try:
                    with self._engine.connect() as conn:
                        conn.execution_options(access=access)
                        with conn.begin():
                            return work(conn)
                except IntegrityError as error:
                    refusal = error
        except SQLAlchemyError as error:
            raise StoreError(f"The store does not work: {_words(error)}.") from None
        raise StoreError(f"The store refused a write {MAX_ATTEMPTS} times: {_words(refusal)}.") from None


def _words(error: SQLAlchemyError) -> str:
    """Return the driver's first line only: PostgreSQL's second one quotes the values."""
    return str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
