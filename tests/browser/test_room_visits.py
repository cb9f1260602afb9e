"""Twenty people come, are heard, and leave by the button or by closing the tab: the sandbox is as it was before."""

import pytest
from playwright.sync_api import Browser, expect

from sipkit.rooms import Room
from tests.standins.browser import Pages, wait_tone
from tests.standins.lab import wait_for
from tests.standins.probed_sandbox import Holdings, Place
from tests.standins.room_guest import ADA, GRACE, LINUS, Guest, enter, open_invitation

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROUNDS = 10
WARM_UP = 2
MORE = 1.05


def two_visits(place: Place, pages: Pages, room: Room, grace: Guest) -> None:
    """Two people join, hear Grace and are heard; one leaves by the button, the other closes the tab."""
    guests = [open_invitation(pages, place.board.invite(room, name=each.name), each) for each in (ADA, LINUS)]
    for guest in guests:
        guest.join.click()
    for guest in guests:
        guest.expect_session("connected")
        wait_tone(guest.page, guest.video("Grace"), GRACE.hz)
        wait_tone(grace.page, grace.video(guest.person.name), guest.person.hz)
    guests[0].leave.click()
    guests[0].expect_session("disconnected")
    for guest in guests:
        guest.page.context.close()
    for guest in guests:
        expect(grace.tile(guest.person.name)).to_have_count(0)


def settled(place: Place, tasks: list[str] | None = None) -> Holdings:
    """What the sandbox holds, once it has ended what it was doing (and its tasks are the given ones)."""
    last: list[Holdings] = []

    def quiet() -> bool:
        last.append(place.sandbox.holdings())
        return (last[-1].tasks == tasks) if tasks is not None else len(last) > 1 and last[-1].tasks == last[-2].tasks

    wait_for(quiet, 20, "the sandbox's tasks to be what they were")
    return last[-1]


def test_twenty_visits_leave_nothing_behind(place: Place, browser: Browser, new_page: Pages) -> None:
    """After 20 people came, were heard and left, by button and by closed tab, the sandbox holds what it held before.

    No connection, the same tasks, as many sockets, and memory within 5 %, compared after four visits of warm-up.
    """
    room = place.board.open_room("twenty visits")
    grace = enter(new_page, place.board, room, GRACE)
    visits = Pages(browser)
    for _ in range(WARM_UP):
        two_visits(place, visits, room, grace)
    before = settled(place)
    for _ in range(ROUNDS):
        two_visits(place, visits, room, grace)
    after = settled(place, before.tasks)

    assert len(place.browsers(room)) == 1
    assert after.files <= before.files
    assert after.memory <= before.memory * MORE, f"{before.memory / 1e6:.1f} MB before, {after.memory / 1e6:.1f} after"
    assert visits.complaints == []
