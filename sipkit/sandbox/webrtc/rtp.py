"""RTP and RTCP packets as bytes: read what a forwarder must know, write what it must say (RFC 3550, 4585, 5104)."""

import secrets
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

HEADER = struct.Struct("!BBHII")
SENDER_REPORT, RECEIVER_REPORT, TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK = 200, 201, 205, 206
NACK, PLI, FIR, REMB = 1, 1, 4, 15
"""Formats of the feedback packets: NACK is transport feedback, the others are payload feedback."""
_REPORT_BYTES = 24


def is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP on one port (RFC 5761 section 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


def is_rtp(data: bytes) -> bool:
    """Whether it is an RTP packet at all: version 2 and a whole header."""
    return len(data) >= HEADER.size and data[0] >> 6 == 2


def payload_type_of(packet: bytes) -> int:
    """The payload type of an RTP packet."""
    return packet[1] & 0x7F


def sequence_of(packet: bytes) -> int:
    """The sequence number of an RTP packet."""
    return int.from_bytes(packet[2:4])


def ssrc_of(packet: bytes) -> int:
    """The synchronization source of an RTP packet."""
    return int.from_bytes(packet[8:12])


def payload_of(packet: bytes) -> bytes:
    """The payload of an RTP packet, without header, extension and padding; empty when the packet is malformed."""
    start = HEADER.size + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if len(packet) < start + 4:
            return b""
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    return packet[start : len(packet) - packet[-1]] if packet[0] & 0x20 else packet[start:]


def relabelled(packet: bytes, payload_type: int, ssrc: int) -> bytes:
    """The same RTP packet under another payload type and source."""
    marker = packet[1] & 0x80
    return packet[:1] + bytes((marker | payload_type,)) + packet[2:8] + ssrc.to_bytes(4) + packet[12:]


def renumbered(packet: bytes, payload_type: int, sequence: int) -> bytes:
    """The same RTP packet under another payload type and sequence number."""
    marker = packet[1] & 0x80
    return packet[:1] + bytes((marker | payload_type,)) + sequence.to_bytes(2) + packet[4:]


def distance(later: int, earlier: int) -> int:
    """How far one 16-bit sequence number is ahead of another, negative when it is behind (RFC 1982)."""
    return (later - earlier + 0x8000 & 0xFFFF) - 0x8000


class Numbering:
    """One viewer's own sequence numbers of one kind: without a gap where packets were held back.

    SRTP takes a number that is far ahead for an old one (RFC 3711 section 3.3.1), so after a long pause the
    publisher's own numbers would not do.
    """

    def __init__(self) -> None:
        self._newest: int | None = None  # the publisher's, counted on beyond 16 bits
        self._first = 0
        self._shift = 0
        self._held = True

    def hold(self) -> None:
        """Packets are held back from here on; the next one goes on where the last one ended."""
        self._held = True

    def out(self, sequence: int) -> int | None:
        """Return the number under which a packet goes out, None for one from before the pause."""
        index = sequence if self._newest is None else self._newest + distance(sequence, self._newest & 0xFFFF)
        if self._held:
            # The packet after the pause follows the newest one before it.
            self._shift = index - (self._newest - self._shift + 1) if self._newest is not None else 0
            self._held, self._first, self._newest = False, index, index
        elif index < self._first or self._newest is None:
            return None
        self._newest = max(self._newest, index)
        return index - self._shift & 0xFFFF

    def original(self, sequence: int) -> int:
        """Return the publisher's number of a packet that went out under this one."""
        return sequence + self._shift & 0xFFFF


@dataclass(frozen=True)
class Rtcp:
    """One packet of a compound.

    Attributes:
        kind: the RTCP packet type.
        count: the five bits of report count or feedback format.
        body: what follows the first word.
    """

    kind: int
    count: int
    body: bytes

    @property
    def media_ssrc(self) -> int:
        """Whom a feedback packet is about."""
        return int.from_bytes(self.body[4:8])


def read_rtcp(data: bytes) -> Iterator[Rtcp]:
    """Read a compound packet, up to where it stops making sense."""
    while len(data) >= 4 and data[0] >> 6 == 2:
        end = 4 + 4 * int.from_bytes(data[2:4])
        if len(data) < end:
            return
        yield Rtcp(data[1], data[0] & 0x1F, data[4:end])
        data = data[end:]


def wants_key_frame(packet: Rtcp) -> bool:
    """Whether it is a Picture Loss Indication or a Full Intra Request."""
    return packet.kind == PAYLOAD_FEEDBACK and packet.count in (PLI, FIR)


def missing(packet: Rtcp) -> list[int]:
    """The sequence numbers a generic NACK asks for, each once (RFC 4585 section 6.2.1); empty for other packets."""
    if packet.kind != TRANSPORT_FEEDBACK or packet.count != NACK:
        return []
    numbers: dict[int, None] = {}
    for start in range(8, len(packet.body) - 3, 4):
        first = int.from_bytes(packet.body[start : start + 2])
        following = int.from_bytes(packet.body[start + 2 : start + 4])
        numbers |= dict.fromkeys([first, *(first + 1 + bit & 0xFFFF for bit in range(16) if following >> bit & 1)])
    return list(numbers)


def nack(ours: int, theirs: int, numbers: list[int]) -> bytes:
    """Ask for lost packets, one word each."""
    words = b"".join(number.to_bytes(2) + b"\0\0" for number in numbers)
    return _packet(TRANSPORT_FEEDBACK, NACK, struct.pack("!II", ours, theirs) + words)


def pli(ours: int, theirs: int) -> bytes:
    """Ask for a key frame (RFC 4585 section 6.3.1)."""
    return _packet(PAYLOAD_FEEDBACK, PLI, struct.pack("!II", ours, theirs))


def remb(ours: int, sources: list[int], bits_per_second: int) -> bytes:
    """Tell the sender how much we take (draft-alvestrand-rmcat-remb-03)."""
    exponent = max(0, bits_per_second.bit_length() - 18)
    rate = (len(sources) << 24 | exponent << 18 | bits_per_second >> exponent).to_bytes(4)
    listed = b"".join(source.to_bytes(4) for source in sources)
    return _packet(PAYLOAD_FEEDBACK, REMB, struct.pack("!II", ours, 0) + b"REMB" + rate + listed)


def sender_report(packet: Rtcp, ssrc: int) -> bytes | None:
    """A browser's sender report under another source: the clocks that keep lips in step. None for other packets."""
    if packet.kind != SENDER_REPORT or len(packet.body) < _REPORT_BYTES:
        return None
    return _packet(SENDER_REPORT, 0, ssrc.to_bytes(4) + packet.body[4:_REPORT_BYTES])


class Packetizer:
    """Makes a PCMU stream of frames of 20 ms (RFC 3551 section 4.5.14).

    Args:
        ssrc: its source.
    """

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self._sequence = secrets.randbelow(0x8000)
        self._timestamp = secrets.randbits(31)
        self._marker = 0x80

    def packet(self, payload: bytes) -> bytes:
        """Wrap the next frame."""
        head = HEADER.pack(0x80, self._marker, self._sequence, self._timestamp, self.ssrc)
        self._marker = 0
        self._sequence = self._sequence + 1 & 0xFFFF
        self._timestamp = self._timestamp + len(payload) & 0xFFFFFFFF
        return head + payload


class Reception:
    """What a receiver report says of one source (RFC 3550 section 6.4.1 and appendix A.3).

    Attributes:
        ssrc: the source.
        received: packets that came.
    """

    def __init__(self, ssrc: int, clock: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        self._clock = clock
        self._first: int | None = None
        self._highest = 0
        self._jitter = 0.0
        self._transit: float | None = None
        self._report = (0, 0)
        self._sender_time = 0
        self._sender_at = 0.0

    def take(self, packet: bytes, now: float) -> None:
        """Note a packet that came at ``time.monotonic()`` `now`."""
        sequence, timestamp = struct.unpack_from("!HI", packet, 2)
        if self._first is None:
            self._first = self._highest = sequence
        self._highest = max(self._highest, self._highest + distance(sequence, self._highest & 0xFFFF))
        self.received += 1
        transit = now * self._clock - timestamp
        if self._transit is not None:
            difference = abs(transit - self._transit)
            if difference < self._clock:  # more is a jump of the timestamps, no jitter
                self._jitter += (difference - self._jitter) / 16
        self._transit = transit

    def note(self, packet: Rtcp, now: float) -> None:
        """Note the source's sender report."""
        if packet.kind == SENDER_REPORT and len(packet.body) >= _REPORT_BYTES:
            self._sender_time = int.from_bytes(packet.body[6:10])  # the middle of the NTP timestamp
            self._sender_at = now

    @property
    def lost(self) -> int:
        """Packets that never came."""
        return max(0, self._expected - self.received)

    @property
    def _expected(self) -> int:
        return self._highest - self._first + 1 if self._first is not None else 0

    def report(self, ours: int) -> bytes:
        """Write the receiver report since the last one."""
        expected, received = self._expected - self._report[0], self.received - self._report[1]
        self._report = self._expected, self.received
        fraction = min(255, max(0, expected - received) * 256 // expected) if expected > 0 else 0
        delay = round((time.monotonic() - self._sender_at) * 65536) if self._sender_time else 0
        block = struct.pack(
            "!IIIIII",
            self.ssrc,
            fraction << 24 | min(self.lost, 0x7FFFFF),
            self._highest & 0xFFFFFFFF,
            round(self._jitter),
            self._sender_time,
            delay & 0xFFFFFFFF,
        )
        return _packet(RECEIVER_REPORT, 1, ours.to_bytes(4) + block)


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body
