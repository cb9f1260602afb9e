"""Rooms and their PINs."""

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine, func, insert, select, update

from sipkit.errors import RoomNotFound
from sipkit.pins import generate_pin
from sipkit.rooms import Room, checked_name
from sipkit.store.database import Database
from sipkit.store.rows import Condition, as_room, bridge_row, one, open_rooms, room_row
from sipkit.store.schema import DURABLE, READ, bridges, rooms


class RoomBook(Database):
    """Opens, finds, renews and closes rooms."""

    def __init__(self, engine: Engine, environment: str, pin_length: int) -> None:
        super().__init__(engine, environment)
        self.pin_length = pin_length

    def open_room(self, name: str, make_session: Callable[[], str]) -> Room:
        """Return the open room of this name; make it, with a session and a free PIN, if there is none.

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
        if found is not None:
            return found
        session_id = make_session()
        named = rooms.c.open_name == name
        pins_in_use = select(rooms.c.pin).where(open_rooms(self.environment))
        attempts = 0

        def work(conn: Connection) -> Room:
            nonlocal attempts
            attempts += 1
            row = room_row(conn, self.environment, named)
            if row is not None:
                return as_room(row)
            # The first draw is blind: the constraint refuses a PIN in use, and then we look.
            taken = conn.scalars(pins_in_use) if attempts > 1 else ()
            values = {"environment": self.environment, "name": name, "open_name": name}
            values |= {"session_id": session_id, "pin": generate_pin(self.pin_length, taken)}
            conn.execute(insert(rooms).values(**values, opened_at=time.time()))
            return as_room(one(room_row(conn, self.environment, named)))

        return self.run(DURABLE, work)

    def room(self, name: str) -> Room | None:
        """Return the open room of this name, or None."""
        return self._first_room(rooms.c.open_name == checked_name(name))

    def rooms(self) -> list[Room]:
        """Return all open rooms, oldest first."""
        query = select(rooms).where(open_rooms(self.environment)).order_by(rooms.c.id)
        return self.run(READ, lambda conn: [as_room(row) for row in conn.execute(query).mappings()])

    def room_by_id(self, room_id: int) -> Room | None:
        """Return the open room with this id, or None; a room opened anew under an old name has a new id."""
        return self._first_room(rooms.c.id == room_id)

    def room_by_pin(self, pin: str) -> Room | None:
        """Return the open room this PIN belongs to, or None."""
        return self._first_room(rooms.c.pin == pin)

    def room_by_session(self, session_id: str) -> Room | None:
        """Return the open room of this session, or None if it is none of ours."""
        return self._first_room(rooms.c.session_id == session_id)

    def longest_pin(self) -> int:
        """Return how many digits the longest PIN of an open room has; 0 if there is none."""
        query = select(func.max(func.length(rooms.c.pin))).where(open_rooms(self.environment))
        return self.run(READ, lambda conn: int(conn.scalar(query) or 0))

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
            row = room_row(conn, self.environment, named)
            if row is None:
                raise RoomNotFound(f"There is no open room {name!r}.")
            if row["session_id"] == old_session_id:
                here = (bridges.c.room_id == row["id"]) & bridges.c.ended_at.is_(None)
                if bridge_row(conn, self.environment, here) is not None:
                    return as_room(row)
                conn.execute(update(rooms).where(rooms.c.id == row["id"]).values(session_id=new_session_id))
            return as_room(one(room_row(conn, self.environment, named)), reopened=True)

        return self.run(DURABLE, work)

    def close_room(self, name: str) -> bool:
        """Close the room: its name and its PIN are free again. False if it was not open.

        A living bridge stays on record until it is hung up, for it is billed until then.
        """
        named = open_rooms(self.environment) & (rooms.c.open_name == checked_name(name))
        values = {"open_name": None, "pin": None, "closed_at": time.time()}
        statement = update(rooms).where(named).values(**values)
        return self.run(DURABLE, lambda conn: conn.execute(statement).rowcount > 0)

    def _first_room(self, condition: Condition) -> Room | None:
        def work(conn: Connection) -> Room | None:
            row = room_row(conn, self.environment, condition)
            return None if row is None else as_room(row)

        return self.run(READ, work)
