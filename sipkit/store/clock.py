"""One clock for all who share a store: what a machine's clock is set to, or jumps to, decides nothing.

    SQLite on Linux   seconds since the machine was started, which nobody can set (CLOCK_BOOTTIME), plus an anchor that
                      the first process after the start keeps in the store; so all processes agree, and go on to
    PostgreSQL        the server's clock
    SQLite elsewhere  the machine's clock: macOS and Windows name no start of the machine by which to know an anchor

The anchor is a number in the store, 0 where there is nothing to anchor. Moving it moves the time of every process of
the store at once: `Database.advance_clock`.
"""

import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Double, cast, delete, extract, func, insert, literal, select, update
from sqlalchemy.exc import NoResultFound

from sipkit.store.schema import facts
from sipkit.store.statements import Statement

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")  # Linux, random(4)


_LINUX: Final = _BOOT_ID.exists()


def ticks() -> float:
    """Return the seconds of a clock of this machine that goes on while it sleeps, from whatever beginning."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _LINUX else time.time()


class Clock:
    """Reads the clock of a store.

    Args:
        dialect: SQLAlchemy's name of the database.

    Attributes:
        column: What the database says of the time, for a query that asks for other things too; see `told`.
    """

    def __init__(self, dialect: str) -> None:
        self._server = dialect == "postgresql"
        boot = _BOOT_ID.read_text().strip() if dialect == "sqlite" and _LINUX else ""
        self._booted = bool(boot)
        self._key = f"clock:{boot or dialect}"
        self._kept = (facts.c.environment == "") & (facts.c.key == self._key)
        server = extract("epoch", func.clock_timestamp()) if self._server else literal(0.0)
        told = select(cast(server, Double) + cast(facts.c.value, Double)).where(self._kept)
        self._query = Statement(told)
        self.column = told.scalar_subquery()

    def settle(self, conn: Connection) -> None:
        """Keep the anchor if none of this start of the machine is kept; in the transaction that opens the store."""
        if conn.scalar(select(facts.c.value).where(self._kept)) is not None:
            return
        others = facts.c.key.startswith("clock:") & (facts.c.key != self._key)
        conn.execute(delete(facts).where(facts.c.environment == "", others))
        anchor = time.time() - self._machine() if self._booted else 0.0
        values = {"environment": "", "key": self._key, "value": repr(anchor), "set_at": time.time()}
        conn.execute(insert(facts).values(**values))

    def read(self, conn: Connection) -> float:
        """Return the time: seconds since 1970."""
        return self.told(self._query.value(conn))

    def told(self, said: Any) -> float:
        """Return the time, of which the database has just said its part (`column`).

        Raises:
            NoResultFound: It has no anchor: another store has taken the place of the one that was opened.
        """
        if said is None:
            raise NoResultFound
        return float(said) + self._machine()

    def advance(self, conn: Connection, seconds: float) -> None:
        """Move the time, for every process of the store."""
        anchor = float(conn.execute(select(facts.c.value).where(self._kept).with_for_update()).scalar_one())
        conn.execute(update(facts).where(self._kept).values(value=repr(anchor + seconds)))

    def _machine(self) -> float:
        """What this machine adds to what the database says."""
        if self._server:
            return 0.0
        return ticks() if self._booted else time.time()
