"""A browser and a phone talk through the whole chain, measured at both ends.

Browser, WebRTC, router, conference, SIP gateway, SIP over TLS and RTP, conversation, RTP, SIP softphone; and back.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from sipkit.phones import SandboxPhone
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from tests.standins.browser import LOUD, QUIET, Pages, heard, wait_tone
from tests.standins.ear import last, level, read_wav, strength
from tests.standins.room_guest import ADA, Guest, enter

pytestmark = pytest.mark.browser

PHONE_HZ = 1370.0
STRANGER_HZ = 890.0
HEARD_WITHIN = 2.0
SILENT_WITHIN = 1.0


@pytest.fixture
def room(hall: Switchboard) -> Iterator[Room]:
    """A room whose session has called the number."""
    room = hall.open_room("phone and browser")
    hall.dial_out(room)
    hall.wait_for_bridge(room, "answered", timeout=15)
    yield room
    hall.hang_up(room)


@pytest.fixture
def ada(hall: Switchboard, new_page: Pages, room: Room) -> Guest:
    """Ada in the room, with her browser."""
    return enter(new_page, hall, room, ADA)


@pytest.fixture
def call(hall: Switchboard) -> Iterator[Callable[[str], SandboxPhone]]:
    """`call(digits)`: a phone that calls the number and keys digits as soon as somebody answers."""
    phones: list[SandboxPhone] = []

    def calling(digits: str) -> SandboxPhone:
        phones.append(hall.phone().wait_for("answered"))
        phones[-1].keys(digits)
        return phones[-1]

    yield calling
    for phone in phones:
        phone.hang_up()


def phone_hears(phone: SandboxPhone, hz: float, seconds: float = 0.3) -> bool:
    """Whether a tone is in the last of what the phone's ear got, by FFT of its recording."""
    return strength(last(read_wav(phone.recording()), seconds), hz) > LOUD


def phone_tile(guest: Guest) -> str:
    """The selector of what plays the phone side in a guest's page."""
    return guest.video("Phone line")


def test_a_browser_and_a_phone_hear_each_other(
    hall: Switchboard, room: Room, ada: Guest, call: Callable[[str], SandboxPhone], wait_until: Callable[..., Any]
) -> None:
    """A tone each way is found by FFT at both ends within 2 s of the phone's joining, and nobody hears themselves."""
    phone = call(f"{room.pin}#")
    hall.wait_for_callers(room, 1, timeout=10)
    joined = time.monotonic()
    phone.tone(PHONE_HZ, seconds=20)
    wait_tone(ada.page, phone_tile(ada), PHONE_HZ, seconds=HEARD_WITHIN)
    wait_until(lambda: phone_hears(phone, ADA.hz), HEARD_WITHIN, "Ada's tone at the phone")
    assert time.monotonic() - joined < HEARD_WITHIN

    assert heard(ada.page, phone_tile(ada)).hz == pytest.approx(PHONE_HZ, abs=10)
    at_phone = last(read_wav(phone.recording()), 0.5)
    assert strength(at_phone, PHONE_HZ) < QUIET
    [own] = ada.page.locator(phone_tile(ada)).evaluate("(video, hz) => measure.strengths(video, [hz])", ADA.hz)
    assert own < QUIET


def test_a_wrong_pin_hears_nothing(
    hall: Switchboard, room: Room, ada: Guest, call: Callable[[str], SandboxPhone], wait_until: Callable[..., Any]
) -> None:
    """A caller without the PIN hears prompts and never the room, and the room does not hear that caller."""
    inside = call(f"{room.pin}#")
    hall.wait_for_callers(room, 1, timeout=10)
    outside = call(f"{another_pin(room.pin)}#")
    outside.tone(STRANGER_HZ, seconds=20)
    # What is waited for, the room's own sound at the phone that was let in, has gone the way the other one's would.
    wait_until(lambda: phone_hears(inside, ADA.hz), 5, "Ada's tone at the phone inside")
    outside.listen(silence=0.6)
    at_outside = read_wav(outside.recording())
    assert level(last(at_outside, 0.5)) < QUIET
    assert strength(at_outside, ADA.hz) < LOUD  # the prompt's voice has a little of every tone
    assert strength(read_wav(inside.recording()), STRANGER_HZ) < QUIET
    [stranger] = ada.page.locator(phone_tile(ada)).evaluate(
        "(video, hz) => measure.strengths(video, [hz])", STRANGER_HZ
    )
    assert stranger < QUIET
    assert [caller.state for caller in hall.callers(room)].count("joined") == 1


def test_after_hanging_up_both_ends_are_silent(
    hall: Switchboard, room: Room, ada: Guest, call: Callable[[str], SandboxPhone], wait_until: Callable[..., Any]
) -> None:
    """Within 1 s of the bridge's hang-up the phone's call has ended and the page plays nothing of it any more."""
    phone = call(f"{room.pin}#")
    hall.wait_for_callers(room, 1, timeout=10)
    phone.tone(PHONE_HZ, seconds=20)
    wait_tone(ada.page, phone_tile(ada), PHONE_HZ)
    wait_until(lambda: phone_hears(phone, ADA.hz), 5, "Ada's tone at the phone")

    tile = ada.page.locator(phone_tile(ada)).element_handle()
    assert tile is not None
    began = time.monotonic()
    hall.hang_up(room)
    phone.wait_for("ended", timeout=SILENT_WITHIN)
    tile.evaluate("(video, [quiet, left]) => measure.waitSilence(video, quiet, left)", [QUIET, SILENT_WITHIN])
    assert time.monotonic() - began < SILENT_WITHIN
    at_the_end = phone.recording()
    expect(ada.tile("Phone line")).to_have_count(0)
    assert phone.recording() == at_the_end


def another_pin(pin: str) -> str:
    """A PIN as long as the given one that is not it."""
    return pin[:-1] + str((int(pin[-1]) + 1) % 10)
