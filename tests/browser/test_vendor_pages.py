"""Pages written for Vonage, in the styles of its public samples, against the real sandbox: only the host is changed."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.browser import Pages, ServePages, colour, wait_frames, wait_silence, wait_tone
from tests.standins.vendor_pages import Project

pytestmark = [pytest.mark.browser]

ON_AIR_MS = 15_000
Show = Callable[..., Page]


@pytest.fixture
def show(project: Project, new_page: Pages, serve_pages: ServePages) -> Show:
    """`show(file, session, token, name, hz, colour)` opens a page whose devices are a tone and a colour."""

    def show(file: str, session: str, token: str, name: str = "", hz: int = 0, colour: str = "") -> Page:
        page = new_page()
        if hz:
            page.add_init_script(f"measure.useDevices({hz}, '{colour}')")
        page.goto(serve_pages(project.page(file, session, token, name)))
        return page

    return show


def on_air(page: Page) -> None:
    """Wait until a page says that it publishes."""
    expect(page.locator("#status")).to_have_text("On air", timeout=ON_AIR_MS)


@pytest.mark.parametrize("path", ["/v2/js/opentok.min.js", "/v2/js/opentok.js"])
def test_the_script_is_where_the_vendor_has_it(sandbox: SandboxInfo, path: str) -> None:
    """Any origin may load it from the vendor's paths, and it is sent again only when it has changed."""
    answer = requests.get(sandbox.api_url + path, headers={"Origin": "https://example.com"}, timeout=10)
    assert answer.headers["Content-Type"].startswith("application/javascript")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "window.OT" in answer.text
    again = requests.get(sandbox.api_url + path, headers={"If-None-Match": answer.headers["ETag"]}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


def test_callback_pages_with_an_api_key_see_and_hear_each_other(show: Show, project: Project, new_page: Pages) -> None:
    """Two pages in the classic style, an API key and HS256 tokens: each gets the other's tone and picture."""
    session = project.session()
    ann = show("video-chat-callbacks.html", session, project.token(session), "Ann", 440, "red")
    bob = show("video-chat-callbacks.html", session, project.token(session), "Bob", 660, "blue")
    for page in (ann, bob):
        on_air(page)
    wait_tone(ann, "#subscribers video", 660)
    wait_tone(bob, "#subscribers video", 440)
    for page in (ann, bob):
        wait_frames(page, "#subscribers video")
    assert colour(ann, "#subscribers video")[2] > 200
    assert colour(bob, "#subscribers video")[0] > 200
    assert new_page.complaints == []


def test_promise_pages_with_an_application_id_see_and_hear_each_other(
    show: Show, project: Project, new_page: Pages
) -> None:
    """Two pages with `.promise` helpers, an application id and RS256 tokens: each gets the other's tone and picture."""
    session = project.unified_session()
    cid = show("video-chat-promises.html", session, project.unified_token(session), "Cid", 520, "lime")
    dot = show("video-chat-promises.html", session, project.unified_token(session), "Dot", 780, "red")
    for page in (cid, dot):
        on_air(page)
    wait_tone(cid, "#subscriber video", 780)
    wait_tone(dot, "#subscriber video", 520)
    wait_frames(dot, "#subscriber video")
    assert colour(dot, "#subscriber video")[1] > 200
    assert new_page.complaints == []


def test_a_voice_without_a_browser_is_a_stream_like_any_other(
    show: Show, project: Project, sandbox: SandboxInfo
) -> None:
    """A page subscribes to what is said without a browser, which has a voice and no picture."""
    session = project.session()
    added = requests.post(
        f"{sandbox.api_url}/sandbox/sessions/{session}/participants",
        json={"tone_hz": 600},
        auth=(sandbox.voice_api_key, sandbox.voice_api_secret),
        timeout=10,
    )
    assert added.status_code == 201
    ann = show("video-chat-callbacks.html", session, project.token(session), "Ann", 440, "red")
    wait_tone(ann, "#subscribers video", 600, seconds=10)
    kinds = "document.querySelector('#subscribers video').srcObject.getTracks().map(track => track.kind)"
    assert ann.evaluate(kinds) == ["audio"]
    on_air(ann)


def test_a_page_that_is_left_takes_its_stream_along(show: Show, project: Project) -> None:
    """A closed tab's stream and picture are gone from the other page within two seconds."""
    session = project.session()
    ann = show("video-chat-callbacks.html", session, project.token(session), "Ann", 440, "red")
    bob = show("video-chat-callbacks.html", session, project.token(session), "Bob", 660, "blue")
    expect(ann.locator("#subscribers video")).to_have_count(1, timeout=ON_AIR_MS)
    bob.close()
    expect(ann.locator("#subscribers video")).to_have_count(0, timeout=2000)


def test_text_chat_reaches_everybody_or_one(show: Show, project: Project, new_page: Pages) -> None:
    """Signals go to all, the sender among them, or to one; names come from the tokens' data; people come and go."""
    session = project.unified_session()
    ann, bob, cid = (
        show("text-chat.html", session, project.unified_token(session, name=name)) for name in ("Ann", "Bob", "Cid")
    )
    for page in (ann, bob, cid):
        expect(page.locator("#people li")).to_have_count(3)
    ann.get_by_label("Message").fill("hello <b>all</b>")
    ann.get_by_role("button", name="Send").click()
    for page, whose in ((ann, "mine"), (bob, "theirs"), (cid, "theirs")):
        expect(page.locator(f"#history p.{whose}")).to_have_text("Ann: hello <b>all</b>")
    ann.get_by_label("To").select_option(label="Bob")
    ann.get_by_label("Message").fill("only you")
    ann.get_by_role("button", name="Send").click()
    expect(bob.locator("#history p")).to_have_text(["Ann: hello <b>all</b>", "Ann: only you"])
    bob.close()
    expect(ann.locator("#people li")).to_have_count(2)
    assert cid.locator("#history p").count() == 1
    assert new_page.complaints == []


def test_mute_buttons_silence_and_show_again(show: Show, project: Project, new_page: Pages) -> None:
    """Switching microphone and camera off and on is heard, seen and told at the other end; one's own level shows."""
    session = project.session()
    ann = show("mute-buttons.html", session, project.token(session), "Ann", 440, "red")
    bob = show("mute-buttons.html", session, project.token(session), "Bob", 660, "blue")
    on_air(ann)
    wait_tone(bob, "#others video", 440)
    ann.wait_for_function("() => document.querySelector('#mine').value > 0.2")
    ann.locator("#audio").click()
    wait_silence(bob, "#others video")
    ann.locator("#video").click()
    expect(bob.locator("#news")).to_contain_text("their hasAudio true false")
    expect(bob.locator("#news")).to_contain_text("videoDisabled publishVideo")
    expect(ann.locator("#news")).to_contain_text("my hasVideo true false")
    ann.wait_for_function("() => document.querySelector('#mine').value < 0.01")
    ann.locator("#audio").click()
    ann.locator("#video").click()
    wait_tone(bob, "#others video", 440)
    expect(bob.locator("#news")).to_contain_text("videoEnabled publishVideo")
    wait_frames(bob, "#others video")
    assert new_page.complaints == []


def test_a_moderator_mutes_stops_and_removes(show: Show, project: Project) -> None:
    """The moderator's page mutes one, ends one stream, and removes one person; each page is told so."""
    session = project.session()
    boss = show("moderator.html", session, project.token(session, "moderator"))
    expect(boss.locator("#status")).to_have_text("moderating")
    ann = show("mute-buttons.html", session, project.token(session), "Ann", 440, "red")
    bob = show("video-chat-callbacks.html", session, project.token(session), "Bob", 660, "blue")
    expect(boss.locator("#streams li")).to_have_count(2, timeout=ON_AIR_MS)
    wait_tone(bob, "#subscribers video", 440)
    boss.locator("li", has_not_text="Bob").get_by_role("button", name="Mute").click()
    expect(boss.locator("#status")).to_have_text("muted")
    expect(ann.locator("#news")).to_contain_text("I was muted")
    wait_silence(bob, "#subscribers video")
    boss.locator("li", has_not_text="Bob").get_by_role("button", name="Stop").click()
    expect(ann.locator("#me video")).to_have_count(0)
    expect(boss.locator("#streams")).to_have_attribute("data-reason", "forceUnpublished")
    boss.locator("li", has_text="Bob").get_by_role("button", name="Remove").click()
    expect(bob.locator("#status")).to_have_text("Left: forceDisconnected")
    expect(boss.locator("#streams li")).to_have_count(0)


def test_muting_all_holds_for_those_who_come_later(show: Show, project: Project) -> None:
    """After "mute everybody" a page that begins to publish is muted too, until the moderator ends it."""
    session = project.session()
    boss = show("moderator.html", session, project.token(session, "moderator"))
    ann = show("mute-buttons.html", session, project.token(session), "Ann", 440, "red")
    on_air(ann)
    boss.get_by_role("button", name="Mute everybody").click()
    expect(ann.locator("#news")).to_contain_text("I was muted")
    bob = show("mute-buttons.html", session, project.token(session), "Bob", 660, "blue")
    on_air(bob)
    expect(bob.locator("#news")).to_contain_text("I was muted")
    boss.get_by_role("button", name="Let everybody speak").click()
    expect(boss.locator("#status")).to_have_text("mute ended")
    cid = show("mute-buttons.html", session, project.token(session), "Cid", 880, "green")
    wait_tone(ann, "#others video >> nth=1", 880, seconds=10)
    expect(cid.locator("#news")).not_to_contain_text("I was muted")


def test_the_projects_server_reaches_the_pages(show: Show, project: Project) -> None:
    """Force-disconnect, mute-all and a signal over REST (opentok) come to the page."""
    session = project.session()
    ann = show("mute-buttons.html", session, project.token(session), "Ann", 440, "red")
    on_air(ann)
    ann.evaluate("session.on('signal:alert', event => note(`alert ${event.data} ${event.from}`))")
    project.client.send_signal(session, {"type": "alert", "data": "fire"})
    expect(ann.locator("#news")).to_contain_text("alert fire null")
    project.client.mute_all(session, [])
    expect(ann.locator("#news")).to_contain_text("I was muted")
    ann.evaluate("session.on('sessionDisconnected', event => note(`out ${event.reason}`))")
    connection = ann.evaluate("session.connection.connectionId")
    project.client.force_disconnect(session, connection)
    expect(ann.locator("#news")).to_contain_text("out forceDisconnected")
    expect(ann.locator("video")).to_have_count(0)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iat": 1_600_000_000, "exp": 1_600_000_100}, "OT_AUTHENTICATION_ERROR 1004"),
        ({"secret": "another-secret-of-thirty-two-bytes"}, "OT_AUTHENTICATION_ERROR 1004"),
        ({"session_id": "2_another"}, "OT_AUTHENTICATION_ERROR 1004"),
        ({"role": "subscriber"}, "OT_PERMISSION_DENIED 1500"),
    ],
    ids=["expired", "forged", "other-session", "subscriber"],
)
def test_a_token_that_does_not_fit_is_refused_in_the_vendors_words(
    show: Show, project: Project, claims: dict[str, Any], said: str
) -> None:
    """Expired, forged and other sessions' tokens do not connect; a subscriber's connects and cannot publish."""
    session = project.session()
    page = show("video-chat-callbacks.html", session, project.token(session, **claims), "Eve", 440, "red")
    expect(page.locator("#status")).to_contain_text(said, timeout=ON_AIR_MS)


def test_a_session_that_is_none_is_refused(show: Show, project: Project) -> None:
    """An unknown session id is the vendor's error 1005."""
    token = project.token(project.session())
    page = show("video-chat-callbacks.html", "no-session", token, "Eve", 440, "red")
    expect(page.locator("#status")).to_contain_text("OT_INVALID_SESSION_ID 1005")
