"""Bridges: at most one living one per room, and one per room and number that is called directly, whoever dials."""

import secrets
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from sipkit.rooms import Bridge, Room
from sipkit.store.charge_rows import bridge_charges_begin, bridge_charges_end
from sipkit.store.database import Database
from sipkit.store.rows import (
    Condition,
    as_bridge,
    as_room,
    bridge_row,
    bridge_row_of_leg,
    caller_row,
    hold_rooms,
    one,
    room_row,
    rooms_at,
)
from sipkit.store.schema import DURABLE, READ, bridges, rooms

LIVING: Final = bridges.c.ended_at.is_(None)


class BridgeBook(Database):
    """Claims, follows and ends bridges."""

    def claim_bridge(
        self,
        room: Room,
        owner: str,
        dialler: str | None = None,
        number: str | None = None,
        caller_id: str | None = None,
    ) -> tuple[Bridge, bool]:
        """Claim the right to dial the room's one bridge, or its one direct call to a number.

        The new bridge has its nonce from now on, so it is on record before anything is dialled.

        Args:
            room: The room to dial from.
            owner: Who will hang it up.
            dialler: Who will place the dial; the owner unless given.
            number: Whom a direct call is for (E.164 digits); None: the conference number.
            caller_id: The number that a direct call shows.

        Returns:
            The room's living bridge, and True if it is ours to dial now; False if it was there already.
        """
        call = None if number is None else f"{room.id}:{number}"
        here = bridges.c.living_room_id == room.id if call is None else bridges.c.living_call == call

        def work(conn: Connection) -> tuple[Bridge, bool]:
            living = bridge_row(conn, self.environment, here)
            if living is not None:
                return as_bridge(living), False
            values: dict[str, Any] = {"environment": self.environment, "room_id": room.id, "number": number}
            values["caller_id"] = caller_id
            values |= {"living_room_id": None, "living_call": call} if call else {"living_room_id": room.id}
            values |= {"nonce": secrets.token_urlsafe(16)}
            values |= {"state": "dialing", "owner": owner, "dialler": dialler or owner, "dialed_at": self.now(conn)}
            conn.execute(insert(bridges).values(**values))
            return as_bridge(one(bridge_row(conn, self.environment, here))), True

        return self.run(DURABLE, work)

    def bridge_dialed(self, bridge_id: int, connection_id: str, stream_id: str | None) -> Bridge:
        """Keep the ids the platform gave. The phone side may have answered, or left, before that.

        Returns:
            The bridge as it is now. If it has ended meanwhile, the caller must hang up the connection.
        """

        def work(conn: Connection) -> Bridge:
            here = bridges.c.id == bridge_id
            ids = {"connection_id": connection_id, "stream_id": stream_id}
            conn.execute(update(bridges).where(here).values(**ids))
            dialing = here & (bridges.c.state == "dialing")
            conn.execute(update(bridges).where(dialing).values(state="dialed"))
            row = one(bridge_row(conn, self.environment, here))
            bridge_charges_begin(conn, row, self.now(conn))
            return as_bridge(row)

        return self.run(DURABLE, work)

    def bridge_of_nonce(self, nonce: str) -> Bridge | None:
        """Return the bridge, ended or not, whose dial carries this nonce."""
        return self._first_bridge(bridges.c.nonce == nonce) if nonce else None

    def bridge_answered(self, session_id: str, leg_uuid: str, nonce: str = "") -> Bridge | None:
        """Keep that this leg of the phone side is the session's bridge, or came of the dial with this nonce.

        By its nonce a dial whose answer was lost is known to have arrived, and its leg can be hung up.

        Args:
            session_id: The session the leg joins; only looked at without a nonce.
            leg_uuid: The leg.
            nonce: What the leg says of the dial it came of; empty if it says nothing.

        Returns:
            The bridge, which may have ended; None if no living one waits for this leg (it was not dialled by
            this kit, or has ended, or another leg answered before), or if this leg was gone before it was dialled.
        """

        def work(conn: Connection) -> Bridge | None:
            self.queue(conn, f"leg {leg_uuid}")  # behind the news that it has left, or before them
            known = bridge_row(conn, self.environment, bridges.c.leg_uuid == leg_uuid)
            if known is not None:
                return as_bridge(known) if not nonce or known["nonce"] == nonce else None
            if nonce:
                return self._answered(conn, (bridges.c.nonce == nonce) & LIVING, leg_uuid)
            room = room_row(conn, self.environment, rooms.c.session_id == session_id, self.now(conn))
            return None if room is None else self._answered(conn, bridges.c.living_room_id == room["id"], leg_uuid)

        return self.run(DURABLE, work)

    def _answered(self, conn: Connection, condition: Condition, leg_uuid: str) -> Bridge | None:
        """Give a leg to the bridge that waits for one."""
        row = bridge_row(conn, self.environment, condition & bridges.c.leg_uuid.is_(None), held=True)
        if row is None:
            return None
        leg = caller_row(conn, self.environment, leg_uuid)
        left_at = leg["left_at"] if leg is not None else None
        if left_at is not None and left_at < row["dialed_at"]:
            return None
        here = bridges.c.id == row["id"]
        conn.execute(update(bridges).where(here).values(leg_uuid=leg_uuid, state="answered"))
        if left_at is not None:
            # Its last event overtook its answer webhook.
            end_bridges(conn, here, "the phone side hung up", self.now(conn))
        row = one(bridge_row(conn, self.environment, here))
        bridge_charges_begin(conn, row, self.now(conn))
        return as_bridge(row)

    def end_bridge(self, bridge_id: int, reason: str) -> bool:
        """Keep that the bridge is gone. False if it was already."""
        here = bridges.c.id == bridge_id
        return self.run(DURABLE, lambda conn: end_bridges(conn, here, reason, self.now(conn)))

    def end_bridge_of_leg(self, leg_uuid: str, reason: str) -> Bridge | None:
        """Keep that the bridge with this leg is gone.

        Returns:
            The bridge, ended now or before; None if the leg is no bridge's.
        """

        def work(conn: Connection) -> Bridge | None:
            leg = bridges.c.leg_uuid == leg_uuid
            end_bridges(conn, leg & (bridges.c.environment == self.environment), reason, self.now(conn))
            row = bridge_row(conn, self.environment, leg)
            return None if row is None else as_bridge(row)

        return self.run(DURABLE, work)

    def bridge(self, bridge_id: int) -> Bridge | None:
        """Return the bridge with this id, ended or not."""
        return self._first_bridge(bridges.c.id == bridge_id)

    def living_bridge(self, room: Room) -> Bridge | None:
        """Return the room's bridge to the conference number while it lives."""
        return self._first_bridge(bridges.c.living_room_id == room.id)

    def living_calls(self, room: Room) -> list[Bridge]:
        """Return the room's living direct calls, in the order they were dialled."""
        here = (bridges.c.room_id == room.id) & bridges.c.number.is_not(None) & LIVING
        query = select(bridges).where(bridges.c.environment == self.environment, here).order_by(bridges.c.id)
        return self.run(READ, lambda conn: [as_bridge(row) for row in conn.execute(query).mappings()])

    def call_to(self, number: str) -> Bridge | None:
        """Return the direct call to a number that lives, or the last one if none does.

        None where nobody called it, or several rooms do now: which of them is meant, the number does not tell.
        """
        here = (bridges.c.environment == self.environment) & (bridges.c.number == number)
        query = select(bridges).where(here, LIVING).limit(2)

        def work(conn: Connection) -> Bridge | None:
            living = conn.execute(query).mappings().all()
            row = living[0] if living else bridge_row(conn, self.environment, here)
            return None if row is None or len(living) > 1 else as_bridge(row)

        return self.run(READ, work)

    def bridge_of_leg(self, leg_uuid: str) -> Bridge | None:
        """Return the bridge, ended or not, whose phone side is this leg."""

        def work(conn: Connection) -> Bridge | None:
            row = bridge_row_of_leg(conn, self.environment, leg_uuid)
            return None if row is None else as_bridge(row)

        return self.run(READ, work)

    def living_bridges(self, owners: Iterable[str] | None = None) -> list[Bridge]:
        """Return all living bridges of this environment, or those of some owners."""
        query = select(bridges).where(bridges.c.environment == self.environment, LIVING)
        if owners is not None:
            query = query.where(bridges.c.owner.in_(list(owners)))
        return self.run(READ, lambda conn: [as_bridge(row) for row in conn.execute(query).mappings()])

    def room_of(self, bridge: Bridge) -> Room:
        """Return the bridge's room, even if it is closed by now."""
        here = rooms.c.id == bridge.room_id
        return self.run(READ, lambda conn: as_room(conn.execute(rooms_at(self.now(conn)).where(here)).mappings().one()))

    def age_of(self, bridge: Bridge) -> float:
        """Return for how many seconds a bridge has been on record."""
        return self.time_about() - bridge.dialed_at.timestamp()

    def _first_bridge(self, condition: Condition) -> Bridge | None:
        def work(conn: Connection) -> Bridge | None:
            row = bridge_row(conn, self.environment, condition)
            return None if row is None else as_bridge(row)

        return self.run(READ, work)


def end_bridges(conn: Connection, condition: Condition, reason: str, now: float) -> bool:
    """End the living bridges that meet the condition, and what is charged for them; True if there was one."""
    # Nobody shall begin a charge meanwhile, nor take the room's other bridge for its last one that lives.
    hold_rooms(conn, rooms.c.id.in_(select(bridges.c.room_id).where(LIVING, condition)))
    ending = conn.execute(select(bridges).where(LIVING, condition).with_for_update()).mappings().all()
    values = {"living_room_id": None, "living_call": None, "state": "ended", "ended_at": now, "reason": reason}
    ended = conn.execute(update(bridges).where(LIVING, condition).values(**values)).rowcount > 0
    for row in ending:
        bridge_charges_end(conn, row, now)
    return ended
