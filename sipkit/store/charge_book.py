"""Charges: from when to when each leg is paid for, and what the platform said it cost.

The bridge's own are begun and ended with the bridge (`bridge_book`), in the same transaction; phones' by their
events; participants' by the guard's looks, every few seconds, so theirs are estimates even in time.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from sipkit.costs import Charge
from sipkit.prices import Kind
from sipkit.rooms import Room
from sipkit.store.caller_book import NEWS_WITHIN
from sipkit.store.charge_rows import begin_charge, bridged, charge_row, end_charges, new_charge
from sipkit.store.database import Database
from sipkit.store.rows import hold_rooms
from sipkit.store.schema import QUICK, READ, bridges, callers, charges, rooms
from sipkit.timeline import mask_number

UNHEARD: Final = 600.0
"""Seconds after which a phone that typed no PIN is gone, for it is asked only a few times, each for some seconds."""


class ChargeBook(Database):
    """Begins, ends and corrects charges."""

    def leg_answered(self, leg_uuid: str, kind: Kind, room_id: int | None) -> None:
        """Keep that a leg of the phone side is charged for from now on; news of one that is known change nothing."""
        whose = {"environment": self.environment, "room_id": room_id}
        self.run(QUICK, lambda conn: begin_charge(conn, whose, kind, leg_uuid, self.now(conn)))

    def leg_gone(self, leg_uuid: str, kind: Kind, room_id: int | None, seconds: int, price: Decimal | None) -> None:
        """Keep that a leg is charged for no longer, and what the platform says of it: that counts, not the estimate.

        Args:
            leg_uuid: The leg.
            kind: ``inbound`` or ``outbound``.
            room_id: The room it was in, if it was in one.
            seconds: How long it lasted; 0: the platform does not say, or it was never answered.
            price: What it cost; None: the platform does not say.
        """

        def work(conn: Connection) -> None:
            now = self.now(conn)
            row = charge_row(conn, self.environment, kind, leg_uuid, held=True)
            if row is None and not seconds:
                return
            ended = now if row is None or row["ended_at"] is None else row["ended_at"]
            news: dict[str, Any] = {"ended_at": ended, "price": None if price is None else float(price)}
            if seconds:
                news["began_at"] = ended - seconds
            if row is None:
                new_charge(conn, self.environment, kind, leg_uuid, room_id, **news)
            elif row["price"] is None:
                news["room_id"] = row["room_id"] or room_id
                conn.execute(update(charges).where(charges.c.id == row["id"]).values(**news))

        self.run(QUICK, work)

    def participants_seen(self, room_id: int, connection_ids: Iterable[str]) -> None:
        """Keep who is in a room's session now: all of them, the bridge too, and nobody else.

        Without a living bridge nothing is kept, for nobody would look again.
        """
        there = set(connection_ids)
        here = (charges.c.environment == self.environment) & (charges.c.kind == "video")
        here &= charges.c.room_id == room_id

        def work(conn: Connection) -> None:
            hold_rooms(conn, rooms.c.id == room_id)  # before its last bridge ends, or after that
            if not bridged(conn, room_id):
                return
            now = self.now(conn)
            whose = {"environment": self.environment, "room_id": room_id}
            for each in there:
                begin_charge(conn, whose, "video", each, now)
            conn.execute(update(charges).where(here, charges.c.leg.in_(there)).values(ended_at=None))
            end_charges(conn, here & charges.c.leg.not_in(there), now)

        self.run(QUICK, work)

    def charges(self, room: Room | None = None) -> tuple[list[Charge], float]:
        """Return what was charged for, in a room or at all, and the store's time at that moment.

        A phone whose news does not come has left with its room's bridge, as `callers` has it.
        """
        room_id = func.coalesce(charges.c.room_id, callers.c.room_id)
        phone = (callers.c.environment == charges.c.environment) & (callers.c.leg_uuid == charges.c.leg)
        found = charges.outerjoin(callers, phone & (charges.c.kind == "inbound"))
        of_phone = (callers.c.number, callers.c.joined_at, callers.c.left_at)
        query = select(charges, room_id.label("in_room"), rooms.c.name, *of_phone)
        query = query.select_from(found.outerjoin(rooms, rooms.c.id == room_id))
        query = query.where(charges.c.environment == self.environment).order_by(charges.c.id)
        ours = select(bridges).where(bridges.c.environment == self.environment)
        if room is not None:
            query, ours = query.where(room_id == room.id), ours.where(bridges.c.room_id == room.id)

        def work(conn: Connection) -> tuple[list[Charge], float]:
            now = self.now(conn)
            legs: set[str] = set()
            over: dict[int, float] = {}
            for bridge in conn.execute(ours).mappings():
                legs |= {f"bridge {bridge['id']}", bridge["connection_id"], bridge["leg_uuid"]}
                ended = bridge["ended_at"] or 0.0
                if bridge["number"] is None and bridge["leg_uuid"] and ended < now - NEWS_WITHIN:
                    over[bridge["room_id"]] = max(ended, over.get(bridge["room_id"], 0.0))
            rows = conn.execute(query).mappings()
            return [_as_charge(row, ended=_end_of(row, over, now), bridge=row["leg"] in legs) for row in rows], now

        return self.run(READ, work)


def _end_of(row: Mapping[Any, Any], over: Mapping[int, float], now: float) -> float | None:
    """When a charge ended, even if nobody told of a phone."""
    told: float | None = row["ended_at"]
    if told is not None or row["kind"] != "inbound":
        return told
    began: float = row["began_at"]
    left: float | None = row["left_at"]
    if left is not None:
        return max(began, left)  # the guard found it gone
    if row["in_room"] is None:
        return began + UNHEARD if now - began > UNHEARD else None
    ended = over.get(row["in_room"], 0.0)
    return ended if row["joined_at"] is not None and row["joined_at"] < ended else None


def _as_charge(row: Mapping[Any, Any], *, ended: float | None, bridge: bool) -> Charge:
    who = {"video": "a participant", "outbound": "a called phone"}.get(row["kind"])
    return Charge(
        kind=row["kind"],
        leg=row["leg"],
        room=row["name"] or "",
        who="the bridge" if bridge else who or f"phone {mask_number(row['number'] or '')}",
        began_at=row["began_at"],
        ended_at=ended,
        told=None if row["price"] is None else Decimal(str(row["price"])),
    )
