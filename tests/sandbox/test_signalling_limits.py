"""What hostile pages send: each message gets an error or a closed socket, and nobody else notices."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from sipkit.sandbox.home import Home
from sipkit.sandbox.video import allowance, browser, browser_media, browser_socket, signalling
from sipkit.sandbox.webrtc.peer import Peer
from tests.standins.calls import OwnSandbox
from tests.standins.lab import Lab, wait_for
from tests.standins.page import PATH, STREAM, Page, Refused
from tests.standins.raw_browser import RawBrowser
from tests.standins.room import Room


@pytest.fixture
def room(lab: Lab) -> Room:
    """A new session of the running sandbox."""
    return Room(lab)


@pytest.fixture
def own_room(tmp_path: Path) -> Iterator[Room]:
    """A new session of a sandbox in this process, for tests that lower its limits."""
    own = OwnSandbox(Home.open(tmp_path / "own"))
    lab = Lab(own.info)
    yield Room(lab)
    lab.close()
    own.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "5",
        '"connect"',
        "{}",
        '{"id": 1}',
        '{"do": "connect"}',
        '{"id": "1", "do": "signal"}',
        '{"id": true, "do": "signal"}',
        '{"id": -1, "do": "signal"}',
        '{"id": 1e999, "do": "signal"}',
        '{"id": 99999999999999999999, "do": "signal"}',
        '{"id": 1, "do": ["signal"]}',
        "[" * 100_000,
        '{"a":' * 400 + "1" + "}" * 400,
        '{"id": 1, "do": "signal", "data": "\\ud800"}',
        '{"id": 1, "do": "__init__"}',
    ],
)
def test_a_message_that_is_no_request_is_answered_with_an_error(room: Room, text: str) -> None:
    """Garbage costs its sender an error (1011), never the socket, and is one short line of the trace."""

    async def story() -> None:
        async with room.pages("subscriber") as (page,):
            await page.socket.send_str(text)
            stray = await page.stray()
            assert stray["error"]["name"] in ("OT_INVALID_PARAMETER", "OT_PERMISSION_DENIED")
            await page.settle()
            for event in room.lab.trace(kind="signalling"):
                assert len(json.dumps(event)) < 20_000

    asyncio.run(story())


PUBLISH = {"stream": STREAM, "offer": "v=0"}


@pytest.mark.parametrize(
    ("do", "fields"),
    [
        ("connect", {"sessionId": "x", "project": "x", "token": "x"}),
        ("resume", {"connectionId": "x", "resumeKey": "x"}),
        ("publish", {}),
        ("publish", {**PUBLISH, "offer": 5}),
        ("publish", {**PUBLISH, "offer": "x" * 65_537}),
        ("publish", PUBLISH),
        ("publish", {**PUBLISH, "stream": []}),
        ("publish", {**PUBLISH, "stream": {**STREAM, "hasAudio": "yes"}}),
        ("publish", {**PUBLISH, "stream": {**STREAM, "name": "x" * 1001}}),
        ("publish", {**PUBLISH, "stream": {**STREAM, "videoType": "drawing"}}),
        ("publish", {**PUBLISH, "stream": {**STREAM, "videoType": {}}}),
        ("publish", {**PUBLISH, "stream": {**STREAM, "videoDimensions": 5}}),
        ("publish", {**PUBLISH, "stream": {**STREAM, "videoDimensions": {"width": 1e9, "height": 1}}}),
        ("publish", {**PUBLISH, "stream": {**STREAM, "videoDimensions": {"width": True, "height": 1}}}),
        ("unpublish", {"streamId": "none"}),
        ("unpublish", {"streamId": {}}),
        ("subscribe", {"streamId": "none", "offer": "v=0"}),
        ("unsubscribe", {}),
        ("choose", {"subscriptionId": "none", "audio": 1, "video": 0}),
        ("update", {"streamId": "none", "hasAudio": True}),
        ("signal", {"data": {}}),
        ("signal", {"to": []}),
        ("force-disconnect", {"connectionId": "none"}),
        ("force-unpublish", {"streamId": "none"}),
        ("force-mute", {"streamId": "none"}),
        ("force-mute-all", {"excludedStreamIds": "all"}),
        ("force-mute-all", {"excludedStreamIds": [5]}),
        ("nothing", {}),
    ],
)
def test_a_request_with_wrong_fields_is_refused(room: Room, do: str, fields: dict[str, Any]) -> None:
    """Every request checks what it is given; the page stays connected, publishes nothing, and the error has a name."""

    async def story() -> None:
        async with room.pages("moderator") as (page,):
            with pytest.raises(Refused) as refused:
                await page.ask(do, **fields)
            assert refused.value.name.startswith("OT_")
            assert refused.value.code > 1000
            assert refused.value.name != "OT_UNEXPECTED_SERVER_RESPONSE"
            await page.ask("signal", data="still here")
            assert (await page.news("signal"))["data"] == "still here"

    asyncio.run(story())


def test_a_message_may_be_large_but_not_endless(room: Room) -> None:
    """More than 256 kB is an error with the request's id, a binary frame one without; 2 MiB close the socket."""

    async def story() -> None:
        async with room.pages("publisher") as (page,):
            with pytest.raises(Refused, match="262144"):
                await page.ask("signal", data="x" * 300_000)
            await page.socket.send_bytes(b"\x00\xff")
            assert (await page.stray())["error"]["code"] == 1011
            # The code arrives only if the reset for the unread rest does not overtake it, or the end of the message.
            with contextlib.suppress(ConnectionError):
                await page.socket.send_str("x" * 2 * 1024 * 1024)
            assert await page.ended() in {aiohttp.WSCloseCode.MESSAGE_TOO_BIG, aiohttp.WSCloseCode.ABNORMAL_CLOSURE}

    asyncio.run(story())


def test_who_is_nobody_does_not_stay(own_room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that never connects, or tries five times in vain, is closed; so is one beyond the limit of sockets."""
    monkeypatch.setattr(signalling, "CONNECT_SECONDS", 0.2)

    async def story() -> None:
        async with own_room.page() as silent:
            assert await silent.ended() == aiohttp.WSCloseCode.POLICY_VIOLATION
        monkeypatch.setattr(signalling, "CONNECT_SECONDS", 10.0)
        async with own_room.page() as guesser:
            for _ in range(signalling.MAX_ATTEMPTS):
                with pytest.raises(Refused):
                    await own_room.enter(guesser, "guess")
            assert await guesser.ended() == aiohttp.WSCloseCode.POLICY_VIOLATION
        monkeypatch.setattr(signalling, "MAX_SOCKETS", 1)
        async with own_room.pages("publisher") as (page,):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await own_room.page().__aenter__()
            await page.settle()

    asyncio.run(story())


def test_limits_of_one_client_are_errors(own_room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many streams, views or browsers are refused with the vendor's names, and what is there goes on."""
    monkeypatch.setattr(browser_media, "MAX_STREAMS", 1)
    monkeypatch.setattr(browser_media, "MAX_SUBSCRIPTIONS", 1)
    monkeypatch.setattr(signalling, "MAX_BROWSERS", 2)

    async def story() -> None:
        async with own_room.pages("publisher", "publisher") as (page, viewer), own_room.page() as third:
            stream_id, _ = await page.publish()
            with pytest.raises(Refused) as refused:
                await page.publish()
            assert (refused.value.name, refused.value.code) == ("OT_STREAM_LIMIT_EXCEEDED", 1605)
            await viewer.news("streamCreated")
            await viewer.subscribe(stream_id)
            with pytest.raises(Refused) as refused:
                await viewer.subscribe(stream_id)
            assert refused.value.name == "OT_STREAM_LIMIT_EXCEEDED"
            with pytest.raises(Refused) as refused:
                await own_room.enter(third)
            assert (refused.value.name, refused.value.code) == ("OT_CONNECTION_LIMIT_EXCEEDED", 1027)
            assert viewer.heard("streamDestroyed") == []

    asyncio.run(story())


def test_a_page_asks_only_so_much(own_room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its allowance a page's requests are errors, until time fills it again; it may always leave."""
    monkeypatch.setattr(allowance, "BURST", 5)
    monkeypatch.setattr(allowance, "PER_SECOND", 0.0)

    async def story() -> None:
        async with own_room.pages("publisher", "publisher") as (greedy, other):
            for _ in range(5):
                await greedy.ask("signal", data="x")
            for do in ("signal", "nothing", "publish"):
                with pytest.raises(Refused) as refused:
                    await greedy.ask(do, data="x")
                wanted = (1011, "OT_INVALID_PARAMETER") if do == "nothing" else (429, "OT_RATE_LIMIT_EXCEEDED")
                assert (refused.value.code, refused.value.name) == wanted
            await other.ask("signal", data="x")
            monkeypatch.setattr(allowance, "PER_SECOND", 1e9)
            await greedy.ask("signal", data="x")
            monkeypatch.setattr(allowance, "PER_SECOND", 0.0)
            for _ in range(5):
                with contextlib.suppress(Refused):
                    await greedy.ask("signal", data="x")
            assert await greedy.ask("disconnect") == {}
            assert (await other.news("connectionDestroyed"))["reason"] == "clientDisconnected"
            assert 7 <= len(other.heard("signal")) < 13

    asyncio.run(story())


@pytest.mark.parametrize("do", ["publish", "subscribe"])
def test_what_the_router_fails_at_stays_nowhere(
    own_room: Room, monkeypatch: pytest.MonkeyPatch, do: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When media cannot be made, for whatever reason, the stream or view is not counted, and the page goes on."""
    monkeypatch.setattr(browser_media, "MAX_STREAMS", 1)
    monkeypatch.setattr(browser_media, "MAX_SUBSCRIPTIONS", 1)
    answer = Peer.answer

    def fail(*_: object) -> str:
        raise RuntimeError("no more sockets")

    async def story() -> None:
        async with own_room.pages("publisher", "publisher") as (page, viewer):
            if do == "subscribe":
                stream_id, _ = await page.publish()
                await viewer.news("streamCreated")
            monkeypatch.setattr(Peer, "answer", fail)
            for _ in range(2):
                with pytest.raises(Refused) as refused:
                    await (page.publish() if do == "publish" else viewer.subscribe(stream_id))
                assert refused.value.name == "OT_UNEXPECTED_SERVER_RESPONSE"
            monkeypatch.setattr(Peer, "answer", answer)
            await (page.publish() if do == "publish" else viewer.subscribe(stream_id))

    asyncio.run(story())
    assert "no more sockets" in caplog.text


def test_a_page_that_does_not_read_is_dropped(own_room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for one page is bounded: signals, which anybody can send, are lost; other news costs it its socket."""
    monkeypatch.setattr(browser_socket, "MAX_QUEUED", 50)
    monkeypatch.setattr(allowance, "BURST", 10**6)
    monkeypatch.setattr(browser_socket, "HEARTBEAT_SECONDS", None)  # else its missing pongs end it
    monkeypatch.setattr(browser, "RESUME_SECONDS", 0.0)

    async def story() -> None:
        deaf = Page(own_room.lab.info.api_url, autoping=False)
        async with deaf, own_room.pages("publisher") as (page,):
            hello = {"sessionId": own_room.session, "project": own_room.key, "token": own_room.token()}
            await deaf.socket.send_str(json.dumps({"id": 1, "do": "connect", **hello}))
            await page.news("connectionCreated")
            stream_id, _ = await page.publish()
            for _ in range(60):  # the systems' buffers fill first
                await asyncio.gather(*(page.ask("signal", data="x" * 8192) for _ in range(50)))
                if dropped("a signal"):
                    break
            await asyncio.gather(*(page.ask("signal", data="x" * 8192) for _ in range(100)))
            assert page.heard("connectionDestroyed") == []
            for turn in range(60):
                await page.ask("update", streamId=stream_id, hasAudio=bool(turn % 2))
            gone = await page.news("connectionDestroyed")
            assert gone["reason"] == "networkDisconnected"

    def dropped(what: str) -> bool:
        return any(what in each.get("dropped", "") for each in own_room.lab.trace(kind="signalling"))

    asyncio.run(story())
    assert dropped("does not read")


def test_only_websockets_are_served(room: Room) -> None:
    """Any other request of the path is answered in JSON."""
    url = room.lab.info.api_url + PATH
    for method, status in (("GET", 400), ("POST", 405)):
        answer = requests.request(method, url, timeout=10)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")


def test_any_origin_may_connect(room: Room) -> None:
    """As at the vendor, a page of any origin may come in: its token decides."""

    async def story() -> None:
        async with Page(room.lab.info.api_url, origin="https://example.com") as page:
            await room.enter(page)

    asyncio.run(story())


def test_the_trace_shows_every_step_and_no_secret(room: Room) -> None:
    """Each message in and out is an event; tokens, resume keys and ICE passwords are dots; beats are left out."""
    token = room.token()

    async def story() -> tuple[str, str]:
        async with room.page() as page:
            await room.enter(page, token)
            raw = RawBrowser(direction="sendonly")
            answer = await page.ask("publish", stream=STREAM, offer=raw.offer)
            return page.own["resumeKey"], answer["answer"]

    resume_key, answer = asyncio.run(story())
    events = room.lab.trace(kind="signalling")
    steps = [(each["direction"], each["message"].get("do") or each["message"].get("reply")) for each in events]
    assert steps[:4] == [("in", "connect"), ("out", 1), ("in", "publish"), ("out", 2)]
    assert all(each["sessionId"] == room.session for each in events[1:])
    told = json.dumps(events)
    passwords = [
        line.partition(":")[2] for line in answer.splitlines() if line.startswith(("a=ice-pwd", "a=ice-ufrag"))
    ]
    assert len(passwords) >= 2
    for secret in (token, resume_key, *passwords):
        assert secret not in told
    assert "a=fingerprint" in told


def test_the_trace_keeps_little_of_a_message(room: Room) -> None:
    """A long signal, an offer, a hundred ids or a deep object: 2 kB of each, cut texts with their length told."""

    async def story() -> None:
        async with room.pages("moderator") as (page,):
            await page.ask("signal", data="x" * 8192)
            await page.ask("signal", data="€" * 2700)
            for wrong in ({"offer": "v=0\n" * 10_000, "stream": STREAM}, {"stream": {"name": ["x" * 500] * 400}}):
                with pytest.raises(Refused):
                    await page.ask("publish", **wrong)
            await page.ask("force-mute-all", excludedStreamIds=["x" * 40] * 100)

    asyncio.run(story())
    events = room.lab.trace(kind="signalling")
    assert {"signal", "publish", "force-mute-all"} <= {each["message"].get("do") for each in events}
    assert max(len(json.dumps(each)) for each in events) < 2500
    told = [each["message"].get("data", "") for each in events if each["message"].get("do") == "signal"]
    assert [each.partition("… ")[2] for each in told] == ["(8192 characters)", "(2700 characters)"]
    assert any("(40000 characters)" in each["message"].get("offer", "") for each in events)
    assert any("(100 items)" in str(each["message"].get("excludedStreamIds")) for each in events)


def test_lost_sockets_do_not_pile_up(own_room: Room) -> None:
    """Twenty pages that come and go leave no socket, connection or stream."""

    async def story() -> None:
        for turn in range(20):
            async with own_room.pages("publisher") as (page,):
                await page.ask("publish", stream=STREAM, offer=RawBrowser(direction="sendonly").offer)
                if turn % 2:
                    await page.ask("disconnect")
                    await page.ended()

    asyncio.run(story())
    wait_for(lambda: len(own_room.connections()) == 10, what="those that left to be gone, those that were lost to stay")
