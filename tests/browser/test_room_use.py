"""The room's page by keyboard alone, on a narrow screen, and by the names a screen reader tells."""

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from sipkit.switchboard import Switchboard
from tests.standins.browser import Pages, keep_picture
from tests.standins.room_guest import ADA, GRACE, enter, open_invitation

pytestmark = pytest.mark.browser

PHONE_SCREEN = {"width": 360, "height": 640}
FRAME_IN_A_NOTEBOOK: ViewportSize = {"width": 826, "height": 702}
MOST_TABS = 30


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button of this name has the focus."""
    for _ in range(MOST_TABS):
        focused = page.evaluate(
            "document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.innerText"
        )
        if focused == name:
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{MOST_TABS} times Tab did not lead to {name!r}; the focus is on {focused!r}")


def test_everything_is_done_by_keyboard(hall: Switchboard, new_page: Pages) -> None:
    """Join, mute, dial out, hang up and leave: with Tab, Enter and Space, and never the mouse."""
    room = hall.open_room("by keyboard")
    host = open_invitation(new_page, hall.invite(room, "host", name="Ada"), ADA)
    page = host.page
    tab_to(page, "Join")
    page.keyboard.press("Enter")
    host.expect_session("connected")

    tab_to(page, "Dial out")
    page.keyboard.press("Enter")
    host.expect_call("connected")
    tab_to(page, "Hang up")
    page.keyboard.press("Space")
    host.expect_call("idle")
    tab_to(page, host.mute.inner_text())
    page.keyboard.press("Space")
    expect(host.mute).to_have_attribute("aria-pressed", "true")
    tab_to(page, "Leave")
    page.keyboard.press("Enter")
    host.expect_session("disconnected")


def test_it_fits_a_phones_screen(hall: Switchboard, new_page: Pages) -> None:
    """At 360 pixels nothing has to be pushed sideways: before joining, with two people and a call, light and dark."""
    room = hall.open_room("a room whose name needs more than one line on a phone")
    host = open_invitation(new_page, hall.invite(room, "host", name="Ada"), ADA, viewport=PHONE_SCREEN)
    assert_fits(host.page)
    host.join.click()
    host.expect_session("connected")
    grace = enter(new_page, hall, room, GRACE, viewport=PHONE_SCREEN, color_scheme="dark")
    host.dial_out.click()
    host.expect_call("connected")
    for guest in (host, grace):
        guest.video("Phone line")
        assert_fits(guest.page)
    keep_picture(grace.page, grace.main, "room-on-a-phone.png")
    grace.page.set_viewport_size(FRAME_IN_A_NOTEBOOK)
    assert grace.page.evaluate(COVERED) == []
    hall.hang_up(room)


def assert_fits(page: Page) -> None:
    """Nothing is wider than the screen, and what one presses is large enough for a finger (WCAG 2.2, 2.5.8)."""
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_SCREEN["width"]
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24, button.inner_text()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE_SCREEN["width"]


# The bar of buttons stays at the lower edge while the page moves beneath it: which of them is anywhere covered?
COVERED = """
() => {
  const covered = new Set();
  // What lets clicks through covers the eye all the same.
  for (const each of document.querySelectorAll("#tiles *")) each.style.pointerEvents = "auto";
  const buttons = [...document.querySelectorAll("#controls button")];
  for (let top = 0; top <= document.documentElement.scrollHeight; top += 40) {
    scrollTo(0, top);
    for (const button of buttons) {
      const {x, y, width, height} = button.getBoundingClientRect();
      if (!button.contains(document.elementFromPoint(x + width / 2, y + height / 2))) covered.add(button.innerText);
    }
  }
  scrollTo(0, 0);
  return [...covered];
}
"""


def test_a_screen_reader_finds_its_way(hall: Switchboard, new_page: Pages) -> None:
    """Landmarks, headings, buttons, the roster and the states have roles and names; news are in live regions."""
    room = hall.open_room("by ear")
    host = enter(new_page, hall, room, ADA, role="host")
    page = host.page
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_text("by ear")
    for name in ("Mute", "Camera off", "Leave", "Dial out", "Hang up"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Join by phone")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Ada")).to_have_count(1)
    expect(page.get_by_role("status").first).to_be_visible()
    expect(page.get_by_role("link", name=f"+{hall.number}")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    unnamed = page.locator("button, input, select, a").evaluate_all(
        "all => all.filter(one => !(one.innerText || one.labels?.length || one.ariaLabel || one.title)).length"
    )
    assert unnamed == 0
