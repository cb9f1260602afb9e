"""Sees a tunnel's address change, and its end, and does something about it.

One thread, one wait: it looks once each period and sleeps in between. A tunnel that has ended is opened anew; an
address that differs from the last one told is told, and told again each period until whoever is told succeeds.
"""

import logging
import threading
from collections.abc import Callable

from sipkit.errors import SipkitError, TunnelError
from sipkit.tunnel import Tunnel

PERIOD = 5.0
"""Seconds between two looks."""

_OPEN_WITHIN = 15.0  # seconds for a tunnel to open anew
_LEAVE_PATIENCE = 20.0  # seconds for a look that is under way
_log = logging.getLogger(__name__)


class TunnelWatch:
    """Watches one tunnel while the webhook server runs.

    Args:
        tunnel: The tunnel, which is open.
        port: Gives the webhook server's port.
        moved: Called with an address that is new; may raise a `SipkitError`.
        tell: Called with a sentence for the timeline.
        period: Seconds between two looks.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        port: Callable[[], int],
        moved: Callable[[str], None],
        tell: Callable[[str], None],
        period: float = PERIOD,
    ) -> None:
        self._tunnel = tunnel
        self._port = port
        self._moved = moved
        self._tell = tell
        self._period = period
        self._url = tunnel.url
        self._said = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; does nothing for a tunnel that cannot change."""
        if self._tunnel.may_change and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tunnel-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; waits for a look that is under way. Safe to call twice."""
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LEAVE_PATIENCE)

    def look(self) -> None:
        """Look once."""
        health = self._tunnel.health()
        url = health.url if health.alive else self._open_anew(health.saw)
        if url is None or url == self._url or self._ended.is_set():
            return
        try:
            self._moved(url)
        except SipkitError as error:
            self._say(f"The tunnel has a new address, and it could not be told to the platform: {error.message}")
        else:
            self._url = url
            self._said = ""

    def _open_anew(self, saw: str) -> str | None:
        self._say(f"The tunnel is gone: {saw.rstrip('.')}. It is opened anew.")
        try:
            url = self._tunnel.open(self._port(), _OPEN_WITHIN)
        except TunnelError as error:
            self._say(f"The tunnel could not be opened anew: {error.message} It is tried again.")
            return None
        except SipkitError:  # the webhook server has gone; there is nothing to lead to
            return None
        self._tell("The tunnel is open again.")
        self._said = ""
        return url

    def _say(self, text: str) -> None:
        """Tell something once, and not each period again."""
        if text not in self._said:
            self._said += text
            self._tell(text)

    def _run(self) -> None:
        told: type[Exception] | None = None
        while not self._ended.wait(self._period):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - a store or a disk that fails now may work at the next look
                if type(error) is not told:  # once, and not each period again
                    _log.warning("A look at the tunnel failed (%s); it is tried again.", type(error).__name__)
                told = type(error)
            else:
                told = None
