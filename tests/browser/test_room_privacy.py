"""What the room's page keeps to itself: its invitation, other people's errors, and the keyboard's place."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from tests.standins.browser import Pages, ServePages
from tests.standins.room_guest import ADA, GRACE, Guest, enter, open_invitation

pytestmark = pytest.mark.browser

# A video script of somebody else that reports where it runs.
CURIOUS = "window.reported = location.href;"
DENY_STORAGE = """
Object.defineProperty(window, "sessionStorage", {get() { throw new DOMException("denied", "SecurityError"); }});
"""
FRAME = """
<!doctype html><iframe src="{link}" allow="microphone; camera"></iframe>
<script>
  window.heard = [];
  addEventListener("message", ({{source, data}}) => {{
    if (source === document.querySelector("iframe").contentWindow) heard.push(data);
  }});
</script>
"""


@pytest.fixture
def room(hall: Switchboard, request: pytest.FixtureRequest) -> Iterator[Room]:
    """A room of this test, without a call."""
    room = hall.open_room(request.node.name[:60])
    yield room
    hall.close_room(room)


def open_curiously(page: Page, hall: Switchboard, link: str) -> None:
    """Open a link, with the curious script in place of the video script."""
    script = f"{hall._cloud.account().video_api_url}/v2/js/opentok.min.js"
    page.route(script, lambda route: route.fulfill(body=CURIOUS, content_type="text/javascript"))
    page.goto(link)


def test_the_video_script_never_sees_the_invitation(hall: Switchboard, new_page: Pages, room: Room) -> None:
    """The address is the bare one before another script runs; loaded again, and again, the tab is let in again."""
    page, link = new_page(), hall.invite(room).local_url
    bare = link.partition("?")[0]
    open_curiously(page, hall, link)
    for _ in range(3):
        page.wait_for_function("() => window.reported !== undefined")
        assert page.evaluate("reported") == page.url == bare
        page.reload()
        page.wait_for_selector("#join")
    stranger = new_page()
    answer = stranger.goto(bare)
    assert answer is not None
    assert answer.status == 403
    expect(stranger.get_by_role("main")).to_contain_text("Ask the host for a link")


def test_without_storage_a_page_loaded_again_asks_for_the_link(hall: Switchboard, new_page: Pages, room: Room) -> None:
    """Where the browser denies storage, as it may in a frame, the page works; loaded again it says what to do."""
    page, link = new_page(), hall.invite(room).local_url
    page.add_init_script(DENY_STORAGE)
    open_curiously(page, hall, link)
    page.wait_for_function("() => window.reported !== undefined")
    assert page.evaluate("reported") == link.partition("?")[0]
    expect(page.locator("#join")).to_be_enabled()
    page.reload()
    expect(page.get_by_role("main")).to_contain_text("Ask the host for a link")
    assert [text for text in new_page.complaints if "403" not in text] == []


def test_a_frame_is_told_that_the_page_is_there(
    hall: Switchboard, new_page: Pages, room: Room, serve_pages: ServePages
) -> None:
    """Around the page a notebook hears that it has loaded, and no more; a page that lets nobody in is silent."""
    link = hall.invite(room).local_url
    page = new_page()
    address = serve_pages({"in.html": FRAME.format(link=link), "out.html": FRAME.format(link=link.partition("?")[0])})
    page.goto(f"{address}in.html")
    page.wait_for_function("() => heard.length > 0")
    assert page.evaluate("heard") == [{"sipkit": "room"}]
    assert urlsplit(page.frames[1].url).query == ""
    page.goto(f"{address}out.html")
    # A tab that was inside before goes back in, in a frame, too.
    page.wait_for_function("() => heard.length > 0")
    other = new_page()
    other.goto(f"{address}out.html")
    expect(other.frame_locator("iframe").get_by_role("main")).to_contain_text("Ask the host for a link")
    assert other.evaluate("heard") == []


class Told:
    """What a page hears of its call, in place of what the server says."""

    def __init__(self, page: Page) -> None:
        self.call: dict[str, Any] = {"call": "idle", "unanswered": False}
        page.route("**/state", self._state)
        page.route("**/dial-out", self._dial)

    def _dial(self, route: Route) -> None:
        self.call = {"call": "dialing", "unanswered": False}
        route.fulfill(body=json.dumps(self.call))

    def _state(self, route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps(answer.json() | self.call))


def test_who_pressed_is_told_that_nobody_answered(hall: Switchboard, new_page: Pages, room: Room) -> None:
    """A dial that ends before its answer is an error on the page that pressed, unless somebody hung it up."""
    page = new_page()
    told = Told(page)
    page.goto(hall.invite(room, "host").local_url)
    host = Guest(ADA, page)
    with page.expect_response("**/dial-out"):
        host.dial_out.click()
    host.expect_call("dialing")
    told.call = {"call": "idle", "unanswered": True}
    host.expect_call("failed")
    expect(host.error).to_contain_text("ended before anybody answered")
    with page.expect_response("**/dial-out"):
        host.dial_out.click()
    host.expect_call("dialing")
    expect(host.error).to_be_hidden()
    told.call = {"call": "idle", "unanswered": False}
    host.expect_call("idle")
    expect(host.error).to_be_hidden()


def test_who_only_watched_sees_no_error(hall: Switchboard, new_page: Pages, room: Room) -> None:
    """For guests, and for hosts who did not press, a dial that came to nothing is over, and no error of theirs."""
    people = [
        open_invitation(new_page, hall.invite(room, "guest"), ADA),
        open_invitation(new_page, hall.invite(room, "host"), GRACE),
    ]
    bridge, _ = hall._store.claim_bridge(room, "somebody else")
    for person in people:
        person.expect_call("dialing")
    hall._store.end_bridge(bridge.id, "No call was placed.")
    for person in people:
        person.expect_call("idle")
        expect(person.error).to_be_hidden()


def test_the_keyboard_keeps_its_place(hall: Switchboard, new_page: Pages) -> None:
    """After joining the focus is on the stage, each time; after the room was closed it is where the lobby is."""
    room = hall.open_room("to be closed")
    ada = enter(new_page, hall, room, ADA)
    expect(ada.page.locator("#stage")).to_be_focused()
    ada.leave.click()
    expect(ada.join).to_be_focused()
    ada.page.keyboard.press("Enter")
    ada.expect_session("connected")
    expect(ada.page.locator("#stage")).to_be_focused()
    hall.close_room(room)
    expect(ada.error).to_contain_text("closed")
    ada.expect_session("disconnected")
    expect(ada.page.locator("#lobby")).to_be_focused()
