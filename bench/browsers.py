"""The figures of browsers in a session: how late sound is, what a browser costs, how fast one is in.

Real headless Chromium against the real sandbox, with the phones of callers.py on the other side of the bridge.
"""

import importlib.util
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crowd import Crowd
from measuring import (
    DEADLINE,
    Bench,
    Row,
    Skipped,
    Spending,
    delays,
    in_conversation,
    last_event,
    percentile,
    wait_for_legs,
    wait_until,
)
from sipkit.rooms import Room
from tabs import TONES, Tabs, clock_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

WINDOW = 6.0  # seconds over which CPU time is counted
AUDIO_CROWDS = (1, 5)  # browsers in the room
VIDEO_CROWDS = (1, 2, 3)
PEER_CROWDS = ((4, False), (2, True))  # browsers, with video or not, before the sandbox and before aiortc
ALONE_BURSTS = 10
SETTLED = 8000  # samples of 8 kHz out of a jitter buffer: one second, before it is worth measuring
LOADS = 8
JOINS = 20


def mouth_to_ear(bench: Bench) -> Iterable[Row]:
    """From the first sample of a burst at one end to the same sample at the other, both ends in Unix time.

    In the browser's figures is all that its software does: capture blocks, jitter buffer, the audio graph that
    listens, and its output buffer as Chromium tells it; microphones and loudspeakers are not, headless has none. At
    the phone, 20 ms to fill a packet are in and its jitter buffer is not.
    """
    with Tabs(bench) as tabs, bridged(bench, "mouth-to-ear-browser") as (room, crowd):
        page = tabs.join(room, "bursts")
        wait_for_sound(tabs, 1)
        began = clock_of(page)

        page.evaluate("tab.hear()")
        crowd.tell(do="speak", phone=0, count=bench.clicks)
        spoken = crowd.wait_for("spoken")["at"]
        ear = page.evaluate("tab.heard()")
        at = [told / 1000 + began.seconds for told in ear["at"]]
        yield from delay_rows("phone to browser", delays(spoken, at))
        told = page.evaluate("tab.received()")
        yield Row("  of it Chromium's jitter buffer, mean", told["waited"] / told["samples"] * 1000, "ms")
        yield Row("  of it Chromium's output buffer, by its own account", ear["buffered"], "ms")

        crowd.tell(do="hear", phone=0)
        mouth = page.evaluate("count => tab.speak(count)", bench.clicks)
        crowd.tell(do="heard")
        at = [told / 1000 + began.seconds for told in mouth["at"]]
        yield from delay_rows("browser to phone", delays(at, crowd.wait_for("heard")["at"]))

        drift = abs(clock_of(page).seconds - began.seconds)
        error = (began.error + drift) * 1000 + max(ear["error"], mouth["error"])
        yield Row("the two ends' clocks against each other, at most", error, "ms")

        tabs.close_all()
        yield Row("Chromium to itself, no server between, p50", statistics.median(alone(tabs.open())), "ms")


def cpu(bench: Bench) -> Iterable[Row]:
    """CPU of the sandbox's process, beyond what the phone and the bridge cost, for each browser in the room.

    Every browser publishes and views everybody else and the bridge: n browsers are n streams in and n x n out.
    """
    with Tabs(bench) as tabs, bridged(bench, "browsers-cpu") as (room, _):
        alone = spent(bench)
        yield Row("sandbox's CPU, one phone and the bridge, no browser", alone, "%")
        for video in (False, True):
            for count in VIDEO_CROWDS if video else AUDIO_CROWDS:
                while len(tabs.pages) < count:
                    tabs.join(room, video=video)
                wait_for_sound(tabs, count)
                flow = Flow(tabs, streams=count * count, pictures=count * (count - 1) if video else 0)
                each = (spent(bench) - alone) / count
                what = "browser with 640 x 480 video" if video else "audio-only browser"
                title = f"sandbox's CPU per {what}, {count} in the room"
                yield Row(title, each, "%", None if video else 5)
                yield from flow.rows()
            tabs.close_all()


def joining(bench: Bench) -> Iterable[Row]:
    """How soon a browser is in, and hears.

    Loads are of a page with nothing cached, that joins by itself with microphone and camera into a room where a phone
    talks; sound counts when it leaves for the loudspeaker. Joins are of one page that connects, publishes sound and
    leaves, again and again: most of that time is Chromium's, so what it costs the sandbox is told, too.
    """
    with Tabs(bench) as tabs, bridged(bench, "joining") as (room, _):
        loads = []
        for _ in range(LOADS):
            page = tabs.open(tabs.credentials(room))
            loads.append(page.evaluate("tab.firstSound()") / 1000)
            tabs.close(page)
        yield Row(f"page load to the first remote sound, median of {LOADS}", statistics.median(loads), "s", 1.5)
        yield Row(f"page load to the first remote sound, slowest of {LOADS}", max(loads), "s")
        alone = spent(bench)
        page = tabs.open()
        began = time.monotonic()
        with Spending(bench.info.pid) as spending:
            took = page.evaluate("([count, how]) => tab.joins(count, how)", [JOINS, tabs.how(room, "bursts")])
        each = (spending.seconds - alone / 100 * (time.monotonic() - began)) / JOINS * 1000
        yield Row("joins a second (connect and publish), one after another", len(took) / sum(took), "/s")
        yield Row("  the sandbox's CPU for a join, a view of the bridge and leaving", each, "ms")


def against_aiortc(bench: Bench) -> Iterable[Row]:
    """CPU per browser of the sandbox and of a relay on aiortc: same Chromium, same media, in turns.

    No phone takes part. Both take PCMU and VP8; aiortc decodes and encodes, the sandbox forwards packets.
    """
    if importlib.util.find_spec("aiortc") is None:
        raise Skipped("peer not installed (aiortc: not with the kit, its wheels bring code under the GPL)")
    with Tabs(bench) as tabs:
        idle = spent(bench)
        for count, video in PEER_CROWDS:
            name = f"{count} browsers with {'640 x 480 video' if video else 'audio only'}"
            streams = count * (count - 1)
            room = bench.board.open_room(f"peer-{count}")
            for _ in range(count):
                tabs.join(room, video=video)
            wait_for_sound(tabs, count - 1)
            flow = Flow(tabs, streams, streams if video else 0)
            ours = (spent(bench) - idle) / count
            yield Row(f"{name}: CPU per browser, sandbox", ours, "%")
            yield from flow.rows()
            tabs.close_all()
            with relay() as (address, pid):
                relayed(tabs, address, count, video=video)
                wait_for_sound(tabs, count - 1)
                flow = Flow(tabs, streams, streams if video else 0)
                theirs = spent(bench, pid) / count
                yield Row(f"{name}: CPU per browser, relay on aiortc", theirs, "%")
                yield from flow.rows()
                tabs.close_all()
            yield Row(f"{name}: aiortc's over the sandbox's", theirs / ours, "x")


MEASUREMENTS: dict[str, Callable[[Bench], Iterable[Row]]] = {
    "browser_mouth_to_ear": mouth_to_ear,
    "browser_cpu": cpu,
    "browser_joining": joining,
    "browser_peer": against_aiortc,
}


@contextmanager
def bridged(bench: Bench, name: str) -> Iterator[tuple[Room, Crowd]]:
    """A room whose session is bridged to a conversation with one phone in it, which talks."""
    room = bench.board.open_room(name)
    since = last_event(bench.trace)
    bench.board.dial_out(room)
    bench.trace.wait_for(in_conversation(room.session_id), DEADLINE, since=since)
    try:
        with Crowd(bench, [f"{room.pin}#"], rate=1) as crowd:
            wait_for_legs(bench, 2)
            crowd.wait_for("keyed")
            yield room, crowd
    finally:
        bench.board.hang_up(room)


@contextmanager
def relay() -> Iterator[tuple[str, int]]:
    """A process of aiortc_relay.py: its address and its pid."""
    command = [sys.executable, str(Path(__file__).with_name("aiortc_relay.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin  # noqa: S101 - it was opened as a pipe
            assert process.stdout  # noqa: S101 - as above
            yield process.stdout.readline().strip(), process.pid
            process.stdin.close()
            process.wait(DEADLINE)
        finally:
            process.kill()


def relayed(tabs: Tabs, address: str, count: int, *, video: bool) -> None:
    """Open tabs that publish to the relay, then let each view all others."""
    for n in range(count):
        page = tabs.open()
        page.evaluate("([url, how]) => tab.publishTo(url, how)", [f"{address}/publish/{n}", tone_of(n, video=video)])
    for viewer, viewed in itertools.permutations(range(count), 2):
        tabs.pages[viewer].evaluate("([url, video]) => tab.viewFrom(url, video)", [f"{address}/view/{viewed}", video])


def tone_of(n: int, *, video: bool) -> dict[str, Any]:
    """What the n-th tab publishes to the relay."""
    return {"hz": TONES[n % len(TONES)], "video": video}


def wait_for_sound(tabs: Tabs, count: int) -> None:
    """Wait until so many streams came to every tab and have sound in them."""
    wait_until(lambda: all(told["sounding"] >= count for told in received(tabs)), f"{count} streams in every tab")


def received(tabs: Tabs) -> list[dict[str, float]]:
    """What each tab received so far (tab.js' received)."""
    return [page.evaluate("tab.received()") for page in tabs.pages]


class Flow:
    """What arrives while CPU is measured. A Chromium that is short of CPU sends too little, which flatters us."""

    def __init__(self, tabs: Tabs, streams: int, pictures: int) -> None:
        self._tabs, self._streams, self._pictures = tabs, streams, pictures
        self._began, self._before = time.monotonic(), self._sums()

    def rows(self) -> Iterable[Row]:
        """Since then, and of each stream."""
        took = time.monotonic() - self._began
        packets, frames = (after - before for before, after in zip(self._before, self._sums(), strict=True))
        yield Row("  audio packets a second, per stream and viewer (50 is all)", packets / took / self._streams, "/s")
        if self._pictures:
            yield Row("  pictures a second, per stream and viewer", frames / took / self._pictures, "/s")

    def _sums(self) -> tuple[float, float]:
        told = received(self._tabs)
        return sum(each["packets"] for each in told), sum(each["frames"] for each in told)


def spent(bench: Bench, pid: int | None = None) -> float:
    """CPU of one core (%) that a process, else the sandbox, takes over the next seconds."""
    with Spending(pid or bench.info.pid) as spending:
        time.sleep(WINDOW)
    return spending.percent


def alone(page: "Page") -> list[float]:
    """How long bursts take from a page to itself over a connection of its own: the browser's part of every delay."""
    page.evaluate("tab.hearOneself()")
    wait_until(lambda: page.evaluate("tab.received()")["samples"] > SETTLED, "the page's own sound")
    page.evaluate("tab.hear()")
    spoken = page.evaluate("count => tab.speak(count)", ALONE_BURSTS)["at"]
    heard = page.evaluate("tab.heard()")["at"]
    return delays([told / 1000 for told in spoken], [told / 1000 for told in heard])


def delay_rows(way: str, took: list[float]) -> Iterable[Row]:
    """The two rows of one direction."""
    yield Row(f"mouth to ear, {way}, p50 of {len(took)}", statistics.median(took), "ms")
    yield Row(f"mouth to ear, {way}, p95 of {len(took)}", percentile(took, 95), "ms", 150)
