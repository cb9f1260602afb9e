"""Cloudflare's quick tunnel, by the cloudflared program when it is on PATH: no account, a new address each time.

The program prints a box with the address, and later "Registered tunnel connection" when requests can come through
(its log of 2023 to 2026, as many have quoted it). Quick tunnels have no uptime guarantee, and do not work while a
configuration file of a named tunnel is in ~/.cloudflared (Cloudflare's page on TryCloudflare).
"""

import re
import shutil
from pathlib import Path

from sipkit.errors import AgentMissing, NetworkUnreachable, TunnelEnded, TunnelError, TunnelRefused, TunnelTimeout
from sipkit.tunnel_program import ProgramTunnel

_BOX = re.compile(r"\|\s+(https?://[A-Za-z0-9.-]+(?::\d+)?)/?\s+\|")
_CONNECTED = re.compile(r"Registered tunnel connection|Connection \S+ registered")
_LOST = re.compile(r"no such host|dial tcp|connection refused|i/o timeout|network is unreachable|Unable to establish")
_NO = re.compile(r"failed to (?:request|unmarshal|parse) quick Tunnel|Too Many Requests", re.IGNORECASE)


class CloudflaredTunnel(ProgramTunnel):
    """An address under trycloudflare.com, led here by cloudflared.

    Args:
        home: The data folder.
        program: Another program than the `cloudflared` on PATH.
    """

    def __init__(self, home: Path | None = None, program: Path | None = None) -> None:
        super().__init__(home)
        self._program = str(program) if program else "cloudflared"

    def requirements(self) -> list[TunnelError]:
        """The program."""
        if shutil.which(self._program):
            return []
        fix = "Install cloudflared from Cloudflare's downloads page and put it on PATH, or choose another TUNNEL."
        return [AgentMissing("There is no cloudflared program on this machine.", fix)]

    def _command(self, port: int) -> list[str]:
        program = shutil.which(self._program) or self._program
        return [program, "tunnel", "--no-autoupdate", "--url", f"http://127.0.0.1:{port}"]

    def _address(self, said: str, quiet: float) -> str | None:  # noqa: ARG002 - the protocol's
        found = _BOX.findall(said)
        return str(found[-1]) if found and _CONNECTED.search(said) else None

    def _why(self, said: str) -> TunnelError | None:
        if _BOX.search(said) and _CONNECTED.search(said):
            return None  # what it complained of before, it overcame
        if _LOST.search(said):
            return NetworkUnreachable("cloudflared does not reach Cloudflare.")
        if _NO.search(said):
            fix = "Quick tunnels are limited: wait some minutes, or choose another way with TUNNEL in .env."
            return TunnelRefused("Cloudflare refused the quick tunnel.", fix)
        return None

    def _no_address(self, deadline: float) -> TunnelError:
        fix = "Try again; a config.yml in ~/.cloudflared prevents quick tunnels: move it away."
        return TunnelTimeout(f"cloudflared gave no public address within {deadline:.0f} s.", fix)

    def _ended(self) -> TunnelError:
        return TunnelEnded("The cloudflared program has left.")
