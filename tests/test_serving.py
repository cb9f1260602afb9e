"""The webhook server from the command line: by hand, and under other WSGI servers."""

import signal
import socket
import subprocess
import sys
import threading

import pytest
import requests

from sipkit.cloud import cloud_for
from sipkit.invitations import NO_BOARD, grant, invite
from sipkit.rooms import Room
from sipkit.server import WebhookServer
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from sipkit.voice import point_application
from tests.standins.holders import ROOT, WaitUntil, ask, folder, listens
from tests.standins.room_visitor import Visitor, through_http

__all__ = ["folder"]  # a fixture: pytest finds it by its name here


def from_command_line(command: list[str], settings: Settings) -> "subprocess.Popen[str]":
    """A command of the README, started in the project's folder."""
    return subprocess.Popen(
        [sys.executable, "-m", *command] if command[0] != "webhook_server.py" else [sys.executable, *command],
        env=settings.child_environ(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_by_hand(folder: Settings, number: int) -> None:
    """`python webhook_server.py` says its address in one line, serves beside the notebook's server, and ends."""
    notebooks = WebhookServer(folder, "kernel").start()
    with from_command_line(["webhook_server.py", "--port", "0"], folder) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.partition("http://127.0.0.1:")[2].split()[0])
        assert ask(port)[0] == 200
        assert port != notebooks.port
        process.send_signal(number)
        assert process.wait(10) == 0
    assert notebooks.alive
    notebooks.stop()


def host_at(board: Switchboard, room: Room, url: str) -> Visitor:
    """A host's page at a server started by hand, by a link as `sipkit invite` prints it."""
    made = invite(board._store, room, grant(board._store, room, "host", NO_BOARD), board.number, url, url)
    return Visitor(through_http(url), made.url)


@pytest.mark.parametrize("command", [["webhook_server.py"], ["sipkit.cli", "server"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_by_hand_it_hangs_up_what_its_pages_dialled(board: Switchboard, command: list[str], number: int) -> None:
    """Ctrl-C or SIGTERM ends the call its room page dialled, and leaves the one that a board dialled."""
    pages, boards = board.open_room("of the page"), board.open_room("of the board")
    board.start_webhook_server()
    board.dial_out(boards)
    board.wait_for_bridge(boards, "answered")
    with from_command_line([*command, "--port", "0"], Settings.load()) as process:
        assert process.stdout is not None
        url = process.stdout.readline().partition("on ")[2].split()[0]
        host = host_at(board, pages, url)
        assert host.post("dial-out").status == 200
        board.wait_for_bridge(pages, "answered")
        process.send_signal(number)
        assert process.wait(20) == 0
    assert board.bridge(pages) is None
    ledger = board.trace().ledger()["connections"]
    assert [each["sessionId"] for each in ledger if each["kind"] == "sip"] == [boards.session_id]
    assert board.bridge(boards) is not None
    assert any("The webhook server was stopped." in event.text for event in board.events(pages))
    board.hang_up(boards)


def test_by_hand_on_a_taken_port(folder: Settings) -> None:
    """A taken port is one plain line and an exit code, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = str(foreign.getsockname()[1])
        with from_command_line(["webhook_server.py", "--port", port], folder) as process:
            said, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert port in said
    assert "Traceback" not in said


@pytest.mark.parametrize("server", ["granian", "flask"])
def test_other_servers_run_the_app(folder: Settings, server: str, wait_until: WaitUntil) -> None:
    """Granian and flask run serve the same app from the command line."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    command = (
        ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "webhook_server:app"]
        if server == "granian"
        else ["flask", "--app", "webhook_server", "run", "--port", str(port)]
    )
    with from_command_line(command, folder) as process:
        try:
            wait_until(lambda: process.poll() is not None or listens(port), 30, "the server to listen")
            assert ask(port)[1]["ok"] is True
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.parametrize("server", ["granian", "flask", "by hand"])
def test_no_servers_access_log_holds_an_invitation(folder: Settings, server: str, wait_until: WaitUntil) -> None:
    """Whichever server shows the room page, and with its access log on: what opens the door is not written down."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    command = {
        "granian": ["granian", "--interface", "wsgi", "--port", str(port), "--access-log", "webhook_server:app"],
        "flask": ["flask", "--app", "webhook_server", "run", "--port", str(port)],
        "by hand": ["webhook_server.py", "--port", str(port)],
    }[server]
    with from_command_line(command, folder) as process:
        try:
            wait_until(lambda: process.poll() is not None or listens(port), 30, "the server to listen")
            address = f"http://127.0.0.1:{port}/room/standup?invitation=opens-the-door"
            assert requests.get(address, timeout=10).status_code == 403
            # A server may write down later than it answers; one that never does is ended, and with it what it says.
            late = threading.Timer(20, process.kill)
            late.start()
            assert process.stdout is not None
            said = next((line for line in process.stdout if "/room/standup" in line), "")
            late.cancel()
        finally:
            process.terminate()
            rest, _ = process.communicate(timeout=10)
    assert "/room/standup" in said
    assert "opens-the-door" not in said + rest


@pytest.mark.parametrize("server", ["granian", "flask"])
def test_other_servers_take_calls_in_the_sandbox(board: Switchboard, server: str, wait_until: WaitUntil) -> None:
    """Told its own address by SERVER_URL, a server run by granian or flask asks a real phone for its PIN and more."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = (
        ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "webhook_server:app"]
        if server == "granian"
        else ["flask", "--app", "webhook_server", "run", "--port", str(port)]
    )
    room = board.open_room("standup")
    with from_command_line(command, Settings.load(server_url=url)) as process:
        try:
            wait_until(lambda: process.poll() is not None or listens(port), 30, "the server to listen")
            point_application(cloud_for(Settings.load(), hold=False).account(), url)
            phone = board.phone()
            phone.wait_for("answered")
            phone.wait_until_heard(lambda heard: heard.level_dbfs > -60)
            phone.keys(f"{room.pin}#")
            assert [caller.state for caller in board.wait_for_callers(room, 1)] == ["joined"]
            phone.hang_up()
            assert board.wait_for_callers(room, 0) == []
            refused = host_at(board, room, url).post("dial-out")
            assert refused.status == 503
            assert "webhook_server.py" in refused.json["error"]
            assert board.bridge(room) is None
        finally:
            process.terminate()
            process.wait(10)
