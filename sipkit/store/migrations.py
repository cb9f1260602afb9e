"""Tables made, or brought forward: what an older version of the kit has written is kept.

A store says its version in the fact ``schema``. Each step below turns one version into the next, in the same
transaction that reads the version, so two processes that open an old store at once take turns.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import Connection, Double, func, insert, select, update

from sipkit.store.schema import SCHEMA_VERSION, facts, metadata


def make_tables(conn: Connection) -> str:
    """Make what is missing, bring an older store forward, and return the version of the tables."""
    if conn.dialect.name == "postgresql":
        # SQLite's writers take turns anyway; two that make the same table at once would fail here.
        conn.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("sipkit schema", 0))))
    metadata.create_all(conn)
    here = (facts.c.environment == "") & (facts.c.key == "schema")
    found = conn.scalar(select(facts.c.value).where(here))
    if found is None:
        conn.execute(insert(facts).values(environment="", key="schema", value=SCHEMA_VERSION, set_at=time.time()))
        return SCHEMA_VERSION
    version = str(found)
    while version in _STEPS:
        version = _STEPS[version](conn)
        conn.execute(update(facts).where(here).values(value=version, set_at=time.time()))
    return version


def _from_1(conn: Connection) -> str:
    """Let a bridge say who dials it; `create_all` has made the new tables already."""
    conn.exec_driver_sql("ALTER TABLE bridges ADD COLUMN dialler VARCHAR(200)")
    return "2"


def _from_2(conn: Connection) -> str:
    """Let a bridge have a nonce and a number of its own."""
    for column in ("living_call VARCHAR(100)", "number VARCHAR(20)", "caller_id VARCHAR(20)", "nonce VARCHAR(100)"):
        conn.exec_driver_sql(f"ALTER TABLE bridges ADD COLUMN {column}")
    conn.exec_driver_sql("CREATE UNIQUE INDEX one_living_call ON bridges (living_call)")
    conn.exec_driver_sql("CREATE UNIQUE INDEX one_bridge_per_nonce ON bridges (nonce)")
    return "3"


def _from_3(conn: Connection) -> str:
    """Let a room have several PINs, and rooms and callers say what hosts decide about them.

    `create_all` has made the new tables. The column `pin` of rooms stays behind, empty: SQLite cannot drop a column
    that a constraint names.
    """
    for column in ("lobby BOOLEAN", "locked BOOLEAN", "waits_for_host BOOLEAN", "language VARCHAR(20)"):
        conn.exec_driver_sql(f"ALTER TABLE rooms ADD COLUMN {column}")
    real = conn.dialect.type_compiler_instance.process(Double())
    texts = ("name VARCHAR(64)", "host BOOLEAN", "muted BOOLEAN", "pin_id INTEGER")
    times = ("hand_at", "unmute_asked_at", "waiting_at", "removed_at")
    for column in (*texts, *(f"{name} {real}" for name in times)):
        conn.exec_driver_sql(f"ALTER TABLE callers ADD COLUMN {column}")
    conn.exec_driver_sql(
        "INSERT INTO pins (environment, room_id, kind, name, pin, open_pin, open_role, made_at) "
        "SELECT environment, id, 'room', '', pin, pin, id || ':room:', opened_at FROM rooms WHERE pin IS NOT NULL"
    )
    conn.exec_driver_sql("UPDATE rooms SET pin = NULL")
    return "4"


def _from_4(conn: Connection) -> str:
    """Let a room have a budget, and its phones be counted by their state."""
    real = conn.dialect.type_compiler_instance.process(Double())
    conn.exec_driver_sql(f"ALTER TABLE rooms ADD COLUMN budget {real}")
    # Who is in a room is counted for each phone that comes, however many have been there.
    conn.exec_driver_sql("DROP INDEX IF EXISTS ix_callers_room_id")
    conn.exec_driver_sql("CREATE INDEX callers_of_room ON callers (room_id, state)")
    # The timeline is read in the order of its ids anyway, and each webhook writes to it.
    conn.exec_driver_sql("DROP INDEX IF EXISTS events_of_environment")
    return "5"


_STEPS: Final[Mapping[str, Callable[[Connection], str]]] = {
    "1": _from_1,
    "2": _from_2,
    "3": _from_3,
    "4": _from_4,
}
