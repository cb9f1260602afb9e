"""What tests of a board look at: legs and connections in the sandbox, and other kernels with boards of their own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sipkit.switchboard import Switchboard

ROOT = Path(__file__).resolve().parents[2]

GONE_WITHIN = 15.0
"""Seconds within which what was hung up, or lost its kernel, is gone."""

WaitUntil = Callable[..., Any]


def legs(board: Switchboard, session_id: str) -> list[dict[str, Any]]:
    """The phone side's legs that are alive in the session's conversation."""
    return [leg for leg in board.trace().ledger()["legs"] if leg["conversation"] == session_id]


def connections(board: Switchboard, session_id: str) -> list[dict[str, Any]]:
    """The SIP connections that are alive in the session."""
    found = board.trace().ledger()["connections"]
    return [each for each in found if each["sessionId"] == session_id and each["kind"] == "sip"]


def dials(board: Switchboard, since: int) -> list[dict[str, Any]]:
    """The dial requests the sandbox's video side got after a trace event."""
    events = board.trace().events(since)
    return [event for event in events if event["kind"] == "rest" and str(event.get("path", "")).endswith("/dial")]


def now(board: Switchboard) -> int:
    """The sequence number of the trace's last event."""
    return max((event["seq"] for event in board.trace().events()), default=0)


@contextmanager
def kernel(code: str, home: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another Python process with a board of its own; it runs `code`, says a line, and waits for its input."""
    script = textwrap.dedent(
        """
        import json, sys
        from sipkit import Switchboard
        board = Switchboard.from_env()
        say = lambda **what: print(json.dumps(what), flush=True)
        """
    ) + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "SIPKIT_HOME": str(home), "SIPKIT_MODE": "sandbox", "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def said(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next line a kernel says."""
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(process.stdout.readline())
    return told


def go_on(process: "subprocess.Popen[str]") -> None:
    """Let a kernel that reads a line go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def runs(pid: int) -> bool:
    """Whether a process lives; one that only waits to be reaped does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
