"""A leg whose party sends and takes 16-bit samples in messages of 20 ms, over whatever carries messages.

Source: Voice API guide "WebSockets": frames of 20 ms at 8, 16 or 24 kHz, a buffer of 3072 messages, `clear` and
`notify`. Inside, its sound is one more telephone's: 8 kHz, mu-law.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sipkit.sandbox.media.g711 import FRAME, RATE, SILENCE, decode, encode
from sipkit.sandbox.media.leg import Conference, Leg, RtpLeg
from sipkit.sandbox.media.pcm import Downsampler, Upsampler
from sipkit.sandbox.sip.sdp import Audio

BUFFERED = 3072
"""Messages kept for playing, a minute of sound (documented). Assumed: what comes beyond is dropped."""
DIGIT_MILLISECONDS = 260
"""How long a key is said to be pressed: the guide's example (a receiver of RFC 4733 tells when it begins)."""

Message = bytes | dict[str, Any]


@dataclass(frozen=True)
class _Mark:
    """A place among the buffered sound, of which the party wants to know when it is reached."""

    payload: dict[str, Any]


class PcmLeg(RtpLeg):
    """The leg; the mixer drives it as it drives one on RTP.

    Args:
        rate: samples a second of the messages: 8000, 16000 or 24000.
        deliver: takes a message for the party: bytes of sound, or an event. It must not wait.

    Attributes:
        frame_bytes: length of a message of sound.
        wrong: messages of another length, which were not played.
    """

    def __init__(self, name: str, rate: int, deliver: Callable[[Message], None]) -> None:
        super().__init__(name)
        factor = rate // RATE
        self.frame_bytes = 2 * FRAME * factor
        self.wrong = 0
        self._deliver = deliver
        self._up, self._down = Upsampler(factor), Downsampler(factor)
        self._waiting: deque[bytes | _Mark] = deque()
        self._taken = 0
        self._dropped = 0
        self._over = False

    async def open(self) -> None:
        """Need no socket of its own."""

    def connect(self, remote: Audio, host: str) -> None:
        """Know no RTP peer."""

    def close(self) -> None:
        """Leave the conference, and forget what is buffered."""
        super().close()
        self._over = True
        self._waiting.clear()

    @property
    def closed(self) -> bool:
        """True when nothing is carried any more."""
        return self._over

    @property
    def received(self) -> int:
        """Messages of sound that were kept for playing."""
        return self._taken

    @property
    def lost(self) -> int:
        """Messages that found the buffer full."""
        return self._dropped

    # From the party ---------------------------------------------------------------------------------------------------

    def feed(self, sound: bytes) -> None:
        """Take a message of sound; one that is not 20 ms long is not played (assumed)."""
        if len(sound) != self.frame_bytes:
            self.wrong += 1
        elif len(self._waiting) >= BUFFERED:
            self._dropped += 1
        else:
            self._taken += 1
            self._waiting.append(sound)

    def clear(self) -> None:
        """Stop playing what is buffered (and forget its marks: assumed), and say so."""
        self._waiting.clear()
        self._deliver({"event": "websocket:cleared"})

    def notify(self, payload: dict[str, Any]) -> None:
        """Tell when what is buffered now has been played."""
        if len(self._waiting) >= BUFFERED:
            self._dropped += 1
        else:
            self._waiting.append(_Mark(payload))

    # For the party ----------------------------------------------------------------------------------------------------

    def key(self, digit: str) -> None:
        """Tell a digit that somebody keyed."""
        self._deliver({"event": "websocket:dtmf", "digit": digit, "duration": DIGIT_MILLISECONDS})

    async def send_digits(self, digits: str) -> None:
        """Tell digits that are sent to this leg, one by one (assumed: as those that are keyed)."""
        for digit in digits:
            self.key(digit)

    # From the mixer ---------------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """Return the 160 codes to play this tick; marks on the way are told."""
        while self._waiting:
            item = self._waiting.popleft()
            if isinstance(item, bytes):
                return encode(self._down.next(np.frombuffer(item, dtype="<i2")), "PCMU")
            self._deliver({"event": "websocket:notify", "payload": item.payload})
        return SILENCE["PCMU"]

    def send(self, payload: bytes) -> None:
        """Deliver this tick's sound."""
        if not self.held and not self._over:
            self._deliver(self._up.next(decode(payload, "PCMU")).astype("<i2").tobytes())
            self.sent += 1


def tell_digit(speaker: Leg, digit: str) -> None:
    """Tell every such leg that hears the speaker which digit the speaker keyed (documented: of any party)."""
    conference: Conference | None = speaker.conference
    for other in conference.legs if conference is not None else ():
        if isinstance(other, PcmLeg) and other is not speaker and other.hears(speaker):
            other.key(digit)
