"""The notebook's webhook server, as a real process: started, adopted, replaced, asked."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from sipkit.errors import PortTaken, ServerDidNotStart, ServerError
from sipkit.server import WebhookServer
from sipkit.server_state import EXIT_LOCKED, ServerState
from sipkit.settings import Settings
from tests.standins.holders import ROOT, WaitUntil, ask, folder, health, holder, listens, servers_of

__all__ = ["folder"]  # a fixture: pytest finds it by its name here


def test_start_serves_and_tells_where(folder: Settings) -> None:
    """After start the server answers /healthz with the id of its state file, which only its owner can read."""
    server = WebhookServer(folder, "kernel")
    assert not server.alive
    with pytest.raises(ServerError, match="start_webhook_server"):
        _ = server.url
    server.start()
    told = health(server.port)
    state = ServerState.read(folder.home / "server.json")
    assert state is not None
    assert told["instance"] == server.instance == state.instance
    assert told["pid"] == server.pid == state.pid
    assert told["public_url"] == server.public_url
    assert ask(server.port) == (200, {"ok": True, "instance": state.instance})
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.alive
    assert not server.adopted
    assert (folder.home / "server.json").stat().st_mode & 0o777 == 0o600
    assert state.lifeline_token not in repr(state) + repr(server)
    server.stop()


def test_last_stop_ends_the_server(folder: Settings) -> None:
    """Stop by the last holder: no process, no listener, no state file, no zombie; stopping again is nothing."""
    server = WebhookServer(folder, "kernel").start()
    pid, port = server.pid, server.port
    server.stop()
    assert not servers_of(folder)
    assert not listens(port)
    assert not (folder.home / "server.json").exists()
    assert not server.alive
    assert pid not in {child.pid for child in psutil.Process().children()}
    server.stop()


def test_running_the_cell_again_adopts(folder: Settings) -> None:
    """The same object, and a new one with the same settings, adopt the healthy server."""
    first = WebhookServer(folder, "kernel").start()
    pid = first.pid
    assert first.start().adopted
    second = WebhookServer(folder, "kernel").start()
    assert (second.pid, second.adopted) == (pid, True)
    first.stop()
    assert second.alive
    second.stop()
    assert not servers_of(folder)


def test_other_settings_replace_the_server(folder: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with other settings is replaced: one server afterwards, on the port that calls know."""
    first = WebhookServer(folder, "one").start()
    pid, port = first.pid, first.port
    monkeypatch.setenv("PIN_LENGTH", "7")
    second = WebhookServer(Settings.load(), "two").start()
    assert not second.adopted
    assert [process.pid for process in servers_of(folder)] == [second.pid] != [pid]
    assert second.port == port
    assert not first.alive
    state = ServerState.read(folder.home / "server.json")
    assert state is not None
    assert state.owners == ("one", "two")  # the new server hangs up for the old one's holders, too
    second.stop()
    first.stop()


def test_silent_server_is_replaced(folder: Settings) -> None:
    """A server that lives but does not answer is ended and replaced."""
    first = WebhookServer(folder, "kernel").start()
    os.kill(first.pid, signal.SIGSTOP)
    second = WebhookServer(folder, "kernel").start()
    assert second.pid != first.pid
    assert [process.pid for process in servers_of(folder)] == [second.pid]
    second.stop()
    first.stop()


def test_wished_port(folder: Settings, wait_until: WaitUntil) -> None:
    """A wished port is taken exactly; wishing another one moves the server."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as finder:
            ports.append(finder.getsockname()[1])
    server = WebhookServer(folder, "kernel").start(ports[0])
    assert server.port == ports[0]
    assert server.start(ports[0]).adopted
    assert server.start(ports[1]).port == ports[1]
    assert not listens(ports[0])
    assert len(servers_of(folder)) == 1
    server.stop()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_foreign_program_on_the_port(folder: Settings, address: str) -> None:
    """A port that another program serves is an error with a fix, and the running server is left alone."""
    server = WebhookServer(folder, "kernel").start()
    pid = server.pid
    with socket.create_server((address, 0)) as foreign, pytest.raises(PortTaken, match="Fix: "):
        server.start(foreign.getsockname()[1])
    assert server.alive
    assert server.pid == pid
    server.stop()
    with socket.create_server((address, 0)) as foreign, pytest.raises(PortTaken):
        server.start(foreign.getsockname()[1])
    assert not servers_of(folder)


def test_server_shares_its_port_with_nobody(folder: Settings) -> None:
    """Not even a program that asks for SO_REUSEPORT, as granian does, can listen beside it."""
    server = WebhookServer(folder, "kernel").start()
    with socket.socket() as second:
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            second.bind(("127.0.0.1", server.port))
    server.stop()


def test_two_starters_agree(folder: Settings) -> None:
    """Four kernels that start at the same moment hold one and the same server."""
    with contextlib.ExitStack() as stack:
        found: list[tuple[int, int, bool]] = []

        def start(owner: str) -> None:
            _, pid, port, adopted = stack.enter_context(holder(owner))
            found.append((pid, port, adopted))

        threads = [threading.Thread(target=start, args=(f"kernel-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len({(pid, port) for pid, port, _ in found}) == 1
        assert sorted(adopted for *_, adopted in found) == [False, True, True, True]
        assert [process.pid for process in servers_of(folder)] == [found[0][0]]


def test_second_process_of_a_folder_refuses(folder: Settings) -> None:
    """A server started past the state file's back does not come up beside the first."""
    server = WebhookServer(folder, "kernel").start()
    second = subprocess.run(
        [sys.executable, "-m", "sipkit.serving", "--instance", "second"],
        env=folder.child_environ(),
        cwd=ROOT,
        timeout=30,
        check=False,
        capture_output=True,
    )
    assert second.returncode == EXIT_LOCKED
    assert server.alive
    server.stop()


def test_server_that_cannot_start_says_why(folder: Settings) -> None:
    """A server that leaves at once is reported at once, with the end of its log."""
    folder.home.mkdir(parents=True)
    (folder.home / "sipkit.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(ServerDidNotStart, match="It said:"):
        WebhookServer(folder, "kernel").start()
    assert not servers_of(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x"}', '{"pid": 1'])
def test_broken_state_file_is_no_state(tmp_path: Path, text: str) -> None:
    """Whatever is in server.json, reading it gives a state or none, never an error."""
    path = tmp_path / "server.json"
    path.write_text(text)
    assert ServerState.read(path) is None


def test_log_is_readable_and_holds_no_query(folder: Settings) -> None:
    """The access log has a line per request, without its query string."""
    server = WebhookServer(folder, "kernel").start()
    ask(server.port, "GET", "/healthz?dtmf=4711")
    text = server.log()
    assert "GET /healthz 200" in text
    assert "4711" not in text
    assert (folder.home / "server.log").stat().st_mode & 0o777 == 0o600
    assert len(server.log(lines=1).splitlines()) == 1
    server.stop()


def test_what_never_reaches_the_app_is_refused_in_json(folder: Settings) -> None:
    """Too large for the app, too large for the server before it, no HTTP at all: JSON, and it lives on."""
    server = WebhookServer(folder, "kernel").start()
    for size in (70_000, 1_500_000):
        status, answer = ask(server.port, "POST", "/voice-answer", b"x" * size)
        assert status == 413
        assert "error" in answer
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as visitor:
        visitor.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        said = b"".join(iter(lambda: visitor.recv(4096), b""))
    assert said.startswith(b"HTTP/1.0 400")
    assert b"application/json" in said
    assert server.alive
    server.stop()


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST /voice-answer HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /voice-answer HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"GET http://[::1/voice HTTP/1.1\r\n\r\n",
        b"GET http://[fe80::zz]/ HTTP/1.1\r\n\r\n",
        b"GET http://\xe2\x84\x80.example/ HTTP/1.1\r\n\r\n",
        b"POST /voice-answer HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /voice-answer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["coding", "codings", "bracket", "address", "netloc", "length", "chunk"],
)
def test_requests_that_trip_the_parser(folder: Settings, request_head: bytes) -> None:
    """What the HTTP library stumbles over is one line of JSON and a 400, and the log shows no path of ours."""
    server = WebhookServer(folder, "kernel").start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as visitor:
        visitor.sendall(request_head)
        said = b"".join(iter(lambda: visitor.recv(4096), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400"
    assert b"application/json" in head
    assert "error" in json.loads(body)
    assert server.alive
    assert "Traceback" not in server.log()
    assert "exception" not in server.log()
    assert ".py" not in server.log()
    server.stop()
