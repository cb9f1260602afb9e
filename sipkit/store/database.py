"""One transaction at a time: how every part of the store reads and writes."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sipkit.errors import StoreError
from sipkit.store.clock import Clock, ticks
from sipkit.store.schema import DURABLE, QUICK, READ

T = TypeVar("T")

MAX_ATTEMPTS: Final = 50
"""Lost races in a row before a write gives up; two or three is what happens."""


class _TooQuick(Exception):
    """A part of a QUICK transaction has to be DURABLE."""


class Database:
    """An engine, and the environment whose rows are seen through it."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self.environment = environment
        self._engine = engine
        # .conn: the transaction that this thread's `run` joins, if one is open; .access: what it was begun as
        self._here = threading.local()
        self._clock = Clock(engine.dialect.name)
        # Connections to a file cannot be lost; those to a server are looked at by the pool whenever one is taken.
        self._keeps = engine.dialect.name == "sqlite"
        self._idle: deque[Connection] = deque()
        self._ahead = 0.0  # of `clock.ticks`, as of the last look

    def close(self) -> None:
        """Close all connections; safe to call twice."""
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()

    def now(self, conn: Connection) -> float:
        """Return the store's time within a transaction: seconds since 1970, the same for all parts of `whole`."""
        told: float | None = getattr(self._here, "now", None)
        if told is None:
            told = self._clock.read(conn)
            self._ahead = told - ticks()
        if getattr(self._here, "conn", None) is conn:
            self._here.now = told
        return told

    def time(self) -> float:
        """Return the store's time: seconds since 1970, whatever this machine's clock says; see `store.clock`."""
        return self.run(READ, self.now)

    def time_about(self) -> float:
        """Return the store's time without asking it: as of the last look at its clock, and what has passed since.

        For what must be judged before the store is touched. A clock that `advance_clock` has moved is noticed by the
        next transaction that asks for the time.
        """
        return self._ahead + ticks()

    def settle_clock(self, conn: Connection) -> None:
        """Begin the store's time, or join it, and look at it once."""
        self._clock.settle(conn)
        self.now(conn)

    def advance_clock(self, seconds: float) -> None:
        """Move the store's time, for every process of it: so a test lives through hours in a moment."""
        self.run(DURABLE, lambda conn: self._clock.advance(conn, seconds))
        self.time()

    def run(self, access: str, work: Callable[[Connection], T]) -> T:
        """Run one transaction; run it again when another process won a race for the same place.

        Inside `whole` it is a part of that transaction, which alone commits, begins anew, and tells failures.

        Args:
            access: READ, QUICK or DURABLE of `schema`.
            work: Reads and writes. A unique constraint it hits undoes all it did and calls it anew,
                and then it sees what the winner wrote.

        Raises:
            StoreError: If the database fails. Errors of the kit that `work` raises pass through.
        """
        joined: Connection | None = getattr(self._here, "conn", None)
        if joined is not None:
            if access == DURABLE and self._here.access == QUICK:
                raise _TooQuick
            return work(joined)
        try:
            for _attempt in range(MAX_ATTEMPTS):
                try:
                    return self._transaction(access, work)
                except IntegrityError as error:
                    refusal = error
        except SQLAlchemyError as error:
            raise StoreError(f"The store does not work: {_words(error)}.") from None
        raise StoreError(f"The store refused a write {MAX_ATTEMPTS} times: {_words(refusal)}.") from None

    def _transaction(self, access: str, work: Callable[[Connection], T]) -> T:
        """Run one transaction, once."""
        try:
            conn = self._idle.pop()
        except IndexError:
            conn = self._engine.connect()
        try:
            conn.info["access"] = access
            with conn.begin():
                result = work(conn)
        except BaseException:
            conn.close()
            raise
        if self._keeps:
            self._idle.append(conn)
        else:
            conn.close()
        return result

    def whole(self, work: Callable[[Connection], T]) -> T:
        """Run one transaction of which every `run` of this thread is a part until it ends: all of it, or nothing.

        It is QUICK as long as all its parts are. With the first that is DURABLE it is undone, and begins anew as that.

        Args:
            work: As for `run`. It must have no effect but here, for it may be undone and called anew.

        Raises:
            StoreError: As for `run`.
        """
        access = QUICK

        def joined(conn: Connection) -> T:
            self._here.conn, self._here.access = conn, access
            try:
                return work(conn)
            finally:
                del self._here.conn
                self._here.now = None

        try:
            return self.run(QUICK, joined)
        except _TooQuick:
            access = DURABLE
            return self.run(DURABLE, joined)


def _words(error: SQLAlchemyError) -> str:
    """Return the driver's first line only: PostgreSQL's second one quotes the values."""
    return str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
