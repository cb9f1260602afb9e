"""Writers of a SQLite file take turns: the threads of a process by a lock, processes by looking often.

SQLite lets in one writer at a time. Whoever comes meanwhile sleeps, each time longer, up to a tenth of a second,
however soon the way is free; and a webhook's transaction takes less than a millisecond. So no thread goes to SQLite
while another one of its process is there, and who waits for another process looks again soon.
"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_SOON: Final = 0.00005
"""Seconds between two looks at first: much less than the millisecond that a webhook's transaction takes at most."""

_LATER: Final = 0.005
"""Seconds between two looks at a file that has been locked for longer than `_LONG`."""

_LONG: Final = 0.1


class Writers:
    """The threads of one process that write to one file."""

    def __init__(self) -> None:
        self._turn = _Queue()
        self._here = threading.local()  # .mine: whether it is this thread's turn

    @contextmanager
    def turn(self, patience: float) -> Iterator[float]:
        """Wait for the other threads, so many seconds at most; gives what is left of them for other processes.

        Within its turn a thread has it at once.
        """
        if getattr(self._here, "mine", False):
            yield patience
            return
        begun = time.monotonic()
        self._here.mine = self._turn.acquire(timeout=patience)
        try:
            yield max(0.0, patience - (time.monotonic() - begun))
        finally:
            if self._here.mine:
                self._turn.release()
                self._here.mine = False


class _Queue:
    """A lock that is had in the order in which it was asked for.

    Python's own is had by whoever is running when it is let go, which is usually the thread that lets it go and comes
    with its next request; the others wait until the slowest percent of them is twice as slow as the rest.
    """

    def __init__(self) -> None:
        self._inner = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._had = False

    def acquire(self, timeout: float) -> bool:
        """Wait for it, so many seconds at most; false if they are over."""
        with self._inner:
            if not self._had:
                self._had = True
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            if mine.acquire(timeout=timeout):
                return True
        except BaseException:  # the stop button of a notebook
            if not self._given_up(mine):
                self.release()
            raise
        return not self._given_up(mine)

    def _given_up(self, mine: threading.Lock) -> bool:
        """Wait no longer; false if it has been handed over in this moment."""
        with self._inner:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            return True

    def release(self) -> None:
        """Hand it to the next one."""
        with self._inner:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._had = False


def begin_to_write(driver: Any, patience: float) -> None:
    """Begin a transaction that writes, once no other process does.

    Args:
        driver: The `sqlite3` connection; it must not wait by itself (``PRAGMA busy_timeout = 0``).
        patience: Seconds.

    Raises:
        sqlite3.Error: The file is still locked, or something is wrong with it.
    """
    begun = time.monotonic()
    while True:
        try:
            # IMMEDIATE: take the place now, or a reader-turned-writer may fail half-way.
            driver.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - begun
            # The lowest byte is the primary code; the others say why it is busy (sqlite.org/rescode.html).
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or waited >= patience:
                raise
            time.sleep(min(_SOON if waited < _LONG else _LATER, patience - waited))
