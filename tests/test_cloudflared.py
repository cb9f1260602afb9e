"""Cloudflare's quick tunnel, by a stand-in for the program that really carries requests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit.cloudflared import CloudflaredTunnel
from sipkit.errors import AgentMissing, NetworkUnreachable, TunnelEnded, TunnelError, TunnelRefused, TunnelTimeout
from sipkit.tunnel_record import recorded, recorded_process
from tests.standins.upstream import post, upstream

__all__ = ["upstream"]  # a fixture: pytest finds it by its name here

STANDIN = Path(__file__).parent / "standins" / "cloudflared.py"


@pytest.fixture
def tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudflaredTunnel]:
    """A tunnel by the stand-in, which is the `cloudflared` on PATH; closed afterwards."""
    program = tmp_path / "bin" / "cloudflared"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{STANDIN.read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    tunnel = CloudflaredTunnel(tmp_path)
    yield tunnel
    tunnel.close()


def test_requests_come_through(tunnel: CloudflaredTunnel, upstream: int) -> None:
    """The address in the box is given once the tunnel is connected, and a POST to it reaches our port."""
    assert tunnel.requirements() == []
    url = tunnel.open(upstream, deadline=10)
    assert post(url, "/voice-dtmf", "1234") == "/voice-dtmf 1234"
    assert tunnel.health().url == url
    tunnel.close()
    assert not tunnel.health().alive
    with pytest.raises(ConnectionRefusedError):
        post(url, "/", "x")


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("silent", TunnelTimeout), ("no_network", NetworkUnreachable), ("limited", TunnelRefused), ("dies", TunnelEnded)],
)
def test_what_can_fail(
    tunnel: CloudflaredTunnel, upstream: int, mode: str, kind: type[TunnelError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence, no network, a refusal and a program that leaves: each is its own typed error, with the fix."""
    monkeypatch.setenv("CLOUDFLARED_STANDIN", mode)
    with pytest.raises(TunnelError, match="Fix: ") as caught:
        tunnel.open(upstream, deadline=0.6 if mode == "silent" else 10)
    assert type(caught.value) is kind


def test_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program on PATH that is the requirement, and opening says the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    tunnel = CloudflaredTunnel(tmp_path)
    (missing,) = tunnel.requirements()
    assert isinstance(missing, AgentMissing)
    with pytest.raises(AgentMissing, match="cloudflared"):
        tunnel.open(5000)


KERNEL = """
import sys
from pathlib import Path
from sipkit.cloudflared import CloudflaredTunnel
CloudflaredTunnel(Path(sys.argv[1])).open(int(sys.argv[2]), 30)
"""


def test_killed_while_it_opens(
    tunnel: CloudflaredTunnel,
    upstream: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., Any],
) -> None:
    """A kernel killed before there is an address leaves a program that is on record, and ended by the next one."""
    with monkeypatch.context() as patch:
        patch.setenv("CLOUDFLARED_STANDIN", "silent")
        with subprocess.Popen([sys.executable, "-c", KERNEL, str(tmp_path), str(upstream)]) as kernel:
            left = wait_until(lambda: recorded_process(tmp_path), 20)
            kernel.kill()
    assert left.alive
    assert tunnel.open(upstream, deadline=10)
    assert not left.alive


def test_address_that_has_scrolled_away(tunnel: CloudflaredTunnel, upstream: int, tmp_path: Path) -> None:
    """Of a tunnel that has said much, another kernel takes the recorded address; the tunnel is not ended."""
    url = tunnel.open(upstream, deadline=10)
    program = recorded_process(tmp_path)
    with (tmp_path / "tunnel.log").open("a") as log:
        log.write("a request came through\n" * 20_000)
    other = CloudflaredTunnel(tmp_path)
    assert other.open(upstream, deadline=10) == url == recorded(tmp_path)["url"]
    assert recorded_process(tmp_path) == program


def test_folder_that_cannot_be_written(upstream: int, tunnel: CloudflaredTunnel, tmp_path: Path) -> None:
    """A log that cannot be opened is a typed error with a fix, and no bare OSError."""
    (tmp_path / "tunnel.log").mkdir()
    with pytest.raises(TunnelError, match="could not be written") as caught:
        tunnel.open(upstream, deadline=10)
    assert "writable" in caught.value.fix
