"""The store's tables, and the one place that knows about SQLite; `postgresql` is the other database's.

The rules that must hold however many processes write at once are constraints of the database:
one open room per name, one open room per PIN, one living bridge per room, one living direct call per room
and number, one row per leg, one answer per webhook. A
column that is NULL is outside its unique constraint, in SQLite as in PostgreSQL, so closing a
room or ending a bridge frees its name, its PIN, its place by setting the column to NULL.

Times are seconds since 1970 (UTC). Every table carries the environment (cloud and project).
"""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from sipkit.errors import StoreError
from sipkit.store import postgresql
from sipkit.store.sqlite_failures import FileReplaced
from sipkit.store.writers import begin_to_write

SCHEMA_VERSION: Final = "5"
"""2 knows the dialler of a bridge, used tickets and rate limits; 3 knows the nonce of a dial, direct calls and
answered webhooks; 4 knows several PINs a room, lock-outs, the lobby, leases and charges; 5 knows budgets. `migrations`
brings older ones there."""

BUSY_SECONDS: Final = 30.0
"""How long a writer waits for another process's write before it gives up."""

PAGES_LOGGED: Final = 250
"""After so many pages in the write-ahead log, whoever commits puts them into the file, while all other writers wait.
A webhook writes ten. SQLite's own 1000 come more rarely, and last so long that they are a webhook's slowest percent."""

READ: Final = "read"
QUICK: Final = "quick"
"""Survives the death of any process; the last ones may be lost when the power fails."""
DURABLE: Final = "durable"
"""Survives a power failure too: names, PINs and bridges, which cost or admit somebody."""

metadata = MetaData()

rooms = Table(
    "rooms",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("environment", String(200), nullable=False),
    Column("name", String(64), nullable=False),
    Column("open_name", String(64), comment="the name while open, NULL once closed"),
    Column("session_id", String(500), nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("closed_at", Double),
    Column("lobby", Boolean, comment="each phone waits until a host admits it; NULL before version 4: no"),
    Column("locked", Boolean, comment="no further phone is let in; NULL before version 4: no"),
    Column("waits_for_host", Boolean, comment="phones hear music until a host is in; NULL before version 4: no"),
    Column("language", String(20), comment="of what phones are told, BCP 47; NULL: the setting's"),
    Column("budget", Double, comment="what it may cost, in each currency; 0: anything, NULL: as the setting says"),
    UniqueConstraint("environment", "open_name"),
    Index("rooms_by_session", "environment", "session_id"),
)

pins = Table(
    "pins",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("environment", String(200), nullable=False),
    Column("room_id", ForeignKey("rooms.id"), nullable=False, index=True),
    Column("kind", String(10), nullable=False, comment="room, host or personal"),
    Column("name", String(64), nullable=False, comment="whose personal PIN it is; empty otherwise"),
    Column("pin", String(10), nullable=False, comment="kept when void, to know late tries of it from guesses"),
    Column("open_pin", String(10), comment="the PIN while it lets in, NULL once void"),
    Column("open_role", String(100), comment="room:kind:name while it lets in: one PIN for each; NULL once void"),
    Column("made_at", Double, nullable=False),
    Column("expires_at", Double, comment="NULL: with the room"),
    Column("void_at", Double, comment="when it was replaced, withdrawn, or its room closed"),
    UniqueConstraint("environment", "open_pin"),
    UniqueConstraint("environment", "open_role"),
    Index("pins_by_digits", "environment", "pin"),
)

bridges = Table(
    "bridges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("environment", String(200), nullable=False),
    Column("room_id", ForeignKey("rooms.id"), nullable=False),
    Column("living_room_id", Integer, unique=True, comment="the room while its bridge lives, NULL once ended"),
    Column("living_call", String(100), comment="room:number while a direct call lives, NULL otherwise"),
    Column("number", String(20), comment="E.164 digits of a direct call; NULL: the conference number"),
    Column("caller_id", String(20), comment="the number a direct call shows; NULL: the conference number"),
    Column("nonce", String(100), comment="tells the dial's own leg from others; NULL before version 3"),
    Column("connection_id", String(200)),
    Column("stream_id", String(200)),
    Column("leg_uuid", String(200)),
    Column("state", String(10), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("dialler", String(200), comment="who places the dial; NULL: the owner itself"),
    Column("dialed_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("reason", String(500)),
    Index("bridges_by_leg", "environment", "leg_uuid"),
    # Unique indexes and not constraints: an older store is given them (`migrations`), which SQLite can do.
    Index("one_living_call", "living_call", unique=True),
    Index("one_bridge_per_nonce", "nonce", unique=True),
)

callers = Table(
    "callers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("environment", String(200), nullable=False),
    Column("leg_uuid", String(200), nullable=False),
    Column("room_id", ForeignKey("rooms.id")),
    Column("number", String(200), nullable=False),
    Column("state", String(10), nullable=False),
    Column("joined_at", Double),
    Column("left_at", Double),
    Column("wrong_tries", Integer, nullable=False),
    Column("silent_tries", Integer, nullable=False),
    Column("pin_id", Integer, comment="the PIN it typed; NULL until then, and before version 4"),
    Column("name", String(64), comment="what a host calls it"),
    Column("host", Boolean, comment="it typed the host's PIN"),
    Column("muted", Boolean),
    Column("hand_at", Double, comment="since when its hand is raised"),
    Column("unmute_asked_at", Double, comment="when a host asked it to unmute itself"),
    Column("waiting_at", Double, comment="since when it is in the lobby"),
    Column("removed_at", Double, comment="when a host removed it"),
    UniqueConstraint("environment", "leg_uuid"),
    Index("callers_of_room", "room_id", "state"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("environment", String(200), nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", String(50), nullable=False),
    Column("text", Text, nullable=False),
    Column("room_id", ForeignKey("rooms.id")),
    Column("data", Text, nullable=False, comment="JSON object"),
)

facts = Table(
    "facts",
    metadata,
    Column("environment", String(200), primary_key=True),
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
    Column("set_at", Double, nullable=False),
)


tickets = Table(
    "tickets",
    metadata,
    Column("environment", String(200), primary_key=True),
    Column("key", String(100), primary_key=True),
    Column("until", Double, nullable=False, comment="when the ticket is worthless anyway and its row can go"),
    Index("tickets_by_end", "environment", "until"),
)

allowances = Table(
    "allowances",
    metadata,
    Column("environment", String(200), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("used", Integer, nullable=False),
    Column("until", Double, nullable=False, comment="when counting begins anew"),
    Index("allowances_by_end", "environment", "until"),
)

lockouts = Table(
    "lockouts",
    metadata,
    Column("environment", String(200), primary_key=True),
    Column("key", String(200), primary_key=True, comment="caller:<digest>, room:<id> or number:"),
    Column("level", Double, nullable=False, comment="wrong PINs that count now"),
    Column("pauses", Integer, nullable=False, comment="how many there were: each is longer than the one before"),
    Column("until", Double, nullable=False, comment="end of the pause; 0: none yet"),
    Column("last_at", Double, nullable=False, comment="of the last wrong PIN"),
    Column("kept_until", Double, nullable=False, comment="when nothing of it counts any more"),
    Index("lockouts_by_end", "environment", "kept_until"),
)

leases = Table(
    "leases",
    metadata,
    Column("bridge_id", ForeignKey("bridges.id"), primary_key=True),
    Column("environment", String(200), nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("no_browser_since", Double, comment="NULL while there is a browser, or nobody has looked"),
    Column("nobody_since", Double, comment="NULL while there is a browser or a phone, or nobody has looked"),
    Column("watched_at", Double, comment="when somebody last looked"),
    Column("warned_for", String(20), comment="the limit that was warned of"),
)

leaders = Table(
    "leaders",
    metadata,
    Column("environment", String(200), primary_key=True),
    Column("role", String(50), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("until", Double, nullable=False, comment="when it falls to whoever asks first"),
)

charges = Table(
    "charges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("environment", String(200), nullable=False),
    Column("room_id", ForeignKey("rooms.id"), index=True),
    Column("kind", String(20), nullable=False, comment="what is charged for: a row of the price table"),
    Column("leg", String(200), nullable=False, comment="leg's uuid, connection's id, or bridge and its number"),
    Column("began_at", Double, nullable=False),
    Column("ended_at", Double, comment="NULL while it runs"),
    Column("price", Double, comment="what the platform said it cost; NULL: the estimate stands"),
    UniqueConstraint("environment", "kind", "leg"),
)

replays = Table(
    "replays",
    metadata,
    Column("environment", String(200), primary_key=True),
    Column("jti", String(200), primary_key=True, comment="the webhook's own id"),
    Column("hash", String(200), nullable=False, comment="of what it said, to know it from another one's"),
    Column("status", Integer, comment="of its first answer; NULL was written by older versions"),
    Column("body", Text, comment="of its first answer"),
    Column("received_at", Double, nullable=False, comment="when the platform signed it"),
    Index("replays_by_age", "environment", "received_at"),
)


def open_engine(url: str) -> Engine:
    """Return an engine for the URL; a SQLite file is made, private to its owner, if there is none.

    Raises:
        StoreError: If the URL or the folder cannot be used. The text never holds the URL, which may
            hold a password.
    """
    fix = "Remove SIPKIT_STORE to use a file in the data folder, or correct it."
    try:
        parsed = make_url(url)
        # Parameters of a statement are PINs and numbers; they have no business in an error's text.
        if postgresql.is_postgresql(parsed):
            limits = postgresql.patience(parsed)
            # A server that was restarted meanwhile is noticed, and connected to anew, when a connection is taken.
            return create_engine(
                postgresql.with_driver(parsed), hide_parameters=True, pool_pre_ping=True, connect_args=limits
            )
        engine = create_engine(parsed, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise StoreError(f"The store's URL cannot be used ({type(error).__name__}).", fix) from None
    if engine.dialect.name != "sqlite":
        raise StoreError("The store is a SQLite file or a PostgreSQL database.", fix)
    if parsed.database in {None, "", ":memory:"}:
        raise StoreError("The store must be a file: the webhook server reads it too.", fix)
    path = Path(str(parsed.database)).absolute()
    _make_private_file(path)
    _teach_sqlite(engine, path)
    return engine


def _make_private_file(path: Path) -> None:
    """Create the file readable by its owner only; SQLite gives its companions the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.name == ".sipkit":
            path.parent.chmod(0o700)
        # Never open an existing one: closing it would drop the locks this process holds on it
        # (POSIX advisory locks; sqlite.org/howtocorrupt.html, section 2.2).
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"The store {path} cannot be written ({type(error).__name__}).") from None


def _teach_sqlite(engine: Engine, path: Path) -> None:
    """Make SQLite behave: write-ahead log, writers in a queue, each write as durable as it asks.

    All that is special to SQLite is in this function. What its next transaction
    is, a connection says in its ``info``: ``access`` is READ, QUICK or DURABLE, ``patience`` the seconds to wait.
    """
    name = str(path)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> sqlite3.Connection:
        # Never to make a file anew that is gone: what it held would be missed, and what is written now lost.
        connection: sqlite3.Connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, **options)
        return connection

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _identity(name)
        # We say BEGIN ourselves; the driver would say it late and never IMMEDIATE.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES_LOGGED}")
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                # While another process switches a new file to WAL, the busy timeout is not honoured.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # SQLite goes on writing to a file that was deleted or replaced, and nobody would ever read it.
        if connection.info["file"] != _identity(name):
            connection.invalidate()
            raise FileReplaced
        try:
            _begin(connection)
        except sqlite3.Error as error:
            raise OperationalError("BEGIN", None, error, hide_parameters=True) from None


def _begin(connection: Connection) -> None:
    """Begin a transaction by the driver alone, whose words are few; what is set already is not set again."""
    about: dict[Any, Any] = connection.info
    access, patience = about.get("access", READ), about.get("patience", BUSY_SECONDS)
    driver: Any = connection.connection.dbapi_connection
    wait = patience if access == READ else 0.0  # writers do not wait in SQLite: `begin_to_write`
    if about.get("busy_timeout") != wait:
        driver.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
        about["busy_timeout"] = wait
    if access == READ:
        driver.execute("BEGIN")
        return
    level = "FULL" if access == DURABLE else "NORMAL"
    if about.get("synchronous") != level:
        driver.execute(f"PRAGMA synchronous = {level}")
        about["synchronous"] = level
    begin_to_write(driver, patience)


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None if there is none."""
    try:
        about = os.stat(path)  # noqa: PTH116 - for each transaction; a Path takes twice as long
    except OSError:
        return None
    return about.st_dev, about.st_ino
