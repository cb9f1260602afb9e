"""A crowd of phones that shares no line of code with sipkit: SIP over UDP, digest, RTP, DTMF, a stopwatch.

Run as a process of its own by bench/run.py. It is told what to do in JSON lines on standard input and answers
in JSON lines on standard output:

    {"sip": "127.0.0.1:5060", "number": "..", "user": "..", "password": "..", "keys": ["123#", ..], "rate": 9}
        one phone for each entry of "keys": dials at `rate` calls a second, keys its digits half a second
        after it first heard something
    {"do": "measure", "seconds": 20}    -> inter-arrival deviation and loss over all phones
    {"do": "hear", "phone": 1}          -> that phone notes when a sound begins, in Unix seconds
    {"do": "speak", "phone": 0, "count": 40}  -> bursts out of silence; when each was spoken, in Unix seconds
    {"do": "heard"}                     -> what was noted, and no more of it is noted
    {"do": "hang-up"}                   -> BYE for all, then the process ends

"hear" and "speak" make every phone fall silent, but for the bursts.

Arrival times are the kernel's (SO_TIMESTAMPNS): this process's own scheduling is no part of the result.
"""

import itertools
import json
import math
import os
import select
import socket
import statistics
import struct
import sys
import time

from handset import FRAME_SECONDS, PCMU, Phone, tone
from sip_dialog import Dialog

PHASES = 4  # phones do not send in step: a quarter of them every 5 ms
SO_TIMESTAMPNS = 35  # Linux; the socket module has no name for it
KEY_DELAY = 0.5  # seconds between the first sound heard and the first key
BURST_GAP = 0.5  # seconds from burst to burst
BURST_SHIFT = 0.0037  # seconds; the sandbox's tick and ours keep their distance: this shows every distance there is


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
            phone.hear(data[12:], arrived)

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
        self._speaker: Phone | None = None
        self._bursts_left = 0
        self._next_burst = 0.0
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
        elif order["do"] == "hear":
            self._hush()
            phone = self.crowd.phones[int(str(order["phone"]))]
            phone.hearing, phone.heard = True, []
        elif order["do"] == "heard":
            tell({"event": "heard", "at": [each for phone in self.crowd.phones for each in phone.heard]})
            for phone in self.crowd.phones:
                phone.hearing = False
        elif order["do"] == "speak":
            self._hush()
            self._speaker = self.crowd.phones[int(str(order["phone"]))]
            self._speaker.spoken = []
            self._bursts_left = int(str(order["count"]))
            self._next_burst = now + 2 * BURST_GAP
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
        if self._speaker is not None and now >= self._next_burst:
            self._burst(self._speaker, now)
        if self._hang_up_until is not None and (
            now >= self._hang_up_until or all(phone.dialog.ended for phone in self.crowd.phones)
        ):
            self.finished = True
            tell({"event": "ended", "clean": sum(phone.dialog.ended for phone in self.crowd.phones)})

    def _hush(self) -> None:
        for phone in self.crowd.phones:
            phone.muted = True

    def _burst(self, speaker: Phone, now: float) -> None:
        """Begin the next burst, or tell of all of them one gap after the last."""
        if self._bursts_left:
            speaker.burst()
            self._bursts_left -= 1
            self._next_burst = now + BURST_GAP
            self.crowd.tick_from += BURST_SHIFT
        else:
            tell({"event": "spoken", "at": speaker.spoken})
            self._speaker = None


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
