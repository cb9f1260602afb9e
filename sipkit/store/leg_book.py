"""Legs: what is on record of those that the platform lists."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from sipkit.orphans import OnRecord
from sipkit.rooms import Bridge
from sipkit.store.database import Database
from sipkit.store.rows import as_bridge
from sipkit.store.schema import READ, bridges, callers, rooms


class LegBook(Database):
    """Looks legs up."""

    def legs_on_record(self, leg_uuids: Iterable[str]) -> dict[str, OnRecord]:
        """Return what is on record of each of these legs; nothing of those that no webhook told us of."""
        wanted = list(leg_uuids)
        bridge = select(bridges.c.leg_uuid, bridges.c.room_id, bridges.c.ended_at)
        bridge = bridge.where(bridges.c.environment == self.environment, bridges.c.leg_uuid.in_(wanted))
        phone = (
            select(callers, rooms.c.closed_at)
            .select_from(callers.outerjoin(rooms, rooms.c.id == callers.c.room_id))
            .where(callers.c.environment == self.environment, callers.c.leg_uuid.in_(wanted))
        )

        def work(conn: Connection) -> dict[str, OnRecord]:
            found = {}
            for row in conn.execute(phone).mappings():
                found[row["leg_uuid"]] = OnRecord(
                    room_id=row["room_id"],
                    over=row["state"] == "left",
                    room_closed=row["closed_at"] is not None,
                    in_room=row["state"] == "joined",
                )
            for row in conn.execute(bridge).mappings():
                over = row["ended_at"] is not None
                found[row["leg_uuid"]] = OnRecord(room_id=row["room_id"], over=over, in_room=True)
            return found

        return self.run(READ, work)

    def ended_bridges(self, since: float, most: int) -> list[Bridge]:
        """Return the bridges dialled after a time that have ended and whose connection is known, the newest first."""
        here = (bridges.c.environment == self.environment) & (bridges.c.dialed_at > since)
        ended = bridges.c.ended_at.is_not(None) & bridges.c.connection_id.is_not(None)
        query = select(bridges).where(here, ended).order_by(bridges.c.id.desc()).limit(most)
        return self.run(READ, lambda conn: [as_bridge(row) for row in conn.execute(query).mappings()])
