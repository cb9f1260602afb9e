"""What a failure of the database means to the person at the keyboard, and what to do about it.

SQLite names its failures by result codes (sqlite.org/rescode.html), PostgreSQL by SQLSTATE (its manual, appendix A).
None of them is mended here: nothing is deleted, nothing made anew. What is asked again once the cause is gone works
again, in the same process.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy.exc import NoResultFound, SQLAlchemyError

from sipkit.errors import StoreError
from sipkit.store import postgresql

_LOCKED: Final = (
    "Another program keeps the store locked: close a database browser, a backup or a stuck kernel that has it open. "
    "Nothing is lost, and it works again by itself."
)
_FULL: Final = "Make space on the disk of the data folder (.sipkit or SIPKIT_HOME). It works again by itself."
_DISK: Final = (
    "The disk of the data folder (.sipkit or SIPKIT_HOME) refuses: look for a quota, its end, or a drive that is not "
    "there. It works again by itself once that is mended."
)
_READ_ONLY: Final = (
    "Make the data folder (.sipkit or SIPKIT_HOME) and all files in it writable for the user of this program."
)
_GONE: Final = (
    "Its file has been moved or deleted. Put sipkit.db back, with sipkit.db-wal if that was moved too, and it works "
    "again; or restart kernel and webhook server, which begin a new, empty one."
)
_OTHER: Final = (
    "The store has been replaced by one without its tables. Put the right one back, or restart kernel and webhook "
    "server, which fill it; rooms and PINs of before are not in it."
)
_DAMAGED: Final = (
    "The store's file is damaged. Stop kernel and webhook server and move it away, or put a backup in its place; "
    "`sqlite3 sipkit.db .recover` saves what can be read. `make clean` begins anew, without the rooms."
)
_AWAY: Final = "Start the database server, or correct SIPKIT_STORE. It works again by itself once the server is there."

_FIXES: Final[Mapping[str, str]] = {
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR": _DISK,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_PERM": _READ_ONLY,
    "SQLITE_CANTOPEN": _GONE,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "42P01": _OTHER,  # undefined_table
    "53100": _FULL,  # disk_full
    "55P03": _LOCKED,  # lock_not_available
    "08": _AWAY,  # connection exception
    "57P": _AWAY,  # admin_shutdown, crash_shutdown, cannot_connect_now
    "XX001": _DAMAGED,  # data_corrupted
}
"""By the code's beginning."""


def store_error(error: SQLAlchemyError) -> StoreError:
    """Return the error of the kit that says what failed; its text holds no value of a statement."""
    cause = getattr(error, "orig", None)
    if type(cause).__module__.startswith("psycopg") and getattr(cause, "sqlstate", None) is None:
        return postgresql.refusal(str(cause))  # there is no connection, so no server to name it
    # The driver's first line only: PostgreSQL's second one quotes the values.
    words = str(cause or type(error).__name__).partition("\n")[0]
    return StoreError(f"The store does not work: {words}.", _fix(error))


def _fix(error: SQLAlchemyError) -> str | None:
    cause = getattr(error, "orig", None)
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
    if (code == "SQLITE_ERROR" and str(cause).startswith("no such")) or isinstance(error, NoResultFound):
        return _OTHER
    return next((fix for beginning, fix in _FIXES.items() if code.startswith(beginning)), None)
