"""Processes and files that several processes of one data folder agree on.

A pid alone is no name: the system gives it to somebody else later. `ProcessMark` pairs it with the time
the process was created, so that "stop the old server" can never hit a stranger. `FileLock` is the lock
that the system lets go by itself when its holder dies, kill -9 included. `write_private` replaces a
file whole, so that a reader sees the old text or the new one, never half of it.
"""

import contextlib
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_SAME_MOMENT = 1.0  # seconds: the clock of creation times may be corrected a little between two readings
_LOCK_POLL = 0.02  # seconds


@dataclass(frozen=True)
class ProcessMark:
    """One process, named so that its pid's next owner is not taken for it.

    Attributes:
        pid: The process id.
        create_time: When the process was created, seconds since the epoch, as psutil tells it.
    """

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int | None = None) -> Self:
        """The mark of a living process; of this one when no pid is given.

        Raises:
            psutil.NoSuchProcess: Nobody has this pid.
        """
        process = psutil.Process(pid)
        return cls(process.pid, process.create_time())

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < _SAME_MOMENT
            return process if same and not _ended(process) else None
        except (psutil.Error, ValueError):
            return None

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self._process() is not None

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the process to end; True when it has."""
        deadline = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_POLL)
        return True

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM; on Windows it ends at once)."""
        if process := self._process():
            with contextlib.suppress(psutil.Error):
                process.terminate()

    def kill(self) -> None:
        """End the process without asking."""
        if process := self._process():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def end(self, patience: float) -> None:
        """Ask the process to end, and end it without asking after `patience` seconds."""
        self.terminate()
        if not self.wait(patience):
            self.kill()
            self.wait(patience)


def _ended(process: psutil.Process) -> bool:
    """Whether a process has ended and only its exit code was not read yet.

    A process whose first thread has ended looks the same while its other threads still end, and
    until they have, its sockets are open.
    """
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1


class FileLock:
    """An exclusive lock on a file, between processes and between threads.

    Args:
        path: The lock file. It is created when missing, stays empty and is never deleted: two
            processes could otherwise hold "the" lock on two different files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take the lock, waiting up to `timeout` seconds; True when it is ours."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + timeout
        try:
            while not _lock(descriptor):
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(_LOCK_POLL)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of the lock; does nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_private(path: Path, text: str) -> None:
    """Replace a file by `text` in one step, readable by its owner only (mode 0600 on POSIX) from its first byte on.

    The draft is a new file of a name nobody knows before: one that was there could have any mode, and any owner. A
    write that fails leaves the file as it was, and no draft.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a power failure could leave the new name with nothing in it
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
