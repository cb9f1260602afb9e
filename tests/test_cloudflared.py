"""Cloudflare's quick tunnel, by a stand-in for the program that really carries requests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipkit.cloudflared import CloudflaredTunnel
from sipkit.errors import AgentMissing, NetworkUnreachable, TunnelEnded, TunnelError, TunnelRefused, TunnelTimeout
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
