"""Strangers, hostile guests and nervous fingers at the room's real page: nobody gets in, nothing is billed twice."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import Page, Request, expect

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from tests.standins.browser import Pages, ServePages
from tests.standins.lab import Lab
from tests.standins.room_guest import ADA, GRACE, Person, enter, open_invitation

pytestmark = pytest.mark.browser

CLICKS = 200
EVIL = "<img src=x onerror=hacked()><script>hacked()</script>"
# Tells when anything of a name is executed, and what the page's policy had to block.
WATCH = """
window.executed = [];
window.blocked = [];
window.hacked = () => executed.push("script");
addEventListener("securitypolicyviolation", event => blocked.push(event.violatedDirective));
"""


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """An attacker's own client."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def room(hall: Switchboard, request: pytest.FixtureRequest) -> Iterator[Room]:
    """A room of this test, without a call."""
    room = hall.open_room(request.node.name[:60])
    yield room
    hall.hang_up(room)


def sip_connections(lab: Lab, room: Room) -> list[Any]:
    """The living SIP connections of a room's session: what is billed."""
    found = lab.ledger()["connections"]
    return [one for one in found if one["kind"] == "sip" and one["sessionId"] == room.session_id]


def dials(hall: Switchboard, room: Room) -> int:
    """How often a room's session has called the number."""
    return sum("calls the number" in event.text for event in hall.events() if room.name in event.text)


def test_names_are_text(hall: Switchboard, new_page: Pages, lab: Lab) -> None:
    """Markup in a room's name, in an invited name and in a name typed by a guest is shown, and never executed."""
    room = hall.open_room(EVIL)
    host = open_invitation(new_page, hall.invite(room, "host", name="Host"), GRACE)
    host.page.add_init_script(WATCH)
    host.page.reload()
    host.join.click()
    host.expect_session("connected")
    expect(host.page.locator("h1")).to_contain_text("onerror=hacked()")
    evil = enter(new_page, hall, room, Person(EVIL[:28], ADA.hz, ADA.colour))
    expect(host.roster.filter(has_text="onerror=hacked()")).to_have_count(1)
    expect(host.tiles.filter(has_text="onerror=hacked()")).to_have_count(1)
    assert host.page.locator("#tiles img, #tiles script, #roster img, #roster script, h1 *").count() == 0
    expect(evil.page.locator("h1")).to_contain_text("onerror=hacked()")
    assert host.page.evaluate("executed") == []
    assert host.page.evaluate("blocked") == []


def test_200_clicks_are_one_call(hall: Switchboard, new_page: Pages, lab: Lab, room: Room) -> None:
    """A host who clicks Dial out 200 times, and whose button does not even stop it, gets one call."""
    host = enter(new_page, hall, room, ADA, role="host")
    expect(host.dial_out).to_be_enabled()
    host.dial_out.evaluate(
        "(button, times) => { for (let i = 0; i < times; i++) { button.disabled = false; button.click(); } }", CLICKS
    )
    host.expect_call("connected")
    assert len(sip_connections(lab, room)) == 1
    assert dials(hall, room) == 1
    host.hang_up.click()
    host.expect_call("idle")
    assert sip_connections(lab, room) == []


def test_200_posts_are_one_call(hall: Switchboard, new_page: Pages, lab: Lab, room: Room) -> None:
    """A script in the host's place that collects tickets and posts 200 dials at once gets one call, and refusals."""
    host = enter(new_page, hall, room, ADA, role="host")
    answers = host.page.evaluate(STORM, CLICKS)
    host.expect_call("connected")
    assert answers.count(200) >= 1
    assert set(answers) <= {200, 409, 429}
    assert len(answers) == CLICKS
    assert len(sip_connections(lab, room)) == 1
    assert dials(hall, room) == 1


STORM = """
async times => {
  const {path, visit} = JSON.parse(document.querySelector("#room").dataset.config);
  const headers = {"Content-Type": "application/json", "X-Sipkit-Visit": visit};
  const polls = Array.from({length: 20}, () => fetch(`${path}/state`, {headers}).then(answer => answer.json()));
  const tickets = (await Promise.all(polls)).map(({ticket}) => ticket);
  const posts = Array.from({length: times}, (_, i) => fetch(`${path}/dial-out`, {
    method: "POST", headers, body: JSON.stringify({ticket: tickets[i % tickets.length]}),
  }));
  return (await Promise.all(posts)).map(answer => answer.status);
}
"""


def test_a_repeated_post_does_nothing(
    hall: Switchboard, new_page: Pages, lab: Lab, room: Room, http: requests.Session
) -> None:
    """A hang-up and a dial that were overheard and are sent again, to the letter, change nothing."""
    host = enter(new_page, hall, room, ADA, role="host")
    posts: list[Request] = []
    host.page.on("request", lambda request: posts.append(request) if request.method == "POST" else None)
    host.dial_out.click()
    host.expect_call("connected")
    host.hang_up.click()
    host.expect_call("idle")
    dial, hang_up = posts
    assert (path(dial), path(hang_up)) == ("dial-out", "hang-up")

    assert again(http, dial).status_code in {401, 409}
    assert sip_connections(lab, room) == []
    assert dials(hall, room) == 1
    host.dial_out.click()
    host.expect_call("connected")
    assert again(http, hang_up).status_code in {401, 409}
    assert len(sip_connections(lab, room)) == 1
    host.expect_call("connected")


def path(request: Request) -> str:
    """The last part of a request's path."""
    return urlsplit(request.url).path.rpartition("/")[2]


def again(http: requests.Session, request: Request) -> requests.Response:
    """Send a page's request once more, with all its headers and its body."""
    headers = {name: value for name, value in request.all_headers().items() if not name.startswith(":")}
    return http.post(request.url, data=request.post_data_buffer, headers=headers, timeout=10)


def test_another_sites_page_cannot_press_the_buttons(
    hall: Switchboard, new_page: Pages, lab: Lab, room: Room, serve_pages: ServePages
) -> None:
    """A stranger's page in the host's own browser posts forms and fetches, even with a stolen ticket: no call."""
    host = enter(new_page, hall, room, ADA, role="host")
    with host.page.expect_response(lambda response: urlsplit(response.url).path.endswith("/state")) as caught:
        pass
    stolen = caught.value.json()
    target = urlsplit(host.page.url)._replace(query="").geturl() + "/dial-out"
    stranger = host.page.context.new_page()
    stranger.goto(serve_pages({"evil.html": "<form method=post></form>"}) + "evil.html")
    body = json.dumps({"ticket": stolen["ticket"]})
    outcomes = stranger.evaluate(FORGE, [target, stolen["visit"], body])
    assert outcomes == ["blocked", "opaque"]
    stranger.evaluate("target => { document.forms[0].action = target; document.forms[0].submit(); }", target)
    stranger.wait_for_url(target)
    assert sip_connections(lab, room) == []
    assert dials(hall, room) == 0


FORGE = """
async ([target, visit, body]) => {
  const outcomes = [];
  const headers = {"Content-Type": "application/json", "X-Sipkit-Visit": visit};
  for (const more of [{headers}, {mode: "no-cors"}]) {
    try {
      const answer = await fetch(target, {method: "POST", body, credentials: "include", ...more});
      outcomes.push(answer.type);
    } catch {
      outcomes.push("blocked");
    }
  }
  return outcomes;
}
"""


@pytest.fixture
def links(hall: Switchboard, wait_until: Callable[..., Any], http: requests.Session) -> dict[str, str]:
    """Links that open nothing, by what is wrong with them."""
    here, there = hall.open_room("wanted"), hall.open_room("allowed")
    good = hall.invite(here).local_url
    page, token = good.split("?")[0], parse_qs(urlsplit(good).query)["invitation"][0]
    elsewhere = parse_qs(urlsplit(hall.invite(there).local_url).query)["invitation"][0]
    expired = hall.invite(here, "host", expires_in=0.1).local_url
    wait_until(lambda: http.get(expired, timeout=5).status_code != 200, what="an invitation to expire")
    middle = len(token) // 2
    altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    return {
        "none": page,
        "another room's": f"{page}?invitation={elsewhere}",
        "expired": expired,
        "altered": f"{page}?invitation={altered}",
        "cut": f"{page}?invitation={token[:-1]}",
        "made up": f"{page}?invitation=eyJyIjoxfQ.aaaa.bbbb",
    }


def test_a_link_that_is_not_right_opens_nothing(links: dict[str, str], new_page: Pages, lab: Lab) -> None:
    """Forged, expired and other rooms' invitations get a plain page that says what to do, and nobody is let in."""
    page = new_page()
    for what, link in links.items():
        answer = page.goto(link)
        assert answer is not None
        assert answer.status in {403, 410}, what
        assert page.locator("script, button, video, #tiles").count() == 0, what
        expect(page.get_by_role("main")).to_contain_text("Ask the host for a")
    assert lab.ledger()["connections"] == []


def test_a_guest_cannot_do_what_a_host_does(
    hall: Switchboard, new_page: Pages, lab: Lab, room: Room, http: requests.Session
) -> None:
    """A guest's page has no call buttons, and its own credentials do not dial either."""
    guest = enter(new_page, hall, room, ADA)
    assert guest.dial_out.count() == guest.hang_up.count() == 0
    visit = ticket_of(guest.page)
    target = urlsplit(guest.page.url)._replace(query="").geturl()
    for action in ("dial-out", "hang-up"):
        answer = http.post(
            f"{target}/{action}",
            json={"ticket": visit["ticket"]},
            headers={"X-Sipkit-Visit": visit["visit"]},
            timeout=10,
        )
        assert answer.status_code == 403
    assert dials(hall, room) == 0


def ticket_of(page: Page) -> dict[str, str]:
    """What the page's next poll brings it."""
    with page.expect_response(lambda response: urlsplit(response.url).path.endswith("/state")) as caught:
        pass
    found: dict[str, str] = caught.value.json()
    return found
