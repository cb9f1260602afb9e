"""One phone of bench/callers.py: what it says and keys as RTP, what it hears and when. No line of it is sipkit's."""

import math
import random
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field

from sip_dialog import Dialog

FRAME = 160  # samples of 8 kHz in 20 ms
FRAME_SECONDS = 0.020
SILENCE = b"\xff" * FRAME
PCMU, EVENTS = 0, 101
DIGITS = "0123456789*#"
BURST_FRAMES = 5  # 100 ms of the phone's tone
PAUSE = 0.15  # seconds of quiet after which a sound is a new one


def ulaw(sample: int) -> int:
    """One 16-bit sample in G.711 mu-law (ITU-T G.711, table 2a)."""
    sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
    magnitude = min(magnitude, 32635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F) & 0xFF


def tone(hz: int, level: float = 0.2) -> list[bytes]:
    """One second of a sine as fifty PCMU payloads; `hz` is a multiple of 50, so that the loop has no seam."""
    samples = [round(32767 * level * math.sin(2 * math.pi * hz * n / 8000)) for n in range(8000)]
    encoded = bytes(ulaw(sample) for sample in samples)
    return [encoded[n : n + FRAME] for n in range(0, 8000, FRAME)]


LOUD = frozenset(code for code in range(256) if (~code & 0x70) >> 4 >= 3)
"""Mu-law codes of at least 3 segments above silence: about -36 dBFS and more."""


def onset(payload: bytes) -> int | None:
    """Index of the first loud sample of a PCMU payload, None if all of it is quiet."""
    return next((n for n, code in enumerate(payload) if code in LOUD), None)


@dataclass
class Phone:
    """One phone: its SIP dialog, its RTP socket, what it says and what it heard."""

    dialog: Dialog
    rtp: socket.socket
    keys: str
    voice: list[bytes]
    phase: int
    sequence: int = field(default_factory=lambda: random.randrange(1 << 16))
    timestamp: int = field(default_factory=lambda: random.randrange(1 << 31))
    ssrc: int = field(default_factory=lambda: random.randrange(1 << 32))
    frame: int = 0
    signals: deque[tuple[bool, int, bytes]] = field(default_factory=deque)
    answered_at: float | None = None
    first_sound_at: float | None = None
    keyed: bool = False
    muted: bool = False
    burst_left: int = 0
    spoken: list[float] = field(default_factory=list)
    hearing: bool = False
    heard: list[float] = field(default_factory=list)
    loud_at: float = 0.0
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    event_stamp: int = 0

    def key(self, digits: str) -> None:
        """Queue telephone-events (RFC 4733, 2.5): five growing packets, three ends, a pause of 60 ms."""
        for digit in digits:
            code = DIGITS.index(digit)
            for step in range(1, 6):
                self.signals.append((step == 1, step * FRAME, bytes((code, 10))))
            self.signals.extend([(False, 6 * FRAME, bytes((code, 0x80 | 10)))] * 3)
            self.signals.extend([(False, 0, b"")] * 3)

    def send(self) -> None:
        """Send this 20 ms: a step of a key press, or voice."""
        kind, marker, payload, stamp = PCMU, False, b"", self.timestamp
        if self.signals:
            marker, duration, event = self.signals.popleft()
            if event:
                # All packets of one event carry the time of its beginning.
                if marker:
                    self.event_stamp = self.timestamp
                kind, stamp = EVENTS, self.event_stamp
                payload = event + struct.pack("!H", duration)
        if kind == PCMU:
            payload = self._sound()
        header = struct.pack(
            "!BBHII",
            0x80,
            kind | (0x80 if marker else 0),
            self.sequence & 0xFFFF,
            stamp & 0xFFFFFFFF,
            self.ssrc,
        )
        self.rtp.sendto(header + payload, self.dialog.media)
        self.sequence += 1
        self.timestamp += FRAME
        self.frame += 1

    @property
    def settled(self) -> bool:
        """Whether this phone has keyed all it was to key, or its call is over."""
        keyed = self.keyed or not self.keys
        return self.dialog.ended or (keyed and self.first_sound_at is not None and not self.signals)

    def burst(self) -> None:
        """Say 100 ms of the tone, muted or not, from the next packet on."""
        self.burst_left = BURST_FRAMES

    def hear(self, payload: bytes, arrived: float) -> None:
        """Take a PCMU payload that arrived at that time (Unix seconds)."""
        at = onset(payload)
        if at is None:
            return
        heard_at = arrived + at / 8000
        if self.first_sound_at is None:
            self.first_sound_at = heard_at
        if self.hearing and arrived - self.loud_at > PAUSE:
            self.heard.append(heard_at)
        self.loud_at = arrived

    def _sound(self) -> bytes:
        if self.burst_left:
            if self.burst_left == BURST_FRAMES:
                # The first sample of a packet is spoken 20 ms before the packet is full and sent.
                self.spoken.append(time.time() - FRAME_SECONDS)
            self.burst_left -= 1
            return self.voice[self.frame % len(self.voice)]
        return SILENCE if self.muted or not self.keyed else self.voice[self.frame % len(self.voice)]
