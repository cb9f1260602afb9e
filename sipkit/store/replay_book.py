"""What each signed request was answered: the same one, sent again, gets the same answer and has no second effect.

The platform repeats a request whose answer it did not get, and whoever overhears one can repeat it too. Its token's id
(`jti`) is the key. One rule: all that a request changes, and the answer to it, are one transaction.

    a worker dies in the middle    nothing of it has happened; the next one to be asked does it all
    a worker is slow               the others wait for the end of its transaction, and get its answer
    two are asked at once          one waits for the other's end, and sees what that wrote

So no clock decides whether somebody is still at it: a worker that was taken for dead and is not could count a wrong
PIN twice. Nor does a clock of ours decide what may be forgotten: tokens are dated by the platform, and what is older
than the newest of them by more than any token may be is forgotten, and refused from then on. A machine whose clock is
set back takes no old request for a new one.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from sipkit.signatures import CLOCK_LEEWAY, MAX_AGE
from sipkit.store.database import Database
from sipkit.store.rows import one
from sipkit.store.schema import replays
from sipkit.store.statements import Statement, all_given, given

KEPT_SECONDS: Final = MAX_AGE + CLOCK_LEEWAY
"""How much older than the newest token one may be: a token is refused as too old after less, even if the newest one's
clock was as far ahead as is allowed."""

_OURS: Final = replays.c.environment == given(replays.c.environment)
_HERE: Final = _OURS & (replays.c.jti == given(replays.c.jti))
_UNANSWERED: Final = Statement(delete(replays).where(_HERE, replays.c.status.is_(None)))
_LAPSED: Final = Statement(delete(replays).where(_OURS, replays.c.received_at < given(replays.c.received_at)))
_KEEP: Final = Statement(insert(replays).values(all_given(*replays.c)))


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

    @functools.cached_property
    def _look(self) -> Statement:
        """All that has to be known, in one look: the time, the newest and oldest token, what is kept of this one."""
        asked = select(self._clock.column.label("time")).subquery("asked")
        age = replays.c.received_at
        newest, oldest = (select(of(age)).where(_OURS).scalar_subquery() for of in (func.max, func.min))
        kept = (replays.c.hash, replays.c.status, replays.c.body)
        query = select(asked.c.time, newest.label("newest"), oldest.label("oldest"), *kept)
        return Statement(query.select_from(asked.outerjoin(replays, _HERE)))

    def answered(self, jti: str, digest: str, work: Callable[[], Answer], dated: float | None = None) -> Answer | None:
        """Return the answer to a request: the first one's if there was one, else what `work` says.

        Args:
            jti: The id of its token.
            digest: Stands for everything that the request says and where it says it.
            work: Makes the answer. All that it writes here is kept with the answer, or not at all if it raises. Where
                another process was quicker to write what it wanted to write, it is undone and called again.
            dated: When the platform signed it; seconds since 1970. By the store's clock now, unless given.

        Returns:
            None if the id was used for another request, or the token is so old that its answer may be forgotten.

        Raises:
            StoreError: If the store fails; then nothing of the request has happened. What `work` raises passes through.
        """
        here = {"environment": self.environment, "jti": jti}

        def once(conn: Connection) -> Answer | None:
            self.queue(conn, f"webhook {jti}")  # where several may write at once, as in PostgreSQL
            seen = one(self._look.first(conn, **here))
            now = self.told(conn, seen["time"])
            signed = now if dated is None else dated
            if seen["hash"] is not None:
                if seen["hash"] != digest:
                    return None
                if seen["status"] is not None:
                    return Answer(seen["status"], seen["body"] or "")
                # Left by a version of this kit that wrote it in a transaction of its own.
                _UNANSWERED.run(conn, **here)
            forgotten = max(signed, seen["newest"] or signed) - KEPT_SECONDS
            if signed < forgotten:
                return None
            if seen["oldest"] is not None and seen["oldest"] < forgotten:
                _LAPSED.run(conn, environment=self.environment, received_at=forgotten)
            answer = work()
            _KEEP.run(conn, **here, hash=digest, status=answer.status, body=answer.body, received_at=signed)
            return answer

        return self.whole(once)
