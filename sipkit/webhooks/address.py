"""By which address the platform reaches this server: what it is told to call next begins with it."""

import logging
import os
from typing import Final

from sipkit.refusals import on_this_machine
from sipkit.settings import Settings
from sipkit.store import Store

log = logging.getLogger("sipkit.webhooks")

_FIX_IN_SANDBOX: Final = (
    "Set SERVER_URL to the address this server listens on, such as http://127.0.0.1:5000, and start it again; "
    "or start it by `python webhook_server.py`, which needs no SERVER_URL in the sandbox."
)
_FIX_LIVE: Final = (
    "Set SERVER_URL to the public address that leads to this server and start it again; "
    "or run board.start_webhook_server(), which opens a tunnel."
)


class Address:
    """The server's address, as the platform knows it.

    Args:
        settings: The address of a server started by hand.
        store: Where whoever opened a tunnel tells its address.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._started_at = store.time()

    def public_url(self) -> str | None:
        """Return the address the platform reaches this server by, or None if nobody told.

        Whoever opened the tunnel told the store after this server had started; what was told
        earlier spoke of another server. Never taken from a request's Host, which a stranger chooses.
        """
        told = self._store.fact("public_url", since=self._started_at)
        return told or self._local_url() or self._server_url()

    def known(self) -> str | None:
        """Return the address without a slash at its end; if there is none, the timeline and the log say what to do."""
        base = self.public_url()
        if base is not None:
            return base.rstrip("/")
        text = "No address is known for the keys of a phone, so the call was ended with an apology."
        fix = _FIX_IN_SANDBOX if self._in_sandbox else _FIX_LIVE
        self._store.record("voice-answer", f"{text} {fix}")
        log.warning("%s Fix: %s", text, fix)
        return None

    @property
    def _in_sandbox(self) -> bool:
        return self._settings.mode == "sandbox"

    def _local_url(self) -> str | None:
        return os.environ.get("SIPKIT_LOCAL_URL") if self._in_sandbox else None

    def _server_url(self) -> str | None:
        # The sandbox never leaves this machine, whatever .env says of a public address; and Vonage
        # never comes to an address that means "this machine" to everybody.
        url = self._settings.server_url
        return url if url is not None and on_this_machine(url) == self._in_sandbox else None
