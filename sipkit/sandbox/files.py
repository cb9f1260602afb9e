"""Private files of the sandbox: written whole or not at all, and locks between processes.

Standard library only and quick to import: the launcher runs inside the learner's kernel.
"""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

if sys.platform == "win32":  # pragma: no cover  (it has no fcntl)
    import msvcrt
else:
    import fcntl

POLL_SECONDS = 0.02


def private_folder(path: Path) -> Path:
    """Create `path` (mode 0700) if needed and return it absolute."""
    path = path.absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)  # an older folder may be wider, and mkdir's mode is cut by the umask
    return path


def write_private(path: Path, content: str | bytes) -> None:
    """Replace `path` by `content` (mode 0600): readers and crashes see the old or the new, never a half."""
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _keep_name(path.parent)


def _keep_name(folder: Path) -> None:
    """Flush the folder's list of names, which holds the replacement (Windows has no such call)."""
    if sys.platform == "win32":  # pragma: no cover
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LockTimeout(TimeoutError):
    """Another process kept the lock longer than we were willing to wait."""


class FileLock:
    """A lock between processes that the operating system frees when its holder dies.

    Use it as a context manager. It is not re-entrant, and two instances in one process exclude each other.
    """

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        """`timeout`: seconds to wait for another holder; 0 = try once."""
        self._path = path
        self._timeout = timeout
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            LockTimeout: another process still holds it after `timeout` seconds.
        """
        deadline = time.monotonic() + self._timeout
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        while not _try_lock(file):
            if time.monotonic() >= deadline:
                file.close()
                raise LockTimeout(f"{self._path.name} is held by another process")
            time.sleep(POLL_SECONDS)
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the lock go. The file stays: deleting it would let two holders lock two files of one name."""
        if self._file is not None:
            self._file.close()  # closing unlocks, on POSIX and on Windows
            self._file = None


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":  # pragma: no cover
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
