"""One party's audio: an RTP socket with its peer (RFC 3550), or a voice made here that needs no network.

The mixer drives legs; see :mod:`sipkit.sandbox.media.mixer` for the order of one tick.
"""

import asyncio
import secrets
import struct
import time
from collections.abc import Callable
from typing import cast

import numpy as np

from sipkit.sandbox.media.dtmf import DtmfReceiver, DtmfSender
from sipkit.sandbox.media.g711 import FRAME, LAWS, RATE, SILENCE, Samples, decode, encode
from sipkit.sandbox.media.hearing import SILENT, Hearing
from sipkit.sandbox.media.jitter import JitterBuffer
from sipkit.sandbox.media.source import Source
from sipkit.sandbox.sip.sdp import ZEROS, Audio
from sipkit.sandbox.sip.transport import LOOPBACK

QUIET = np.zeros(FRAME, dtype=np.int16)
_HEADER = struct.Struct("!BBHII")
Address = tuple[str, int]


class Leg:
    """A party that may talk (its source) and may listen (its hearing).

    Attributes:
        name: shown in media traces.
        hearing: the recording of what reaches this party, None when nobody asks.
        muted: what it says reaches nobody.
        microphone: what is heard of this party while no source plays, as long as it is open.
        earmuffed: it hears nobody of its conference.
        overhears: it hears everybody of its conference, whatever they or it want (a recording).
        tap: given what it says and what it is told, 20 ms each time.
        said: told what this party says, 160 μ-law codes each time: as they arrive from the network, else each tick.
    """

    def __init__(self, name: str, *, record: bool = False) -> None:
        self.name = name
        self.hearing = Hearing() if record else None
        self.muted = False
        self.earmuffed = False
        self.overhears = False
        self.tap: Callable[[Samples, Samples], None] | None = None
        self._speaks_to: frozenset[str] | None = None
        self._hears: frozenset[str] | None = None
        self.microphone: Source | None = None
        self.said: Callable[[bytes], None] | None = None
        self.conference: Conference | None = None
        self._source: Source | None = None
        self._played: asyncio.Future[bool] | None = None

    def play(self, source: Source) -> "asyncio.Future[bool]":
        """Play a source, ending what plays now. The future tells whether it played to its end."""
        self.stop_playing()
        self._source = source
        self._played = asyncio.get_running_loop().create_future()
        return self._played

    def stop_playing(self) -> None:
        """End what plays now."""
        self._finish(complete=False)

    def _finish(self, *, complete: bool) -> None:
        self._source = None
        if self._played is not None and not self._played.done():
            self._played.set_result(complete)

    @property
    def playing(self) -> bool:
        """True while a source plays."""
        return self._source is not None

    def next_frame(self) -> Samples | None:
        """Return this tick's frame of the source, else of the microphone; None is silence."""
        spoken = self.microphone.next() if self.microphone is not None else None
        if self._source is None:
            return spoken
        frame = self._source.next()
        if frame is None:
            self._finish(complete=True)
            return spoken
        return frame

    def join(self, conference: "Conference") -> None:
        """Enter a conference, leaving the present one."""
        self.leave()
        self.conference = conference
        conference.add(self)

    def earmuff(self, on: bool) -> None:
        """Let it hear nobody of its conference, or everybody again."""
        self.earmuffed = on
        self._tell_conference()

    def limit(self, speaks_to: frozenset[str] | None, hears: frozenset[str] | None) -> None:
        """Say, by name, which legs hear this one and which this one hears; None is all."""
        self._speaks_to, self._hears = speaks_to, hears
        self._tell_conference()

    @property
    def choosy(self) -> bool:
        """True when not everybody hears it, or it does not hear everybody."""
        return self.earmuffed or self._speaks_to is not None or self._hears is not None

    def hears(self, other: "Leg") -> bool:
        """Whether it hears another leg of its conference."""
        if self.overhears:
            return True
        listens = not self.earmuffed and (self._hears is None or other.name in self._hears)
        return listens and (other._speaks_to is None or self.name in other._speaks_to)  # noqa: SLF001 - the same class

    def _tell_conference(self) -> None:
        if self.conference is not None:
            self.conference.changed()

    def leave(self) -> None:
        """Leave the conference."""
        if self.conference is not None:
            self.conference.remove(self)
            self.conference = None


class Conference:
    """Legs that hear each other: everyone hears all but themselves, unless a leg is choosy.

    Args:
        changed: told when legs come and go, or who hears whom changes.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.legs: list[Leg] = []

    def add(self, leg: Leg) -> None:
        """Add a leg; :meth:`Leg.join` calls this."""
        self.legs.append(leg)
        self.changed()

    def remove(self, leg: Leg) -> None:
        """Remove a leg; :meth:`Leg.leave` calls this."""
        self.legs.remove(leg)
        self.changed()


class RtpLeg(Leg, asyncio.DatagramProtocol):
    """A leg whose party is at the far end of an RTP stream.

    Attributes:
        held: nothing is sent.
        sent: packets sent.
        jitter: RFC 3550 interarrival jitter, seconds.
        level: what its party said in the last whole second, dBFS, whether anybody heard it or not.
        foreign: packets refused because they came from somebody else's address.
        heard_at: ``time.monotonic()`` of the last packet accepted.
    """

    def __init__(self, name: str, *, record: bool = False, on_digit: Callable[[str], None] | None = None) -> None:
        super().__init__(name, record=record)
        self._on_digit = on_digit
        self._socket: asyncio.DatagramTransport | None = None
        self._announced: Address | None = None
        self._peer: Address | None = None
        self._latched = False
        self._law = "PCMU"
        self._audio_type = 0
        self._dtmf_type: int | None = None
        self._sequence = secrets.randbelow(0x8000)
        self._timestamp = secrets.randbelow(0x80000000)
        self._event_timestamp = 0
        self._ssrc = secrets.randbits(32)
        self._marker = 0x80
        self._buffer = JitterBuffer()
        self._digits_in = DtmfReceiver()
        self._digits_out = DtmfSender()
        self._digits_sent: asyncio.Future[None] | None = None
        self._transit: float | None = None
        self.held = False
        self._dumb = False
        self.port = 0
        self.law = 0
        self.sent = 0
        self.foreign = 0
        self.jitter = 0.0
        self.level = SILENT
        self.heard_at = time.monotonic()

    async def open(self) -> None:
        """Bind the socket; ``port`` is known afterwards."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, 0))

    def connect(self, remote: Audio, host: str) -> None:
        """Send to the peer's description, in its first G.711 law; follow a later one (RFC 3264 section 8).

        The peer holds: nothing is sent. It says that it sends nothing: nothing is heard of it. It moves: the audio
        goes there. An address of zeros (how RFC 2543 held) moves nothing.
        """
        self.held = remote.holds
        self._dumb = remote.direction in ("recvonly", "inactive")
        number, law = next(iter(remote.laws.items()))
        self._audio_type, self._law, self._dtmf_type = number, law, remote.dtmf
        self.law = LAWS.index(law)
        if remote.host != ZEROS and (host, remote.port) != self._announced:
            self._announced = self._peer = (host, remote.port)
            self._latched = False
        self.heard_at = time.monotonic()

    def close(self) -> None:
        """Leave the conference and close the socket."""
        self.leave()
        self.stop_playing()
        if self._digits_sent is not None and not self._digits_sent.done():
            self._digits_sent.cancel()
        if self._socket is not None:
            self._socket.close()

    @property
    def closed(self) -> bool:
        """True when the socket is gone."""
        return self._socket is None or self._socket.is_closing()

    @property
    def received(self) -> int:
        """Audio packets accepted."""
        return self._buffer.received

    @property
    def lost(self) -> int:
        """Audio packets that never came in time."""
        return self._buffer.lost

    # From the network ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._socket = cast("asyncio.DatagramTransport", transport)  # uvloop's is no subclass
        self.port = transport.get_extra_info("sockname")[1]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the socket."""
        self._socket = None

    def error_received(self, exc: Exception) -> None:
        """The peer's port is closed: the RTP timeout or its BYE will tell."""

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Take one RTP packet (RFC 3550 section 5.1): audio, or a digit."""
        if len(data) < _HEADER.size or data[0] >> 6 != 2:
            return
        first, second, sequence, timestamp, _ = _HEADER.unpack_from(data)
        kind = second & 0x7F
        if kind not in (self._audio_type, self._dtmf_type) or not self._is_peer(addr[:2]):
            return
        start = _HEADER.size + 4 * (first & 0x0F)
        if first & 0x10:  # header extension, RFC 3550 section 5.3.1
            if len(data) < start + 4:
                return
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
        payload = data[start : len(data) - data[-1]] if first & 0x20 else data[start:]
        now = time.monotonic()
        self.heard_at = now
        if self._dumb:
            return
        if kind == self._dtmf_type:
            digit = self._digits_in.receive(payload, timestamp)
            if digit is not None and self._on_digit is not None:
                self._on_digit(digit)
            # The event's packets took sequence numbers of the audio stream: play silence for them.
            payload = SILENCE["PCMU" if self.law == 0 else "PCMA"]
        elif len(payload) != FRAME:
            return
        self._measure(now, timestamp)
        self._buffer.push(sequence, payload)
        if self.said is not None:
            # Not through the jitter buffer: whoever listens here has one of their own.
            self.said(payload if self.law == 0 else encode(decode(payload, "PCMA"), "PCMU"))

    def _is_peer(self, source: Address) -> bool:
        """Symmetric RTP (RFC 4961): follow the first source, prefer the announced one, then nobody else."""
        if source == self._peer and self._latched:
            return True
        if source == self._announced or (not self._latched and self._announced is not None):
            self._peer, self._latched = source, True
            return True
        self.foreign += 1
        return False

    def _measure(self, now: float, timestamp: int) -> None:
        transit = now - timestamp / RATE
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < 1:
                self.jitter += (difference - self.jitter) / 16
        self._transit = transit

    # From the mixer -----------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """Return the 160 codes to play this tick."""
        return self._buffer.take() or SILENCE[LAWS[self.law]]

    def send(self, payload: bytes) -> None:
        """Send this tick's packet: audio, or the digit that is on; nothing while the peer holds."""
        if self._socket is None or self._peer is None:
            return
        kind, timestamp = self._audio_type, self._timestamp
        if self._digits_out.busy:
            event = self._digits_out.next()
            if event is not None and self._dtmf_type is not None:
                payload, step = event
                if step == 0:
                    self._event_timestamp, self._marker = self._timestamp, 0x80
                kind, timestamp = self._dtmf_type, self._event_timestamp
            if not self._digits_out.busy and self._digits_sent is not None and not self._digits_sent.done():
                self._digits_sent.set_result(None)
        self._timestamp = self._timestamp + FRAME & 0xFFFFFFFF
        if self.held:
            # The clock runs on and digits are spent; what comes after the hold begins anew (RFC 3550 section 5.1).
            self._marker = 0x80
            return
        header = _HEADER.pack(0x80, self._marker | kind, self._sequence, timestamp, self._ssrc)
        self._socket.sendto(header + payload, self._peer)
        self._marker = 0
        self._sequence = self._sequence + 1 & 0xFFFF
        self.sent += 1

    async def send_digits(self, digits: str) -> None:
        """Send digits as telephone-events and wait until the last one ended.

        Raises:
            ValueError: a character is no DTMF digit.
            asyncio.CancelledError: the leg closed meanwhile.
        """
        if not digits:
            return
        self._digits_out.queue(digits)
        if self._digits_sent is None or self._digits_sent.done():
            self._digits_sent = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._digits_sent)
