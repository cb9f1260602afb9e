"""The tunnel: pyngrok, unmodified, against a stand-in for the agent that really proxies."""

import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from sipkit.errors import (
    AgentMissing,
    AuthtokenMissing,
    NetworkUnreachable,
    SettingsError,
    TunnelError,
    TunnelRefused,
    TunnelTimeout,
)
from sipkit.ngrok import Agent, NgrokTunnel, end_recorded_agent
from sipkit.processes import FileLock
from sipkit.settings import Settings
from sipkit.tunnel import Health, NoTunnel, StaticTunnel, check_server_url, tunnel_for

TOKEN = "2aStandInToken_7Qx4Wc9LmZr8Tn"
STANDIN = Path(__file__).parent / "standins" / "ngrok_agent.py"


class Upstream(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self) -> None:
        """Tell the path, the body and the headers."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = json.dumps({"path": self.path, "body": body, "headers": dict(self.headers.items())}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of a web server that stands for ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in agent, run by this Python, with an ngrok.yml of its own that holds no token."""
    import pyngrok.conf

    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    monkeypatch.delenv("PYNGROK_NGROK_PATH", raising=False)
    monkeypatch.setattr(pyngrok.conf, "DEFAULT_NGROK_CONFIG_PATH", str(tmp_path / "ngrok.yml"))
    path = tmp_path / "ngrok"
    path.write_text(f"#!{sys.executable}\n{STANDIN.read_text()}")
    path.chmod(0o755)
    return path


@pytest.fixture
def tunnel(agent: Path) -> Iterator[NgrokTunnel]:
    """A tunnel through the stand-in, closed afterwards."""
    tunnel = NgrokTunnel(TOKEN, agent)
    yield tunnel
    tunnel.close()


def agents(path: Path) -> list[psutil.Process]:
    """Every living process of the stand-in at `path`, whoever started it."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(path) in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def post(url: str, path: str, body: str) -> dict[str, Any]:
    """POST through the public address; the upstream's answer."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
    connection.request("POST", path, body)
    said: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return said


def test_sandbox_needs_no_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the sandbox the public address is the server's own, whatever SERVER_URL says."""
    tunnel = tunnel_for(Settings.load(mode="sandbox", server_url="https://example.com"))
    assert isinstance(tunnel, NoTunnel)
    assert tunnel.open(4711) == tunnel.url == "http://127.0.0.1:4711"
    tunnel.close()
    assert tunnel.url is None


LIVE = {
    "mode": "live",
    "video_api_key": "1",
    "video_api_secret": "s",
    "voice_api_key": "k",
    "voice_api_secret": "s",
    "conference_number": "12025550100",
}


def test_server_url_wins_over_ngrok() -> None:
    """Live with SERVER_URL, that address is used and no agent is started."""
    tunnel = tunnel_for(Settings.load(**LIVE, server_url="https://calls.example.com", ngrok_authtoken=TOKEN))
    assert isinstance(tunnel, StaticTunnel)
    assert tunnel.open(4711) == "https://calls.example.com"


def test_ngrok_is_the_live_default() -> None:
    """Live without SERVER_URL asks for ngrok, and the token is not in its repr."""
    tunnel = tunnel_for(Settings.load(**LIVE, ngrok_authtoken=TOKEN))
    assert isinstance(tunnel, NgrokTunnel)
    assert TOKEN not in repr(tunnel)


def test_requests_come_through(tunnel: NgrokTunnel, upstream: int) -> None:
    """A POST to the public address reaches the port on 127.0.0.1 with its path, query, body and origin."""
    url = tunnel.open(upstream, deadline=10)
    said = post(url, "/voice-events?leg=1", '{"status": "answered"}')
    assert said["path"] == "/voice-events?leg=1"
    assert said["body"] == '{"status": "answered"}'
    assert said["headers"]["X-Forwarded-Proto"] == "https"


def test_opening_twice_starts_one_agent(tunnel: NgrokTunnel, agent: Path, upstream: int) -> None:
    """The same port twice is the same address; close ends the agent, and may be called again."""
    assert tunnel.open(upstream, deadline=10) == tunnel.open(upstream, deadline=10)
    assert len(agents(agent)) == 1
    tunnel.close()
    tunnel.close()
    assert agents(agent) == []
    assert tunnel.url is None


def test_agent_has_its_own_session(tunnel: NgrokTunnel, agent: Path, upstream: int) -> None:
    """The notebook's stop button signals the kernel's process group; the agent is not in it."""
    tunnel.open(upstream, deadline=10)
    (process,) = agents(agent)
    assert os.getsid(process.pid) != os.getsid(0)


def test_silent_agent_is_ended_at_the_deadline(
    tunnel: NgrokTunnel, agent: Path, upstream: int, monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., Any],
) -> None:  # fmt: skip
    """An agent that says nothing costs the deadline and no more: it is gone, and the next try works."""
    monkeypatch.setenv("NGROK_STANDIN", "silent")
    with pytest.raises(TunnelTimeout):
        tunnel.open(upstream, deadline=1)
    assert agents(agent) == []
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "ngrok-connect"], 5)
    monkeypatch.setenv("NGROK_STANDIN", "ok")
    assert post(tunnel.open(upstream, deadline=10), "/", "x")["body"] == "x"


def test_no_token_is_seen_before_anything_starts(agent: Path, upstream: int) -> None:
    """Without a token anywhere the error says how to get one, and no agent is started."""
    with pytest.raises(AuthtokenMissing, match="NGROK_AUTHTOKEN"):
        NgrokTunnel(None, agent).open(upstream, deadline=5)
    assert not (agent.parent / "ngrok.yml").exists()


@pytest.mark.parametrize("text", [f"version: 3\nagent:\n  authtoken: {TOKEN}\n", f"authtoken: {TOKEN}\n"])
def test_token_of_ngrok_yml_is_enough(agent: Path, upstream: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ran `ngrok config add-authtoken` needs nothing in .env; the agent has the last word."""
    (agent.parent / "ngrok.yml").write_text(text)
    monkeypatch.setenv("NGROK_STANDIN", "no_token")
    with pytest.raises(AuthtokenMissing, match="ERR_NGROK_4018"):
        NgrokTunnel(None, agent).open(upstream, deadline=5)


def test_token_of_the_environment_is_used(agent: Path, upstream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """NGROK_AUTHTOKEN in the environment alone is enough."""
    monkeypatch.setenv("NGROK_AUTHTOKEN", TOKEN)
    tunnel = NgrokTunnel(None, agent)
    assert tunnel.open(upstream, deadline=10)
    tunnel.close()


def test_refused_token_is_not_repeated(
    tunnel: NgrokTunnel, upstream: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent quotes a token it refuses; neither our error, nor its chain, nor the log does."""
    monkeypatch.setenv("NGROK_STANDIN", "bad_token")
    with caplog.at_level(logging.DEBUG), pytest.raises(TunnelRefused, match="ERR_NGROK_107") as refused:
        tunnel.open(upstream, deadline=5)
    assert "Your authtoken: •••" in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None
    assert TOKEN not in str(refused.value)
    assert "ERR_NGROK_107" in caplog.text
    assert TOKEN not in caplog.text


def test_refusal_gives_code_and_fix(
    tunnel: NgrokTunnel, agent: Path, upstream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A domain that is online elsewhere: the code is found in the API's answer, and no agent stays."""
    monkeypatch.setenv("NGROK_STANDIN", "refused")
    with pytest.raises(TunnelRefused, match=r"ERR_NGROK_334.*already online") as refused:
        tunnel.open(upstream, deadline=10)
    assert "Endpoints" in refused.value.fix
    assert agents(agent) == []


def test_no_network(tunnel: NgrokTunnel, agent: Path, upstream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that cannot resolve ngrok's name is told apart from one that says nothing."""
    monkeypatch.setenv("NGROK_STANDIN", "no_network")
    with pytest.raises(NetworkUnreachable):
        tunnel.open(upstream, deadline=2)
    assert agents(agent) == []


@pytest.mark.parametrize("mode", ["dies", "old"])
def test_unusable_agent(
    tunnel: NgrokTunnel, agent: Path, upstream: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that leaves at once, or is too old for this API, is a typed error and leaves no process."""
    monkeypatch.setenv("NGROK_STANDIN", mode)
    with pytest.raises(TunnelError, match="Fix: "):
        tunnel.open(upstream, deadline=2)
    assert agents(agent) == []


def test_missing_agent_at_a_given_path(agent: Path, upstream: int) -> None:
    """A path without a program is said at once, and nothing is downloaded to it."""
    agent.unlink()
    with pytest.raises(AgentMissing):
        NgrokTunnel(TOKEN, agent).open(upstream, deadline=5)
    assert not agent.exists()


def test_program_that_cannot_be_run(agent: Path, upstream: int) -> None:
    """A file that is no program for this machine is a typed error, not an OSError."""
    agent.write_bytes(b"\x00\x01no program")
    with pytest.raises(AgentMissing, match="could not be run"):
        NgrokTunnel(TOKEN, agent).open(upstream, deadline=5)


def test_no_agent_and_no_way_to_download_it(agent: Path, upstream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program pyngrok downloads it; where that fails, the error says what to install."""
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(agent.parent / "bin" / "ngrok"))
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{upstream}")  # speaks no CONNECT
    with pytest.raises(AgentMissing, match="SERVER_URL"):
        NgrokTunnel(TOKEN).open(upstream, deadline=10)


def test_kernels_of_a_folder_share_the_agent(agent: Path, upstream: int, tmp_path: Path) -> None:
    """A second kernel uses the recorded agent, which lives as long as the webhook server and no longer."""
    server = FileLock(tmp_path / "server.lock")
    assert server.acquire()
    first, second = NgrokTunnel(TOKEN, agent, tmp_path), NgrokTunnel(TOKEN, agent, tmp_path)
    assert first.open(upstream, deadline=10) == second.open(upstream, deadline=10)
    assert len(agents(agent)) == 1
    assert (tmp_path / "tunnel.json").stat().st_mode & 0o777 == 0o600
    assert TOKEN not in (tmp_path / "tunnel.json").read_text()
    first.close()
    assert len(agents(agent)) == 1
    server.release()
    second.close()
    assert agents(agent) == []
    assert Agent.recorded(tmp_path) is None


def test_agent_that_leads_elsewhere_is_replaced(agent: Path, upstream: int, tmp_path: Path) -> None:
    """When the server has another port than the recorded agent leads to, that agent is ended."""
    server = FileLock(tmp_path / "server.lock")
    assert server.acquire()
    tunnel = NgrokTunnel(TOKEN, agent, tmp_path)
    tunnel.open(1, deadline=10)
    (former,) = agents(agent)
    url = tunnel.open(upstream, deadline=10)
    assert former not in agents(agent)
    assert post(url, "/", "here")["body"] == "here"
    server.release()
    tunnel.close()


def test_killed_kernel_leaves_an_agent_that_can_be_ended(agent: Path, upstream: int, tmp_path: Path) -> None:
    """Nothing of a kernel runs on kill -9; the record is enough for the webhook server to end its agent."""
    code = (
        "import pathlib, sys, threading, pyngrok.conf; from sipkit.ngrok import NgrokTunnel;"
        "home = pathlib.Path(sys.argv[1]); pyngrok.conf.DEFAULT_NGROK_CONFIG_PATH = str(home / 'ngrok.yml');"
        f"NgrokTunnel({TOKEN!r}, home / 'ngrok', home).open({upstream}, 10);"
        "print('open', flush=True); threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as kernel:
        assert kernel.stdout is not None
        assert kernel.stdout.readline() == b"open\n"
        kernel.send_signal(signal.SIGKILL)
    assert len(agents(agent)) == 1
    end_recorded_agent(tmp_path)
    assert agents(agent) == []


def api(record: Agent, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the agent's local API, as somebody else on this machine can."""
    where = urlsplit(record.api_url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
    connection.request(method, path, json.dumps(body) if body else None)
    said = connection.getresponse().read()
    connection.close()
    return json.loads(said) if said else {}


def test_health_sees_what_the_agent_serves(agent: Path, upstream: int, tmp_path: Path) -> None:
    """Another address for our port is the address now; none at all, or no agent, is a tunnel that is gone."""
    tunnel = NgrokTunnel(TOKEN, agent, tmp_path)
    assert tunnel.requirements() == []
    assert not tunnel.health().alive
    former = tunnel.open(upstream, deadline=10)
    assert tunnel.health() == Health(alive=True, url=former)
    record = Agent.recorded(tmp_path)
    assert record is not None
    (endpoint,) = api(record, "GET", "/api/endpoints")["endpoints"]
    api(record, "DELETE", f"/api/endpoints/{endpoint['name']}")
    gone = tunnel.health()
    assert not gone.alive
    assert "serves no address" in gone.saw
    other = api(record, "POST", "/api/endpoints", {"name": "other", "upstream": endpoint["upstream"]})["url"]
    assert tunnel.health() == Health(alive=True, url=other)
    assert tunnel.url == other != former
    api(record, "DELETE", "/api/endpoints/other")
    assert tunnel.open(upstream, deadline=10) not in {former, other}
    assert tunnel.health().alive
    end_recorded_agent(tmp_path)
    assert "agent has left" in tunnel.health().saw
    assert tunnel.open(upstream, deadline=10)
    tunnel.close()


def test_requirements_are_what_open_raises(agent: Path) -> None:
    """What is missing is told without trying: no token, no program; a static address needs nothing."""
    agent.unlink()
    missing = NgrokTunnel(None, agent).requirements()
    assert [type(each) for each in missing] == [AuthtokenMissing, AgentMissing]
    assert StaticTunnel("https://calls.example.com").requirements() == NoTunnel().requirements() == []


def test_only_browsers_see_the_warning_page(tunnel: NgrokTunnel, upstream: int) -> None:
    """The stand-in shows browsers ngrok's free-plan page; a webhook, with or without our header, passes."""
    where = urlsplit(tunnel.open(upstream, deadline=10))
    seen = {}
    for agent in ("Mozilla/5.0", "Apache-HttpAsyncClient/4.1"):
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
        connection.request("POST", "/", "x", {"User-Agent": agent})
        answer = connection.getresponse()
        seen[agent], _ = answer.getheader("Ngrok-Error-Code"), answer.read()
        connection.close()
    assert list(seen.values()) == ["ERR_NGROK_6024", None]


def test_as_if_live_an_address_here_is_right() -> None:
    """A platform on this machine reaches this machine; Vonage does not."""
    here = {**LIVE, "server_url": "http://127.0.0.1:5000", "webhook_port": 5000}
    check_server_url(Settings.load(**here, voice_api_url="https://127.0.0.1:9"))
    with pytest.raises(SettingsError, match="only programs on this machine"):
        check_server_url(Settings.load(**here))
