"""Statements that every webhook runs: written in SQLAlchemy's Core like all others, run by the driver itself.

Executing a Core statement means to build it, to find its SQL and to wrap what comes back; that takes twenty times as
long as SQLite takes to answer (docs/performance.md). A `Statement` is built when its module is imported, and its SQL is
made once for each kind of database. It is run in the transaction of a `Connection`, beside whatever else runs there.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Connection, Delete, Insert, Select, Update, bindparam
from sqlalchemy.exc import DBAPIError

Row = dict[str, Any]


class _Ready(NamedTuple):
    """A statement in one database's own words."""

    sql: str
    parameters: Callable[[Row], Any]  # makes of the given values what the driver wants


class Statement:
    """A statement with named parameters: see `given`.

    Args:
        core: The statement. It must not have an ``IN`` with a list, whose SQL depends on the list.
    """

    def __init__(self, core: Select[Any] | Insert | Update | Delete) -> None:
        self._core: Final = core
        self._columns: Final = tuple(str(column.key) for column in core.exported_columns)
        self._ready: Final[dict[str, _Ready]] = {}

    def first(self, conn: Connection, **values: Any) -> Row | None:
        """Return the first row, or None."""
        found = self._cursor(conn, values).fetchall()
        return dict(zip(self._columns, found[0], strict=True)) if found else None

    def all(self, conn: Connection, **values: Any) -> list[Row]:
        """Return all rows."""
        return [dict(zip(self._columns, row, strict=True)) for row in self._cursor(conn, values).fetchall()]

    def value(self, conn: Connection, **values: Any) -> Any:
        """Return the first row's first column; None without a row."""
        found = self._cursor(conn, values).fetchall()
        return found[0][0] if found else None

    def run(self, conn: Connection, **values: Any) -> int:
        """Return how many rows were written."""
        count: int = self._cursor(conn, values).rowcount
        return count

    def _cursor(self, conn: Connection, values: Row) -> Any:
        dialect = conn.dialect
        ready = self._ready.get(dialect.name) or self._made_ready(conn)
        parameters = ready.parameters(values)
        if conn.dispatch.before_cursor_execute:
            # Somebody wants to see each statement, as tests do that try every order of two writers' statements.
            return conn.exec_driver_sql(ready.sql, parameters)
        driver: Any = conn.connection.dbapi_connection
        try:
            return driver.execute(ready.sql, parameters)
        except dialect.loaded_dbapi.Error as error:
            if dialect.is_disconnect(error, driver, None):
                conn.invalidate(error)
            # As SQLAlchemy would tell it, and without the parameters: they are PINs and numbers.
            raise DBAPIError.instance(
                ready.sql, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect
            ) from None

    def _made_ready(self, conn: Connection) -> _Ready:
        compiled: Any = self._core.compile(dialect=conn.dialect)
        # What the statement brings itself.
        fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        if compiled.positiontup is None:  # parameters go by name
            ready = _Ready(str(compiled), lambda values: fixed | values)
        else:
            ready = _Ready(str(compiled), _in_order(compiled.positiontup, fixed))
        self._ready[conn.dialect.name] = ready
        return ready


def _in_order(names: Sequence[str], fixed: Row) -> Callable[[Row], tuple[Any, ...]]:
    """Return what puts values in the order in which a statement names them."""
    if len(names) == 1:
        return lambda values: ((fixed | values)[names[0]],)
    pick = itemgetter(*names) if names else lambda _values: ()
    return (lambda values: pick(fixed | values)) if fixed else pick


def given(column: ColumnElement[Any], name: str | None = None) -> BindParameter[Any]:
    """A parameter that is compared with a column, or put into it; it has the column's name unless told otherwise."""
    return bindparam(name or str(column.key), type_=column.type)


def all_given(*columns: ColumnElement[Any]) -> dict[str, BindParameter[Any]]:
    """Parameters for the values of an insert or update, each with its column's name."""
    return {str(column.key): given(column) for column in columns}
