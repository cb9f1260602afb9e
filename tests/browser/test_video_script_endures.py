"""The browser script when things break: sockets cut and silent, media that never comes, sound held back, and leaks."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Playwright, expect

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins import browser as harness
from tests.standins.browser import page_of, wait_tone
from tests.standins.vendor_pages import Cable, Empty, Project, cable, wait_note

pytestmark = [pytest.mark.browser]

RESUME_MS = 31_000
MEDIA_MS = 16_000
BEATS_MS = 16_000
CYCLES = 20


@pytest.fixture
def wire(sandbox: SandboxInfo) -> Iterator[Cable]:
    """A cable between a page and the sandbox's HTTP port."""
    with cable(sandbox.api_url) as made:
        yield made


def test_a_cut_socket_comes_back_and_media_never_stops(empty: Empty, project: Project, wire: Cable) -> None:
    """The page reconnects by itself; what it asked meanwhile is done after; the others notice nothing."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("(async () => { const joining = join(); watch(); await joining; })()")
    ann = empty(session, host=wire.url)
    ann.evaluate("join().then(publish)")
    wait_note(bob, "connected")
    ann.evaluate(
        """session.on("sessionReconnecting", () => {
          publisher.publishAudio(false);
          session.signal({ type: "late", data: "still there" });
        })"""
    )
    bob.evaluate("session.on('signal:late', event => notes.push(event.data))")
    wire.cut()
    wait_note(ann, "sessionReconnected")
    wait_note(bob, "still there")
    bob.wait_for_function("() => !subscriber.stream.hasAudio")
    ann.evaluate("publisher.publishAudio(true)")
    wait_tone(bob, "#subscribers video", 440)
    assert not {"connectionDestroyed networkDisconnected", "streamDestroyed networkDisconnected"} & set(
        bob.evaluate("notes")
    )
    assert ann.evaluate("session.isConnected()")


def test_what_happened_during_the_break_is_told_after_it(empty: Empty, project: Project, wire: Cable) -> None:
    """People and streams that came or went while the socket was away are told before sessionReconnected."""
    session = project.session()
    ann = empty(session, host=wire.url)
    ann.evaluate("join()")
    bob = empty(session)
    bob.evaluate("join().then(publish)")
    wait_note(ann, "streamCreated")
    ann.evaluate("notes.length = 0")
    wire.cut(for_good=True)
    wait_note(ann, "sessionReconnecting")
    bob.evaluate("session.disconnect()")
    cid = empty(session)
    cid.evaluate("join().then(publish)")
    wait_note(cid, "streamCreated")
    wire.mend()
    wait_note(ann, "sessionReconnected")
    assert ann.evaluate("notes") == [
        "sessionReconnecting",
        "streamDestroyed clientDisconnected",
        "connectionDestroyed clientDisconnected",
        "connectionCreated",
        "streamCreated",
        "sessionReconnected",
    ]


def test_a_mute_during_the_break_comes_through(empty: Empty, project: Project, wire: Cable) -> None:
    """Who is muted over REST while the socket is away is muted once it is back."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("(async () => { const joining = join(); watch(); await joining; })()")
    ann = empty(session, host=wire.url)
    ann.evaluate("join().then(publish)")
    wait_note(bob, "connected")
    ann.evaluate("publisher.on('muteForced', note)")
    wire.cut(for_good=True)
    wait_note(ann, "sessionReconnecting")
    project.client.mute_all(session, [])
    wire.mend()
    wait_note(ann, "muteForced")
    bob.wait_for_function("() => !subscriber.stream.hasAudio")


def test_who_leaves_while_it_comes_back_is_gone(empty: Empty, project: Project, wire: Cable) -> None:
    """Leaving between `resume` and its answer: the others see it go at once, and not after half a minute."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("join()")
    ann = empty(session, host=wire.url)
    ann.evaluate("join()")
    wait_note(ann, "sessionConnected")
    ann.evaluate(
        """() => {
          const { send } = WebSocket.prototype;
          WebSocket.prototype.send = function (text) {
            send.call(this, text);
            if (JSON.parse(text).do === "resume") session.disconnect();
          };
        }"""
    )
    wire.cut()
    wait_note(bob, "connectionDestroyed clientDisconnected")


def test_a_socket_without_beats_is_taken_for_lost(empty: Empty, project: Project, wire: Cable) -> None:
    """When nothing comes for 15 s though the socket looks open, the page makes a new one."""
    ann = empty(project.session(), host=wire.url, clock=True)
    ann.evaluate("join()")
    wait_note(ann, "sessionConnected")
    wire.silence()
    ann.clock.fast_forward(BEATS_MS)
    wait_note(ann, "sessionReconnected")


def test_a_connection_that_stays_away_is_over(empty: Empty, project: Project, wire: Cable) -> None:
    """After 30 s without a way back the session and the publisher end with networkDisconnected."""
    ann = empty(project.session(), host=wire.url, clock=True)
    ann.evaluate("join().then(publish)")
    wait_note(ann, "streamCreated")
    wire.cut(for_good=True)
    wait_note(ann, "sessionReconnecting")
    ann.clock.fast_forward(RESUME_MS)
    wait_note(ann, "sessionDisconnected networkDisconnected")
    assert ann.evaluate("notes.slice(-3)") == [
        "streamDestroyed networkDisconnected",
        "destroyed",
        "sessionDisconnected networkDisconnected",
    ]
    assert ann.evaluate("session.isConnected()") is False


def test_media_that_never_comes_is_an_error(empty: Empty, project: Project) -> None:
    """A peer connection that is not there after 15 s fails publish() with OT_TIMEOUT and cleans up."""
    ann = empty(project.session(), clock=True)
    ann.evaluate(
        """() => {
          const accept = RTCPeerConnection.prototype.setRemoteDescription;
          RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
            // Port 9 (discard): nobody answers there.
            return accept.call(this, { type, sdp: sdp.replace(/^(a=candidate:.*? )\\d+( typ host)/m, "$19$2") })
              .then(() => notes.push("answered"));
          };
          join().then(publish).catch(error => notes.push(told(error)));
        }"""
    )
    wait_note(ann, "answered")
    ann.clock.fast_forward(MEDIA_MS)
    wait_note(ann, "OT_TIMEOUT 1500")
    assert ann.evaluate("session.getPublisherForStream({ streamId: 'any' }) ?? null") is None


def test_sound_that_is_held_back_is_given_by_a_click(
    playwright: Playwright, chromium: str, empty: Empty, project: Project
) -> None:
    """Without a gesture the browser refuses sound: the picture plays, the page is told, a click brings the sound."""
    session = project.session()
    empty(session).evaluate("join().then(publish)")
    browser = playwright.chromium.launch(
        executable_path=chromium, args=[each for each in harness.CHROMIUM_ARGS if "autoplay" not in each]
    )
    # Playwright's evaluate() counts as a gesture, so the page does all of this by itself and tells it to the console.
    alone = """addEventListener("load", async () => {
      const joining = join();
      watch();
      session.on("streamCreated", () => subscriber.on("audioBlocked", async () => {
        console.info(`blocked ${subscriber.isAudioBlocked()}`);
        console.info(`unblock ${await OT.unblockAudio().then(() => "done", told)}`);
      }));
      await joining;
    })"""
    try:
        with page_of(browser) as bob:
            bob.add_init_script(alone)
            with bob.expect_console_message(lambda message: message.text.startswith("unblock ")) as told:
                empty(session, page=bob)
            assert told.value.text == "unblock OT_NOT_SUPPORTED 1500"
            button = bob.get_by_role("button", name="Play the sound")
            button.click()
            wait_note(bob, "audioUnblocked")
            expect(button).to_have_count(0)
            wait_tone(bob, "#subscribers video", 440)
    finally:
        browser.close()


def test_twenty_visits_leave_nothing_behind(empty: Empty, project: Project) -> None:
    """After joining, publishing, subscribing and leaving twenty times the page holds what it held after the first."""
    session = project.session()
    empty(session).evaluate("join().then(publish)")
    page = empty(session)
    page.evaluate(
        """() => {
          window.tone = measure.toneTrack(500);
          window.open = { peers: new Set(), sockets: new Set(), contexts: new Set(), timers: new Set() };
          const counted = (Original, kind) => class extends Original {
            constructor(...args) { super(...args); open[kind].add(this); }
          };
          window.RTCPeerConnection = counted(RTCPeerConnection, "peers");
          window.WebSocket = counted(WebSocket, "sockets");
          window.AudioContext = counted(AudioContext, "contexts");
          const { setInterval, clearInterval } = window;
          window.setInterval = (...args) => { const id = setInterval(...args); open.timers.add(id); return id; };
          window.clearInterval = id => { open.timers.delete(id); clearInterval(id); };
          window.visit = async () => {
            const session = OT.initSession(API_KEY, SESSION_ID);
            const heard = new Promise(done => session.on("streamCreated", ({ stream }) => {
              const subscriber = session.subscribe(stream, "subscribers", { insertMode: "append" });
              subscriber.on("audioLevelUpdated", ({ audioLevel }) => { if (audioLevel > 0.01) done(); });
            }));
            await session.connect.promise(TOKEN);
            const source = { audioSource: window.tone, videoSource: null, insertMode: "append" };
            const publisher = await OT.initPublisher.promise("publisher", source);
            await session.publish.promise(publisher);
            await heard;
            const left = new Promise(done => session.on("sessionDisconnected", done));
            session.disconnect();
            await left;
          };
        }"""
    )
    page.evaluate("visit()")
    first = page.evaluate("document.body.innerHTML")
    for _ in range(CYCLES - 1):
        page.evaluate("visit()")
    assert page.evaluate("document.body.innerHTML") == first
    page.wait_for_function("() => [...open.peers].every(peer => peer.connectionState === 'closed')")
    page.wait_for_function("() => [...open.sockets].every(socket => socket.readyState === WebSocket.CLOSED)")
    left: dict[str, Any] = page.evaluate(
        """() => ({
          peers: open.peers.size,
          sounding: [...open.contexts].filter(context => context.state !== "closed").length,
          timers: open.timers.size,
        })"""
    )
    assert left == {"peers": 2 * CYCLES, "sounding": 0, "timers": 0}
