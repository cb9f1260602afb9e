"""What may be done to a living leg from outside: mute, earmuff, transfer, talk, stream, digits."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox.home import Home
from sipkit.sandbox.media.fetched import SoundRefused
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.callbacks import Webhook
from sipkit.sandbox.voice.leg import VoiceLeg
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.calls import OwnSandbox
from tests.standins.lab import Lab, Phone, wait_for
from tests.standins.raw_phone import RawPhone

JOIN = {"action": "conversation", "name": "room"}


class Inside:
    """A sandbox whose legs a test may touch, as the platform's own REST API does: on their loop."""

    def __init__(self, own: OwnSandbox) -> None:
        self._own = own
        self.lab = Lab(own.info)

    def leg(self, from_: str) -> VoiceLeg:
        """Return the living leg of a caller."""
        return next(leg for leg in self._own._sandbox.voice.calls.book.legs() if leg.caller == from_)

    def do(self, work: Callable[[], Awaitable[Any] | None]) -> None:
        """Call something on the loop of the sandbox and wait for it."""

        async def run() -> None:
            if (waits := work()) is not None:
                await waits

        asyncio.run_coroutine_threadsafe(run(), self._own._loop).result(10)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, session_app: AnsweringApp) -> Iterator[OwnSandbox]:
    """One sandbox in this process for all tests here."""
    own = OwnSandbox(Home.open(Path(tmp_path_factory.mktemp("control")) / "sandbox"))
    yield own
    own.close()


@pytest.fixture
def inside(own: OwnSandbox, session_app: AnsweringApp) -> Iterator[Inside]:
    """That sandbox, without a call up, calling `session_app`, which lets everybody into one conversation."""
    session_app.reset()
    session_app.on("/answer", [JOIN])
    inside = Inside(own)
    inside.lab.point(session_app.url)
    yield inside
    inside.lab.tidy()
    inside.lab.close()


def _two(inside: Inside) -> tuple[Phone, Phone]:
    """Put two phones into the conversation, each with a tone: 500 Hz of the first, 900 Hz of the second."""
    one, two = (inside.lab.dial(from_=f"1202555000{number}") for number in (1, 2))
    inside.lab.wait_joined(2)
    one.post("tone", json={"hz": 500, "seconds": 20})
    two.post("tone", json={"hz": 900, "seconds": 20})
    _hears(one, 900)
    _hears(two, 500)
    return one, two


def _hears(phone: Phone, hz: float) -> None:
    wait_for(lambda: ear.strength(ear.last(phone.recording(), 0.3), hz) > -25, what=f"{hz} Hz")


def _hears_no(phone: Phone, hz: float) -> None:
    wait_for(lambda: ear.strength(ear.last(phone.recording(), 0.3), hz) < -55, what=f"no {hz} Hz")


def test_mute_and_earmuff_change_who_hears_whom(inside: Inside) -> None:
    """A muted leg is heard by nobody and hears all; an earmuffed one hears nobody and is heard; both can be undone."""
    one, two = _two(inside)
    leg = inside.leg("12025550001")
    inside.do(lambda: leg.mute(True))
    _hears_no(two, 500)
    _hears(one, 900)
    inside.do(lambda: leg.mute(False))
    inside.do(lambda: leg.earmuff(True))
    assert (leg.muted, leg.earmuffed) == (False, True)
    _hears_no(one, 900)
    _hears(two, 500)
    inside.do(lambda: leg.earmuff(False))
    _hears(one, 900)


def test_transfer_takes_a_leg_out_of_its_conversation(inside: Inside, session_app: AnsweringApp) -> None:
    """The new document replaces the old; the event URL is told from where to where; the other leg stays."""
    _, two = _two(inside)
    leg = inside.leg("12025550001")
    before = leg.conversation_uuid
    inside.do(lambda: leg.transfer(ncco.parse([{**JOIN, "name": "other"}])))
    inside.lab.wait_joined(1, name="other")
    inside.lab.wait_joined(1, name="room")
    _hears_no(two, 500)
    moves = [each for each in session_app.events(leg.uuid) if each.get("type") == "transfer"]
    assert moves[1]["conversation_uuid_from"] == before
    assert moves[1]["conversation_uuid_to"] == leg.conversation_uuid
    inside.do(lambda: leg.transfer(ncco.parse([{"action": "wait", "timeout": 0.1}])))
    inside.lab.wait_legs(1)


def test_transfer_of_a_moderator_ends_nothing(inside: Inside, session_app: AnsweringApp) -> None:
    """A leg with endOnExit that is transferred leaves the others where they are."""
    session_app.on("/answer", [{**JOIN, "endOnExit": True}])
    _two(inside)
    leg = inside.leg("12025550001")
    inside.do(lambda: leg.transfer(ncco.parse([{**JOIN, "name": "other"}])))
    inside.lab.wait_joined(1, name="other")
    assert len(inside.lab.wait_joined(1, name="room")) == 1


def test_talk_and_stream_are_heard_by_that_leg_alone(inside: Inside, session_app: AnsweringApp) -> None:
    """Speech and files are played into one leg, over its conversation, until told to stop."""
    one, two = _two(inside)
    leg = inside.leg("12025550001")
    sound = ear.make_wav(ear.tone(700, 0.5))
    session_app.on("/a.wav", Reply(body=sound, content_type="audio/wav"))
    inside.do(lambda: leg.stream(f"{session_app.url}/a.wav", loop=0, level=0.5))
    _hears(one, 700)
    assert ear.strength(ear.last(two.recording(), 0.5), 700) < -55
    inside.do(leg.stop_stream)
    _hears_no(one, 700)
    _hears(one, 900)
    inside.do(lambda: leg.talk("Hello.", loop=0))
    assert leg.audio.playing
    inside.do(leg.stop_talk)
    assert not leg.audio.playing
    with pytest.raises(SoundRefused, match="not on this machine"):
        inside.do(lambda: leg.stream("http://example.com/a.wav"))


def test_digits_are_sent_to_the_leg(inside: Inside) -> None:
    """Digits reach the far end as telephone-events (RFC 4733); what is no digit is refused."""
    with RawPhone(inside.lab.info) as phone:
        phone.call()
        inside.lab.wait_joined(1)
        leg = inside.leg("12025550177")
        inside.do(lambda: leg.dtmf("4#"))
        keyed: list[int] = []
        deadline = time.monotonic() + 5
        while len(keyed) < 2 and time.monotonic() < deadline:
            packet = phone.rtp.receive(2)
            assert packet is not None
            event = packet[12]
            if packet[1] & 0x7F == 101 and event not in keyed:
                keyed.append(event)
        assert keyed == [4, 11]
        with pytest.raises(ValueError, match="not DTMF digits"):
            inside.do(lambda: leg.dtmf("x"))
        phone.hang_up()


def test_listener_is_told_each_key(inside: Inside, session_app: AnsweringApp) -> None:
    """Keys are posted one by one as long as somebody listens, and by nobody's wish not at all."""
    phone = inside.lab.dial(from_="12025550001")
    inside.lab.wait_joined(1)
    session_app.on("/keys", Reply())
    leg = inside.leg("12025550001")
    inside.do(lambda: leg.listen_dtmf(Webhook(f"{session_app.url}/keys", "POST")))
    phone.keys("12")
    wait_for(lambda: len(session_app.asked("/keys")) == 2, what="two keys")
    inside.do(lambda: leg.listen_dtmf(None))
    phone.keys("3")
    phone.hang_up()
    inside.lab.wait_legs(0)
    wait_for(lambda: "completed" in session_app.statuses(), what="the last event")
    assert [each.fields["dtmf"]["digits"] for each in session_app.asked("/keys")] == ["1", "2"]


def test_what_a_leg_tells_of_itself(inside: Inside) -> None:
    """Direction, endpoint and times are there while it lives, its price when it is over."""
    phone = inside.lab.dial(from_="12025550001")
    inside.lab.wait_joined(1)
    leg = inside.leg("12025550001")
    assert (leg.direction, leg.state, leg.endpoint) == (
        "inbound",
        "answered",
        {"type": "phone", "number": "12025550001"},
    )
    assert leg.answered_at is not None
    before = (leg.rate, leg.network, leg.price)
    phone.hang_up()
    inside.lab.wait_legs(0)
    assert leg.state == "completed"
    assert leg.ended_at is not None
    assert before == (None, None, None)
    assert (leg.rate, leg.network) == ("0.00450000", "SANDBOX")
    assert leg.price is not None
    assert float(leg.price) >= 0.000075
