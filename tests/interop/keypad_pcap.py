"""Write a packet capture of somebody pressing keys, for SIPp to play: made here, so no capture of anybody is needed.

Classic pcap with Ethernet frames; the payload is RTP with telephone-events of payload type 101 (RFC 4733 section 2).
"""

import struct
from pathlib import Path

KEYS = "0123456789*#"
PAYLOAD_TYPE = 101
STEP = 0.02
"""Seconds between packets."""
TONE_PACKETS = 5
"""100 ms of tone."""
END_PACKETS = 3
GAP = 0.08
"""Seconds of quiet between keys."""


def write(path: Path, keys: str) -> None:
    """Write a capture of these keys."""
    packets: list[tuple[float, bytes]] = []
    at, sequence = 0.0, 1
    for key in keys:
        begun = at
        for number in range(1, TONE_PACKETS + END_PACKETS + 1):
            end = 0x80 if number > TONE_PACKETS else 0
            event = struct.pack("!BBH", KEYS.index(key), end | 10, min(number, TONE_PACKETS) * 160)
            mark = 0x80 if number == 1 else 0
            head = struct.pack("!BBHII", 0x80, mark | PAYLOAD_TYPE, sequence, round(begun * 8000), 0x5157)
            packets.append((at, _frame(head + event)))
            sequence += 1
            at += STEP
        at += GAP
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for moment, frame in packets:
            seconds, fraction = divmod(moment, 1)
            file.write(struct.pack("<IIII", int(seconds), round(fraction * 1e6), len(frame), len(frame)) + frame)


def _frame(payload: bytes) -> bytes:
    """Wrap a payload as UDP in IPv4 in Ethernet; SIPp puts its own addresses and checksums in."""
    udp = struct.pack("!HHHH", 40000, 40000, 8 + len(payload), 0) + payload
    loopback = bytes([127, 0, 0, 1])
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, loopback, loopback)
    return b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00" + ip + udp
