"""The watch at work: what is left connected is hung up, by whoever is alive; with real calls and real kills."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sipkit.rooms import Bridge, Room
from sipkit.sandbox import launcher
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from sipkit.watch import ROLE, ROLE_SECONDS, Watch
from tests.standins.holders import ROOT, servers_of

SECONDS = 15.0
WITHIN = 60.0
"""Seconds after which nothing may be left connected."""

KERNEL = """
import threading
from sipkit.switchboard import Switchboard
board = Switchboard.from_env()
room = board.open_room("left behind")
server = board.start_webhook_server()
board.dial_out(room)
board.wait_for_bridge(room, "answered", 15)
print("up", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests."""
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room with nobody in it, closed afterwards."""
    room = board.open_room("watched")
    yield room
    board.close_room("watched")


@pytest.fixture
def watch(board: Switchboard) -> Watch:
    """A watch that leads, so that the webhook server's own does nothing."""
    store = board._store
    store.advance_clock(ROLE_SECONDS + 1)
    board.wait_for(lambda: store.leads(ROLE, "test", 10**6), SECONDS, "the role")
    return Watch(board._settings, store, board._account, "test")


def called(board: Switchboard, room: Room) -> Bridge:
    """The room's bridge, answered."""
    board.dial_out(room)
    bridge = board.wait_for_bridge(room, "answered", SECONDS)
    assert bridge is not None
    return bridge


def told(board: Switchboard, room: Room) -> list[str]:
    """What the timeline says of the guard."""
    return [event.text for event in board.events(room) if "guard" in event.kind or "guard" in event.text]


def test_a_call_with_nobody_in_it(board: Switchboard, room: Room, watch: Watch) -> None:
    """After five minutes without browser and phone a call is hung up, and the timeline says why."""
    called(board, room)
    watch.round()
    board._store.advance_clock(290)
    watch.round()
    assert board.bridge(room) is not None
    board._store.advance_clock(11)
    watch.round()
    assert board.bridge(room) is None
    warned, ended = told(board, room)
    assert "will be hung up in" in warned
    assert "nobody is in it" in ended


def test_a_browser_or_a_phone_keeps_it(board: Switchboard, room: Room, watch: Watch) -> None:
    """With somebody in the session a call lasts three hours; the end is spoken to the phones before."""
    participant = board.participant(room)
    called(board, room)
    phone = board.phone().wait_for("answered", SECONDS)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    phone.keys(f"{board.open_room('watched').pin}#")
    board.wait_for_callers(room, 1, SECONDS)
    for minutes in (10, 169):
        board._store.advance_clock(60 * minutes)
        watch.round()
        assert board.bridge(room) is not None
    board._store.advance_clock(30)
    watch.round()
    board.wait_for(
        lambda: [line for line in board.trace().events() if "less than a minute" in str(line.get("text"))],
        SECONDS,
        "the warning on the phone",
    )
    board._store.advance_clock(61)
    watch.round()
    phone.wait_for("ended", SECONDS)
    participant.leave()


def test_a_phone_alone_is_not_enough_for_ever(board: Switchboard, room: Room, watch: Watch) -> None:
    """Fifteen minutes after the last browser a call is hung up though a phone is in it."""
    called(board, room)
    phone = board.phone().wait_for("answered", SECONDS)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    phone.keys(f"{board.open_room('watched').pin}#")
    board.wait_for_callers(room, 1, SECONDS)
    watch.round()
    board._store.advance_clock(14 * 60)
    watch.round()
    assert board.bridge(room) is not None
    board._store.advance_clock(61)
    watch.round()
    phone.wait_for("ended", SECONDS)


def test_one_watch_acts(board: Switchboard, watch: Watch) -> None:
    """While one leads no other one does; when it is gone another one leads within 15 seconds."""
    store = board._store
    other = Watch(board._settings, store, board._account, "other")
    assert watch is not other
    assert not store.leads(ROLE, "other", ROLE_SECONDS)
    store.advance_clock(10**6 + 1)
    assert store.leads(ROLE, "other", ROLE_SECONDS)
    assert not store.leads(ROLE, "test", ROLE_SECONDS)
    store.advance_clock(15)
    assert store.leads(ROLE, "test", ROLE_SECONDS)


# Processes killed in the middle of a call


def legs(home: Path) -> int:
    """How many legs and connections the sandbox has."""
    from sipkit.phones import SandboxTrace

    info = launcher.read(home / "sandbox")
    assert info is not None
    ledger = SandboxTrace(info).ledger()
    return len(ledger["legs"]) + len(ledger["connections"])


def guards_of(home: Path) -> list[psutil.Process]:
    """The guard processes of a data folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "sipkit.guard_process" in process.cmdline() and process.environ().get("SIPKIT_HOME") == str(home):
                found.append(process)
    return found


@contextlib.contextmanager
def kernel(*, guard: bool) -> Iterator["subprocess.Popen[str]"]:
    """A process with a call that is up, as a notebook's kernel has one."""
    environ = {**os.environ, "GUARD_PROCESS": str(guard).lower(), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", KERNEL], env=environ, stdout=subprocess.PIPE, text=True) as process:
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


def test_kernel_and_server_killed_at_once(sandbox_env: Path, wait_until: Callable[..., Any]) -> None:
    """The guard process is left, hangs up what was left connected, and leaves when nothing is."""
    before = legs(sandbox_env)
    with kernel(guard=True) as process:
        assert legs(sandbox_env) > before
        wait_until(lambda: guards_of(sandbox_env), SECONDS, "the guard")
        kill(psutil.Process(process.pid), *servers_of(Settings.load()))
        wait_until(lambda: legs(sandbox_env) == before, WITHIN, "the call to be hung up")
    wait_until(lambda: not guards_of(sandbox_env), 30, "the guard to leave")


def test_everything_killed_at_once(sandbox_env: Path, wait_until: Callable[..., Any]) -> None:
    """With nobody left to hang up, the next start does so within its first minute, and may dial the room anew."""
    before = legs(sandbox_env)
    with kernel(guard=False) as process:
        kill(psutil.Process(process.pid), *servers_of(Settings.load()))
    assert legs(sandbox_env) > before
    with Switchboard.from_env() as board:
        board.start_webhook_server()
        wait_until(lambda: legs(sandbox_env) == before, WITHIN, "the call to be hung up")
        wait_until(lambda: board.bridge("left behind") is None, 5, "the end on record")
        assert "the notebook that dialled it is gone" in str(told(board, board.room("left behind")))
        assert not board.costs("left behind").running
