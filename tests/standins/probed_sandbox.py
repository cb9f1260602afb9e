"""A sandbox process of one file of tests: it can be killed, started again, and asked what it holds."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from sipkit.rooms import Room
from sipkit.sandbox import launcher
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.switchboard import Switchboard
from tests.standins.lab import Lab, wait_for

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 15.0

# The sandbox's own command line, in a process that counts its tasks when it gets SIGUSR1. The C library is asked to
# give free memory back first (it keeps some for later otherwise), so that what is counted is what is in use.
PROBED = """
import asyncio, ctypes, gc, json, os, signal, sys
from sipkit.sandbox.__main__ import main

def count(*_):
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        pass
    tasks = sorted(task.get_coro().__qualname__ for task in asyncio.all_tasks())
    with open(sys.argv[1] + ".new", "w") as file:
        json.dump(tasks, file)
    os.replace(sys.argv[1] + ".new", sys.argv[1])

signal.signal(signal.SIGUSR1, count)
sys.exit(main(["serve", "--home", sys.argv[2]]))
"""


class Holdings(NamedTuple):
    """What a sandbox process holds.

    Attributes:
        tasks: the names of its asyncio tasks, sorted.
        memory: its resident memory in bytes.
        files: how many files and sockets it has open.
    """

    tasks: list[str]
    memory: int
    files: int


class ProbedSandbox:
    """A sandbox that is started and ended by hand.

    Attributes:
        home: its folder; a later process finds its credentials and sessions there.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._answer = home.with_name(f"{home.name}.tasks")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> SandboxInfo:
        """Start it, and return where it is."""
        log_path = self.home.with_name(f"{self.home.name}.log")
        command = [sys.executable, "-c", PROBED, str(self._answer), str(self.home)]
        with log_path.open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self._process = process

        def ready() -> SandboxInfo | None:
            assert process.poll() is None, f"the sandbox left:\n{log_path.read_text()[-4000:]}"
            info = launcher.read(self.home)
            return info if info is not None and info.pid == process.pid else None

        found: SandboxInfo = wait_for(ready, START_SECONDS, "the sandbox's state file")
        return found

    def holdings(self) -> Holdings:
        """Count what it holds now."""
        assert self._process is not None
        self._answer.unlink(missing_ok=True)
        os.kill(self._process.pid, signal.SIGUSR1)
        wait_for(self._answer.exists, what="the sandbox to count its tasks")
        process = psutil.Process(self._process.pid)
        return Holdings(json.loads(self._answer.read_text()), process.memory_info().rss, process.num_fds())

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Ask it to end, and see that it does; one that was killed is left alone."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)


class Place:
    """A probed sandbox with a switchboard on it, and the webhook server.

    Attributes:
        sandbox: the sandbox's process.
        board: the switchboard.
        lab: the ledger of the sandbox that runs now.
    """

    def __init__(self, sandbox: ProbedSandbox, board: Switchboard, lab: Lab) -> None:
        self.sandbox = sandbox
        self.board = board
        self.lab = lab

    @classmethod
    @contextlib.contextmanager
    def of(cls, home: Path) -> Iterator["Place"]:
        """Start everything in a data folder, which SIPKIT_HOME must name, and end it afterwards."""
        sandbox = ProbedSandbox(home / "sandbox")
        try:
            lab = Lab(sandbox.start())
            with Switchboard.from_env() as board:
                board.start_webhook_server()
                place = cls(sandbox, board, lab)
                yield place
                place.lab.close()
        finally:
            sandbox.stop()

    def start_sandbox_again(self) -> None:
        """Start the sandbox that was killed; if the board or the server was quicker to start one, that one goes."""
        self.lab.close()
        launcher.stop(self.sandbox.home)
        self.lab = Lab(self.sandbox.start())

    def browsers(self, room: Room) -> list[dict[str, Any]]:
        """The browsers' living connections to a room's session."""
        found = self.lab.ledger()["connections"]
        return [one for one in found if one["kind"] == "browser" and one["sessionId"] == room.session_id]

    def wait_browsers(self, room: Room, count: int, seconds: float) -> None:
        """Wait until so many browsers are connected to a room's session.

        Raises:
            AssertionError: there are not; tells who is there and what was traced of connections.
        """
        deadline = time.monotonic() + seconds
        while len(there := self.browsers(room)) != count:
            if time.monotonic() > deadline:
                known = [event for event in self.lab.trace(0) if event["kind"] in {"connection", "signalling"}]
                told = "\n".join(str(event)[:300] for event in known[-30:])
                raise AssertionError(f"waited {seconds:.0f} s for {count} browsers; there are {there}; traced:\n{told}")
            time.sleep(0.05)
