"""A public address for the webhook server, so that Vonage's requests reach a laptop.

One protocol, `requirements`, `open`, `health`, `close`, and several ways, chosen by TUNNEL:

    NoTunnel            the sandbox is on this machine and needs none
    StaticTunnel        SERVER_URL: the learner's own address already leads here
    NgrokTunnel         the ngrok agent, through pyngrok (see `ngrok`)
    SshTunnel           `ssh -R` to the relay of SSH_TUNNEL (see `ssh_tunnel`)
    CloudflaredTunnel   Cloudflare's program, where it is installed (see `cloudflared`)

Whichever it is: before a number is pointed at the address, `require_arrival` sees that it leads here.
"""

import json
import time
from typing import ClassVar, Protocol

from sipkit.cloudflared import CloudflaredTunnel
from sipkit.errors import SettingsError, TunnelError
from sipkit.ngrok import NgrokTunnel
from sipkit.refusals import on_this_machine, proxies_for
from sipkit.settings import Settings, TunnelKind
from sipkit.ssh_tunnel import RELAYS, SshTunnel
from sipkit.tunnel_record import DEADLINE, Health

__all__ = [
    "CloudflaredTunnel",
    "Health",
    "NgrokTunnel",
    "NoTunnel",
    "SshTunnel",
    "StaticTunnel",
    "Tunnel",
    "check_server_url",
    "require_arrival",
    "tunnel_for",
    "tunnel_kind",
]

_ATTEMPTS = 4  # a tunnel opened just now may need a moment
_PAUSE = 0.5  # seconds between two of them
_PATIENCE = (2.0, 3.0)  # seconds to connect, and seconds of silence while waiting for an answer
_ANSWER_BYTES = 65536
_NO_BROWSER = {"ngrok-skip-browser-warning": "1"}  # ngrok.com/docs/errors/err_ngrok_6024


class Tunnel(Protocol):
    """A way from the internet to a port of this machine."""

    may_change: ClassVar[bool]
    """Whether the address may change, or the tunnel end, while nobody here does anything."""

    @property
    def url(self) -> str | None:
        """The public address while the tunnel is open, without a slash at the end."""
        ...

    def requirements(self) -> list[TunnelError]:
        """What is missing before it can be opened, as `open` would raise it; empty when nothing is."""
        ...

    def open(self, port: int, deadline: float = DEADLINE) -> str:
        """Lead a public address to 127.0.0.1:`port`, within `deadline` seconds; give the address."""
        ...

    def health(self) -> Health:
        """How it is at the moment; quick, and never raises."""
        ...

    def close(self) -> None:
        """End what this tunnel started; safe to call twice."""
        ...


class _Fixed:
    """What needs no program: the address stands, and nothing can be seen of it from here."""

    may_change: ClassVar[bool] = False

    def __init__(self) -> None:
        self.url: str | None = None

    def requirements(self) -> list[TunnelError]:
        """Nothing."""
        return []

    def health(self) -> Health:
        """Open or not; whether it leads here, `require_arrival` sees."""
        return Health(alive=self.url is not None, url=self.url, saw="" if self.url else "it is not open")

    def close(self) -> None:
        """Forget the address."""
        self.url = None


class NoTunnel(_Fixed):
    """The sandbox calls 127.0.0.1 itself."""

    def open(self, port: int, deadline: float = DEADLINE) -> str:  # noqa: ARG002 - the protocol's
        """Give the server's own address."""
        self.url = f"http://127.0.0.1:{port}"
        return self.url


class StaticTunnel(_Fixed):
    """An address that leads here by somebody else's doing: a reverse proxy, frp, a port forwarding.

    Args:
        server_url: The public address.
    """

    def __init__(self, server_url: str) -> None:
        super().__init__()
        self._server_url = server_url.rstrip("/")

    def open(self, port: int, deadline: float = DEADLINE) -> str:  # noqa: ARG002 - the protocol's
        """Give the public address; that it leads to `port` is its owner's care."""
        self.url = self._server_url
        return self.url


def check_server_url(settings: Settings) -> None:
    """Refuse an own public address that cannot lead to the server, before anything is started.

    Raises:
        SettingsError: It is an address of this machine only, or the server's port is not settled.
    """
    if settings.mode == "sandbox" or not settings.server_url or tunnel_kind(settings) not in {"static", "ssh"}:
        return
    # A platform on this machine, asked as if it were live, reaches what is on this machine.
    if on_this_machine(settings.server_url) and not settings.platform_is_local:
        raise SettingsError(
            f"SERVER_URL is {settings.server_url}, which only programs on this machine reach.",
            "Set SERVER_URL in .env to an address that Vonage reaches, or leave it empty and set NGROK_AUTHTOKEN.",
        )
    if not settings.webhook_port:
        raise SettingsError(
            "SERVER_URL is set, but WEBHOOK_PORT is 0: the webhook server would take any free port, "
            "and nothing would lead from SERVER_URL to it.",
            "Set WEBHOOK_PORT in .env to the port of 127.0.0.1 that SERVER_URL leads to, such as 5000.",
        )


def require_arrival(url: str, instance: str, port: int) -> None:
    """Make sure that a request to a public address arrives at our webhook server.

    Args:
        url: The public address, without a path.
        instance: What our server's `/healthz` says of itself.
        port: Where our server listens on 127.0.0.1; only to be shown.

    Raises:
        TunnelError: Nobody answers there, or somebody else.
    """
    saw = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE if attempt else 0.0)
        saw = _arrives(url, instance)
        if not saw:
            return
    raise TunnelError(
        f"{url} does not lead to the webhook server: {saw}.",
        f"Make it lead to http://127.0.0.1:{port}, where the server listens, path and body unchanged, and try "
        f"again; {url}/healthz shows who answers. A router that keeps its own network from its public address "
        "needs the name in this machine's hosts file or a tunnel.",
    )


def _arrives(url: str, instance: str) -> str:
    """Ask once who answers at a public address; empty if we do, else what was seen there."""
    import requests

    body = b""
    try:
        with requests.get(
            f"{url}/healthz",
            headers=_NO_BROWSER,
            proxies=proxies_for(url),
            timeout=_PATIENCE,
            allow_redirects=False,  # an answer webhook is to be answered, not to be sent elsewhere
            stream=True,
        ) as answer:
            status = answer.status_code
            for piece in answer.iter_content(_ANSWER_BYTES):
                body += piece
                if len(body) > _ANSWER_BYTES:
                    break
    except requests.exceptions.SSLError:
        return "its certificate is not one that the public authorities vouch for"
    except requests.RequestException:
        return "no answer comes from there"
    try:
        told = json.loads(body)["instance"]
    except (ValueError, TypeError, KeyError):
        return f"another program answers there (HTTP {status})"
    return "" if told == instance else "another webhook server answers there"


def tunnel_kind(settings: Settings) -> TunnelKind:
    """Which way TUNNEL asks for; without it, SERVER_URL if there is one, else ngrok."""
    return settings.tunnel or ("static" if settings.server_url else "ngrok")


def tunnel_for(settings: Settings) -> Tunnel:
    """The tunnel these settings ask for.

    Raises:
        SettingsError: TUNNEL asks for one, and what it needs is not set.
    """
    if settings.mode == "sandbox":
        return NoTunnel()
    kind = tunnel_kind(settings)
    if kind == "static":
        if not settings.server_url:
            raise SettingsError("TUNNEL is static, and SERVER_URL is not set.", "Set SERVER_URL in .env.")
        return StaticTunnel(settings.server_url)
    if kind == "ssh":
        if not settings.ssh_tunnel:
            message = "TUNNEL is ssh, and SSH_TUNNEL does not say which relay."
            raise SettingsError(message, f"Set SSH_TUNNEL in .env to user@host of your own host or of {_relays()}.")
        return SshTunnel(settings.ssh_tunnel, settings.home, settings.server_url)
    if kind == "cloudflared":
        return CloudflaredTunnel(settings.home)
    token = settings.ngrok_authtoken
    return NgrokTunnel(token.get_secret_value() if token else None, home=settings.home)


def _relays() -> str:
    return f"{', '.join(RELAYS[:-1])} or {RELAYS[-1]}"
