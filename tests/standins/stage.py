"""A media router on a stage: real UDP, DTLS and SRTP, with browsers made of raw packets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from sipkit.sandbox.media.leg import Leg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.conferences import Conferences
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.webrtc import rtp
from tests.standins.raw_browser import RawBrowser

SESSION = "the session"
Told = list[str]


async def until(predicate: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Wait until a predicate is true."""
    try:
        async with asyncio.timeout(timeout):
            while not predicate():  # noqa: ASYNC110 - what is waited for is bytes, which set no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited {timeout:g} s for {what}")


def got(browser: RawBrowser, count: int) -> bool:
    """Whether that many packets came."""
    return len(browser.received) >= count


@dataclass
class Stage:
    """A router with its mixer, and the conference of one session."""

    router: Router
    mixer: Mixer
    conferences: Conferences

    def listener(self) -> Leg:
        """A leg in the conference that records, as the SIP leg's party would hear it."""
        leg = Leg("listener", record=True)
        self.mixer.add(leg)
        leg.join(self.conferences.of(SESSION))
        return leg

    async def publish(self, stream_id: str, told: Told | None = None, **offer: str | None) -> RawBrowser:
        """A browser that publishes, connected."""
        browser = RawBrowser(direction="sendonly", **offer)
        told = told if told is not None else []
        await browser.connect(self.router.publish(SESSION, stream_id, browser.offer, told.append))
        await until(lambda: "connected" in told or not told, "the publisher to be connected")
        return browser

    async def view(
        self, stream_id: str, subscription_id: str, told: Told | None = None, **offer: str | None
    ) -> RawBrowser:
        """A browser that views a stream, connected."""
        browser = RawBrowser(direction="recvonly", **offer)
        told = told if told is not None else []
        answer = self.router.subscribe(SESSION, stream_id, subscription_id, browser.offer, told.append)
        await browser.connect(answer)
        return browser


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A running router."""
    mixer = Mixer()
    conferences = Conferences(mixer)
    router = Router(conferences, mixer, Trace())
    await router.open()
    mixer.start()
    try:
        yield Stage(router, mixer, conferences)
    finally:
        await router.close()
        await mixer.stop()


def audio(sequence: int, payload: bytes = b"\xff" * 160, ssrc: int = 77, payload_type: int = 0) -> bytes:
    """An RTP packet."""
    return rtp.HEADER.pack(0x80, payload_type, sequence & 0xFFFF, sequence * 160, ssrc) + payload


def picture(sequence: int) -> bytes:
    """A video packet."""
    return audio(sequence, b"\x10" + bytes(200), ssrc=88, payload_type=96)
