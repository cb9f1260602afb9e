"""People in one room see and hear each other, measured in their pages.

Each sends a tone and a moving picture of their own through the room's real page: browser, WebRTC, the sandbox's
router, WebRTC, browser.
"""

import itertools

import pytest
from playwright.sync_api import expect

from sipkit.switchboard import Switchboard
from tests.standins.browser import LOUD, Pages, colour, heard, keep_picture, wait_frames, wait_silence, wait_tone
from tests.standins.room_guest import ADA, GRACE, LINUS, Guest, enter

pytestmark = pytest.mark.browser

HZ_OFF = 10
COLOUR_OFF = 50  # no two of the cast are nearer than twice this; VP8 and its colour space shift a little


@pytest.fixture
def three(hall: Switchboard, new_page: Pages) -> list[Guest]:
    """Ada, Grace and Linus in one room, each in a browser page of their own."""
    room = hall.open_room("three people")
    return [enter(new_page, hall, room, person) for person in (ADA, GRACE, LINUS)]


def test_three_people_see_and_hear_each_other(three: list[Guest], new_page: Pages) -> None:
    """Each page plays the other two: the tone, the moving picture and the colour that each of them sent."""
    for me, other in itertools.permutations(three, 2):
        video = me.video(other.person.name)
        wait_tone(me.page, video, other.person.hz)
        wait_frames(me.page, video, count=5)
        sound = heard(me.page, video)
        assert sound.hz == pytest.approx(other.person.hz, abs=HZ_OFF), (me.person.name, other.person.name)
        assert sound.level > LOUD
        assert colour(me.page, video) == pytest.approx(other.person.colour, abs=COLOUR_OFF)
    for me in three:
        names = sorted(me.roster.all_inner_texts())
        assert all(any(person.person.name in name for name in names) for person in three), names
    assert new_page.complaints == []
    keep_picture(three[0].page, three[0].main, "room.png")


def test_what_one_switches_off_the_others_do_not_get(three: list[Guest]) -> None:
    """The mute button silences, the camera button stops the picture, and pressed again both come back."""
    ada, grace, linus = three
    video = grace.video("Ada")
    wait_tone(grace.page, video, ADA.hz)
    ada.mute.click()
    expect(ada.mute).to_have_attribute("aria-pressed", "true")
    wait_silence(grace.page, video, seconds=2)
    ada.mute.click()
    wait_tone(grace.page, video, ADA.hz)

    wait_frames(grace.page, video)
    ada.camera.click()
    grace.page.wait_for_function(STANDS_STILL, arg=video, timeout=5000)
    wait_tone(grace.page, video, ADA.hz)
    ada.camera.click()
    wait_frames(grace.page, video)
    assert linus.error.is_hidden()


STANDS_STILL = """
async selector => {
  const video = document.querySelector(selector);
  const before = measure.frames(video);
  await new Promise(done => setTimeout(done, 500));
  return measure.frames(video) === before;
}
"""


def test_who_leaves_is_gone_for_all(three: list[Guest]) -> None:
    """The leave button ends the stream at once: no tile and no name of that person stays with the others."""
    ada, grace, linus = three
    for other in (grace, linus):
        other.video("Ada")
    ada.leave.click()
    ada.expect_session("disconnected")
    for other in (grace, linus):
        expect(other.tile("Ada")).to_have_count(0)
        expect(other.roster.filter(has_text="Ada")).to_have_count(0)
    wait_tone(grace.page, grace.video("Linus"), LINUS.hz)
