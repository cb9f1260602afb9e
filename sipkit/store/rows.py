"""Rows in, frozen data out; and the lookups that several parts of the store share."""

import json
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, insert, select

from sipkit.errors import StoreError
from sipkit.rooms import Bridge, Caller, Room
from sipkit.store.schema import bridges, callers, rooms
from sipkit.timeline import Event

T = TypeVar("T")
Condition = ColumnElement[bool]


def one(row: T | None) -> T:
    """Return a row that must be there, for the same transaction has just written it."""
    if row is None:
        raise StoreError("The store lost a row that it has just written.")
    return row


def open_rooms(environment: str) -> Condition:
    """The open rooms of an environment."""
    return (rooms.c.environment == environment) & rooms.c.open_name.is_not(None)


def room_row(conn: Connection, environment: str, condition: Condition) -> RowMapping | None:
    """Return the open room that meets the condition, or None."""
    query = select(rooms).where(open_rooms(environment), condition).order_by(rooms.c.id)
    return conn.execute(query).mappings().first()


def bridge_row(conn: Connection, environment: str, condition: Condition) -> RowMapping | None:
    """Return the latest bridge that meets the condition, or None."""
    query = select(bridges).where(bridges.c.environment == environment, condition)
    return conn.execute(query.order_by(bridges.c.id.desc())).mappings().first()


def caller_row(conn: Connection, environment: str, leg_uuid: str) -> RowMapping | None:
    """Return what is known of a leg, or None."""
    query = select(callers).where(callers.c.environment == environment, callers.c.leg_uuid == leg_uuid)
    return conn.execute(query).mappings().first()


def caller_row_made(conn: Connection, environment: str, leg_uuid: str) -> RowMapping:
    """Return what is known of a leg; make its row at the first news of it."""
    row = caller_row(conn, environment, leg_uuid)
    if row is None:
        values = {"environment": environment, "leg_uuid": leg_uuid, "number": "", "state": "calling"}
        conn.execute(insert(callers).values(**values, wrong_tries=0, silent_tries=0))
        row = caller_row(conn, environment, leg_uuid)
    return one(row)


def as_room(row: RowMapping, *, reopened: bool = False) -> Room:
    """Make a room of its row."""
    return Room(
        id=row["id"],
        name=row["name"],
        session_id=row["session_id"],
        pin=row["pin"] or "",
        environment=row["environment"],
        opened_at=utc(row["opened_at"]),
        reopened=reopened,
    )


def as_bridge(row: RowMapping) -> Bridge:
    """Make a bridge of its row."""
    return Bridge(
        id=row["id"],
        room_id=row["room_id"],
        connection_id=row["connection_id"],
        stream_id=row["stream_id"],
        leg_uuid=row["leg_uuid"],
        state=row["state"],
        owner=row["owner"],
        dialed_at=utc(row["dialed_at"]),
        ended_at=_utc_or_none(row["ended_at"]),
        reason=row["reason"],
        dialler=row["dialler"] or row["owner"],
        number=row["number"],
        caller_id=row["caller_id"],
        nonce=row["nonce"] or "",
    )


def as_caller(row: RowMapping) -> Caller:
    """Make a caller of its row."""
    return Caller(
        leg_uuid=row["leg_uuid"],
        room_id=row["room_id"],
        number=row["number"],
        state=row["state"],
        joined_at=_utc_or_none(row["joined_at"]),
        left_at=_utc_or_none(row["left_at"]),
    )


def as_event(row: Row[Any]) -> Event:
    """Make a timeline entry of its row."""
    return Event(row.id, utc(row.at), row.kind, row.text, row.room_id, json.loads(row.data))


def utc(seconds: float) -> datetime:
    """Make a time of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _utc_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else utc(seconds)
