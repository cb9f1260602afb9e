"""The PINs of rooms: made, found, replaced and withdrawn.

A room has one PIN that everybody of it has, one for its hosts if they want one, and one for each guest who shall
have one of their own. Each lets in until it expires, is replaced or withdrawn, or its room is closed; from then on its
row only tells a late try of it from a guess, until its digits are drawn for somebody else.
"""

from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, insert, select, update

from sipkit.errors import RoomNotFound
from sipkit.pins import OWN_LENGTH, PinKind, generate_pin
from sipkit.rooms import Pin, Room, checked_name
from sipkit.store.database import Database
from sipkit.store.rows import Condition, as_pin, as_room, one, open_rooms, room_row, rooms_at
from sipkit.store.schema import DURABLE, READ, pins, rooms
from sipkit.store.statements import Statement, given

ROOM: PinKind = "room"

_TYPED: Final = Statement(
    select(pins)
    .where(pins.c.environment == given(pins.c.environment), pins.c.pin == given(pins.c.pin))
    .order_by(pins.c.open_pin.is_(None), pins.c.id.desc())
    .limit(1)
)
_LONGEST: Final = Statement(
    select(func.max(func.length(pins.c.open_pin))).where(pins.c.environment == given(pins.c.environment))
)


def rooms_now(condition: Condition) -> Statement:
    """Return the query for open rooms that meet a condition; it needs `environment`, `now`, and what that needs."""
    query = rooms_at(given(pins.c.expires_at, "now")).where(open_rooms(given(rooms.c.environment)), condition)
    return Statement(query)


ROOM_NOW: Final = rooms_now(rooms.c.id == given(rooms.c.id, "room_id"))


class FoundPin(NamedTuple):
    """What a PIN that somebody typed leads to: the room only if it lets in."""

    pin: Pin
    room: Room | None


class PinBook(Database):
    """Makes and finds PINs."""

    pin_length: int
    pin_hours: float

    def make_pin(self, room: Room, kind: PinKind = ROOM, name: str = "") -> Pin:
        """Give a room a new PIN of a kind, in place of the one of the same kind and name.

        Args:
            room: An open room.
            kind: ``room``, ``host`` or ``personal``.
            name: Whose a personal one is.

        Raises:
            BadRoomName: A personal PIN needs a name that can be one.
            PinSpaceExhausted: If every PIN of the length is taken.
            RoomNotFound: The room is closed.
        """
        whose = checked_name(name) if kind == "personal" else ""
        attempts = 0

        def work(conn: Connection) -> Pin:
            nonlocal attempts
            attempts += 1
            now = self.now(conn)
            if room_row(conn, self.environment, rooms.c.id == room.id, now, held=True) is None:
                raise RoomNotFound(f"There is no open room {room.name!r}.")
            same = (pins.c.room_id == room.id) & (pins.c.kind == kind) & (pins.c.name == whose)
            void_pins(conn, same, now)
            return self._new_pin(conn, room.id, kind, whose, now, blind=attempts == 1)

        return self.run(DURABLE, work)

    def find_pin(self, digits: str) -> FoundPin | None:
        """Return the PIN with these digits, which may be void, and its room; None if there never was one."""

        def work(conn: Connection) -> FoundPin | None:
            now = self.now(conn)
            row = _TYPED.first(conn, environment=self.environment, pin=digits)
            # Asked in every case, so that a PIN that is right takes the same work as one that is not.
            room_id = -1 if row is None else row["room_id"]
            room = ROOM_NOW.first(conn, environment=self.environment, room_id=room_id, now=now)
            if row is None:
                return None
            pin = as_pin(row, now)
            return FoundPin(pin, None if pin.void or room is None else as_room(room))

        return self.run(READ, work)

    def room_by_pin(self, digits: str) -> Room | None:
        """Return the open room that this PIN lets into, or None."""
        found = self.find_pin(digits)
        return None if found is None else found.room

    def pins(self, room: Room) -> list[Pin]:
        """Return the PINs that let into a room, in the order they were made."""
        query = select(pins).where(pins.c.room_id == room.id, pins.c.open_pin.is_not(None)).order_by(pins.c.id)

        def work(conn: Connection) -> list[Pin]:
            now = self.now(conn)
            return [pin for row in conn.execute(query).mappings() if not (pin := as_pin(row, now)).void]

        return self.run(READ, work)

    def withdraw_pin(self, room: Room, name: str) -> bool:
        """Let a personal PIN let nobody in any more; False if there is none of this name."""
        here = (pins.c.room_id == room.id) & (pins.c.kind == "personal") & (pins.c.name == checked_name(name))
        return self.run(DURABLE, lambda conn: void_pins(conn, here, self.now(conn)))

    def longest_pin(self) -> int:
        """Return how many digits the longest PIN has that lets in; 0 if there is none."""
        return self.run(READ, lambda conn: int(_LONGEST.value(conn, environment=self.environment) or 0))

    def _new_pin(
        self, conn: Connection, room_id: int, kind: PinKind, name: str, now: float, *, blind: bool = False
    ) -> Pin:
        """Draw a PIN and keep it. The first draw is blind: the constraint refuses a PIN in use, and then we look."""
        here = (pins.c.environment == self.environment) & pins.c.open_pin.is_not(None)
        taken = () if blind else conn.scalars(select(pins.c.open_pin).where(here))
        digits = generate_pin(self.pin_length if kind == ROOM else OWN_LENGTH, taken)
        values: dict[str, Any] = {"environment": self.environment, "room_id": room_id, "kind": kind, "name": name}
        values |= {"pin": digits, "open_pin": digits, "open_role": f"{room_id}:{kind}:{name}", "made_at": now}
        if kind == ROOM and self.pin_hours:
            values["expires_at"] = now + self.pin_hours * 3600
        key = one(conn.execute(insert(pins).values(**values)).inserted_primary_key)[0]
        return as_pin(one(conn.execute(select(pins).where(pins.c.id == key)).mappings().first()), now)


def void_pins(conn: Connection, condition: Condition, now: float) -> bool:
    """Let PINs let nobody in any more; True if one did until now."""
    values = {"open_pin": None, "open_role": None, "void_at": now}
    statement = update(pins).where(condition, pins.c.open_pin.is_not(None)).values(**values)
    return conn.execute(statement).rowcount > 0
