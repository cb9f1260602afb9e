"""A crowd of phones that shares no line of code with sipkit: SIP over UDP, digest, RTP, DTMF, a stopwatch.

Run as a process of its own by bench/run.py. It is told what to do in JSON lines on standard input and answers
in JSON lines on standard output:

    {"sip": "127.0.0.1:5060", "number": "..", "user": "..", "password": "..", "keys": ["123#", ..], "rate": 9}
        one phone for each entry of "keys": dials at `rate` calls a second, keys its digits half a second
        after it first heard something
    {"do": "measure", "seconds": 20}    -> inter-arrival deviation and loss over all phones
    {"do": "clicks", "count": 40}       -> mouth to ear, from phone 0 to phone 1
    {"do": "hang-up"}                   -> BYE for all, then the process ends

Arrival times are the kernel's (SO_TIMESTAMPNS): this process's own scheduling is no part of the result.
"""

import itertools
import json
import math
import os
import random
import select
import socket
import statistics
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from sip_dialog import Dialog

FRAME = 160  # samples of 8 kHz in 20 ms
FRAME_SECONDS = 0.020
PHASES = 4  # phones do not send in step: a quarter of them every 5 ms
SO_TIMESTAMPNS = 35  # Linux; the socket module has no name for it
SILENCE = b"\xff" * FRAME
PCMU, EVENTS = 0, 101
DIGITS = "0123456789*#"
KEY_DELAY = 0.5  # seconds between the first sound heard and the first key
CLICK_SHIFT = 0.0037  # seconds
BURST_FRAMES = 5  # a click is 100 ms of 1 kHz


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
    bursts_left: int = 0
    burst_sent_at: float | None = None
    muted: bool = False
    heard_onset_at: float | None = None
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

    def _sound(self) -> bytes:
        if self.bursts_left:
            if self.bursts_left == BURST_FRAMES:
                self.burst_sent_at = time.time()
            self.bursts_left -= 1
            return self.voice[self.frame % len(self.voice)]
        return SILENCE if self.muted or not self.keyed else self.voice[self.frame % len(self.voice)]


class Crowd:
    """All phones of this process on one SIP socket and one loop."""

    def __init__(self, order: dict[str, object]) -> None:
        host, port = str(order["sip"]).rsplit(":", 1)
        self.server = (host, int(port))
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sip.bind(("127.0.0.1", 0))
        self.sip.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.sip.fileno(), select.EPOLLIN)
        self.poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self.phones: list[Phone] = []
        self.by_call: dict[str, Phone] = {}
        self.by_socket: dict[int, Phone] = {}
        self.recording = False
        keys = order["keys"]
        assert isinstance(keys, list)  # noqa: S101 - the two ends of this pipe are one program
        voices = [tone(hz) for hz in (300, 450, 600, 750, 900, 1050, 1200, 1350)]
        for n, digits in enumerate(keys):
            self._add(n, str(digits), order, voices[n % len(voices)])
        self.rate = float(str(order.get("rate", 20)))
        self.told_keyed = False
        self.tick_from = 0.0

    def _add(self, n: int, digits: str, order: dict[str, object], voice: list[bytes]) -> None:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        rtp.bind(("127.0.0.1", 0))
        rtp.setblocking(False)
        dialog = Dialog(
            number=str(order["number"]),
            user=str(order["user"]),
            password=str(order["password"]),
            server=self.server,
            local=self.sip.getsockname(),
            rtp_port=rtp.getsockname()[1],
            caller=f"1202555{1000 + n}",
        )
        phone = Phone(dialog, rtp, digits, voice, n % PHASES)
        self.phones.append(phone)
        self.by_call[dialog.call_id] = phone
        self.by_socket[rtp.fileno()] = phone
        self.poll.register(rtp.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Place the calls, then serve orders until told to hang up and every BYE is answered or timed out."""
        begin = time.monotonic()
        tick = self.tick_from = begin
        ticks = 0
        dialled = 0
        commands = Commands(self)
        while not commands.finished:
            now = time.monotonic()
            while dialled < len(self.phones) and now - begin >= dialled / self.rate:
                self.transmit(self.phones[dialled].dialog.invite(now))
                dialled += 1
            for phone in self.phones[:dialled]:
                self.transmit(phone.dialog.due(now))
            while now >= tick:
                self._tick(ticks % PHASES)
                ticks += 1
                tick = self.tick_from + ticks * FRAME_SECONDS / PHASES
            commands.step(now)
            for handle, _ in self.poll.poll(max(0.0, tick - time.monotonic()), 256):
                self._readable(handle, commands)
            self._tell_keyed()

    def transmit(self, message: bytes | None) -> None:
        """Send a SIP message, if there is one."""
        if message:
            self.sip.sendto(message, self.server)

    def _tick(self, phase: int) -> None:
        now = time.time()
        for phone in self.phones[phase::PHASES]:
            if not phone.dialog.talking:
                continue
            if phone.answered_at is None:
                phone.answered_at = now
            heard = phone.first_sound_at
            if not phone.keyed and phone.keys and heard is not None and now - heard >= KEY_DELAY:
                phone.keyed = True
                phone.key(phone.keys)
            phone.send()

    def _readable(self, handle: int, commands: "Commands") -> None:
        if handle == sys.stdin.fileno():
            commands.read()
        elif handle == self.sip.fileno():
            self._read_sip()
        else:
            self._read_rtp(self.by_socket[handle])

    def _read_sip(self) -> None:
        while True:
            try:
                data = self.sip.recv(65535)
            except BlockingIOError:
                return
            call_id = Dialog.call_id_of(data)
            if call_id in self.by_call:
                for answer in self.by_call[call_id].dialog.received(data, time.monotonic()):
                    self.transmit(answer)

    def _read_rtp(self, phone: Phone) -> None:
        while True:
            try:
                data, ancillary, _, _ = phone.rtp.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if len(data) < 12 or data[1] & 0x7F != PCMU:
                continue
            arrived = time.time()
            for _, kind, stamp in ancillary:
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("@qq", stamp[:16])
                    arrived = seconds + nanoseconds / 1e9
            if self.recording:
                phone.arrivals.append((arrived, struct.unpack_from("!H", data, 2)[0]))
            if phone.first_sound_at is None or (phone.muted and phone.heard_onset_at is None):
                at = onset(data[12:])
                if at is not None:
                    phone.heard_onset_at = arrived + at / 8000
                    phone.first_sound_at = phone.first_sound_at or phone.heard_onset_at

    def _tell_keyed(self) -> None:
        if not self.told_keyed and all(phone.settled for phone in self.phones):
            self.told_keyed = True
            prompts = [
                (phone.first_sound_at - phone.answered_at) * 1000
                for phone in self.phones
                if phone.first_sound_at and phone.answered_at
            ]
            failed = [phone.dialog.failure for phone in self.phones if phone.dialog.ended]
            tell({"event": "keyed", "answered": len(prompts), "failed": failed, "prompt_ms": prompts})


class Commands:
    """The orders on standard input, carried out beside the calls."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.finished = False
        self._measure_until: float | None = None
        self._hang_up_until: float | None = None
        self._clicks_left = 0
        self._next_click = 0.0
        self._delays: list[float] = []
        self._buffer = b""

    def read(self) -> None:
        """Take whole lines from standard input; its end means hang up."""
        data = os.read(sys.stdin.fileno(), 65536)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._order(json.loads(line))
        if not data:
            self.crowd.poll.unregister(sys.stdin.fileno())
            self._order({"do": "hang-up"})

    def _order(self, order: dict[str, object]) -> None:
        now = time.monotonic()
        if order["do"] == "measure":
            for phone in self.crowd.phones:
                phone.arrivals.clear()
            self.crowd.recording = True
            self._measure_until = now + float(str(order["seconds"]))
        elif order["do"] == "clicks":
            for phone in self.crowd.phones:
                phone.muted = True
            self._clicks_left = int(str(order["count"]))
            self._next_click = now + 1.0
        elif self._hang_up_until is None:
            for phone in self.crowd.phones:
                self.crowd.transmit(phone.dialog.bye(now))
            self._hang_up_until = now + 5.0

    def step(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds)."""
        if self._measure_until is not None and now >= self._measure_until:
            self._measure_until = None
            self.crowd.recording = False
            tell({"event": "measured", **deviation([phone.arrivals for phone in self.crowd.phones])})
        if self._clicks_left:
            self._click(now)
        if self._hang_up_until is not None and (
            now >= self._hang_up_until or all(phone.dialog.ended for phone in self.crowd.phones)
        ):
            self.finished = True
            tell({"event": "ended", "clean": sum(phone.dialog.ended for phone in self.crowd.phones)})

    def _click(self, now: float) -> None:
        mouth, ear = self.crowd.phones[:2]
        if mouth.burst_sent_at is not None and ear.heard_onset_at is not None:
            if ear.heard_onset_at > mouth.burst_sent_at:
                # The mouth spoke the first sample of the packet 20 ms before the packet was full.
                self._delays.append((ear.heard_onset_at - mouth.burst_sent_at + FRAME_SECONDS) * 1000)
                self._clicks_left -= 1
                self._next_click = now + 0.4
                # The sandbox's tick and ours keep their distance: move on, to see every distance there is.
                self.crowd.tick_from += CLICK_SHIFT
                mouth.burst_sent_at = None
            else:
                ear.heard_onset_at = None
            if not self._clicks_left:
                tell({"event": "clicks", "delays_ms": self._delays})
        elif now >= self._next_click:
            # The first, the next, or once more after two seconds without an echo.
            mouth.burst_sent_at = ear.heard_onset_at = None
            mouth.bursts_left = BURST_FRAMES
            self._next_click = now + 2.0


def deviation(legs: list[list[tuple[float, int]]]) -> dict[str, object]:
    """How far the spacing of consecutive packets is from 20 ms, over all legs, and how many are missing.

    Args:
        legs: for each leg its packets' (arrival in seconds, RTP sequence number).
    """
    off, lost, received = [], 0, 0
    for arrivals in legs:
        received += len(arrivals)
        for (before, first), (after, second) in itertools.pairwise(arrivals):
            step = (second - first) & 0xFFFF
            if step == 1:
                off.append(abs(after - before - FRAME_SECONDS) * 1000)
            elif step < 1 << 15:
                lost += step - 1
    cuts = statistics.quantiles(off, n=1000) if len(off) > 1 else [math.inf] * 999
    return {
        "legs": sum(bool(arrivals) for arrivals in legs),
        "packets": received,
        "lost": lost,
        "p50_ms": cuts[499],
        "p99_ms": cuts[989],
        "p999_ms": cuts[998],
        "max_ms": max(off, default=math.inf),
    }


def tell(message: dict[str, object]) -> None:
    """One JSON line to whoever started this process."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the first order, then be that crowd."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(sys.stdin.fileno(), 1)
    os.set_blocking(sys.stdin.fileno(), False)
    # A crowd has its own machines; here it must not take the processor from what it measures.
    os.nice(10)
    Crowd(json.loads(line)).run()


if __name__ == "__main__":
    main()
