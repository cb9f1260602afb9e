"""Send and receive digits as telephone-events (RFC 4733 section 2)."""

import struct
from collections import deque

from sipkit.sandbox.media.g711 import FRAME

DIGITS = "0123456789*#ABCD"
VOLUME = 10
"""-10 dBm0, a keypad's usual level."""
TONE_FRAMES = 4
"""80 ms of tone: twice what ITU-T Q.24 asks a receiver to accept."""
END_REPEATS = 3
"""RFC 4733 section 2.5.1.4: the end packet is sent three times."""
GAP_FRAMES = 2
"""40 ms of quiet between digits."""


class DtmfSender:
    """Turns queued digits into one packet every 20 ms, for the ticks in which a digit is on."""

    def __init__(self) -> None:
        self._queue: deque[tuple[str, int]] = deque()

    def queue(self, digits: str) -> None:
        """Queue digits.

        Raises:
            ValueError: a character is no DTMF digit.
        """
        if bad := set(digits.upper()) - set(DIGITS):
            raise ValueError(f"not DTMF digits: {''.join(sorted(bad))}")
        for digit in digits.upper():
            self._queue.extend((digit, step) for step in range(TONE_FRAMES + END_REPEATS - 1 + GAP_FRAMES))

    @property
    def busy(self) -> bool:
        """True while digits wait or sound."""
        return bool(self._queue)

    def next(self) -> tuple[bytes, int] | None:
        """Return this tick's event payload and its step (0 = first packet of the digit), None in a gap or when idle."""
        if not self._queue:
            return None
        digit, step = self._queue.popleft()
        if step >= TONE_FRAMES + END_REPEATS - 1:
            return None
        end = step >= TONE_FRAMES - 1
        duration = min(step + 1, TONE_FRAMES) * FRAME
        return struct.pack("!BBH", DIGITS.index(digit), (0x80 if end else 0) | VOLUME, duration), step


class DtmfReceiver:
    """Turns event packets into digits, once each: an event is known by its RTP timestamp."""

    def __init__(self) -> None:
        self._last: int | None = None

    def receive(self, payload: bytes, timestamp: int) -> str | None:
        """Take one packet; returns the digit when the packet is the first of its event."""
        if len(payload) < 4 or payload[0] >= len(DIGITS):
            return None
        if self._last is not None and (timestamp - self._last & 0xFFFFFFFF) == 0:
            return None
        if self._last is not None and timestamp - self._last & 0x80000000:
            return None  # a straggler of an earlier event
        self._last = timestamp
        return DIGITS[payload[0]]
