"""Rows in, frozen data out; and the lookups that several parts of the store share."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Connection, Row, RowMapping, Select, insert, select

from sipkit.errors import StoreError
from sipkit.rooms import Bridge, Caller, Pin, Room
from sipkit.store.schema import bridges, callers, pins, rooms
from sipkit.store.statements import Statement, all_given, given
from sipkit.timeline import Event

T = TypeVar("T")
Condition = ColumnElement[bool]
Fields = RowMapping | Mapping[str, Any]
"""A row's values by its columns' names."""


_A_CALLER: Final = select(callers).where(
    callers.c.environment == given(callers.c.environment), callers.c.leg_uuid == given(callers.c.leg_uuid)
)
_CALLER: Final = Statement(_A_CALLER)
_CALLER_HELD: Final = Statement(_A_CALLER.with_for_update())
_NEW_CALLER: Final = Statement(
    insert(callers).values(all_given(*(column for column in callers.c if column.key != "id"))).returning(*callers.c)
)
_UNKNOWN: Final = dict.fromkeys(column.key for column in callers.c if column.key != "id") | {
    "number": "",
    "state": "calling",
    "wrong_tries": 0,
    "silent_tries": 0,
}
"""What is known of a leg before the first news of it."""
_BRIDGE_OF_LEG: Final = Statement(
    select(bridges)
    .where(bridges.c.environment == given(bridges.c.environment), bridges.c.leg_uuid == given(bridges.c.leg_uuid))
    .order_by(bridges.c.id.desc())
)


def one(row: T | None) -> T:
    """Return a row that must be there, for the same transaction has just written it."""
    if row is None:
        raise StoreError("The store lost a row that it has just written.")
    return row


def open_rooms(environment: str | BindParameter[str]) -> Condition:
    """The open rooms of an environment."""
    return (rooms.c.environment == environment) & rooms.c.open_name.is_not(None)


def rooms_at(now: float | BindParameter[float]) -> Select[Any]:
    """The query for rooms, each with the PIN that everybody of it has, as far as it lets in at this time."""
    valid = (pins.c.room_id == rooms.c.id) & (pins.c.kind == "room") & pins.c.open_pin.is_not(None)
    valid &= pins.c.expires_at.is_(None) | (pins.c.expires_at > now)
    joined = rooms.outerjoin(pins, valid)
    return select(rooms, pins.c.open_pin, pins.c.expires_at).select_from(joined).order_by(rooms.c.id)


def room_row(
    conn: Connection, environment: str, condition: Condition, now: float, *, held: bool = False
) -> RowMapping | None:
    """Return the open room that meets the condition, or None.

    Args:
        conn: The transaction.
        environment: Whose rooms are seen.
        condition: Which room.
        now: The store's time.
        held: Whether all who hold it, too, shall wait until the transaction ends.
    """
    if held:
        hold_rooms(conn, open_rooms(environment) & condition)
    return conn.execute(rooms_at(now).where(open_rooms(environment), condition)).mappings().first()


def hold_rooms(conn: Connection, condition: Condition) -> None:
    """Let all others wait who want to hold these rooms, until the transaction ends.

    A statement of its own: the next one sees what those have written who were waited for. `key_share` lets those pass
    who only add a row that names the room, such as an entry of the timeline.
    """
    held = select(rooms.c.id).where(condition).order_by(rooms.c.id)
    conn.execute(held.with_for_update(key_share=True))


def bridge_row(conn: Connection, environment: str, condition: Condition, *, held: bool = False) -> RowMapping | None:
    """Return the latest bridge that meets the condition, or None; held until the transaction ends, if that is asked."""
    query = select(bridges).where(bridges.c.environment == environment, condition).order_by(bridges.c.id.desc())
    return conn.execute(query.with_for_update() if held else query).mappings().first()


def bridge_row_of_leg(conn: Connection, environment: str, leg_uuid: str) -> Fields | None:
    """Return the latest bridge with this leg, or None."""
    return _BRIDGE_OF_LEG.first(conn, environment=environment, leg_uuid=leg_uuid)


def caller_row(conn: Connection, environment: str, leg_uuid: str) -> Fields | None:
    """Return what is known of a leg, or None."""
    return _CALLER.first(conn, environment=environment, leg_uuid=leg_uuid)


def caller_row_held(conn: Connection, environment: str, leg_uuid: str) -> Fields | None:
    """Return the same, held until the transaction ends."""
    return _CALLER_HELD.first(conn, environment=environment, leg_uuid=leg_uuid)


def new_caller_row(conn: Connection, environment: str, leg_uuid: str, **news: Any) -> Fields:
    """Make the row of a leg at the first news of it."""
    return one(_NEW_CALLER.first(conn, **{**_UNKNOWN, "environment": environment, "leg_uuid": leg_uuid, **news}))


def as_room(row: Fields, *, reopened: bool = False) -> Room:
    """Make a room of its row."""
    return Room(
        id=row["id"],
        name=row["name"],
        session_id=row["session_id"],
        pin=row["open_pin"] or "",
        environment=row["environment"],
        opened_at=utc(row["opened_at"]),
        pin_until=_utc_or_none(row["expires_at"]),
        lobby=bool(row["lobby"]),
        locked=bool(row["locked"]),
        waits_for_host=bool(row["waits_for_host"]),
        language=row["language"] or "",
        budget=row["budget"],
        reopened=reopened,
    )


def as_pin(row: Fields, now: float) -> Pin:
    """Make a PIN of its row, as of a time."""
    expired = row["expires_at"] is not None and row["expires_at"] <= now
    return Pin(
        id=row["id"],
        room_id=row["room_id"],
        kind=row["kind"],
        name=row["name"],
        digits=row["pin"],
        until=_utc_or_none(row["expires_at"]),
        void=expired or row["open_pin"] is None,
    )


def as_bridge(row: Fields) -> Bridge:
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


def as_caller(row: Fields) -> Caller:
    """Make a caller of its row."""
    return Caller(
        leg_uuid=row["leg_uuid"],
        room_id=row["room_id"],
        number=row["number"],
        state=row["state"],
        joined_at=_utc_or_none(row["joined_at"]),
        left_at=_utc_or_none(row["left_at"]),
        name=row["name"] or "",
        host=bool(row["host"]),
        muted=bool(row["muted"]),
        hand=row["hand_at"] is not None,
        unmute_asked=row["unmute_asked_at"] is not None,
    )


def as_event(row: Row[Any]) -> Event:
    """Make a timeline entry of its row."""
    return Event(row.id, utc(row.at), row.kind, row.text, row.room_id, json.loads(row.data))


def utc(seconds: float) -> datetime:
    """Make a time of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _utc_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else utc(seconds)
