"""One transaction at a time: how every part of the store reads and writes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, Text, bindparam, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from sipkit.errors import StoreError
from sipkit.store import postgresql, sqlite_failures
from sipkit.store.clock import Clock, ticks
from sipkit.store.connections import Connections
from sipkit.store.schema import BUSY_SECONDS, DURABLE, QUICK, READ
from sipkit.store.statements import Statement
from sipkit.store.writers import Writers

T = TypeVar("T")

MAX_ATTEMPTS: Final = 50
"""Lost races in a row before a write gives up; two or three is what happens."""


AHEAD: Final = 0.2
"""Seconds that `writing_turn` waits; a hundred webhooks are quicker."""

_IN_LINE: Final = Statement(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("what", type_=Text), 0))))


class _TooQuick(Exception):
    """A part of a QUICK transaction has to be DURABLE."""


class Database:
    """An engine, and the environment whose rows are seen through it."""

    def __init__(self, engine: Engine, environment: str) -> None:
        self.environment = environment
        self._engine = engine
        # .conn: the transaction that this thread's `run` joins, if one is open; .access: what it was begun as;
        # .now: its time, once that has been asked for; .patience: see `patience`
        self._here = threading.local()
        self._clock = Clock(engine.dialect.name)
        self._connections = Connections(engine)
        self._writers = Writers() if engine.dialect.name == "sqlite" else None
        self._ahead = 0.0  # of `clock.ticks`, as of the last look

    def close(self) -> None:
        """Close all connections; safe to call twice."""
        self._connections.close()

    def now(self, conn: Connection) -> float:
        """Return the store's time within a transaction: seconds since 1970, the same for all parts of `whole`."""
        known: float | None = getattr(self._here, "now", None)
        return self._agreed(conn, self._clock.read(conn)) if known is None else known

    def told(self, conn: Connection, said: Any) -> float:
        """Return the same, of which a query has brought the database's part along (`Clock.column`)."""
        known: float | None = getattr(self._here, "now", None)
        return self._agreed(conn, self._clock.told(said)) if known is None else known

    def _agreed(self, conn: Connection, now: float) -> float:
        """Let all parts of `whole` have the same time."""
        self._ahead = now - ticks()
        if getattr(self._here, "conn", None) is conn:
            self._here.now = now
        return now

    def time(self) -> float:
        """Return the store's time: seconds since 1970, whatever this machine's clock says; see `store.clock`."""
        return self.run(READ, self.now)

    def time_about(self) -> float:
        """Return the store's time without asking it: as of the last look at its clock, and what has passed since.

        For what must be judged before the store is touched. A clock that `advance_clock` has moved is noticed by the
        next transaction that asks for the time.
        """
        return self._ahead + ticks()

    def queue(self, conn: Connection, what: str) -> None:
        """Let one transaction at a time go on from here, of all that queue for the same thing, until each has ended.

        For what is decided by a look at rows that may not be there yet, so that no row can be held. SQLite's writers
        queue anyway; PostgreSQL is asked for an advisory lock.
        """
        if self._engine.dialect.name == "postgresql":
            _IN_LINE.run(conn, what=f"{self.environment} {what}")

    def settle_clock(self, conn: Connection) -> None:
        """Begin the store's time, or join it, and look at it once."""
        self._clock.settle(conn)
        self.now(conn)

    def advance_clock(self, seconds: float) -> None:
        """Move the store's time, for every process of it: so a test lives through hours in a moment."""
        self.run(DURABLE, lambda conn: self._clock.advance(conn, seconds))
        self.time()

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Let this thread wait no longer than that, `BUSY_SECONDS` otherwise, for its turn to write.

        PostgreSQL knows no such turns, and the waits that it does know are short (`postgresql.LOCK_SECONDS`).
        """
        before = getattr(self._here, "patience", BUSY_SECONDS)
        self._here.patience = seconds
        try:
            yield
        finally:
            self._here.patience = before

    @contextmanager
    def writing_turn(self) -> Iterator[None]:
        """Let this thread do what leads to a write when it is its turn to write, or after `AHEAD` seconds.

        Threads that prepare a write while another one writes only get in its way: Python runs one of them at a time,
        and the one that writes gives way at every statement. But not all that seems to lead to a write does, and what
        does not must not wait for a store that is locked. PostgreSQL's writers do not take turns.
        """
        if self._writers is None:
            yield
            return
        patience: float = getattr(self._here, "patience", BUSY_SECONDS)
        most = min(patience, AHEAD)
        with self._writers.turn(most) as left, self.patience(patience - (most - left)):
            yield

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
                except (DBAPIError, sqlite_failures.FileReplaced) as error:
                    if isinstance(error, DBAPIError) and not _begins_anew(error):
                        raise
                    refusal = error
        except SQLAlchemyError as error:
            raise self._failure(error) from None
        raise StoreError(f"The store refused a write {MAX_ATTEMPTS} times: {_words(refusal)}.") from None

    def _transaction(self, access: str, work: Callable[[Connection], T]) -> T:
        """Run one transaction, once."""
        patience: float = getattr(self._here, "patience", BUSY_SECONDS)
        writers = None if access == READ else self._writers
        with writers.turn(patience) if writers is not None else nullcontext(patience) as left:
            conn = self._connections.take()
            try:
                conn.info["access"], conn.info["patience"] = access, left
                with conn.begin():
                    result = work(conn)
            except BaseException:
                conn.close()
                raise
            self._connections.give_back(conn)
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

    def _failure(self, error: SQLAlchemyError) -> StoreError:
        if self._engine.dialect.name == "postgresql":
            return postgresql.failure(error)
        return sqlite_failures.failure(error)


def _begins_anew(error: DBAPIError) -> bool:
    """Whether a transaction was undone because another one was quicker."""
    return isinstance(error, IntegrityError) or postgresql.is_race(error)


def _words(error: SQLAlchemyError) -> str:
    """Return the driver's first line only: PostgreSQL's second one quotes the values."""
    return str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
