"""Several webhook workers on several hosts behind one store: whoever is asked, each caller ends where its PIN leads."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from sipkit.voice import point_application
from tests.standins.holders import ROOT, listens
from tests.standins.postgres import Postgres
from tests.standins.spray import Spray, spray

SECONDS = 60.0
START_SECONDS = 180.0  # for three servers of four processes, on a busy machine
ROOMS, PHONES = 2, 2  # phones a room


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        return int(finder.getsockname()[1])


@contextlib.contextmanager
def running(arguments: list[str], settings: Settings) -> Iterator[None]:
    """A server started from the command line, in the project's folder, until the end of the block."""
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, env=settings.child_environ(), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.fixture
def board(sandbox_env: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switchboard]:
    """A switchboard whose store is in PostgreSQL."""
    with postgres.database() as url:
        monkeypatch.setenv("SIPKIT_STORE", url)
        with Switchboard.from_env() as board:
            yield board


@pytest.fixture
def balancer(board: Switchboard, sandbox_env: Path, tmp_path: Path, wait_until: Callable[..., Any]) -> Iterator[Spray]:
    """What the platform asks: a notebook's server, two workers beside it, and a server of another host.

    What makes it another host is a data folder of its own; only the store is the same.
    """
    other_host = tmp_path / "other host"
    other_host.mkdir(mode=0o700)
    (other_host / "sandbox").symlink_to((sandbox_env / "sandbox").resolve(), target_is_directory=True)
    with spray() as balancer, contextlib.ExitStack() as servers:
        one, two = str(free_port()), str(free_port())
        granian = ["-m", "granian", "--interface", "wsgi", "--workers", "2", "--blocking-threads", "4", "--port", one]
        servers.enter_context(running([*granian, "webhook_server:app"], Settings.load(server_url=balancer.url)))
        elsewhere = Settings.load(server_url=balancer.url, home=other_host)
        servers.enter_context(running(["webhook_server.py", "--port", two], elsewhere))
        balancer.ports = [int(one), int(two), board.start_webhook_server().port]
        wait_until(lambda: all(map(listens, balancer.ports)), START_SECONDS, "all servers to listen")
        board._store.set_fact("public_url", balancer.url)  # as whoever opens a tunnel does, for all servers
        point_application(board._account(), balancer.url)
        yield balancer


def test_every_call_ends_in_the_right_room(board: Switchboard, balancer: Spray) -> None:
    """Bridges and phones whose webhooks come to any worker of any host are in the conversation of their own room.

    Each phone errs once before, and the wrong PIN counts though another worker hears the right one.
    """
    rooms = [board.open_room(f"room {number}") for number in range(ROOMS)]
    for room in rooms:
        board.dial_out(room)
    numbers = {room.id: [f"1202555{100 * room.id + each:04}" for each in range(PHONES)] for room in rooms}
    phones = [(room, board.phone(from_=number)) for room in rooms for number in numbers[room.id]]
    for _, phone in phones:
        phone.wait_for("answered", SECONDS)
    for keys in ("121212#", None):
        for room, phone in phones:
            phone.wait_until_heard(lambda heard: heard.level_dbfs > -60, SECONDS)
            phone.keys(keys or f"{room.pin}#")
        if keys:
            board.wait_for(lambda: _wrong(board) == len(phones), SECONDS, "the wrong PINs")
    for room in rooms:
        board.wait_for_bridge(room, "answered", SECONDS)
        callers = board.wait_for_callers(room, PHONES, SECONDS)
        assert {caller.number for caller in callers} == set(numbers[room.id])
    assert set(balancer.handed) == set(balancer.ports)
    for room in rooms:
        board.hang_up(room)
        assert board.wait_for_callers(room, 0, SECONDS) == []


def _wrong(board: Switchboard) -> int:
    return sum("(try 1)" in event.text for event in board.events())
