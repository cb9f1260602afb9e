"""The turnstile: a ticket passes once, and a hand that is too quick must wait; whichever process it comes to."""

from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from sipkit.store.database import Database
from sipkit.store.schema import QUICK, allowances, tickets
from sipkit.store.statements import Statement, all_given, given

_TICKETS: Final = tickets.c.environment == given(tickets.c.environment)
_USED: Final = Statement(select(tickets.c.key).where(_TICKETS, tickets.c.key == given(tickets.c.key)))
_LAPSED: Final = Statement(delete(tickets).where(_TICKETS, tickets.c.until < given(tickets.c.until)))
_USE: Final = Statement(insert(tickets).values(all_given(*tickets.c)))

_ALLOWED: Final = allowances.c.environment == given(allowances.c.environment)
_HERE: Final = _ALLOWED & (allowances.c.key == given(allowances.c.key))
_WINDOW: Final = Statement(select(allowances.c.used, allowances.c.until).where(_HERE).with_for_update())
_OVER: Final = Statement(delete(allowances).where(_ALLOWED, allowances.c.until <= given(allowances.c.until)))
_FIRST: Final = Statement(insert(allowances).values(all_given(*allowances.c)))
_NEXT: Final = Statement(update(allowances).where(_HERE).values(all_given(allowances.c.used)))


class Turnstile(Database):
    """Takes tickets and counts uses."""

    def use_ticket(self, key: str, until: float) -> bool:
        """Take a ticket. A unique constraint lets it pass once, however many processes see it.

        Args:
            key: The ticket's own name.
            until: When nobody would accept it any more (seconds since 1970); it is remembered so long.

        Returns:
            False if it was used before.
        """

        def work(conn: Connection) -> bool:
            now = self.now(conn)
            if _USED.value(conn, environment=self.environment, key=key) is not None:
                return False
            _LAPSED.run(conn, environment=self.environment, until=now)
            _USE.run(conn, environment=self.environment, key=key, until=until)
            return True

        return self.run(QUICK, work)

    def allow(self, key: str, limit: int, seconds: float) -> float:
        """Count a use of something that may be used `limit` times in `seconds`.

        Args:
            key: What is used, and by whom.
            limit: Uses.
            seconds: Length of the window, which begins with the first use.

        Returns:
            0.0 if it may be used now, else the seconds to wait.
        """
        here = {"environment": self.environment, "key": key}

        def work(conn: Connection) -> float:
            now = self.now(conn)
            window = _WINDOW.first(conn, **here)
            if window is None or window["until"] <= now:
                # A window is over, this one or another's: the moment to forget them all.
                _OVER.run(conn, environment=self.environment, until=now)
                _FIRST.run(conn, **here, used=1, until=now + seconds)
            elif window["used"] < limit:
                _NEXT.run(conn, **here, used=window["used"] + 1)
            else:
                return float(window["until"]) - now
            return 0.0

        return self.run(QUICK, work)
