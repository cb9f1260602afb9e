"""Rooms, each with the PIN that everybody of it has."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, insert, or_, update

from sipkit.errors import RoomNotFound
from sipkit.rooms import Room, checked_name
from sipkit.store.pin_book import ROOM, ROOM_NOW, PinBook, rooms_now, void_pins
from sipkit.store.rows import Condition, as_room, bridge_row, one, open_rooms, room_row, rooms_at
from sipkit.store.schema import DURABLE, READ, bridges, pins, rooms
from sipkit.store.statements import Statement, given

_NAMED: Final = rooms_now(rooms.c.open_name == given(rooms.c.open_name))
_OF_SESSION: Final = rooms_now(rooms.c.session_id == given(rooms.c.session_id))


class RoomBook(PinBook):
    """Opens, finds, renews and closes rooms."""

    def __init__(self, engine: Engine, environment: str, pin_length: int, pin_hours: float) -> None:
        super().__init__(engine, environment)
        self.pin_length = pin_length
        self.pin_hours = pin_hours

    def open_room(self, name: str, make_session: Callable[[], str]) -> Room:
        """Return the open room of this name; make it, with a session and a free PIN, if there is none.

        A room whose PIN has expired gets a new one: whoever opens it again begins a new day with it.

        Args:
            name: What people will call it.
            make_session: Asks the platform for a session id. Called without any lock held, and only
                if there is no such room. If another process opens the room in the meantime, that
                room is returned and the session just made stays unused (it costs nothing).

        Raises:
            BadRoomName: If the name cannot be one.
            PinSpaceExhausted: If every PIN is taken.
        """
        name = checked_name(name)
        found = self.room(name)
        if found is not None and found.pin:
            return found
        session_id = make_session() if found is None else found.session_id
        named = rooms.c.open_name == name
        attempts = 0

        def work(conn: Connection) -> Room:
            nonlocal attempts
            attempts += 1
            now = self.now(conn)
            row = room_row(conn, self.environment, named, now, held=True)
            if row is None:
                values = {"environment": self.environment, "name": name, "open_name": name}
                conn.execute(insert(rooms).values(**values, session_id=session_id, opened_at=now))
                row = one(room_row(conn, self.environment, named, now))
            if not row["open_pin"]:
                void_pins(conn, (pins.c.room_id == row["id"]) & (pins.c.kind == ROOM), now)
                self._new_pin(conn, row["id"], ROOM, "", now, blind=attempts == 1)
            return as_room(one(room_row(conn, self.environment, named, now)))

        return self.run(DURABLE, work)

    def room(self, name: str) -> Room | None:
        """Return the open room of this name, or None."""
        return self._first_room(_NAMED, open_name=checked_name(name))

    def rooms(self) -> list[Room]:
        """Return all open rooms, oldest first."""
        here = open_rooms(self.environment)

        def work(conn: Connection) -> list[Room]:
            return [as_room(row) for row in conn.execute(rooms_at(self.now(conn)).where(here)).mappings()]

        return self.run(READ, work)

    def room_by_id(self, room_id: int) -> Room | None:
        """Return the open room with this id, or None; a room opened anew under an old name has a new id."""
        return self._first_room(ROOM_NOW, room_id=room_id)

    def room_by_session(self, session_id: str) -> Room | None:
        """Return the open room of this session, or None if it is none of ours."""
        return self._first_room(_OF_SESSION, session_id=session_id)

    def renew_session(self, name: str, old_session_id: str, new_session_id: str) -> Room:
        """Give the room a new session in place of one the platform has forgotten; the PIN stays.

        If another process renewed the room first, its session stays and `new_session_id` is not used. While a
        bridge of the room lives, nothing is renewed either: its connection can be ended only in its session.

        Returns:
            The room; `reopened` is set if its session is another one than the old.

        Raises:
            RoomNotFound: If no open room has this name.
        """
        named = rooms.c.open_name == checked_name(name)

        def work(conn: Connection) -> Room:
            now = self.now(conn)
            row = room_row(conn, self.environment, named, now, held=True)
            if row is None:
                raise RoomNotFound(f"There is no open room {name!r}.")
            if row["session_id"] == old_session_id:
                here = (bridges.c.room_id == row["id"]) & bridges.c.ended_at.is_(None)
                if bridge_row(conn, self.environment, here) is not None:
                    return as_room(row)
                conn.execute(update(rooms).where(rooms.c.id == row["id"]).values(session_id=new_session_id))
            return as_room(one(room_row(conn, self.environment, named, now)), reopened=True)

        return self.run(DURABLE, work)

    def set_room(self, room: Room, **wishes: bool | str | float | None) -> bool:
        """Keep what a host decides about an open room; False if it was so already.

        Args:
            room: The room.
            **wishes: ``lobby``, ``locked``, ``waits_for_host``, ``language`` or ``budget``.
        """
        here = open_rooms(self.environment) & (rooms.c.id == room.id)
        new = or_(*(_differs(name, wish) for name, wish in wishes.items()))
        return self.run(
            DURABLE, lambda conn: conn.execute(update(rooms).where(here, new).values(**wishes)).rowcount > 0
        )

    def close_room(self, name: str) -> bool:
        """Close the room: its name and its PINs are free again. False if it was not open.

        A living bridge stays on record until it is hung up, for it is billed until then.
        """
        named = open_rooms(self.environment) & (rooms.c.open_name == checked_name(name))

        def work(conn: Connection) -> bool:
            now = self.now(conn)
            row = room_row(conn, self.environment, named, now, held=True)
            if row is None:
                return False
            void_pins(conn, pins.c.room_id == row["id"], now)
            closed = update(rooms).where(rooms.c.id == row["id"], rooms.c.open_name.is_not(None))
            return conn.execute(closed.values(open_name=None, closed_at=now)).rowcount > 0

        return self.run(DURABLE, work)

    def _first_room(self, query: Statement, **values: Any) -> Room | None:
        def work(conn: Connection) -> Room | None:
            row = query.first(conn, environment=self.environment, now=self.now(conn), **values)
            return None if row is None else as_room(row)

        return self.run(READ, work)


def _differs(name: str, wish: bool | str | float | None) -> Condition:
    """What is true of a room that has something else there; NULL, which nobody has ever set, is no or empty."""
    if isinstance(wish, bool | str):
        return func.coalesce(rooms.c[name], type(wish)()) != wish
    return rooms.c[name].is_distinct_from(wish)
