"""A browser as the receiver of a phone: it speaks and hears through a real SIP call."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from sipkit.sandbox.media.g711 import decode
from sipkit.sandbox.webrtc import rtp
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, Phone, wait_for
from tests.standins.raw_browser import RawBrowser

SPOKEN, SUNG = 700, 1100


@asynccontextmanager
async def receiver(phone: Phone, **offer: Any) -> AsyncIterator[RawBrowser]:
    """A browser at a phone, whistling `SPOKEN` Hz into it."""
    browser = RawBrowser(**offer)
    answer = await asyncio.to_thread(phone.post, "receiver", json={"sdp": browser.offer})
    await browser.connect(answer.json()["sdp"])
    whistling = asyncio.create_task(browser.whistle(SPOKEN, seconds=60))
    try:
        yield browser
    finally:
        whistling.cancel()
        browser.close()


def hears(browser: RawBrowser) -> np.ndarray:
    """The last half second that came out of the browser's loudspeaker."""
    last = browser.received[-25:]
    return (
        np.concatenate([decode(rtp.payload_of(packet), "PCMU") / 32768 for packet in last]) if last else np.zeros(160)
    )


async def until(predicate: Callable[[], bool], what: str) -> None:
    """Wait in a thread, so that the browser's packets go on."""
    await asyncio.to_thread(wait_for, predicate, 10, what)


def test_a_browser_talks_and_listens_through_a_phone(lab: Lab, app: AnsweringApp) -> None:
    """What is said into the browser another phone hears, and the other way round, over a real SIP call."""
    app.on("/answer", [{"action": "conversation", "name": "two"}])
    phone, other = lab.dial(), lab.dial(from_="12025550124")
    lab.wait_joined(2)
    other.post("tone", json={"hz": SUNG, "seconds": 20})

    async def run() -> None:
        async with receiver(phone) as browser:
            await until(lambda: ear.strength(ear.last(other.recording(), 0.5), SPOKEN) > -20, "the browser's tone")
            # Half a second that is all tone: its first moment is a click that holds every frequency.
            await until(lambda: ear.strength(hears(browser), SUNG) > -15.5, "the other phone's tone")
            assert ear.strength(hears(browser), SPOKEN) < -45, "nobody hears themself"

    asyncio.run(run())


def test_laying_the_receiver_down_gives_the_phone_back(lab: Lab, app: AnsweringApp) -> None:
    """Without the browser the call goes on, silent, and the phone can still play a tone."""
    app.on("/answer", [{"action": "conversation", "name": "two"}])
    phone, other = lab.dial(), lab.dial(from_="12025550124")
    lab.wait_joined(2)

    async def run() -> None:
        async with receiver(phone) as browser:
            await until(lambda: ear.strength(ear.last(other.recording(), 0.5), SPOKEN) > -20, "the browser's tone")
            await asyncio.to_thread(phone.lay_down)
            await asyncio.wait_for(browser.closed.wait(), 5)

    asyncio.run(run())
    wait_for(lambda: ear.strength(ear.last(other.recording(), 0.5), SPOKEN) < -50, what="silence")
    phone.post("tone", json={"hz": SUNG, "seconds": 5})
    wait_for(lambda: ear.strength(ear.last(other.recording(), 0.5), SUNG) > -20, what="the phone's own tone")


def test_a_second_browser_takes_the_receiver_over(lab: Lab, app: AnsweringApp) -> None:
    """A page that was loaded again gets the phone; the page before it is cut off."""
    app.on("/answer", [{"action": "conversation", "name": "one"}])
    phone = lab.dial()
    lab.wait_joined(1)

    async def run() -> None:
        async with receiver(phone) as before, receiver(phone) as after:
            await asyncio.wait_for(before.closed.wait(), 5)
            count = len(after.received)
            await until(lambda: len(after.received) > count + 10, "audio in the second browser")

    asyncio.run(run())


def test_the_receiver_may_be_lifted_while_it_rings_and_not_after_the_end(lab: Lab, app: AnsweringApp) -> None:
    """An offer is answered as soon as the phone exists; when the call is over, 409; an impossible offer, 400."""
    app.on("/answer", [{"action": "conversation", "name": "one"}])
    phone = lab.dial()
    phone.post("receiver", json={"sdp": RawBrowser().offer})
    lab.wait_joined(1)
    refused = phone.post("receiver", json={"sdp": RawBrowser(audio="OPUS").offer}, status=400)
    assert "PCMU" in refused.json()["error"]
    for broken in ({"sdp": "v=0"}, {"sdp": 7}, {}):
        phone.post("receiver", json=broken, status=400)
    phone.hang_up()
    assert "ended" in phone.post("receiver", json={"sdp": RawBrowser().offer}, status=409).json()["error"]


def test_hanging_up_ends_the_browsers_connection(lab: Lab, app: AnsweringApp) -> None:
    """After the call no media goes to the page any more: its connection is closed by the sandbox."""
    app.on("/answer", [{"action": "conversation", "name": "one"}])
    phone = lab.dial()
    lab.wait_joined(1)

    async def run() -> None:
        async with receiver(phone) as browser:
            await asyncio.to_thread(phone.hang_up)
            await asyncio.wait_for(browser.closed.wait(), 5)

    asyncio.run(run())
