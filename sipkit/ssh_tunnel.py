"""A reverse tunnel through any SSH host, by the system's own ssh client (`ssh -R`, RFC 4254 section 7.1).

Public relays (localhost.run, serveo.net, pinggy.io) open a public address for whoever asks for remote
forwarding, and print it. An own host does it with `GatewayPorts` (the address is then http://HOST:PORT), or
with its own reverse proxy in front, whose address is SERVER_URL.

Host keys: a host seen for the first time is trusted, and its key kept in the data folder; one whose key differs
from the kept one, or from the user's own known_hosts, is refused (`accept-new`, ssh_config(5)). Nothing is
ever asked for: a key with a passphrase must be in an agent.
"""

import re
import shutil
from pathlib import Path

from sipkit.errors import (
    AgentMissing,
    HostKeyRefused,
    LoginRefused,
    NetworkUnreachable,
    SettingsError,
    TunnelEnded,
    TunnelError,
    TunnelRefused,
    TunnelTimeout,
)
from sipkit.tunnel_program import ProgramTunnel

RELAYS = ("localhost.run", "serveo.net", "pinggy.io")
"""Known to print the address of an https site for whoever asks for port 80 (their own pages, 2026)."""

_TARGET = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_ADDRESS = r"https?://[A-Za-z0-9.-]+(?::\d+)?"
_SAYINGS = (
    # localhost.run says that NAME is tunneled with tls termination, and the address;
    # serveo.net, that it is forwarding HTTP traffic from the address
    re.compile(rf"(?im)^.*\b(?:tunnell?ed with|forwarding http\w* traffic from)\b.*?({_ADDRESS})/?\s*$"),
    # pinggy.io: the address alone on a line, http first, then https
    re.compile(rf"(?im)^\s*({_ADDRESS})/?\s*$"),
)
_ALLOCATED = re.compile(r"(?m)^Allocated port (\d+) for remote forward")  # OpenSSH, from level INFO on
_FORWARDED = re.compile(r"remote forward success for: listen")  # OpenSSH, level DEBUG1
_PAUSE = 1.0  # seconds of silence after which a host that gave a port will not say an address any more
_WORDS: tuple[tuple[str, type[TunnelError], str, str], ...] = (
    (
        r"HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key .* (?:changed|revoked)",
        HostKeyRefused,
        "{host} shows another host key than the one known for it",
        "",
    ),
    (
        r"remote port forwarding failed|forwarding .*(?:prohibited|denied|refused)|remote forward failure",
        TunnelRefused,
        "{host} refuses to forward a port to this machine",
        "Use another relay in SSH_TUNNEL; on an own host allow it: AllowTcpForwarding and GatewayPorts in sshd_config.",
    ),
    (
        r"Permission denied|Too many authentication failures|authentication methods|Load key .*: ",
        LoginRefused,
        "{host} accepts none of this machine's SSH keys for this user",
        "",
    ),
    (
        r"Could not resolve|(?:refused|timed out|reset)\b|[Nn]o route|unreachable|closed by|kex_ex|banner ex",
        NetworkUnreachable,
        "{host} cannot be reached by SSH",
        "Check the host and port in SSH_TUNNEL and the network; company networks often block SSH.",
    ),
)


class SshTunnel(ProgramTunnel):
    """An address of an SSH relay, led here by the system's ssh client.

    Args:
        target: user@host or user@host:port of the relay. The user's part may be a token; it is shown nowhere.
        home: The data folder.
        server_url: The address of a reverse proxy on the relay that leads to the same port there; without it
            the relay says the address itself.
        more: Further options for ssh, such as `-i FILE`; the user's own ssh_config counts as well.

    Raises:
        SettingsError: `target` is no such thing.
    """

    def __init__(
        self, target: str, home: Path | None = None, server_url: str | None = None, more: tuple[str, ...] = ()
    ) -> None:
        super().__init__(home)
        found = _TARGET.fullmatch(target.strip())
        if found is None or target.strip().startswith("-"):  # ssh would take it for an option
            raise SettingsError("SSH_TUNNEL must be user@host or user@host:port.")
        self._user, self._host, self._ssh_port = found["user"], found["host"].strip("[]"), found["port"]
        self._server_url = server_url
        self._more = more

    @property
    def host(self) -> str:
        """The relay."""
        return self._host

    def requirements(self) -> list[TunnelError]:
        """The ssh client."""
        if shutil.which("ssh"):
            return []
        fix = "Install OpenSSH's client (Debian: openssh-client; Windows: optional features), or choose another TUNNEL."
        return [AgentMissing("There is no ssh program on this machine.", fix)]

    def _command(self, port: int) -> list[str]:
        home = self._log_path().parent
        if self._server_url:
            remote, level = port, "DEBUG1"  # only there it says that a port we named is ours
        else:
            remote, level = (80 if self._is_relay() else 0), "INFO"
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": f'"{home / "known_hosts"}" ~/.ssh/known_hosts',
            "ExitOnForwardFailure": "yes",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "2",
            "ConnectTimeout": "10",
            "ControlMaster": "no",  # or the tunnel would live in another program of the user's
            "ControlPath": "none",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "LogLevel": level,
        }
        command = [shutil.which("ssh") or "ssh", "-T", *(["-N"] if self._server_url else []), *self._more]
        command += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        command += ["-p", self._ssh_port] if self._ssh_port else []
        command += ["-l", self._user] if self._user else []
        return [*command, "-R", f"{remote}:127.0.0.1:{port}", "--", self._host]

    def _is_relay(self) -> bool:
        return any(self._host == name or self._host.endswith(f".{name}") for name in RELAYS)

    def _address(self, said: str, quiet: float) -> str | None:
        if self._server_url:
            return self._server_url if _FORWARDED.search(said) else None
        for saying in _SAYINGS:
            found = [url for url in saying.findall(said) if not self._is_own_page(url)]
            if found:
                last = found[-1]
                secure = f"https{last.removeprefix('http')}"
                return secure if secure in found else last
        allocated = _ALLOCATED.findall(said)
        if allocated and quiet >= _PAUSE:
            host = f"[{self._host}]" if ":" in self._host else self._host
            return f"http://{host}:{allocated[-1]}"
        return None

    def _is_own_page(self, url: str) -> bool:
        """Whether an address is a page of the relay about itself."""
        host = url.partition("://")[2].partition(":")[0]
        return host in RELAYS or host.split(".")[0] in {"www", "docs", "admin", "dashboard", "console"}

    def _why(self, said: str) -> TunnelError | None:
        for pattern, kind, message, fix in _WORDS:
            if re.search(pattern, said):
                return kind(f"{message.format(host=self._host)}.", fix or None)
        return None

    def _no_address(self, deadline: float) -> TunnelError:
        return TunnelTimeout(
            f"{self._host} gave no public address within {deadline:.0f} s.",
            "Try again; if it stays silent, try another relay in SSH_TUNNEL, or read tunnel.log in the data folder.",
        )

    def _ended(self) -> TunnelError:
        return TunnelEnded(f"The ssh connection to {self._host} has ended.")
