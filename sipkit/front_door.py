"""Where the number's calls come in: the webhook server, its public address, and the number pointed at it.

the platform --> public address --> tunnel --> webhook server on this machine
                 (the application's answer and event URL)
"""

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sipkit import voice
from sipkit.errors import MissingCredential, ServerError
from sipkit.server import WebhookServer
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.tunnel import Tunnel, check_server_url, require_arrival, tunnel_for

if TYPE_CHECKING:
    from sipkit.cloud import Account

_BEFORE_US = "voice_before_sipkit"


class FrontDoor:
    """Opens, checks and lets go of all three, for one board.

    Args:
        settings: As loaded from `.env` and the environment.
        store: Keeps the public address, and what the application said before.
        account: Gives the account as it is now.
        owner: Whose bridges the server hangs up when nobody is left.
    """

    def __init__(self, settings: Settings, store: Store, account: "Callable[[], Account]", owner: str) -> None:
        self.server = WebhookServer(settings, owner)
        self._settings = settings
        self._tunnel: Tunnel = tunnel_for(settings)
        self._store = store
        self._account = account
        self._turn = threading.RLock()

    def open(self) -> WebhookServer:
        """Start the server or adopt the running one, make it public, and point the number at it.

        What is wrong in the settings is said before anything is started.

        Raises:
            MissingCredential: There is no signature secret (live).
            SettingsError: SERVER_URL cannot lead to the server (live).
            ServerError: The server does not start.
            TunnelError: There is no public address, or it leads somewhere else.
            AuthenticationRefused, PlatformError: The application could not be pointed.
        """
        with self._turn:
            account = self._account()
            _require_signature_secret(account)
            check_server_url(self._settings)
            self.server.start(environment=account.environment)
            url = self._tunnel.open(self.server.port)
            # A number that is pointed elsewhere lets callers hear silence, and tells nobody why.
            require_arrival(url, self.server.instance, self.server.port)
            self._store.set_fact("public_url", url)
            self._point(account, url)
            return self.server

    def addresses(self) -> tuple[str, str]:
        """Return the server's public address and its address on this machine.

        Raises:
            ServerError: No server runs.
        """
        if not self.server.alive:
            message = "No webhook server runs that could show a room's page."
            raise ServerError(message, "Run board.start_webhook_server() first.")
        return self._tunnel.url or self.server.url, self.server.url

    def require_open(self) -> None:
        """Make sure that a call placed now would be answered.

        Raises:
            ServerError: It would not; it would be billed and come to nothing.
        """
        if not self.server.alive:
            message = "No webhook server runs that could answer the call."
            raise ServerError(message, "Run board.start_webhook_server() first.")

    def restore_application(self) -> bool:
        """Give the application the webhooks it had before it was pointed here; False if none are known."""
        with self._turn:
            before = self._store.fact(_BEFORE_US)
            if not before:
                return False
            voice.restore_application(self._account(), json.loads(before))
            self._store.set_fact(_BEFORE_US, "")
            self._store.record("voice", "The Voice application has its former webhooks again.")
            return True

    def close(self) -> None:
        """Let go of the server and the tunnel; safe to call twice."""
        with self._turn, ExitStack() as last:
            last.callback(self._tunnel.close)
            self.server.stop()

    def _point(self, account: "Account", url: str) -> None:
        if not account.application_id:
            self._store.record(
                "voice",
                "VONAGE_APPLICATION_ID is not set: in the dashboard, point your Voice application at "
                f"{url}/voice-answer (answer URL, GET) and {url}/voice-events (event URL, POST).",
            )
            return
        previous = voice.point_application(account, url)
        webhooks = previous.get("webhooks") or {}
        if (webhooks.get("answer_url") or {}).get("address") == f"{url}/voice-answer":
            return
        self._store.record("voice", f"The Voice application now asks {url}/voice-answer.")
        if not self._store.fact(_BEFORE_US):
            self._store.set_fact(_BEFORE_US, json.dumps(previous))


def _require_signature_secret(account: "Account") -> None:
    if not account.signature_secret.get_secret_value():
        raise MissingCredential(
            "SIGNATURE_SECRET is missing, and the webhook server does not start without it: anybody who finds "
            "its address could listen in on a session.",
            "Copy the signature secret from the dashboard (API settings) into .env as SIGNATURE_SECRET, then "
            "restart the kernel.",
        )
