"""Callers: what is known of each phone's leg, whatever the order the news came in."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select, true, update

from sipkit.rooms import CALLER_STATES, Caller, CallerState, Pin, Room
from sipkit.store.bridge_book import end_bridges
from sipkit.store.database import Database
from sipkit.store.rows import (
    Condition,
    as_caller,
    bridge_row_of_leg,
    caller_row,
    caller_row_held,
    new_caller_row,
)
from sipkit.store.schema import QUICK, READ, bridges, callers
from sipkit.store.statements import Statement, all_given, given

NEWS_WITHIN: Final = 10.0
"""Seconds after the bridge's end within which each phone's own news is awaited."""

A_MOMENT: Final = 10.0
"""Seconds for which what two hosts ask of a phone at once is one wish; afterwards the same wish is a new one."""

IN_CONVERSATION: Final = callers.c.state == "joined"

_JOINED: Final = Statement(select(func.count()).where(callers.c.room_id == given(callers.c.room_id), IN_CONVERSATION))


@cache
def _told(*columns: str) -> Statement:
    """Write these columns of a caller, and no index of another one."""
    changed = all_given(*(callers.c[name] for name in columns))
    return Statement(update(callers).where(callers.c.id == given(callers.c.id)).values(changed))


class Seen(NamedTuple):
    """A phone of which there are news.

    Attributes:
        caller: As it is now.
        before: Its state until then; *calling* if these are the first news of it.
    """

    caller: Caller
    before: CallerState


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
        news: dict[str, Any] = {}
        if room_id is not None:
            news["room_id"] = room_id
        if pin is not None:
            news |= {"pin_id": pin.id, "name": pin.name, "host": pin.kind == "host"}
        return self.run(QUICK, lambda conn: self._seen(conn, leg_uuid, number, state, news).caller)

    def _seen(self, conn: Connection, leg_uuid: str, number: str, state: CallerState, news: dict[str, Any]) -> Seen:
        row = caller_row_held(conn, self.environment, leg_uuid)
        before: CallerState = "calling" if row is None else row["state"]
        news = dict(news)
        if number and (row is None or not row["number"]):
            news["number"] = number
        if CALLER_STATES.index(state) > CALLER_STATES.index(before):
            news["state"] = state
            if state in {"waiting", "joined", "left"}:
                news[f"{state}_at"] = self.now(conn)
        if row is None:
            return Seen(as_caller(new_caller_row(conn, self.environment, leg_uuid, **news)), before)
        if news:
            _told(*sorted(news)).run(conn, id=row["id"], **news)
        return Seen(as_caller({**row, **news}), before)

    def admit_caller(self, leg_uuid: str) -> bool:
        """Keep that a host lets a waiting phone in; False if it does not wait (any more): another one was quicker."""

        def work(conn: Connection) -> bool:
            news = {"state": "joined", "joined_at": self.now(conn)}
            return self._written(conn, leg_uuid, callers.c.state == "waiting", news)

        return self.run(QUICK, work)

    def not_admitted(self, leg_uuid: str) -> None:
        """Keep that a phone waits on after all, for the platform did not let it in."""
        self._change(leg_uuid, IN_CONVERSATION, state="waiting", joined_at=None)

    def mute_caller(self, leg_uuid: str) -> bool:
        """Keep that a host mutes a phone in a conversation; False if it is muted already: another one was quicker.

        Whatever it was asked before, it is no longer.
        """
        heard = IN_CONVERSATION & callers.c.muted.is_not(True)
        return self._change(leg_uuid, heard, muted=True, unmute_asked_at=None)

    def remove_caller(self, leg_uuid: str) -> bool:
        """Keep that a host removes a phone; False if one did so a moment ago, or it has left."""
        return self._mark(leg_uuid, "removed_at", callers.c.state != "left", again_after=A_MOMENT)

    def set_caller(self, leg_uuid: str, **facts: bool | str | None) -> None:
        """Keep what is now known or decided of a phone: ``muted``, ``name``; ``removed_at`` None if it was not."""
        self._change(leg_uuid, true(), **facts)

    def set_hand(self, leg_uuid: str, *, up: bool) -> bool:
        """Keep that a phone in a conversation raises its hand, or that it is down again; False if it was so already."""
        return self._mark(leg_uuid, "hand_at", IN_CONVERSATION) if up else self._unmark(leg_uuid, "hand_at")

    def ask_unmute(self, leg_uuid: str, *, on: bool) -> bool:
        """Keep that a host asks a muted phone to unmute itself, or that this is settled.

        Returns:
            False if it was settled already, is not muted, or was asked a moment ago; later it may be asked again.
        """
        if not on:
            return self._unmark(leg_uuid, "unmute_asked_at")
        muted = IN_CONVERSATION & callers.c.muted.is_(True)
        return self._mark(leg_uuid, "unmute_asked_at", muted, again_after=A_MOMENT)

    def _mark(self, leg_uuid: str, column: str, condition: Condition, again_after: float = math.inf) -> bool:
        """Set a time of a phone to now, if it has none or one that is older than so many seconds."""

        def work(conn: Connection) -> bool:
            now = self.now(conn)
            free = callers.c[column].is_(None) | (callers.c[column] < now - again_after)
            return self._written(conn, leg_uuid, condition & free, {column: now})

        return self.run(QUICK, work)

    def _unmark(self, leg_uuid: str, column: str) -> bool:
        return self._change(leg_uuid, callers.c[column].is_not(None), **{column: None})

    def _change(self, leg_uuid: str, condition: Condition, **news: bool | str | None) -> bool:
        """Change what is kept of a phone if it meets a condition; False if it does not."""
        return self.run(QUICK, lambda conn: self._written(conn, leg_uuid, condition, news))

    def _written(self, conn: Connection, leg_uuid: str, condition: Condition, news: Mapping[str, Any]) -> bool:
        here = (callers.c.environment == self.environment) & (callers.c.leg_uuid == leg_uuid)
        return conn.execute(update(callers).where(here, condition).values(**news)).rowcount > 0

    def waiting(self, room_id: int) -> list[str]:
        """Return the legs of the phones that wait to be admitted to a room."""
        here = (callers.c.room_id == room_id) & (callers.c.state == "waiting")
        return self.run(READ, lambda conn: list(conn.scalars(select(callers.c.leg_uuid).where(here))))

    def phones_there(self) -> list[str]:
        """Return the legs of all phones that are on record as connected, whether they have joined a room or not."""
        here = (callers.c.environment == self.environment) & (callers.c.state != "left")
        return self.run(READ, lambda conn: list(conn.scalars(select(callers.c.leg_uuid).where(here))))

    def joined(self, room_id: int) -> int:
        """Return how many phones are on record as being in a room's conversation.

        Whoever counts within `whole`, to let one more in, is the only one who does until that ends.
        """

        def work(conn: Connection) -> int:
            self.queue(conn, f"seats {room_id}")
            return int(_JOINED.value(conn, room_id=room_id))

        return self.run(READ, work)

    def caller_left(self, leg_uuid: str) -> Seen:
        """Keep that the leg is gone, even if nothing else was ever heard of it; return what it was until now, too.

        If it has just become a bridge's leg, that bridge is gone: the news and its answer came in together.
        """

        def work(conn: Connection) -> Seen:
            self.queue(conn, f"leg {leg_uuid}")
            bridge = bridge_row_of_leg(conn, self.environment, leg_uuid)
            if bridge is not None:
                end_bridges(conn, bridges.c.id == bridge["id"], "the phone side hung up", self.now(conn))
            return self._seen(conn, leg_uuid, "", "left", {})

        return self.run(QUICK, work)

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
            leg = (conn, self.environment, leg_uuid)
            row = caller_row_held(*leg) or new_caller_row(*leg)
            here = callers.c.id == row["id"]
            conn.execute(update(callers).where(here).values({column: callers.c[column] + 1}))
            count: int = conn.execute(select(callers.c[column]).where(here)).scalar_one()
            return count

        return self.run(QUICK, work)
