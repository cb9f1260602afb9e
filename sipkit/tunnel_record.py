"""What the kernels of a data folder know of its tunnel: which program keeps it up, and since when.

`tunnel.json` (mode 0600) names the program by pid and creation time, so that a later kernel uses the same
tunnel, and so that the webhook server, which outlives a killed kernel, can end it.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipkit.errors import TunnelTimeout
from sipkit.processes import FileLock, ProcessMark, write_private

DEADLINE = 30.0
"""Seconds for a tunnel to open: the first call of ngrok's may have to download the agent, about 10 MB."""

END_PATIENCE = 3.0
"""Seconds for a tunnel's program to end when asked."""

_RECORD = "tunnel.json"


@dataclass(frozen=True)
class Health:
    """How a tunnel is at the moment.

    Attributes:
        alive: Whether requests can come through, as far as this machine can tell.
        url: The public address now, which may be another one than `open` gave; None when there is none.
        saw: What is wrong, in a few words; empty when nothing is.
    """

    alive: bool
    url: str | None
    saw: str = ""


def recorded(home: Path) -> dict[str, Any]:
    """What `tunnel.json` holds; empty when it is not there or makes no sense."""
    try:
        data = json.loads((home / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def record(home: Path, mark: ProcessMark, **more: str) -> None:
    """Write down which program keeps the tunnel up, and what only its own kind of tunnel needs to know."""
    data = {"pid": mark.pid, "create_time": mark.create_time, **more}
    write_private(home / _RECORD, json.dumps(data))


def recorded_process(home: Path) -> ProcessMark | None:
    """The program `tunnel.json` tells of, running or not; None when it tells of none."""
    data = recorded(home)
    try:
        return ProcessMark(int(data["pid"]), float(data["create_time"]))
    except (KeyError, TypeError, ValueError):
        return None


def end_recorded_agent(home: Path) -> None:
    """End the program that `tunnel.json` tells of, if it still runs. The webhook server's last act, too."""
    if program := recorded_process(home):
        program.end(END_PATIENCE)
    (home / _RECORD).unlink(missing_ok=True)


@contextlib.contextmanager
def turn(home: Path, patience: float) -> Iterator[None]:
    """Let one kernel of the folder at a time open a tunnel.

    Raises:
        TunnelTimeout: Another one did not finish within `patience` seconds.
    """
    lock = FileLock(home / "tunnel.lock")
    if not lock.acquire(patience):
        raise TunnelTimeout("Another notebook is opening the tunnel and does not finish.")
    try:
        yield
    finally:
        lock.release()


def server_runs(home: Path) -> bool:
    """Whether the folder's webhook server runs: it ends the tunnel when it leaves, and needs it until then."""
    lock = FileLock(home / "server.lock")
    free = lock.acquire()
    lock.release()
    return not free
