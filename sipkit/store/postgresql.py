"""All that is special to PostgreSQL: its driver, how long it lets us wait, and what its failures mean.

The driver is psycopg 3 (LGPL), which is why it does not come with the kit: whoever wants PostgreSQL installs it.
"""

from importlib.util import find_spec
from typing import Final

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sipkit.errors import StoreError

CONNECT_SECONDS: Final = 3
"""How long a connection may take to come about: a caller shall hear an apology before the platform gives us up, which
it does after five."""

LOCK_SECONDS: Final = 3
"""How long to wait for a transaction that writes the same rows; others are not waited for at all."""

IDLE_SECONDS: Final = 10
"""How long a transaction may wait for us in its middle before the server undoes it. Ours wait for nobody: a process
that was stopped in the middle of one (SIGSTOP, a laptop that sleeps) must not make all others wait for its return."""

_RACES: Final = frozenset({"40001", "40P01"})
"""SQLSTATE of serialization_failure and deadlock_detected (PostgreSQL manual, appendix A): undone, to be repeated."""

_DRIVER_FIX: Final = 'Run `pip install "sipkit-notebooks[postgresql]"`, which brings the driver (psycopg 3).'
_URL_FIX: Final = "Correct SIPKIT_STORE: postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."
_SERVER_FIX: Final = "Check that the database server of SIPKIT_STORE runs and can be reached from here."
_FIXES: Final = {
    "55P03": "Somebody keeps the store locked: end the other program's transaction. It works again by itself.",
    "53100": "The disk of the database server is full: make space there. It works again by itself.",
    "42P01": "The database has lost the kit's tables. Restore them, or restart kernel and server to begin anew.",
}
"""By SQLSTATE: lock_not_available, disk_full, undefined_table."""

_FULL: Final = ("has no connection left", "Raise max_connections of PostgreSQL, or run fewer workers.")
_REFUSALS: Final = {
    "authentication failed": ("does not know this user and password", _URL_FIX),
    "no password supplied": ("wants a password", _URL_FIX),
    "does not exist": ("has no such database or user", f"{_URL_FIX} `createdb DATABASE` makes the database."),
    "too many": _FULL,
    "remaining connection slots": _FULL,
    "starting up": ("is starting", "Try again in a moment."),
    "shutting down": ("is shutting down", "Try again when it is back."),
}
"""What the server's text says when it refuses a connection: libpq hands on no SQLSTATE then."""


def is_postgresql(url: URL) -> bool:
    """Whether a URL means PostgreSQL."""
    return url.get_backend_name() == "postgresql"


def with_driver(url: URL) -> URL:
    """Return the URL with our driver in it, whether it named one or not.

    Raises:
        StoreError: If the driver is not installed.
    """
    if find_spec("psycopg") is None:
        raise StoreError("The store's URL wants PostgreSQL, whose driver is not installed.", _DRIVER_FIX)
    return url.set(drivername="postgresql+psycopg")


def patience(url: URL) -> dict[str, str | int]:
    """Return the connection's parameters that make a wait end: for the server, for a lock, for ourselves.

    Args:
        url: May have ``options`` and ``connect_timeout`` of its own, which win.
    """
    limits = {"lock_timeout": LOCK_SECONDS, "idle_in_transaction_session_timeout": IDLE_SECONDS}
    options = [f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items()]
    own = url.query.get("options", ())
    options += [own] if isinstance(own, str) else own
    given = url.query.get("connect_timeout", CONNECT_SECONDS)
    return {"options": " ".join(options), "connect_timeout": int(given if isinstance(given, str | int) else given[0])}


def is_race(error: DBAPIError) -> bool:
    """Whether a transaction was undone because another one was in its way."""
    return getattr(error.orig, "sqlstate", None) in _RACES


def failure(error: SQLAlchemyError) -> StoreError:
    """Return what a failure of PostgreSQL means. Its own text names hosts and users, and may quote values."""
    cause = getattr(error, "orig", None)
    if cause is not None and getattr(cause, "sqlstate", None) is not None:
        # The first line only: the second one quotes the values.
        words = str(cause).partition("\n")[0]
        return StoreError(f"The store does not work: {words}.", _FIXES.get(cause.sqlstate, _SERVER_FIX))
    text = str(cause)
    for sign, (says, fix) in _REFUSALS.items():
        if sign in text:
            return StoreError(f"The store's database server {says}.", fix)
    return StoreError("The store's database server cannot be reached.", _SERVER_FIX)
