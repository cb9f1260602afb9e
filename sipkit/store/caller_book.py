"""Callers: what is known of each phone's leg, whatever the order the news came in."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from sipkit.rooms import CALLER_STATES, Caller, CallerState, Pin, Room
from sipkit.store.database import Database
from sipkit.store.rows import Fields, as_caller, caller_row, caller_row_made
from sipkit.store.schema import QUICK, READ, bridges, callers
from sipkit.store.statements import Statement, all_given, given

NEWS_WITHIN: Final = 10.0
"""Seconds after the bridge's end within which each phone's own news is awaited."""

_NEWS: Final = ("number", "room_id", "pin_id", "name", "host", "state", "waiting_at", "joined_at", "left_at")
"""The columns that news of a leg may change."""

_SEEN: Final = Statement(
    update(callers).where(callers.c.id == given(callers.c.id)).values(all_given(*(callers.c[name] for name in _NEWS)))
)
_JOINED: Final = Statement(
    select(func.count()).where(callers.c.room_id == given(callers.c.room_id), callers.c.state == "joined")
)


class CallerBook(Database):
    """Follows callers and counts their tries."""

    def caller_seen(
        self, leg_uuid: str, number: str, state: CallerState, room_id: int | None = None, pin: Pin | None = None
    ) -> Caller:
        """Keep what is now known of a phone's leg. Repeated and late news never take anything back.

        Args:
            leg_uuid: The leg.
            number: The caller's number; empty if unknown.
            state: What the news says. States only move forward, and ``left`` is final.
            room_id: The room whose PIN it typed, once known.
            pin: That PIN: whose it is, the caller is.

        Returns:
            The caller as it is now.
        """

        def work(conn: Connection) -> Caller:
            row = caller_row_made(conn, self.environment, leg_uuid)
            news: dict[str, Any] = {}
            if number and not row["number"]:
                news["number"] = number
            if room_id is not None:
                news["room_id"] = room_id
            if pin is not None:
                news |= {"pin_id": pin.id, "name": pin.name, "host": pin.kind == "host"}
            if CALLER_STATES.index(state) > CALLER_STATES.index(row["state"]):
                news["state"] = state
                if state in {"waiting", "joined", "left"}:
                    news[f"{state}_at"] = self.now(conn)
            if not news:
                return as_caller(row)
            now_known: Fields = {**row, **news}
            _SEEN.run(conn, id=row["id"], **{name: now_known[name] for name in _NEWS})
            return as_caller(now_known)

        return self.run(QUICK, work)

    def admit_caller(self, leg_uuid: str) -> bool:
        """Keep that a host lets a waiting phone in; False if it does not wait (any more): another one was quicker."""
        here = (callers.c.environment == self.environment) & (callers.c.leg_uuid == leg_uuid)
        waits = update(callers).where(here, callers.c.state == "waiting")

        def work(conn: Connection) -> bool:
            return conn.execute(waits.values(state="joined", joined_at=self.now(conn))).rowcount > 0

        return self.run(QUICK, work)

    def not_admitted(self, leg_uuid: str) -> None:
        """Keep that a phone waits on after all, for the platform did not let it in."""
        here = (callers.c.environment == self.environment) & (callers.c.leg_uuid == leg_uuid)
        back = update(callers).where(here, callers.c.state == "joined").values(state="waiting", joined_at=None)
        self.run(QUICK, lambda conn: conn.execute(back))

    def set_caller(self, leg_uuid: str, **facts: bool | str) -> None:
        """Keep what a host decided about a phone, and the platform has done: ``muted`` or ``name``."""
        here = (callers.c.environment == self.environment) & (callers.c.leg_uuid == leg_uuid)
        self.run(QUICK, lambda conn: conn.execute(update(callers).where(here).values(**facts)))

    def set_hand(self, leg_uuid: str, *, up: bool) -> bool:
        """Keep that a phone in a conversation raises its hand, or that it is down again; False if it was so already."""
        return self._mark(leg_uuid, "hand_at", on=up)

    def ask_unmute(self, leg_uuid: str, *, on: bool) -> bool:
        """Keep that a host asks a phone to unmute itself, or that this is settled; False if it was so already."""
        return self._mark(leg_uuid, "unmute_asked_at", on=on)

    def _mark(self, leg_uuid: str, column: str, *, on: bool) -> bool:
        """Set a time of a phone that is in a conversation to now, or to NULL; False if there was nothing to change."""
        here = (callers.c.environment == self.environment) & (callers.c.leg_uuid == leg_uuid)
        other = (
            here
            & (callers.c.state == "joined")
            & (callers.c[column].is_(None) if on else callers.c[column].is_not(None))
        )

        def work(conn: Connection) -> bool:
            news = {column: self.now(conn) if on else None}
            return conn.execute(update(callers).where(other).values(**news)).rowcount > 0

        return self.run(QUICK, work)

    def waiting(self, room_id: int) -> list[str]:
        """Return the legs of the phones that wait to be admitted to a room."""
        here = (callers.c.room_id == room_id) & (callers.c.state == "waiting")
        return self.run(READ, lambda conn: list(conn.scalars(select(callers.c.leg_uuid).where(here))))

    def phones_there(self) -> list[str]:
        """Return the legs of all phones that are on record as connected, whether they have joined a room or not."""
        here = (callers.c.environment == self.environment) & (callers.c.state != "left")
        return self.run(READ, lambda conn: list(conn.scalars(select(callers.c.leg_uuid).where(here))))

    def joined(self, room_id: int) -> int:
        """Return how many phones are on record as being in a room's conversation."""
        return self.run(READ, lambda conn: int(_JOINED.value(conn, room_id=room_id)))

    def caller_left(self, leg_uuid: str) -> Caller:
        """Keep that the leg is gone, even if nothing else was ever heard of it."""
        return self.caller_seen(leg_uuid, "", "left")

    def caller(self, leg_uuid: str) -> Caller | None:
        """Return what is known of a leg, or None."""

        def work(conn: Connection) -> Caller | None:
            row = caller_row(conn, self.environment, leg_uuid)
            return None if row is None else as_caller(row)

        return self.run(READ, work)

    def callers(self, room: Room) -> list[Caller]:
        """Return all callers that typed the room's PIN, in the order they called; some may have left.

        A bridge that leaves ends the conversation for everybody (`ncco.join`). Whoever joined before that, and
        whose own news does not come, has left with it: the news was for a server that had been killed.
        """
        query = select(callers).where(callers.c.room_id == room.id).order_by(callers.c.id)
        answered = (bridges.c.room_id == room.id) & bridges.c.leg_uuid.is_not(None) & bridges.c.number.is_(None)

        def work(conn: Connection) -> list[Caller]:
            over = conn.execute(select(func.max(bridges.c.ended_at)).where(answered)).scalar_one()
            found = [as_caller(row) for row in conn.execute(query).mappings()]
            if over is None or self.now(conn) - over < NEWS_WITHIN:
                return found
            end = datetime.fromtimestamp(over, UTC)
            return [
                replace(caller, state="left", left_at=end)
                if caller.state == "joined" and caller.joined_at is not None and caller.joined_at < end
                else caller
                for caller in found
            ]

        return self.run(READ, work)

    def wrong_try(self, leg_uuid: str) -> int:
        """Count a wrong PIN of this leg; return how many there were."""
        return self._count(leg_uuid, "wrong_tries")

    def silent_try(self, leg_uuid: str) -> int:
        """Count a prompt at which this leg typed nothing; return how many there were."""
        return self._count(leg_uuid, "silent_tries")

    def _count(self, leg_uuid: str, column: str) -> int:
        def work(conn: Connection) -> int:
            row = caller_row_made(conn, self.environment, leg_uuid)
            here = callers.c.id == row["id"]
            conn.execute(update(callers).where(here).values({column: callers.c[column] + 1}))
            count: int = conn.execute(select(callers.c[column]).where(here)).scalar_one()
            return count

        return self.run(QUICK, work)
