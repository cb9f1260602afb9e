"""How much one page may ask: a bucket of requests that is filled at a steady rate."""

import time

BURST = 250
"""Requests at once: who comes into a full room asks for 100 views and chooses in each, and publishes some streams."""
PER_SECOND = 50.0
"""Requests a second in the long run. Vonage limits signals by rate without a figure in its documents (assumed)."""


class Allowance:
    """The requests of one page (a token bucket)."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._since = time.monotonic()

    def spend(self) -> bool:
        """Take one request off; False when there is none left now."""
        now = time.monotonic()
        self._left = min(float(BURST), self._left + (now - self._since) * PER_SECOND)
        self._since = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
