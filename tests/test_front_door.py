"""The front door: what it refuses before it starts anything, and that its public address really leads to us."""

import json
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sipkit.cloud import Account, cloud_for
from sipkit.errors import MissingCredential, SettingsError, TunnelError
from sipkit.front_door import FrontDoor
from sipkit.sandbox import launcher
from sipkit.server import WebhookServer
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from sipkit.tunnel import NoTunnel
from tests.standins.holders import folder, servers_of

__all__ = ["folder"]  # a fixture: pytest finds it by its name here

PUBLIC = "http://calls.example.com"


class ReverseProxy(BaseHTTPRequestHandler):
    """Stands where the public address leads to, and carries each request to 127.0.0.1:`to`."""

    to = 0
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        """Carry one request there and its answer back; a public address comes as the whole URL, for we are a proxy."""
        path = self.path.removeprefix(PUBLIC)
        self.seen.append((path, self.headers.get("ngrok-skip-browser-warning")))
        onward = HTTPConnection("127.0.0.1", self.to, timeout=5)
        try:
            onward.request("GET", path)
            answer = onward.getresponse()
            status, content = answer.status, answer.read()
        except OSError:
            status, content = 502, b"<h1>Bad Gateway</h1>"
        finally:
            onward.close()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ReverseProxy]]:
    """An internet in which calls.example.com leads to the port that the returned handler's `to` says."""
    handler = type("Handler", (ReverseProxy,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_address[1]}")
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port: int = finder.getsockname()[1]
        return port


@contextmanager
def front_door(settings: Settings, **changes: Any) -> Iterator[tuple[FrontDoor, Store, Account]]:
    """A front door of a live account that does not exist and has no application to point."""
    account = replace(cloud_for(settings).account(), **changes)
    with closing(Store.open(settings.store_url, account.environment, settings.pin_length)) as store:
        door = FrontDoor(settings, store, lambda: account, "kernel")
        try:
            yield door, store, account
        finally:
            door.close()


# What is refused before anything is started


def test_no_signature_secret_is_said_at_once(folder: Settings) -> None:
    """Live without a signature secret: the error names it and the fix, and no process was started."""
    with (
        front_door(folder, signature_secret=SecretStr("")) as (door, _, _),
        pytest.raises(MissingCredential, match="SIGNATURE_SECRET") as caught,
    ):
        door.open()
    assert ".env" in caught.value.fix
    assert not (folder.home / "server.log").exists()


def test_a_board_without_signature_secret_says_so(folder: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """board.start_webhook_server() raises it as it is, with no log of a server that died of it."""
    monkeypatch.delenv("SIGNATURE_SECRET")
    with Switchboard.from_env() as board, pytest.raises(MissingCredential, match="SIGNATURE_SECRET"):
        board.start_webhook_server()
    assert not (folder.home / "server.log").exists()


def test_own_address_needs_a_settled_port(folder: Settings) -> None:
    """SERVER_URL with the default WEBHOOK_PORT leads nowhere; that is said, with the fix, before anything starts."""
    settings = Settings.load(server_url=PUBLIC)
    with front_door(settings) as (door, _, _), pytest.raises(SettingsError, match="WEBHOOK_PORT") as caught:
        door.open()
    assert "Set WEBHOOK_PORT" in caught.value.fix
    assert not servers_of(folder)


@pytest.mark.parametrize("url", ["http://localhost:5000", "http://127.0.0.1:5000", "http://[::1]:5000"])
def test_own_address_must_be_public(folder: Settings, url: str) -> None:
    """Live, an address that means "this machine" to everybody is refused before anything starts."""
    settings = Settings.load(server_url=url, webhook_port=5000)
    with front_door(settings) as (door, _, _), pytest.raises(SettingsError, match="only programs on this machine"):
        door.open()
    assert not servers_of(folder)


# The public address leads here


def test_own_address_that_leads_here(folder: Settings, internet: type[ReverseProxy]) -> None:
    """An own address that leads to the server is taken, and the check is not a browser to ngrok."""
    internet.to = free_port()
    settings = Settings.load(server_url=PUBLIC, webhook_port=internet.to)
    with front_door(settings) as (door, store, _):
        assert door.open().port == internet.to
        assert store.fact("public_url") == PUBLIC
        assert internet.seen == [("/healthz", "1")]


def test_own_address_that_leads_elsewhere(folder: Settings, internet: type[ReverseProxy], tmp_path: Path) -> None:
    """Another webhook server, another program or nobody behind the address: a typed error, and no number is pointed."""
    port = free_port()
    settings = Settings.load(server_url=PUBLIC, webhook_port=port)
    strangers = Settings.load(home=tmp_path / "strangers")
    with front_door(settings) as (door, store, _):
        stranger = WebhookServer(strangers, "stranger").start()
        internet.to = stranger.port
        with pytest.raises(TunnelError, match="another webhook server answers") as caught:
            door.open()
        assert f"http://127.0.0.1:{port}" in caught.value.fix
        stranger.stop()
        with pytest.raises(TunnelError, match=r"another program answers there \(HTTP 502\)"):
            door.open()
        assert store.fact("public_url") is None
        assert store.events() == []
        internet.to = port
        assert door.open().alive
        assert store.fact("public_url") == PUBLIC


def test_own_address_where_nobody_answers(folder: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that nobody serves is a typed error within seconds."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings.load(server_url=PUBLIC, webhook_port=free_port())
    with front_door(settings) as (door, _, _), pytest.raises(TunnelError, match="no answer comes from there"):
        door.open()
    assert not servers_of(folder)


def test_ngroks_address_is_checked_too(folder: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address the agent gives is asked for our server before it is told to anybody."""
    import pyngrok.conf

    agent = tmp_path / "ngrok"
    agent.write_text(f"#!{sys.executable}\n{(Path(__file__).parent / 'standins' / 'ngrok_agent.py').read_text()}")
    agent.chmod(0o755)
    monkeypatch.setattr(pyngrok.conf, "DEFAULT_NGROK_CONFIG_PATH", str(tmp_path / "ngrok.yml"))
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(agent))
    with front_door(Settings.load(ngrok_authtoken="2aStandInToken_7Qx4Wc9LmZr8Tn")) as (door, store, _):
        server = door.open()
        url = store.fact("public_url")
        assert url not in (None, server.url)
        with (folder.home / "tunnel.json").open() as record:
            assert json.load(record)["url"] == url


def test_sandboxs_address_is_checked_too(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the sandbox as well: where the address leads to another program, the number is not pointed there."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        elsewhere = f"http://127.0.0.1:{foreign.getsockname()[1]}"
    monkeypatch.setattr(NoTunnel, "open", lambda *_: elsewhere)
    with pytest.raises(TunnelError, match="no answer"):
        board.start_webhook_server()
    assert not [event for event in board.events() if event.kind == "voice"]


# The account the server works for


@pytest.fixture
def own_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a sandbox of this test alone, which is stopped afterwards."""
    data = tmp_path / "data"
    monkeypatch.setenv("SIPKIT_HOME", str(data))
    yield data / "sandbox"
    launcher.stop(data / "sandbox")


def test_server_of_a_wiped_sandbox_is_replaced(own_sandbox: Path) -> None:
    """A healthy server of another account than ours is not adopted: it would verify with the wrong secret."""
    with Switchboard.from_env() as before:
        first = before.start_webhook_server()
        pid = first.pid
        environment = before._account().environment
        assert launcher.stop(own_sandbox)
        shutil.rmtree(own_sandbox)
        with Switchboard.from_env() as after:
            assert first.alive
            second = after.start_webhook_server()
            assert second.pid != pid
            assert not second.adopted
            assert second._running.environment() == after._account().environment != environment
            assert [process.pid for process in servers_of(Settings.load())] == [second.pid]
            assert after.start_webhook_server().pid == second.pid
            assert second.adopted
    assert not servers_of(Settings.load())
