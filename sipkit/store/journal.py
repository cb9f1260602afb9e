"""The timeline, and single values kept by name."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from sipkit.rooms import Room
from sipkit.store.database import Database
from sipkit.store.rows import as_event, utc
from sipkit.store.schema import DURABLE, QUICK, READ, events, facts
from sipkit.store.statements import Statement, all_given, given
from sipkit.timeline import Event, mask_data, mask_text

_details: Final = json.JSONEncoder(ensure_ascii=False)

_ENTRY: Final = Statement(
    insert(events).values(all_given(*(column for column in events.c if column.key != "id"))).returning(events.c.id)
)
_FACT: Final = Statement(
    select(facts.c.value).where(
        facts.c.environment == given(facts.c.environment),
        facts.c.key == given(facts.c.key),
        facts.c.set_at >= given(facts.c.set_at),
    )
)


class Journal(Database):
    """Appends to the timeline and reads it back; keeps facts."""

    def record(self, kind: str, text: str, room_id: int | None = None, data: Mapping[str, Any] | None = None) -> Event:
        """Append to the timeline. Tokens, PINs and numbers are hidden here once more, whoever calls."""
        text, data = mask_text(text), mask_data(data or {})
        values = {"environment": self.environment, "kind": kind, "text": text, "room_id": room_id}
        values["data"] = _details.encode(data)

        def work(conn: Connection) -> Event:
            at = self.now(conn)
            return Event(_ENTRY.value(conn, **values, at=at), utc(at), kind, text, room_id, data)

        return self.run(QUICK, work)

    def events(self, room: Room | None = None, since: int = 0) -> list[Event]:
        """Return the timeline in order.

        Args:
            room: Only what concerns this room.
            since: Only what came after the event with this id.
        """
        query = select(events).where(events.c.environment == self.environment, events.c.id > since)
        if room is not None:
            query = query.where(events.c.room_id == room.id)
        query = query.order_by(events.c.id)

        def work(conn: Connection) -> Sequence[Row[Any]]:
            self._await_writers(conn)
            return conn.execute(query).all()

        return [as_event(row) for row in self.run(READ, work)]

    def _await_writers(self, conn: Connection) -> None:
        """Let every entry come to be seen that has its id already.

        PostgreSQL gives ids when rows are written, which may be seen in another order; whoever asked for what came
        `since` the last one it saw would miss the late one. SQLite's writers queue.
        """
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("LOCK TABLE events IN SHARE MODE")

    def set_fact(self, key: str, value: str) -> None:
        """Keep one value by name, such as the server's public URL."""

        def work(conn: Connection) -> None:
            here = (facts.c.environment == self.environment) & (facts.c.key == key)
            news = {"value": value, "set_at": self.now(conn)}
            if conn.execute(update(facts).where(here).values(**news)).rowcount == 0:
                conn.execute(insert(facts).values(environment=self.environment, key=key, **news))

        self.run(QUICK, work)

    def settled_fact(self, key: str, value: str) -> str:
        """Keep one value by name for good: the first one wins, and is what everybody gets.

        Args:
            key: The name.
            value: What to keep if nothing is kept yet.
        """
        here = (facts.c.environment == self.environment) & (facts.c.key == key)

        def work(conn: Connection) -> str:
            kept = conn.scalar(select(facts.c.value).where(here))
            if kept is not None:
                return str(kept)
            conn.execute(
                insert(facts).values(environment=self.environment, key=key, value=value, set_at=self.now(conn))
            )
            return value

        return self.run(DURABLE, work)

    def fact(self, key: str, since: float = 0.0) -> str | None:
        """Return the value kept by name, or None.

        Args:
            key: The name.
            since: Ignore what was set before this time (seconds since 1970): it spoke of another run.
        """

        def work(conn: Connection) -> str | None:
            value: str | None = _FACT.value(conn, environment=self.environment, key=key, set_at=since)
            return value

        return self.run(READ, work)
