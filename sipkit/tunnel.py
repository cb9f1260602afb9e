"""A public address for the webhook server, so that Vonage's requests reach a laptop.

One protocol, three ways:

    NoTunnel        the sandbox is on this machine and needs none
    StaticTunnel    SERVER_URL: the learner's own address already leads here
    NgrokTunnel     the ngrok agent, through pyngrok (see `ngrok`)
"""

from typing import Protocol

from sipkit.ngrok import DEADLINE, NgrokTunnel
from sipkit.settings import Settings

__all__ = ["NgrokTunnel", "NoTunnel", "StaticTunnel", "Tunnel", "tunnel_for"]


class Tunnel(Protocol):
    """A way from the internet to a port of this machine."""

    @property
    def url(self) -> str | None:
        """The public address while the tunnel is open, without a slash at the end."""
        ...

    def open(self, port: int, deadline: float = DEADLINE) -> str:
        """Lead a public address to 127.0.0.1:`port`, within `deadline` seconds; give the address."""
        ...

    def close(self) -> None:
        """End what this tunnel started; safe to call twice."""
        ...


class NoTunnel:
    """The sandbox calls 127.0.0.1 itself."""

    def __init__(self) -> None:
        self.url: str | None = None

    def open(self, port: int, deadline: float = DEADLINE) -> str:  # noqa: ARG002 - the protocol's
        """Give the server's own address."""
        self.url = f"http://127.0.0.1:{port}"
        return self.url

    def close(self) -> None:
        """Forget the address."""
        self.url = None


class StaticTunnel:
    """An address that leads here by somebody else's doing: a reverse proxy, frp, a port forwarding.

    Args:
        server_url: The public address.
    """

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url.rstrip("/")
        self.url: str | None = None

    def open(self, port: int, deadline: float = DEADLINE) -> str:  # noqa: ARG002 - the protocol's
        """Give the public address; that it leads to `port` is its owner's care."""
        self.url = self._server_url
        return self.url

    def close(self) -> None:
        """Forget the address."""
        self.url = None


def tunnel_for(settings: Settings) -> Tunnel:
    """The tunnel these settings ask for."""
    if settings.mode == "sandbox":
        return NoTunnel()
    if settings.server_url:
        return StaticTunnel(settings.server_url)
    token = settings.ngrok_authtoken
    return NgrokTunnel(token.get_secret_value() if token else None, home=settings.home)
