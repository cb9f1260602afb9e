"""The browser script by itself: each form of its API that pages rely on, its errors, and what it leaves behind.

The page is empty and its Content-Security-Policy allows neither inline code nor inline styles.
"""

import pytest
from playwright.sync_api import Playwright, expect

from tests.standins import browser as harness
from tests.standins.browser import page_of, wait_frames, wait_silence, wait_tone
from tests.standins.vendor_pages import Empty, Project, wait_note

pytestmark = [pytest.mark.browser]


def test_handlers_are_added_and_removed_in_every_form(empty: Empty, project: Project) -> None:
    """Names, lists of names, maps and contexts; once is once; off takes away what it names, and nothing else."""
    page = empty(project.session())
    heard = page.evaluate(
        """async () => {
          const heard = [];
          const say = word => function () { heard.push(word + (this?.mark ?? "")); };
          const [a, b, c] = [say("a"), say("b"), say("c")];
          const session = OT.initSession(API_KEY, SESSION_ID);
          session.on("sessionConnected connectionCreated", a, { mark: "!" });
          session.on({ sessionConnected: b, sessionDisconnected: b }, { mark: "?" });
          session.once("connectionCreated", c);
          session.on("sessionConnected", c).off("sessionConnected", c);
          session.on("sessionDisconnected", () => { throw new Error("a page's own mistake"); });
          await session.connect.promise(TOKEN);
          session.off({ sessionDisconnected: a });
          const left = new Promise(done => session.on("sessionDisconnected", done));
          session.disconnect();
          await left;
          session.off();
          return heard;
        }"""
    )
    assert heard == ["a!", "b?", "a!", "c", "b?"]


def test_a_session_tells_of_everybody_and_everything_in_it(empty: Empty, project: Project) -> None:
    """Who comes later is told of those before: own connection first, then the others, then their streams."""
    session = project.session()
    ann = empty(session)
    ann.evaluate("join().then(() => publish({ name: 'first' }))")
    wait_note(ann, "streamCreated")
    bob = empty(session, "subscriber")
    bob.evaluate("join()")
    wait_note(bob, "streamCreated")
    assert bob.evaluate("notes") == ["sessionConnected", "connectionCreated", "connectionCreated", "streamCreated"]
    seen = bob.evaluate(
        """() => {
          const stream = session.streams.find({ name: "first" });
          const { hasAudio, hasVideo, videoType, videoDimensions, connection } = stream;
          return { hasAudio, hasVideo, videoType, videoDimensions, data: connection.data, can: session.capabilities,
            people: session.connections.length(), same: connection === session.connections.get(connection.id) };
        }"""
    )
    assert seen == {
        "hasAudio": True,
        "hasVideo": True,
        "videoType": "camera",
        "videoDimensions": {"width": 320, "height": 240},
        "data": '{"name": "publisher"}',
        "can": {"publish": 0, "subscribe": 1, "signal": 0, "forceDisconnect": 0, "forceUnpublish": 0, "forceMute": 0},
        "people": 2,
        "same": True,
    }
    ann.evaluate("session.unpublish(publisher)")
    wait_note(ann, "destroyed")
    assert ann.evaluate("notes.slice(-2)") == ["streamDestroyed clientDisconnected", "destroyed"]
    wait_note(bob, "streamDestroyed clientDisconnected")
    ann.evaluate("session.disconnect()")
    wait_note(bob, "connectionDestroyed clientDisconnected")


def test_a_publisher_takes_the_place_it_is_given(empty: Empty, project: Project) -> None:
    """Each insertMode, no target at all, and no box at all are kept to; destroy() leaves nothing."""
    page = empty(project.session())
    places = page.evaluate(
        """async () => {
          const target = document.querySelector("#publisher");
          const made = {};
          for (const insertMode of ["append", "before", "after", undefined]) {
            const { element } = await OT.initPublisher.promise("publisher", { insertMode, width: 200, height: "50%" });
            made[insertMode ?? "replace"] = [element.parentNode === target, element.nextElementSibling === target,
              element.previousElementSibling === target, element === target, element.style.width];
          }
          const loose = await OT.initPublisher.promise();
          const bare = OT.initPublisher(target, { insertDefaultUI: false });
          const video = await new Promise(done => bare.on("videoElementCreated", event => done(event.element)));
          return [made, loose.element.parentNode.tagName, bare.element === undefined, video.tagName, video.isConnected];
        }"""
    )
    assert places == [
        {
            "append": [True, False, False, False, "200px"],
            "before": [False, True, False, False, "200px"],
            "after": [False, False, True, False, "200px"],
            "replace": [False, False, False, True, "200px"],
        },
        "BODY",
        True,
        "VIDEO",
        False,
    ]
    left = page.evaluate(
        """async () => {
          document.body.innerHTML = '<div id="publisher"></div><div id="subscribers"></div>';
          const before = document.body.innerHTML;
          const publisher = await OT.initPublisher.promise("publisher", { insertMode: "append", name: "<b>" });
          const video = publisher.element.querySelector("video");
          const tracks = video.srcObject.getTracks();
          const named = publisher.element.textContent;
          publisher.destroy();
          return [document.body.innerHTML === before, video.srcObject, tracks.map(track => track.readyState), named];
        }"""
    )
    assert left == [True, None, ["ended", "ended"], "<b>Mute microphone"]


def test_tracks_of_the_page_are_used_and_never_stopped(empty: Empty, project: Project) -> None:
    """MediaStreamTracks given as sources reach the other side as they are, and live on after destroy()."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("join().then(watch)")
    ann = empty(session)
    ann.evaluate(
        """async () => {
          window.tracks = [measure.toneTrack(700), measure.pictureTrack("blue")];
          await join();
          await publish({ audioSource: tracks[0], videoSource: tracks[1] });
        }"""
    )
    wait_note(bob, "connected")
    wait_tone(bob, "#subscribers video", 700)
    ann.evaluate("publisher.setAudioSource(measure.toneTrack(900))")
    wait_tone(bob, "#subscribers video", 900)
    assert ann.evaluate("publisher.getVideoSource().type") == "custom"
    assert bob.evaluate("subscriber.stream.videoType") == "custom"
    ann.evaluate("publisher.destroy()")
    assert ann.evaluate("tracks.map(track => track.readyState)") == ["live", "live"]
    wait_note(bob, "destroyed clientDisconnected")


def test_a_device_that_stops_is_told_as_such(empty: Empty, project: Project) -> None:
    """When microphone and camera end by themselves, everybody hears of the stream's end with mediaStopped."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("join()")
    ann = empty(session)
    ann.evaluate("join().then(publish)")
    wait_note(bob, "streamCreated")
    ann.evaluate(
        """[publisher.getAudioSource(), publisher.getVideoSource().track].forEach(track => {
          track.stop();
          track.dispatchEvent(new Event("ended"));  // as a browser does when a device is unplugged
        })"""
    )
    for page in (ann, bob):
        wait_note(page, "streamDestroyed mediaStopped")


@pytest.mark.parametrize("how", ["disconnect", "pagehide"])
def test_who_leaves_while_it_connects_is_gone(empty: Empty, project: Project, how: str) -> None:
    """Leaving, or a tab that closes, between `connect` and its answer: the others see it go at once."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("join()")
    wait_note(bob, "sessionConnected")
    ann = empty(session)
    ann.evaluate(
        """how => {
          const { send } = WebSocket.prototype;
          WebSocket.prototype.send = function (text) {
            send.call(this, text);
            if (JSON.parse(text).do !== "connect") return;
            if (how === "disconnect") session.disconnect();
            else dispatchEvent(new PageTransitionEvent("pagehide"));
          };
          join().catch(error => notes.push(told(error)));
        }""",
        how,
    )
    wait_note(bob, "connectionDestroyed clientDisconnected")
    wait_note(ann, "OT_NOT_CONNECTED 1010")
    assert ann.evaluate("session.isConnected()") is False


def test_a_page_that_is_left_says_goodbye(empty: Empty, project: Project) -> None:
    """Going elsewhere leaves the session; a page that comes back from the browser's cache knows, and joins again."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("join()")
    wait_note(bob, "sessionConnected")
    ann = empty(session)
    ann.evaluate("join()")
    ann.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    wait_note(ann, "sessionDisconnected clientDisconnected")
    wait_note(bob, "connectionDestroyed clientDisconnected")
    ann.evaluate("session.connect.promise(TOKEN)")
    bob.evaluate("notes.length = 0")
    ann.goto("about:blank")
    wait_note(bob, "connectionDestroyed clientDisconnected")


def test_an_audio_only_publisher_has_no_picture(empty: Empty, project: Project) -> None:
    """Without a videoSource only sound is sent, and the stream has no video type."""
    session = project.session()
    bob = empty(session)
    bob.evaluate("join().then(watch)")
    empty(session).evaluate("join().then(() => publish({ videoSource: null }))")
    wait_note(bob, "connected")
    wait_tone(bob, "#subscribers video", 440)
    assert bob.evaluate("[subscriber.stream.hasVideo, subscriber.stream.videoType ?? null]") == [False, None]


def test_a_subscriber_chooses_what_it_receives(empty: Empty, project: Project) -> None:
    """subscribeToAudio/Video stop and resume sound and picture for this subscriber alone; the volume is kept."""
    session = project.session()
    empty(session).evaluate("join().then(publish)")
    bob = empty(session)
    bob.evaluate("(async () => { const joining = join(); watch(); await joining; })()")
    wait_note(bob, "connected")
    wait_tone(bob, "#subscribers video", 440)
    wait_frames(bob, "#subscribers video")
    bob.evaluate("subscriber.subscribeToAudio(false).subscribeToVideo(false)")
    wait_silence(bob, "#subscribers video")
    wait_note(bob, "videoDisabled subscribeToVideo")
    bob.evaluate("subscriber.subscribeToAudio(true).subscribeToVideo(true).setAudioVolume(30)")
    wait_note(bob, "videoEnabled subscribeToVideo")
    wait_tone(bob, "#subscribers video", 440)
    wait_frames(bob, "#subscribers video")
    assert bob.evaluate("[subscriber.getAudioVolume(), subscriber.isAudioBlocked()]") == [30, False]
    figures = bob.evaluate("new Promise(done => subscriber.getStats((error, stats) => done(stats)))")
    assert figures["audio"]["packetsReceived"] > 0
    assert figures["video"]["bytesReceived"] > 0


def test_default_behaviour_can_be_prevented(empty: Empty, project: Project) -> None:
    """preventDefault() on streamDestroyed and on sessionDisconnected keeps what would leave the page."""
    session = project.session()
    ann, bob, cid = (empty(session) for _ in range(3))
    bob.evaluate("join().then(watch)")
    cid.evaluate("join().then(watch)")
    bob.evaluate("session.on('streamDestroyed', event => event.preventDefault())")
    cid.evaluate("session.on('sessionDisconnected', event => event.preventDefault())")
    ann.evaluate("join().then(publish)")
    for page in (bob, cid):
        wait_note(page, "connected")
    cid.evaluate("session.disconnect()")
    wait_note(cid, "sessionDisconnected clientDisconnected")
    expect(cid.locator("#subscribers video")).to_have_count(1)
    ann.evaluate("publisher.on('streamDestroyed', event => event.preventDefault())")
    ann.evaluate("session.unpublish(publisher)")
    wait_note(bob, "streamDestroyed clientDisconnected")
    expect(bob.locator("#subscribers video")).to_have_count(1)
    expect(ann.locator("#publisher video")).to_have_count(1)
    ann.evaluate("session.publish.promise(publisher)")
    expect(bob.locator("#subscribers video")).to_have_count(2)


def test_what_cannot_be_done_is_told_by_name_and_code(empty: Empty, project: Project) -> None:
    """Calls before connect(), wrong parameters and moderators' calls without the role: the vendor's errors."""
    page = empty(project.session())
    told = page.evaluate(
        """async () => {
          const exceptions = [];
          OT.on("exception", event => exceptions.push(event.code));
          const session = OT.initSession(API_KEY, SESSION_ID);
          const of = promise => promise.then(() => "done", told);
          const early = [await of(session.publish.promise()), await of(session.signal.promise({ data: "x" })),
            await of(session.forceMuteAll())];
          await session.connect.promise(TOKEN);
          const { connection } = session;
          return [early, [
            await of(session.connect.promise(TOKEN)),
            await of(session.subscribe.promise(null)),
            await of(session.forceDisconnect.promise(connection)),
            await of(session.forceUnpublish.promise("nothing")),
            await of(session.forceMuteStream("nothing")),
            await of(session.signal.promise({ type: "not allowed" })),
            await of(session.signal.promise({ data: { not: "text" } })),
            await of(session.signal.promise({ data: "x".repeat(9000) })),
            await of(session.signal.promise({ data: "x", to: "nobody" })),
            await of(session.signal.promise({ data: "x", type: "ok", to: connection })),
            await of(OT.initPublisher.promise({ audioSource: null, videoSource: null })),
          ], exceptions.length];
        }"""
    )
    assert told == [
        ["OT_NOT_CONNECTED 1010", "OT_NOT_CONNECTED 500", "OT_NOT_CONNECTED 1010"],
        [
            "OT_INVALID_PARAMETER 1006",
            "OT_INVALID_PARAMETER 1011",
            "OT_PERMISSION_DENIED 1520",
            "OT_PERMISSION_DENIED 1530",
            "OT_PERMISSION_DENIED 1540",
            "OT_INVALID_PARAMETER 400",
            "OT_INVALID_PARAMETER 400",
            "OT_INVALID_PARAMETER 413",
            "OT_NOT_FOUND 404",
            "done",
            "OT_NO_VALID_CONSTRAINTS 1500",
        ],
        11,
    ]


def test_devices_that_are_not_there_or_not_allowed(
    playwright: Playwright, chromium: str, empty: Empty, project: Project
) -> None:
    """An unknown device id and a refused permission are told apart; the refusal is an event, too."""
    browser = playwright.chromium.launch(
        executable_path=chromium, args=[each for each in harness.CHROMIUM_ARGS if "fake-ui" not in each]
    )
    ask = """async (properties) => {
      delete navigator.mediaDevices.getUserMedia;
      const publisher = OT.initPublisher("publisher", properties, error => notes.push(told(error)));
      publisher.on("accessAllowed accessDenied", note);
    }"""
    try:
        with page_of(browser) as refused, page_of(browser, permissions=["camera", "microphone"]) as allowed:
            session = project.session()
            empty(session, page=refused).evaluate(ask, {})
            wait_note(refused, "OT_USER_MEDIA_ACCESS_DENIED 1500")
            assert refused.evaluate("notes") == ["accessDenied", "OT_USER_MEDIA_ACCESS_DENIED 1500"]
            empty(session, page=allowed).evaluate(ask, {"videoSource": "no-such-camera"})
            wait_note(allowed, "OT_CONSTRAINTS_NOT_SATISFIED 1500")
            allowed.evaluate(ask, {})
            wait_note(allowed, "accessAllowed")
            kinds = allowed.evaluate("OT.getDevices().then(devices => devices.map(device => device.kind))")
            assert {"audioInput", "videoInput"} == set(kinds)
    finally:
        browser.close()
