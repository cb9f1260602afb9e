"""What is remembered of wrong PINs across calls, for all workers, whoever is killed. The rule is `sipkit.guessing`'s.

No caller's number is kept for it: a row is found by a digest of the number, with a key of this store's own.
"""

import hashlib
import hmac
import re
import secrets
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from sipkit.guessing import CALLER, NUMBER, ROOM, Policy, Wrongs
from sipkit.store.journal import Journal
from sipkit.store.rows import Condition
from sipkit.store.schema import QUICK, READ, lockouts
from sipkit.store.statements import Statement, given

_NUMBER: Final = "number:"
_A_NUMBER: Final = re.compile(r"\+?[0-9]{7,15}", re.ASCII)


_UNTIL: Final = Statement(
    select(func.max(lockouts.c.until)).where(
        lockouts.c.environment == given(lockouts.c.environment),
        (lockouts.c.key == given(lockouts.c.key)) | (lockouts.c.key == given(lockouts.c.key, "or_key")),
    )
)


class LockoutBook(Journal):
    """Counts wrong PINs and tells who has to pause."""

    _digest_key: str = ""

    def wrong_pin(self, number: str, room_id: int | None) -> None:
        """Remember a wrong PIN.

        Args:
            number: Who typed it. Who hides its number is nobody in particular, and is only counted with all others.
            room_id: The room whose PIN it once was, if it was one. It makes no difference to the work done here.
        """
        whose = ((self._caller_key(number), CALLER), (f"room:{room_id or 0}", ROOM), (_NUMBER, NUMBER))

        def work(conn: Connection) -> None:
            now = self.now(conn)
            forgotten = (lockouts.c.environment == self.environment) & (lockouts.c.kept_until < now)
            conn.execute(delete(lockouts).where(forgotten))
            for key, policy in whose:
                self._count_wrong(conn, key, policy, now)

        self.run(QUICK, work)

    def forgive(self) -> bool:
        """Forget all wrong PINs: whoever has to pause may call again. False if there was nothing to forget."""
        here = lockouts.c.environment == self.environment
        return self.run(QUICK, lambda conn: conn.execute(delete(lockouts).where(here)).rowcount > 0)

    def pause_of(self, number: str) -> float:
        """Return for how many seconds a caller has to pause; 0.0 if it need not, or hides its number."""
        return self._pause(self._caller_key(number)) if self._known(number) else 0.0

    def guarded(self, room_id: int | None = None) -> float:
        """Return for how many seconds somebody is taken to be guessing PINs of the number, or of this room."""
        return self._pause(_NUMBER, f"room:{room_id}" if room_id else _NUMBER)

    def _pause(self, key: str, or_key: str = "") -> float:
        """Return for how many seconds whoever has one of two keys has to pause."""

        def work(conn: Connection) -> float:
            now = self.now(conn)
            return (_UNTIL.value(conn, environment=self.environment, key=key, or_key=or_key or key) or now) - now

        return max(0.0, self.run(READ, work))

    def _count_wrong(self, conn: Connection, key: str, policy: Policy, now: float) -> None:
        here: Condition = (lockouts.c.environment == self.environment) & (lockouts.c.key == key)
        row = conn.execute(select(lockouts).where(here).with_for_update()).mappings().first()
        before = Wrongs() if row is None else Wrongs(row["level"], row["pauses"], row["until"], row["last_at"])
        after = policy.after_wrong(before, now)
        values = {"level": after.level, "pauses": after.pauses, "until": after.until, "last_at": after.last_at}
        values["kept_until"] = now + policy.kept(after.pauses)
        if row is None:
            conn.execute(insert(lockouts).values(environment=self.environment, key=key, **values))
        else:
            conn.execute(update(lockouts).where(here).values(**values))

    @staticmethod
    def _known(number: str) -> bool:
        return _A_NUMBER.fullmatch(number) is not None

    def _caller_key(self, number: str) -> str:
        if not self._known(number):
            return "caller:"
        if not self._digest_key:
            self._digest_key = self.settled_fact("caller-digest-key", secrets.token_hex(32))
        digits = number.removeprefix("+").encode()
        return f"caller:{hmac.new(self._digest_key.encode(), digits, hashlib.sha256).hexdigest()[:32]}"
