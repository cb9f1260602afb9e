"""What is charged for, as rows: begun and ended within whatever transaction brings the news.

A row is one stretch of time of one kind of charge for one leg; the unique constraint makes each begin once, however
often and in whatever order it is told.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, insert, select, update

from sipkit.prices import Kind
from sipkit.store.schema import bridges, charges
from sipkit.store.statements import Row, Statement, all_given, given

_A_CHARGE: Final = select(charges).where(
    charges.c.environment == given(charges.c.environment),
    charges.c.kind == given(charges.c.kind),
    charges.c.leg == given(charges.c.leg),
)
_CHARGE: Final = Statement(_A_CHARGE)
_CHARGE_HELD: Final = Statement(_A_CHARGE.with_for_update())
_NEW: Final = Statement(insert(charges).values(all_given(*(column for column in charges.c if column.key != "id"))))


def charge_row(conn: Connection, environment: str, kind: Kind, leg: str, *, held: bool = False) -> Row | None:
    """Return the row, or None; held until the transaction ends, if that is asked."""
    return (_CHARGE_HELD if held else _CHARGE).first(conn, environment=environment, kind=kind, leg=leg)


def new_charge(conn: Connection, environment: str, kind: Kind, leg: str, room_id: int | None, **news: Any) -> None:
    """Write a new row; `news` are ``began_at``, and ``ended_at`` and ``price`` if they are known already."""
    whose = {"environment": environment, "kind": kind, "leg": leg, "room_id": room_id}
    _NEW.run(conn, **whose, **{"ended_at": None, "price": None, **news})


def begin_charge(conn: Connection, whose: Mapping[Any, Any], kind: Kind, leg: str, now: float) -> None:
    """Begin what is charged for a leg, unless it has begun: a late piece of news takes nothing back.

    Args:
        conn: The transaction.
        whose: Row of the bridge, or another with its ``environment`` and ``room_id``.
        kind: Row of the price table.
        leg: The leg's uuid, the connection's id, or ``bridge`` and its number.
        now: The store's time.
    """
    row = charge_row(conn, whose["environment"], kind, leg)
    if row is None:
        new_charge(conn, whose["environment"], kind, leg, whose["room_id"], began_at=now)
    elif row["room_id"] is None and whose["room_id"] is not None:
        conn.execute(update(charges).where(charges.c.id == row["id"]).values(room_id=whose["room_id"]))


def bridge_charges_begin(conn: Connection, bridge: Mapping[Any, Any], now: float) -> None:
    """Begin what is charged for a bridge that lives and has been answered; a dial that nobody answers is not billed.

    Its leg counts three times: out of the session, as a participant of it, and into the number.
    """
    if bridge["ended_at"] is not None or bridge["leg_uuid"] is None:
        return
    begin_charge(conn, bridge, "sip", f"bridge {bridge['id']}", now)
    begin_charge(conn, bridge, "inbound", bridge["leg_uuid"], now)
    if bridge["connection_id"] is not None:
        begin_charge(conn, bridge, "video", bridge["connection_id"], now)


def end_charges(conn: Connection, condition: ColumnElement[bool], now: float) -> None:
    """End the running charges that meet the condition."""
    conn.execute(update(charges).where(charges.c.ended_at.is_(None), condition).values(ended_at=now))


def bridge_charges_end(conn: Connection, bridge: Mapping[Any, Any], now: float) -> None:
    """End what is charged for a bridge that has just ended; with a room's last one, for all its participants.

    Nobody looks at a session that has no bridge. Phones have news of their own, or are known to end with the bridge
    (`ChargeBook.charges`).
    """
    of_it: ColumnElement[bool] = (charges.c.kind == "sip") & (charges.c.leg == f"bridge {bridge['id']}")
    of_it |= (charges.c.kind == "video") & (charges.c.leg == bridge["connection_id"])
    of_it |= (charges.c.kind == "inbound") & (charges.c.leg == bridge["leg_uuid"])
    if not bridged(conn, bridge["room_id"]):
        of_it |= (charges.c.kind == "video") & (charges.c.room_id == bridge["room_id"])
    end_charges(conn, (charges.c.environment == bridge["environment"]) & of_it, now)


def bridged(conn: Connection, room_id: Any) -> bool:
    """Tell whether a bridge or a direct call of a room lives."""
    living = select(bridges.c.id).where(bridges.c.room_id == room_id, bridges.c.ended_at.is_(None))
    return conn.scalar(living.limit(1)) is not None
