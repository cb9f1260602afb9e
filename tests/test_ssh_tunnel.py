"""The SSH tunnel: the system's own ssh client, and a real SSH server on loopback that forwards back."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest

from sipkit.errors import (
    AgentMissing,
    HostKeyRefused,
    LoginRefused,
    NetworkUnreachable,
    SettingsError,
    TunnelEnded,
    TunnelRefused,
    TunnelTimeout,
)
from sipkit.processes import FileLock
from sipkit.settings import Settings
from sipkit.ssh_tunnel import SshTunnel
from sipkit.tunnel import CloudflaredTunnel, tunnel_for
from sipkit.tunnel_record import end_recorded_agent, recorded_process
from tests.standins.ssh_relay import Relay
from tests.standins.upstream import post, upstream

__all__ = ["upstream"]  # a fixture: pytest finds it by its name here

LOCALHOST_RUN = (
    "Welcome to localhost.run!\nFollow us at [https://twitter.com/localhost_run].\n"
    "To set up and manage custom domains go to https://admin.localhost.run/\nhttps://localhost.run/docs/\n\n"
    "\x1b[1mname.lhr.test tunneled with tls termination, {}\x1b[0m\n"
    "create an account for a longer lasting domain name. see https://localhost.run/docs/forever-free/ for more.\n"
)
SERVEO = "\x1b[32mForwarding HTTP traffic from {}\n\x1b[0m"
PINGGY = "You are not authenticated.\nYour tunnel expires in 60 minutes. https://dashboard.pinggy.io\n\n{}\n"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay that speaks like localhost.run."""
    folder = tmp_path / "relay"
    folder.mkdir()
    relay = Relay(folder, LOCALHOST_RUN.format)
    relay.start()
    yield relay
    relay.stop()


def tunnel_to(relay: Relay, home: Path | None = None, target: str = "nokey@localhost.run", **more: Any) -> SshTunnel:
    """A tunnel to the relay under the name of a public one, with none of the user's keys and settings."""
    options = ["-F", os.devnull, "-i", str(relay.key)]
    for name, value in {"HostName": "127.0.0.1", "Port": relay.port, "IdentitiesOnly": "yes"}.items():
        options += ["-o", f"{name}={value}"]
    return SshTunnel(target, home or relay.folder / "home", more=tuple(options), **more)


@pytest.fixture
def tunnel(relay: Relay) -> Iterator[SshTunnel]:
    """A tunnel through the relay, closed afterwards."""
    tunnel = tunnel_to(relay)
    yield tunnel
    tunnel.close()


def clients(relay: Relay) -> list[psutil.Process]:
    """Every living ssh client of the relay, whoever started it."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(relay.key) in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
        if Path(process.info["cmdline"][0]).name == "ssh"
    ]


@pytest.mark.parametrize("greeting", [LOCALHOST_RUN, SERVEO, PINGGY], ids=["localhost.run", "serveo", "pinggy"])
def test_requests_come_through(relay: Relay, tunnel: SshTunnel, upstream: int, greeting: str) -> None:
    """The address is found in what each public relay prints, and a POST to it reaches our port."""
    relay.greeting = greeting.format
    url = tunnel.open(upstream, deadline=10)
    assert url == relay.public
    assert post(url, "/voice-events?leg=1", "answered") == "/voice-events?leg=1 answered"
    health = tunnel.health()
    assert health.alive
    assert health.url == url


def test_own_host_with_gateway_ports(relay: Relay, upstream: int) -> None:
    """A host that says no address but opens a port: the address is the host and the port it allocated."""
    relay.greeting = lambda _: "Last login: Monday\n"
    tunnel = tunnel_to(relay, target=f"me@127.0.0.1:{relay.port}")
    assert tunnel.open(upstream, deadline=10) == relay.public
    assert post(relay.public, "/", "here") == "/ here"
    tunnel.close()


def test_own_host_with_a_reverse_proxy(relay: Relay, upstream: int) -> None:
    """With SERVER_URL that is the address, as soon as the host has taken the port it leads to."""
    tunnel = tunnel_to(relay, target="me@calls.example.com", server_url="https://calls.example.com")
    assert tunnel.open(upstream, deadline=10) == "https://calls.example.com"
    assert post(relay.public, "/", "here") == "/ here"
    tunnel.close()


def test_http_and_https_is_https(relay: Relay, tunnel: SshTunnel, upstream: int) -> None:
    """A relay that gives its address twice, in the clear and with TLS: the latter is taken."""
    relay.greeting = lambda _: "http://a1.free.pinggy.test\nhttps://a1.free.pinggy.test\n"
    assert tunnel.open(upstream, deadline=10) == "https://a1.free.pinggy.test"


def test_changed_address_is_seen(
    relay: Relay, tunnel: SshTunnel, upstream: int, wait_until: Callable[..., Any]
) -> None:
    """Free relays give another name after a while, in the same session; health tells the latest."""
    tunnel.open(upstream, deadline=10)
    relay.say("other.lhr.test tunneled with tls termination, https://other.lhr.test")
    wait_until(lambda: tunnel.health().url == "https://other.lhr.test", 5)
    assert tunnel.url == "https://other.lhr.test"


def test_close_ends_the_client(relay: Relay, tunnel: SshTunnel, upstream: int) -> None:
    """One client for the same port twice, in a process session of its own, and none after close."""
    assert tunnel.open(upstream, deadline=10) == tunnel.open(upstream, deadline=10)
    (client,) = clients(relay)
    assert os.getsid(client.pid) == client.pid != os.getsid(0)
    tunnel.close()
    tunnel.close()
    assert clients(relay) == []
    assert not tunnel.health().alive


def test_ended_connection_is_seen(
    relay: Relay, tunnel: SshTunnel, upstream: int, wait_until: Callable[..., Any]
) -> None:
    """The relay goes away: the tunnel is not healthy, and says why; with the relay back it opens anew."""
    tunnel.open(upstream, deadline=10)
    relay.hang_up()
    wait_until(lambda: not tunnel.health().alive, 5)
    assert "localhost.run" in tunnel.health().saw
    with pytest.raises(NetworkUnreachable):
        tunnel.open(upstream, deadline=5)


def test_no_address_in_time(relay: Relay, tunnel: SshTunnel, upstream: int) -> None:
    """A relay that lets us in and says nothing costs the deadline and no more, and no client stays."""
    relay.greeting = lambda _: "Your connection id is 1; read https://docs.relay.test/\n"
    with pytest.raises(TunnelTimeout, match="no public address within 1 s") as caught:
        tunnel.open(upstream, deadline=0.6)
    assert "SSH_TUNNEL" in caught.value.fix
    assert clients(relay) == []


def test_forwarding_refused(relay: Relay, tunnel: SshTunnel, upstream: int) -> None:
    """A host that lets us in but forwards nothing is told apart, with what to allow there."""
    relay.forwards = False
    with pytest.raises(TunnelRefused, match="refuses to forward") as caught:
        tunnel.open(upstream, deadline=10)
    assert "AllowTcpForwarding" in caught.value.fix
    assert clients(relay) == []


def test_login_refused(relay: Relay, upstream: int) -> None:
    """A relay that does not know our key: the error says what to do, and does not show the user, maybe a token."""
    relay.lets_in = False
    with pytest.raises(LoginRefused, match="none of this machine's SSH keys") as caught:
        tunnel_to(relay, target="s3cretToken@localhost.run").open(upstream, deadline=10)
    assert "ssh-keygen" in caught.value.fix
    assert "s3cret" not in str(caught.value)


def test_changed_host_key_is_refused(relay: Relay, tunnel: SshTunnel, upstream: int) -> None:
    """The first host key is kept and trusted; another one for the same host is refused."""
    tunnel.open(upstream, deadline=10)
    tunnel.close()
    relay.hang_up()
    relay.host_key = asyncssh.generate_private_key("ssh-ed25519")
    relay.start()
    with pytest.raises(HostKeyRefused):
        tunnel.open(upstream, deadline=10)


def test_nobody_there(tmp_path: Path) -> None:
    """A host that does not answer, or a name that does not exist, is said within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    options = ("-F", os.devnull)
    for target in (f"me@127.0.0.1:{port}", "me@no-such-host.invalid"):
        with pytest.raises(NetworkUnreachable, match="cannot be reached"):
            SshTunnel(target, tmp_path, more=options).open(5000, deadline=10)


def test_client_that_leaves(relay: Relay, tunnel: SshTunnel, upstream: int, tmp_path: Path) -> None:
    """A client that ends without a known word is TunnelEnded, and never a traceback of the system's."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho bye\n")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        with pytest.raises(TunnelEnded):
            tunnel.open(upstream, deadline=5)
        program.write_bytes(b"\x00no program")
        with pytest.raises(AgentMissing, match="could not be run"):
            tunnel.open(upstream, deadline=5)


def test_no_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an ssh program that is the requirement, and opening says the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tunnel = SshTunnel("me@localhost.run", tmp_path)
    (missing,) = tunnel.requirements()
    assert isinstance(missing, AgentMissing)
    assert "openssh-client" in missing.fix
    with pytest.raises(AgentMissing):
        tunnel.open(5000)


@pytest.mark.parametrize("target", ["", "-oProxyCommand=x", "a b@host", "host:x", "user@"])
def test_target_is_checked(target: str, tmp_path: Path) -> None:
    """What is no user@host:port, or what ssh would take for an option, is refused before anything runs."""
    with pytest.raises(SettingsError, match="SSH_TUNNEL"):
        SshTunnel(target, tmp_path)


def test_kernels_share_and_the_server_ends_it(relay: Relay, upstream: int, tmp_path: Path) -> None:
    """A killed kernel leaves its tunnel; another kernel uses it, and the webhook server's last act ends it."""
    server = FileLock(tmp_path / "server.lock")
    assert server.acquire()
    code = (
        "import sys, pathlib, threading; from sipkit.ssh_tunnel import SshTunnel;"
        f"t = SshTunnel('nokey@localhost.run', pathlib.Path(sys.argv[1]), more={tunnel_to(relay)._more!r});"
        f"print(t.open({upstream}, 10), flush=True); threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as kernel:
        assert kernel.stdout is not None
        url = kernel.stdout.readline().strip()
        kernel.send_signal(signal.SIGKILL)
    other = tunnel_to(relay, tmp_path)
    assert other.open(upstream, deadline=10) == url == relay.public
    assert len(clients(relay)) == 1
    assert post(url, "/", "still") == "/ still"
    other.close()
    assert len(clients(relay)) == 1
    server.release()
    end_recorded_agent(tmp_path)
    assert clients(relay) == []
    assert recorded_process(tmp_path) is None


LIVE = {
    "mode": "live",
    "video_api_key": "1",
    "video_api_secret": "s",
    "voice_api_key": "k",
    "voice_api_secret": "s",
    "conference_number": "12025550100",
}


def test_settings_choose(tmp_path: Path) -> None:
    """TUNNEL says which way; what it needs besides is asked for, and SSH_TUNNEL's user is in no repr."""
    chosen = tunnel_for(Settings.load(**LIVE, home=tmp_path, tunnel="ssh", ssh_tunnel="t0ken@localhost.run"))
    assert isinstance(chosen, SshTunnel)
    assert chosen.host == "localhost.run"
    assert "t0ken" not in repr(chosen)
    assert isinstance(tunnel_for(Settings.load(**LIVE, home=tmp_path, tunnel="cloudflared")), CloudflaredTunnel)
    for kind, needed in {"ssh": "SSH_TUNNEL", "static": "SERVER_URL"}.items():
        with pytest.raises(SettingsError, match=needed):
            tunnel_for(Settings.load(**LIVE, home=tmp_path, tunnel=kind))
