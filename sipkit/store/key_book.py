"""What a phone has keyed in a call: one key comes with one request, to any worker, and not always in order."""

import json
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from sipkit.store.database import Database
from sipkit.store.schema import QUICK, facts
from sipkit.store.statements import Statement, given

T = TypeVar("T")

KEYS_WITHIN: Final = 4.0
"""Seconds within which the keys of one deed are pressed, and after which a key is forgotten."""

_PREFIX: Final = "keyed:"

_FORGET: Final = Statement(
    delete(facts).where(facts.c.environment == given(facts.c.environment), facts.c.key == given(facts.c.key))
)


class KeyBook(Database):
    """Keeps the last keys of each leg, as long as they may be the beginning of something."""

    def keyed(
        self, leg_uuid: str, keys: str, at: float | None, find: Callable[[str], tuple[T, int] | None]
    ) -> T | None:
        """Add keys to what a phone has keyed, and return what that is, if it is something; then it is forgotten.

        Args:
            leg_uuid: The leg.
            keys: What was pressed, usually one key.
            at: When, by the platform's clock (seconds since 1970), which alone orders what it sends; None: it did not
                say, and then the order in which they come counts. A time that was seen before is a repetition.
            find: Finds the first thing in a row of keys, and how many of them that takes.
        """
        here = (facts.c.environment == self.environment) & (facts.c.key == _PREFIX + leg_uuid)
        all_keys = (facts.c.environment == self.environment) & facts.c.key.startswith(_PREFIX)

        def work(conn: Connection) -> T | None:
            now = self.now(conn)
            conn.execute(delete(facts).where(all_keys, facts.c.set_at < now - KEYS_WITHIN))
            kept = conn.scalar(select(facts.c.value).where(here).with_for_update())
            done, row = json.loads(kept) if kept is not None else (0.0, [])
            told = now if at is None else at
            if told <= done or any(told == each for each, _key in row):
                return None
            row = sorted([*((each, key) for each, key in row), *((told, key) for key in keys)], key=lambda one: one[0])
            row = [one for one in row if one[0] > row[-1][0] - KEYS_WITHIN]
            found = find("".join(key for _at, key in row))
            if found is not None:
                done, row = row[found[1] - 1][0], row[found[1] :]
            news = {"value": json.dumps([done, row]), "set_at": now}
            if kept is None:
                conn.execute(insert(facts).values(environment=self.environment, key=_PREFIX + leg_uuid, **news))
            else:
                conn.execute(update(facts).where(here).values(**news))
            return None if found is None else found[0]

        return self.run(QUICK, work)

    def forget_keys(self, leg_uuid: str) -> None:
        """Forget what a phone has keyed: it is gone."""
        self.run(QUICK, lambda conn: _FORGET.run(conn, environment=self.environment, key=_PREFIX + leg_uuid))
