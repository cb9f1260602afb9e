"""The room page in the unified environment: the application's own tokens, and sound both ways with a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipkit.lessons.sound import voice
from sipkit.phones import Heard
from sipkit.switchboard import Switchboard
from tests.standins.browser import Pages, wait_tone
from tests.standins.room_guest import ADA, GRACE, enter

pytestmark = pytest.mark.browser

CALL_SECONDS = 15.0
PHONE_HZ = 1400
HZ_OFF = 10


@pytest.fixture
def unified(sandbox_env: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switchboard]:
    """A switchboard in the sandbox's unified environment, with its real webhook server running."""
    monkeypatch.setenv("VIDEO_ENVIRONMENT", "unified")
    with Switchboard.from_env() as board:
        board.start_webhook_server()
        yield board


def test_browsers_and_a_phone_hear_each_other(unified: Switchboard, new_page: Pages) -> None:
    """Two pages and a phone in one room: each page plays the other and the phone, and the phone hears both pages."""
    room = unified.open_room("unified")
    ada, grace = (enter(new_page, unified, room, person) for person in (ADA, GRACE))
    wait_tone(ada.page, ada.video("Grace"), GRACE.hz)
    wait_tone(grace.page, grace.video("Ada"), ADA.hz)
    unified.dial_out(room)
    unified.wait_for_bridge(room, "answered")
    phone = unified.phone().wait_for("answered", timeout=CALL_SECONDS)
    phone.wait_until_heard(voice)
    phone.keys(f"{room.pin}#")
    unified.wait_for_callers(room, 1)
    phone.wait_until_heard(lambda heard: all(_is_in(person.hz, heard) for person in (ADA, GRACE)))
    phone.tone(PHONE_HZ)
    wait_tone(ada.page, "#tiles figure[data-kind=phone] :is(video, audio)", PHONE_HZ)
    assert unified.hang_up(room).hung_up
    phone.wait_for("ended", timeout=CALL_SECONDS)
    assert new_page.complaints == []


def _is_in(hz: float, heard: Heard) -> bool:
    return any(abs(each - hz) < HZ_OFF for each in heard.tones_hz)
