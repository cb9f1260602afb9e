"""What each signed request was answered: the same one, sent again, gets the same answer and has no second effect.

The platform repeats a request whose answer it did not get, and whoever overhears one can repeat it too. Its token's id
(`jti`) is the key: a primary key, so one process claims it, however many workers are asked at once.

    claimed     a worker is at it; nobody else is, for `ABANDONED_AFTER` seconds
    answered    the answer is kept for as long as the token could be sent again, then swept

A worker that dies between the two leaves a claim without an answer. The next one to be asked takes it over.
"""

import time
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Connection, delete, insert, select, update

from sipkit.signatures import CLOCK_LEEWAY, MAX_AGE
from sipkit.store.database import Database
from sipkit.store.rows import Condition
from sipkit.store.schema import QUICK, replays

ABANDONED_AFTER: Final = 2.0
"""Seconds after which a claim without an answer is taken over: an answer takes milliseconds, and the platform waits
five seconds for one (Application API, socket_timeout of an answer URL)."""

KEPT_SECONDS: Final = MAX_AGE + CLOCK_LEEWAY
"""From here on the token itself is refused as too old, even if its clock was as far ahead as is allowed."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What is known of a request.

    Attributes:
        state: ``ours``: nobody answered it, and now it is the asking worker's to answer; ``answered``; ``pending``:
            another worker is at it; ``foreign``: the id was used for another request.
        claimed_at: Which claim this is; to be handed back with the answer.
        status: HTTP status of the first answer; 0 unless it is answered.
        body: Of the first answer.
    """

    state: Literal["ours", "answered", "pending", "foreign"]
    claimed_at: float = 0.0
    status: int = 0
    body: str = ""


class ReplayBook(Database):
    """Keeps the answers to signed requests."""

    def first_answer(self, jti: str, digest: str) -> Replay:
        """Claim a request, or tell what became of it.

        Args:
            jti: The id of its token.
            digest: Stands for everything that the request says and where it says it.
        """
        mine = replays.c.environment == self.environment

        def work(conn: Connection) -> Replay:
            now = time.time()
            row = conn.execute(select(replays).where(mine, replays.c.jti == jti)).mappings().first()
            if row is None:
                conn.execute(delete(replays).where(mine, replays.c.received_at < now - KEPT_SECONDS))
                values = {"environment": self.environment, "jti": jti, "hash": digest}
                conn.execute(insert(replays).values(**values, received_at=now))
                return Replay("ours", now)
            if row["hash"] != digest:
                return Replay("foreign")
            if row["status"] is not None:
                return Replay("answered", row["received_at"], row["status"], row["body"] or "")
            # A claim of the future is one made before the clock was set back.
            if 0 <= now - row["received_at"] < ABANDONED_AFTER:
                return Replay("pending", row["received_at"])
            held = self._claim(jti, row["received_at"])
            taken = conn.execute(update(replays).where(held).values(received_at=now)).rowcount
            return Replay("ours" if taken else "pending", now)

        return self.run(QUICK, work)

    def keep_answer(self, jti: str, claimed_at: float, status: int, body: str) -> None:
        """Keep the answer of a claim; one that was taken over meanwhile keeps its new owner's."""
        held = self._claim(jti, claimed_at)

        def work(conn: Connection) -> None:
            conn.execute(update(replays).where(held).values(status=status, body=body))

        self.run(QUICK, work)

    def release(self, jti: str, claimed_at: float) -> None:
        """Give a claim up: the request failed for a reason of ours, and the next try deserves a new one."""
        held = self._claim(jti, claimed_at)

        def work(conn: Connection) -> None:
            conn.execute(delete(replays).where(held))

        self.run(QUICK, work)

    def _claim(self, jti: str, claimed_at: float) -> Condition:
        """The row of a claim that nobody has taken over or answered."""
        here = (replays.c.environment == self.environment) & (replays.c.jti == jti)
        return here & (replays.c.received_at == claimed_at) & replays.c.status.is_(None)
