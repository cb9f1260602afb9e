"""What each signed request was answered: the same one, sent again, gets the same answer and has no second effect.

The platform repeats a request whose answer it did not get, and whoever overhears one can repeat it too. Its token's id
(`jti`) is the key. One rule: all that a request changes, and the answer to it, are one transaction.

    a worker dies in the middle    nothing of it has happened; the next one to be asked does it all
    a worker is slow               the others wait for the end of its transaction, however long, and get its answer
    two are asked at once          the database lets one write; the other one sees what it wrote

So no clock decides whether somebody is still at it: a worker that was taken for dead and is not could count a wrong
PIN twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from sipkit.signatures import CLOCK_LEEWAY, MAX_AGE
from sipkit.store.database import Database
from sipkit.store.schema import replays
from sipkit.store.statements import Statement, all_given, given

KEPT_SECONDS: Final = MAX_AGE + CLOCK_LEEWAY
"""From here on the token itself is refused as too old, even if its clock was as far ahead as is allowed."""

_OURS: Final = replays.c.environment == given(replays.c.environment)
_HERE: Final = _OURS & (replays.c.jti == given(replays.c.jti))
_KEPT: Final = Statement(select(replays.c.hash, replays.c.status, replays.c.body).where(_HERE))
_UNANSWERED: Final = Statement(delete(replays).where(_HERE, replays.c.status.is_(None)))
_LAPSED: Final = Statement(delete(replays).where(_OURS, replays.c.received_at < given(replays.c.received_at)))
_CLAIM: Final = Statement(
    insert(replays).values(all_given(replays.c.environment, replays.c.jti, replays.c.hash, replays.c.received_at))
)
_ANSWER: Final = Statement(update(replays).where(_HERE).values(all_given(replays.c.status, replays.c.body)))


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes:
        status: Of HTTP.
        body: Its text.
    """

    status: int
    body: str


class ReplayBook(Database):
    """Keeps the answers to signed requests."""

    def answered(self, jti: str, digest: str, work: Callable[[], Answer]) -> Answer | None:
        """Return the answer to a request: the first one's if there was one, else what `work` says.

        Args:
            jti: The id of its token.
            digest: Stands for everything that the request says and where it says it.
            work: Makes the answer. All that it writes here is kept with the answer, or not at all if it raises. Where
                another process was quicker to write what it wanted to write, it is undone and called again.

        Returns:
            None if the id was used for another request.

        Raises:
            StoreError: If the store fails; then nothing of the request has happened. What `work` raises passes through.
        """
        here = {"environment": self.environment, "jti": jti}

        def once(conn: Connection) -> Answer | None:
            row = _KEPT.first(conn, **here)
            if row is not None and row["hash"] != digest:
                return None
            if row is not None and row["status"] is not None:
                return Answer(row["status"], row["body"] or "")
            if row is not None:
                # Left by a version of this kit that wrote it in a transaction of its own.
                _UNANSWERED.run(conn, **here)
            now = self.now(conn)
            _LAPSED.run(conn, environment=self.environment, received_at=now - KEPT_SECONDS)
            # Before the work: where several may write at once, as in PostgreSQL, the others wait at this key for us.
            _CLAIM.run(conn, **here, hash=digest, received_at=now)
            answer = work()
            _ANSWER.run(conn, **here, status=answer.status, body=answer.body)
            return answer

        return self.whole(once)
