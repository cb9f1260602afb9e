"""Where the number's calls come in: the webhook server, its public address, and the number pointed at it.

the platform --> public address --> tunnel --> webhook server on this machine
                 (the application's answer and event URL)

While it is open the address is watched: a new one is told to the platform, a tunnel that ended is opened anew.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sipkit.errors import MissingCredential, ServerError, SipkitError, TunnelError
from sipkit.pointing import Pointing
from sipkit.server import WebhookServer
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.tunnel import Tunnel, check_server_url, require_arrival, tunnel_for
from sipkit.tunnel_record import server_runs
from sipkit.tunnel_watch import PERIOD, TunnelWatch

if TYPE_CHECKING:
    from sipkit.cloud import Account


class FrontDoor:
    """Opens, checks and lets go of all three, for one board.

    Args:
        settings: As loaded from `.env` and the environment.
        store: Keeps the public address, and what the application said before.
        account: Gives the account as it is now.
        owner: Whose bridges the server hangs up when nobody is left.
        watch_every: Seconds between two looks at the tunnel.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        account: "Callable[[], Account]",
        owner: str,
        watch_every: float = PERIOD,
    ) -> None:
        self.server = WebhookServer(settings, owner)
        self._settings = settings
        self._tunnel: Tunnel = tunnel_for(settings)
        self._store = store
        self._owner = owner
        self._account = account
        self._pointing = Pointing(store, settings.home)
        self._opened = False  # all of it: server, tunnel, and the application pointed
        self._pointed = False  # or perhaps so: the answer to the change may have been lost
        self._watch_every = watch_every
        self._watch: TunnelWatch | None = None
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
            if not self._settings.unsigned_webhooks_allowed:
                _require_signature_secret(account)
            check_server_url(self._settings)
            self._opened = False
            self.server.start(environment=account.environment)
            url = self._tunnel.open(self.server.port)
            # A number that is pointed elsewhere lets callers hear silence, and tells nobody why.
            require_arrival(url, self.server.instance, self.server.port)
            if account.application_id:
                self._pointing.adopt_older_note(account)  # it is read by the address that we had then
            self._store.set_fact("public_url", url)
            self._store.tell_owner(self._owner)
            self._point(account, url)
            if account.application_id:
                self._pointing.lead_number(account)
            if self._watch is None:
                self._watch = TunnelWatch(self._tunnel, self._port, self._moved, self._tell, self._watch_every)
                self._watch.start()
            self._opened = True
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
        elif not self._opened:
            message = "The webhook server was not opened to its end: the number's calls do not reach it."
        else:
            return
        raise ServerError(message, "Run board.start_webhook_server() first.")

    def restore_application(self) -> bool:
        """Give the application the webhooks it had before it was pointed here; False if none are known."""
        with self._turn:
            return self._pointing.restore(self._account())

    def close(self) -> None:
        """Let go of the server and the tunnel; the last to let go live also restores the application.

        In the sandbox the application is left as it is: one lesson goes on where another ended. Safe to call twice.
        """
        with self._turn:
            watch, self._watch = self._watch, None
            self._opened = False
        if watch is not None:
            watch.stop()
        with self._turn, ExitStack() as last:
            last.callback(self._tunnel.close)
            pointed, self._pointed = self._pointed, False
            if pointed and self._settings.mode != "sandbox":
                last.callback(self._restore_when_last)
            self.server.stop()

    def _restore_when_last(self) -> None:
        try:
            self._pointing.restore(self._account(), unless=lambda: server_runs(self._settings.home))
        except SipkitError as error:
            self._tell(f"The Voice application could not be given its former webhooks: {error.message}")

    def _port(self) -> int:
        return self.server.port

    def _tell(self, text: str) -> None:
        self._store.record("tunnel", text)

    def _moved(self, url: str) -> None:
        """Tell everybody the new address; first of all the platform, whose webhooks come to nothing until then."""
        seen = time.monotonic()
        with self._turn:
            if self._watch is None:
                return  # closed while this look was under way; what it was given back stays given back
            self._store.set_fact("public_url", url)
            self._point(self._account(), url)
        took = time.monotonic() - seen
        self._store.record("tunnel", f"The public address is {url} now.", data={"seconds": round(took, 3)})
        try:
            require_arrival(url, self.server.instance, self.server.port)
        except TunnelError as error:
            self._tell(error.message)

    def _point(self, account: "Account", url: str) -> None:
        if not account.application_id:
            self._store.record(
                "voice",
                "VONAGE_APPLICATION_ID is not set: in the dashboard, point your Voice application at "
                f"{url}/voice-answer (answer URL, GET) and {url}/voice-events (event URL, POST).",
            )
            return
        self._pointed = True
        if self._pointing.point(account, url):
            self._store.record("voice", f"The Voice application now asks {url}/voice-answer.")


def _require_signature_secret(account: "Account") -> None:
    if not account.signature_secret.get_secret_value():
        raise MissingCredential(
            "SIGNATURE_SECRET is missing, and the webhook server does not start without it: anybody who finds "
            "its address could listen in on a session.",
            "Copy the signature secret from the dashboard (API settings) into .env as SIGNATURE_SECRET, then "
            "restart the kernel.",
        )
