"""Two hosts of one room, one at the notebook's panel and one at the room's page; and a guest, who is none."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from sipkit.switchboard import Switchboard
from sipkit.widgets import HostPanel
from tests.browser.test_room_use import PHONE_SCREEN, assert_fits
from tests.standins.browser import Pages, ServePages, keep_picture
from tests.standins.panel_page import DARK, show
from tests.standins.room_guest import ADA, GRACE, open_invitation
from tests.test_hosting import SECONDS, called, requests_to, there

pytestmark = pytest.mark.browser

CALLER = "12025550123"
SOON_MS = 10_000


def line(page: Page) -> Locator:
    """The only phone in a list."""
    return page.get_by_role("list", name="Phones").get_by_role("listitem")


def press(page: Page, name: str) -> None:
    """Press a button of the only phone."""
    line(page).get_by_role("button", name=re.compile(f"^{name}: ")).click()


def expect_mark(page: Page, words: str) -> None:
    """Wait until the only phone's line is marked with this."""
    expect(line(page).get_by_text(words, exact=True)).to_be_visible(timeout=SOON_MS)


def expect_line(page: Page, *words: str) -> None:
    """Wait until the only phone's line says all this."""
    for word in words:
        expect(line(page)).to_contain_text(word, timeout=SOON_MS)


def test_two_hosts_and_a_phone(hall: Switchboard, new_page: Pages, serve_pages: ServePages) -> None:
    """A phone waits, is admitted, muted, asked, renamed and removed; what one host does the other one sees."""
    room = hall.open_room("two hosts")
    board = HostPanel(hall, room)
    panel = new_page(viewport={"width": 640, "height": 480}, color_scheme="dark")
    show(panel, board.view, serve_pages, DARK)
    host = open_invitation(new_page, hall.invite(room, "host", name="Ada"), ADA)
    page = host.page
    page.get_by_role("button", name="Use the lobby").click()
    expect(panel.get_by_text("Phones wait until you admit them.")).to_be_visible(timeout=SOON_MS)
    phone = called(hall, room.pin, CALLER)
    for each in (panel, page):
        expect_line(each, "waits to be admitted")
        expect(each.get_by_role("log")).to_contain_text("Phone •••0123 waits to be admitted")
    press(page, "Admit")
    expect(page.get_by_text("Phone •••0123 was admitted.")).to_be_visible()
    expect_line(panel, "since")
    (caller,) = there(hall, room, "joined")

    press(panel, "Mute")
    for each in (panel, page):
        expect_line(each, "muted")
        expect(line(each).get_by_role("button", name="Mute: Phone •••0123", exact=True)).to_be_hidden()
    press(page, "Ask to unmute")
    for each in (panel, page):
        expect_line(each, "muted, asked to unmute")

    press(page, "Rename")
    page.keyboard.type("Grace")
    hall._store.set_hand(caller.leg_uuid, up=True)
    expect_mark(page, "hand raised")
    expect(page.get_by_label("New name of phone •••0123")).to_have_value("Grace")  # whatever happened meanwhile
    page.keyboard.press("Enter")
    for each in (panel, page):
        expect_line(each, "Grace", "phone •••0123")
        expect_mark(each, "hand raised")
        expect(each.get_by_role("log")).to_contain_text("Phone •••0123 raises a hand")
    phone.tone(440, 20.0)
    expect_mark(panel, "talking, but muted")
    keep_picture(page, line(page), "room-hosting.png")
    expect(host.roster.get_by_text("Grace", exact=True)).to_be_visible(timeout=SOON_MS)
    press(panel, "Lower hand")
    expect(line(page).get_by_text("hand raised")).to_be_hidden(timeout=SOON_MS)

    line(page).get_by_role("button", name="Remove").focus()
    page.keyboard.press("Enter")
    phone.wait_for("ended", SECONDS)
    for each in (panel, page):
        expect(line(each)).to_have_count(0, timeout=SOON_MS)
        expect(each.get_by_text("No phone is here.")).to_be_visible()
    assert requests_to(hall, caller) == ["transfer", "mute", "talk", "hangup"]
    assert new_page.complaints == []
    board.close()


def test_the_list_fits_a_phones_screen(hall: Switchboard, new_page: Pages) -> None:
    """At 360 pixels a host's page has its phones and all their buttons in reach."""
    room = hall.open_room("hosted on a small screen")
    for leg in ("first leg", "second leg"):
        hall._store.caller_seen(leg, CALLER, "joined", room.id)
        hall._store.set_caller(leg, name="Somebody with a name that needs more than a line", muted=leg == "first leg")
        hall._store.set_hand(leg, up=True)
    host = open_invitation(new_page, hall.invite(room, "host", name="Ada"), ADA, viewport=PHONE_SCREEN)
    expect(line(host.page)).to_have_count(2, timeout=SOON_MS)
    line(host.page).first.get_by_role("button", name="Rename").click()
    assert_fits(host.page)
    for leg in ("first leg", "second leg"):
        hall._store.caller_left(leg)


def test_a_guest_has_nothing_of_it(hall: Switchboard, new_page: Pages) -> None:
    """A guest's page shows no door and no deeds; a request that it forges, with all a page can show, gets 403."""
    room = hall.open_room("guests are guests")
    hall._store.caller_seen("a leg", CALLER, "joined", room.id)
    guest = open_invitation(new_page, hall.invite(room, name="Grace"), GRACE)
    expect(guest.roster).to_contain_text("•••0123", timeout=SOON_MS)
    for name in ("Mute: ", "Remove", "Lock the room", "Use the lobby", "Wait for the host"):
        expect(guest.page.get_by_role("button", name=name)).to_have_count(0)
    assert guest.page.evaluate(FORGE, hall.callers(room)[0].alias) == [403, 403]
    assert not hall.room(room.name).locked
    hall._store.caller_left("a leg")


FORGE = """
async phone => {
  const config = JSON.parse(document.querySelector("main").dataset.config);
  const ask = (what, more) => fetch(`${config.path}/${what}`, {
    ...more, headers: {"X-Sipkit-Visit": config.visit, "Content-Type": "application/json"},
  });
  const statuses = [];
  for (const [what, body] of [[`phones/${phone}/remove`, {}], ["door", {locked: true}]]) {
    const {ticket} = await (await ask("state", {method: "GET"})).json();
    statuses.push((await ask(what, {method: "POST", body: JSON.stringify({...body, ticket})})).status);
  }
  return statuses;
}
"""
