"""Put RTP frames back in order, one every 20 ms (RFC 3550 section 6.4.1 for the figures).

The buffer starts empty-handed: it plays a frame at the first tick after it came. A frame that comes too late to be
played pushes the playing point back by its lateness, so the delay grows to what the network needs; when no tick in
a while needed the spare frame, one is dropped and the delay shrinks again, quickly while there are several.
"""

MAX_FRAMES = 50
"""Longest jump forward, in frames (1 s), that is still the same stream."""
PATIENCE = 100
"""Ticks (2 s) a spare frame must lie unused before it is dropped; doubles each time that was a mistake."""
MAX_PATIENCE = 1600
BURST_PATIENCE = 25
"""Ticks (0.5 s) after which the frames of a stall are worked off, one by one, down to a single spare one."""


class JitterBuffer:
    """Frames of one RTP stream.

    Attributes:
        received: frames taken in.
        lost: frames that never came in time.
        duplicates: frames that came twice, or after their gap was given up.
    """

    def __init__(self) -> None:
        self._frames: dict[int, bytes] = {}
        self._next: int | None = None
        self._waited = False
        self._spare = MAX_FRAMES
        self._ticks = 0
        self._patience = PATIENCE
        self._dropped_recently = False
        self.received = self.lost = self.duplicates = 0

    def push(self, sequence: int, payload: bytes) -> None:
        """Take a frame with its 16-bit sequence number."""
        if self._next is None:
            self._next = sequence
        # The distance from the frame we wait for, read modulo 2**16 as a signed number.
        ahead = (sequence - self._next + 0x8000 & 0xFFFF) - 0x8000
        if abs(ahead) > MAX_FRAMES:
            self._frames.clear()
            self._next, ahead = sequence, 0
        if ahead < 0 or self._next + ahead in self._frames:
            self.duplicates += 1
            return
        self.received += 1
        self._frames[self._next + ahead] = payload

    def take(self) -> bytes | None:
        """Return the frame to play now, None when there is none: play silence."""
        if self._next is None:
            return None
        frame = self._frames.pop(self._next, None)
        if frame is None:
            return self._gap()
        self._next += 1
        self._waited = False
        self._shrink()
        return frame

    def _gap(self) -> bytes | None:
        """The next frame is not here: wait once for a straggler, then give it up."""
        assert self._next is not None
        if self._dropped_recently:
            self._patience = min(2 * self._patience, MAX_PATIENCE)
            self._dropped_recently = False
        if not self._frames:
            return None
        if not self._waited and len(self._frames) < 3:
            self._waited = True
            return None
        first = min(self._frames)
        self.lost += first - self._next
        self._next = first
        return self.take()

    def _shrink(self) -> None:
        """Drop one frame when a spare one lay unused for a while."""
        assert self._next is not None
        self._spare = min(self._spare, len(self._frames))
        self._ticks += 1
        worked_off = self._spare > 1 and self._ticks >= BURST_PATIENCE
        if not worked_off and self._ticks < self._patience:
            return
        self._dropped_recently = False
        if self._spare >= 1 and self._frames.pop(self._next, None) is not None:
            self._next += 1
            self._dropped_recently = not worked_off
        self._spare, self._ticks = MAX_FRAMES, 0
