"""Processes killed in the middle of a call, or of a dial: nothing stays connected, and no room has two bridges."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from sipkit.lost_dials import PATIENCE
from sipkit.phones import SandboxTrace
from sipkit.sandbox import launcher
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from sipkit.watch import ROLE_SECONDS
from tests.standins.billing import most_bridges
from tests.standins.holders import ROOT, servers_of

SECONDS: Final = 15.0
WITHIN: Final = 60.0
"""Seconds after which nothing may be left connected: of the kill, or of the next start where all were killed."""

KERNEL: Final = """
import sys
from sipkit.switchboard import Switchboard
board = Switchboard.from_env()
room = board.open_room("left behind")
board.start_webhook_server()
{dial}
board.wait_for_bridge(room, "answered", 15)
print("up", flush=True)
sys.stdin.readline()
board.close()
"""
DIALLED: Final = "board.dial_out(room)"
DIALLING: Final = """
import threading
from sipkit.video import OpenTokVideo
dial = OpenTokVideo.dial
OpenTokVideo.dial = lambda *given: (dial(*given), print("up", flush=True), threading.Event().wait())
board.dial_out(room)
"""


def trace() -> SandboxTrace:
    """The trace of the data folder's sandbox."""
    info = launcher.read(Settings.load().home / "sandbox")
    assert info is not None
    return SandboxTrace(info)


def legs() -> int:
    """How many legs and connections the sandbox has."""
    ledger = trace().ledger()
    return len(ledger["legs"]) + len(ledger["connections"])


def guards() -> list[psutil.Process]:
    """The guard processes of the data folder."""
    found, home = [], str(Settings.load().home)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "sipkit.guard_process" in process.cmdline() and process.environ().get("SIPKIT_HOME") == home:
                found.append(process)
    return found


@contextlib.contextmanager
def kernel(dial: str = DIALLED, *, guard: bool = False) -> "Iterator[subprocess.Popen[str]]":
    """A process with a call that is up, as a notebook's kernel has one; or with a dial on its way."""
    environ = {**os.environ, "GUARD_PROCESS": str(guard).lower(), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL.format(dial=dial)],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def kill(*processes: psutil.Process) -> None:
    """End processes as the system does that is short of memory: all at once, without a word."""
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=5)


def pass_time(seconds: float) -> None:
    """Move the store's clock on: a role that a killed process held is free, a dial that it sent has been answered."""
    with contextlib.closing(Store.open(Settings.load().store_url, "any")) as store:
        store.advance_clock(seconds)


def close(process: "subprocess.Popen[str]") -> None:
    """Let a kernel close its board."""
    process.communicate("go on\n", timeout=WITHIN)


@pytest.fixture
def billed(sandbox_env: Path, wait_until: Callable[..., Any]) -> Iterator[Callable[[], None]]:
    """`billed()` waits until nothing is connected any more. No room of the test ever has two bridges."""
    assert sandbox_env
    before = legs()
    since = max((event["seq"] for event in trace().events()), default=0)
    yield lambda: wait_until(lambda: legs() <= before, WITHIN, "the call to be hung up")
    most = most_bridges(trace().events(since))
    assert most
    assert set(most.values()) == {1}


def test_the_kernel_is_killed(billed: Callable[[], None]) -> None:
    """The webhook server, which is left, hangs up."""
    with kernel() as process:
        kill(psutil.Process(process.pid))
        billed()


def test_the_server_is_killed(billed: Callable[[], None]) -> None:
    """The call goes on, for the kernel is there, and ends with it."""
    with kernel() as process:
        kill(*servers_of(Settings.load()))
        close(process)
        billed()


def test_kernel_and_server_are_killed_at_once(billed: Callable[[], None], wait_until: Callable[..., Any]) -> None:
    """The guard process is left, hangs up what was left connected, and leaves when nothing is."""
    with kernel(guard=True) as process:
        wait_until(guards, SECONDS, "the guard")
        kill(psutil.Process(process.pid), *servers_of(Settings.load()))
        pass_time(ROLE_SECONDS)
        billed()
    wait_until(lambda: not guards(), 30, "the guard to leave")


@pytest.mark.parametrize("dial", [DIALLED, DIALLING], ids=["in a call", "in the middle of a dial"])
def test_everything_is_killed_at_once(billed: Callable[[], None], wait_until: Callable[..., Any], dial: str) -> None:
    """With nobody left to hang up, the next start does so within its first minute, and the room can be dialled anew."""
    with kernel(dial, guard=dial == DIALLED) as process:
        wait_until(lambda: guards() or dial == DIALLING, SECONDS, "the guard")
        kill(psutil.Process(process.pid), *servers_of(Settings.load()), *guards())
    pass_time(max(ROLE_SECONDS, PATIENCE))
    with Switchboard.from_env() as board:
        board.start_webhook_server()
        billed()
        wait_until(lambda: board.bridge("left behind") is None, SECONDS, "the end on record")
        gone = "the notebook that dialled it is gone"
        wait_until(lambda: gone in str(board.events("left behind")), SECONDS, "the reason on record")
        assert not board.costs("left behind").running
        board.dial_out("left behind")
        board.wait_for_bridge("left behind", "answered", SECONDS)
    billed()


def test_two_bridges_would_be_seen() -> None:
    """What the tests above count shows a second SIP leg, in the session or in its conversation."""
    session = [
        {"kind": "connection", "client": "sip", "event": event, "sessionId": "s", "connectionId": connection}
        for event, connection in [("created", "1"), ("destroyed", "1"), ("created", "2"), ("created", "3")]
    ]
    answered = [{"kind": "leg", "endpoint": "sip", "state": "answered", "leg": leg} for leg in "ab"]
    joined = [{"kind": "leg", "state": "in conversation", "leg": leg, "conversation": "s"} for leg in "ab"]
    assert most_bridges(session) == {"session s": 2}
    assert most_bridges(session[:3]) == {"session s": 1}
    assert most_bridges(answered + joined) == {"conversation s": 2}
