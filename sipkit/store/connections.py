"""The connections of one process, kept between transactions.

SQLAlchemy's pool takes forty microseconds to hand out a connection, to begin on it and to reset it afterwards; ours to
a file are just laid aside, and the one that was used last is taken first, for it still has the file's pages in memory.
Connections to a server can be lost, so the pool has to look at each before it is used again.
"""

from collections import deque

from sqlalchemy import Connection, Engine


class Connections:
    """Hands out connections; safe to share between threads.

    Args:
        engine: Whose connections.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept = engine.dialect.name == "sqlite"
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection:
        """Return a connection that is nobody else's; `give_back` it, or close it if something was wrong with it."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.connect()

    def give_back(self, conn: Connection) -> None:
        """Take a connection back that is in no transaction."""
        if self._kept:
            self._idle.append(conn)
        else:
            conn.close()

    def close(self) -> None:
        """Close all that nobody has; safe to call twice."""
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()
