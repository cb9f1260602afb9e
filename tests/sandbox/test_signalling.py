"""The signalling of the running sandbox, by raw pages whose media is real: presence, streams, roles, signals."""

import asyncio
import time
from typing import Any

import jwt
import pytest

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab
from tests.standins.page import VIDEO, Refused
from tests.standins.raw_browser import RawBrowser
from tests.standins.room import Room

OTHER_SECRET = "0123456789abcdef" * 3


@pytest.fixture
def room(lab: Lab) -> Room:
    """A new session."""
    return Room(lab)


# ---------------------------------------------------------------- coming in


def test_a_page_connects_and_sees_who_is_there(room: Room) -> None:
    """The reply holds the page's own connection with its token's data, the others, and what the role allows."""

    async def story() -> None:
        async with room.pages("publisher", "moderator") as (first, second):
            assert first.own["connection"]["data"] == "a publisher"
            assert (first.own["connections"], first.own["streams"]) == ([], [])
            assert second.own["connections"] == [first.own["connection"]]
            came = await first.news("connectionCreated")
            assert came["connection"] == second.own["connection"]
            assert abs(came["connection"]["creationTime"] / 1000 - time.time()) < 10
            assert all(second.own["capabilities"].values())
            assert len(room.connections()) == 2
            listed = room.lab.ask("GET", "/ledger").json()["connections"]
            assert {each["kind"] for each in listed if each["sessionId"] == room.session} == {"browser"}

    asyncio.run(story())


def test_a_page_that_leaves_is_told_to_the_others(room: Room) -> None:
    """`disconnect` is answered, its socket closes, and the others hear that it left of its own."""

    async def story() -> None:
        async with room.pages("publisher", "publisher") as (first, second):
            assert await second.ask("disconnect") == {}
            assert await second.ended() == 1000
            assert second.heard("sessionDisconnected") == []
            gone = await first.news("connectionDestroyed")
            assert (gone["connectionId"], gone["reason"]) == (second.id, "clientDisconnected")
            assert len(room.connections()) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": 1_000_000_000, "iat": 999_999_000}, "expired"),
        ({"secret": OTHER_SECRET}, "Invalid signature"),
        ({"iss": "99999999"}, "Issuer not found"),
        ({"session_id": "1_another"}, "another session"),
        ({"role": "king"}, "role"),
        ({"role": ["publisher"]}, "role"),
        ({"scope": "session.listen"}, "does not open sessions"),
        ({"ist": "account"}, "does not open sessions"),
        ({"exp": int(time.time()) + 40 * 86_400}, "30 days"),
        ({"iat": int(time.time()) + 3600}, "future"),
        ({"connection_data": "x" * 1001}, "1000 characters"),
    ],
)
def test_a_wrong_token_opens_nothing(room: Room, sandbox: SandboxInfo, changes: dict[str, Any], why: str) -> None:
    """Expired, forged, foreign or altered: OT_AUTHENTICATION_ERROR (1004) with the reason, and nobody is in."""
    changes = dict(changes)
    secret = changes.pop("secret", sandbox.video_api_secret)
    claims = jwt.decode(room.token(), options={"verify_signature": False}) | changes
    token = jwt.encode(claims, secret, "HS256")

    async def story() -> None:
        async with room.page() as page:
            with pytest.raises(Refused, match=why) as refused:
                await room.enter(page, token)
            assert (refused.value.code, refused.value.name) == (1004, "OT_AUTHENTICATION_ERROR")
        assert room.connections() == []

    asyncio.run(story())


def test_wrong_places_are_told_apart(room: Room, sandbox: SandboxInfo) -> None:
    """No such session is OT_INVALID_SESSION_ID (1005); another project, or no token at all, is 1004; T1 opens."""

    async def story() -> None:
        token = room.token()
        async with room.page() as page:
            for session_id, project, given, code in (
                ("nonsense", room.key, token, 1005),
                (room.session[:-4], room.key, token, 1005),
                (room.session, "99999999", token, 1004),
                (room.session, sandbox.application_id, token, 1004),
                (room.session, room.key, "no token", 1004),
            ):
                with pytest.raises(Refused) as refused:
                    await page.connect(session_id, project, given)
                assert refused.value.code == code
        async with room.page() as page:
            with pytest.raises(Refused) as refused:
                await page.ask("signal", data="who am I?")
            assert (refused.value.code, refused.value.name) == (1010, "OT_NOT_CONNECTED")
            await page.connect(room.session, room.key, room.token(use_jwt=False))

    asyncio.run(story())


# ---------------------------------------------------------------- streams


def test_a_published_stream_is_seen_once_its_media_flows(room: Room) -> None:
    """Others, REST and newcomers see it from the end of the handshake on, the publisher gets no news of its own."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (publisher, viewer):
            raw_answer = await publisher.ask("publish", stream={"hasAudio": True, "hasVideo": False}, offer=_offer())
            await viewer.settle()
            assert viewer.heard("streamCreated") == []  # offered, and never connected
            assert len(await asyncio.to_thread(room.lab.video.list_streams, room.session)) == 0
            stream_id, _ = await publisher.publish(name="Ada", **VIDEO)
            assert stream_id != raw_answer["streamId"]
            stream = (await viewer.news("streamCreated"))["stream"]
            assert (stream["streamId"], stream["name"]) == (stream_id, "Ada")
            assert stream["connection"] == publisher.own["connection"]
            assert (stream["hasAudio"], stream["hasVideo"], stream["videoType"]) == (True, True, "camera")
            assert stream["videoDimensions"] == {"width": 640, "height": 480}
            assert publisher.heard("streamCreated") == []
            (listed,) = await asyncio.to_thread(room.lab.video.list_streams, room.session)
            assert (listed.id, listed.name, listed.videoType) == (stream_id, "Ada", "camera")
            got = await asyncio.to_thread(room.lab.video.get_stream, room.session, stream_id)
            assert got.id == stream_id
            async with room.pages("publisher") as (late,):
                assert late.own["streams"] == [stream]

    asyncio.run(story())


def test_a_stream_ends_for_all_when_its_publisher_ends_it_or_leaves(room: Room) -> None:
    """`unpublish` and a page that leaves both tell the others streamDestroyed, and end their views' media."""

    async def story() -> None:
        async with room.pages("publisher", "publisher", "subscriber") as (first, second, viewer):
            one, _ = await first.publish()
            two, _ = await second.publish()
            await viewer.news("streamCreated")
            await viewer.news("streamCreated")
            _, view = await viewer.subscribe(one)
            assert await first.ask("unpublish", streamId=one) == {}
            gone = await viewer.news("streamDestroyed")
            assert (gone["streamId"], gone["reason"]) == (one, "clientDisconnected")
            await asyncio.wait_for(view.closed.wait(), 10)
            assert first.heard("streamDestroyed") == []
            with pytest.raises(Refused) as refused:
                await viewer.ask("subscribe", streamId=one, offer=_offer("recvonly"))
            assert refused.value.name == "OT_STREAM_NOT_FOUND"
            await second.ask("disconnect")
            gone = await viewer.news("streamDestroyed")
            assert (gone["streamId"], gone["reason"]) == (two, "clientDisconnected")
            assert (await viewer.news("connectionDestroyed"))["connectionId"] == second.id

    asyncio.run(story())


def test_a_page_may_say_that_its_device_stopped(room: Room) -> None:
    """`unpublish` with the reason mediaStopped tells it to the others; any other reason is refused."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (publisher, viewer):
            stream_id, _ = await publisher.publish()
            await viewer.news("streamCreated")
            for reason in ("forceUnpublished", "", 5, ["mediaStopped"]):
                with pytest.raises(Refused) as refused:
                    await publisher.ask("unpublish", streamId=stream_id, reason=reason)
                assert refused.value.code == 1011
            assert viewer.heard("streamDestroyed") == []
            await publisher.ask("unpublish", streamId=stream_id, reason="mediaStopped")
            gone = await viewer.news("streamDestroyed")
            assert (gone["streamId"], gone["reason"]) == (stream_id, "mediaStopped")
            await publisher.settle()
            assert publisher.heard("streamDestroyed") == []

    asyncio.run(story())


def test_a_track_of_the_pages_own_is_a_custom_video(room: Room) -> None:
    """The videoType custom is told on as it is, to pages and over REST."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (publisher, viewer):
            stream_id, _ = await publisher.publish(**{**VIDEO, "videoType": "custom"})
            assert (await viewer.news("streamCreated"))["stream"]["videoType"] == "custom"
            got = await asyncio.to_thread(room.lab.video.get_stream, room.session, stream_id)
            assert got.videoType == "custom"

    asyncio.run(story())


def test_media_that_breaks_ends_the_stream(room: Room) -> None:
    """When a publisher's media connection is gone its stream is networkDisconnected, also for itself; it stays."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (publisher, viewer):
            stream_id, raw = await publisher.publish()
            await viewer.news("streamCreated")
            raw.goodbye()
            for page in (publisher, viewer):
                gone = await page.news("streamDestroyed")
                assert (gone["streamId"], gone["reason"]) == (stream_id, "networkDisconnected")
            again, _ = await publisher.publish()
            assert (await viewer.news("streamCreated"))["stream"]["streamId"] == again

    asyncio.run(story())


def test_a_view_is_chosen_and_ended(room: Room) -> None:
    """`choose` takes and leaves kinds, `unsubscribe` ends the media, and both are harmless a second time."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (publisher, viewer):
            stream_id, _ = await publisher.publish(**VIDEO)
            await viewer.news("streamCreated")
            view, raw = await viewer.subscribe(stream_id)
            assert await viewer.ask("choose", subscriptionId=view, audio=True, video=False) == {}
            assert await viewer.ask("unsubscribe", subscriptionId=view) == {}
            await asyncio.wait_for(raw.closed.wait(), 10)
            assert await viewer.ask("unsubscribe", subscriptionId=view) == {}
            assert await viewer.ask("choose", subscriptionId=view, audio=True, video=True) == {}

    asyncio.run(story())


def test_a_stream_changes_for_everybody(room: Room) -> None:
    """Each property that really changes is told to all, the sender too, with old and new value."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (publisher, viewer):
            stream_id, _ = await publisher.publish(**VIDEO)
            size = {"width": 320, "height": 240}
            await publisher.ask("update", streamId=stream_id, hasAudio=False, hasVideo=True, videoDimensions=size)
            for page in (publisher, viewer):
                audio = await page.news("streamPropertyChanged", property="hasAudio")
                assert (audio["streamId"], audio["oldValue"], audio["newValue"]) == (stream_id, True, False)
                picture = await page.news("streamPropertyChanged", property="videoDimensions")
                assert (picture["oldValue"], picture["newValue"]) == (VIDEO["videoDimensions"], size)
                assert page.heard("streamPropertyChanged") == []  # hasVideo was true before
            with pytest.raises(Refused) as refused:
                await viewer.ask("update", streamId=stream_id, hasAudio=True)
            assert refused.value.name == "OT_STREAM_NOT_FOUND"

    asyncio.run(story())


def test_participants_and_phones_are_streams_like_any_other(room: Room, lab: Lab, app: AnsweringApp) -> None:
    """A dialled leg connects with the dial and publishes when it is answered; its end is told as such."""
    app.on("/answer", [{"action": "conversation", "name": "test"}])

    async def story() -> None:
        async with room.pages("publisher") as (page,):
            synthetic = await asyncio.to_thread(lab.participant, room.session, tone_hz=440)
            stream = (await page.news("streamCreated"))["stream"]
            assert (stream["connection"]["connectionId"], stream["videoType"]) == (synthetic.id, None)
            assert (stream["hasAudio"], stream["hasVideo"], stream["name"]) == (True, False, "")
            _, view = await page.subscribe(stream["streamId"])
            assert not view.closed.is_set()
            await page.news("connectionCreated")
            connection_id = await asyncio.to_thread(lab.sip_dial, room.session)
            assert (await page.news("connectionCreated"))["connection"]["connectionId"] == connection_id
            stream = (await page.news("streamCreated"))["stream"]
            assert stream["connection"]["connectionId"] == connection_id
            await asyncio.to_thread(lab.video.force_disconnect, room.session, connection_id)
            assert (await page.news("streamDestroyed"))["reason"] == "forceDisconnected"
            assert (await page.news("connectionDestroyed"))["connectionId"] == connection_id

    asyncio.run(story())


# ---------------------------------------------------------------- roles and signals


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("subscriber", {"subscribe"}),
        ("publisheronly", {"publish"}),
        ("publisher", {"publish", "subscribe", "signal"}),
        ("moderator", {"publish", "subscribe", "signal", "forceDisconnect", "forceUnpublish", "forceMute"}),
    ],
)
def test_a_role_does_what_it_may_and_no_more(room: Room, role: str, allowed: set[str]) -> None:
    """Each right of a role works and is told in its capabilities; any other is OT_PERMISSION_DENIED with its code."""

    async def story() -> None:
        async with room.pages("moderator", role) as (host, page):
            stream_id, _ = await host.publish()
            tries: dict[str, tuple[int, dict[str, Any]]] = {
                "publish": (1500, {"do": "publish", "stream": {"hasAudio": True, "hasVideo": False}}),
                "subscribe": (1501, {"do": "subscribe", "streamId": stream_id}),
                "signal": (1510, {"do": "signal", "data": "hello"}),
                "forceMute": (1540, {"do": "force-mute", "streamId": stream_id}),
                "forceUnpublish": (1530, {"do": "force-unpublish", "streamId": stream_id}),
                "forceDisconnect": (1520, {"do": "force-disconnect", "connectionId": host.id}),
            }
            await page.news("streamCreated")
            for right, (code, fields) in tries.items():
                asked = dict(fields)
                offer = _offer("recvonly" if right == "subscribe" else "sendonly")
                assert page.own["capabilities"][right] == int(right in allowed)
                if right in allowed:
                    await page.ask(asked.pop("do"), offer=offer, **asked)
                    continue
                with pytest.raises(Refused) as refused:
                    await page.ask(asked.pop("do"), offer=offer, **asked)
                assert (refused.value.name, refused.value.code) == ("OT_PERMISSION_DENIED", code)

    asyncio.run(story())


def test_signals_reach_all_or_one(room: Room) -> None:
    """Without `to` everybody gets it, the sender too; with it only that client; `from` names the sender."""

    async def story() -> None:
        async with room.pages("publisher", "publisher", "subscriber") as (first, second, third):
            await first.ask("signal", type="chat", data="hello")
            for page in (first, second, third):
                told = await page.news("signal")
                assert (told["type"], told["data"], told["from"]) == ("chat", "hello", first.id)
            await second.ask("signal", data="psst", to=third.id)
            told = await third.news("signal")
            assert told == {"event": "signal", "data": "psst", "from": second.id}
            for page in (first, second):
                await page.settle()
                assert page.heard("signal") == []
            for wrong, name in (
                ({"data": "x" * 8193}, "OT_INVALID_PARAMETER"),
                ({"data": "€" * 2731}, "OT_INVALID_PARAMETER"),
                ({"type": "x" * 129}, "OT_INVALID_PARAMETER"),
                ({"type": "no spaces"}, "OT_INVALID_PARAMETER"),
                ({"type": 5}, "OT_INVALID_PARAMETER"),
                ({"to": "nobody"}, "OT_NOT_FOUND"),
            ):
                with pytest.raises(Refused) as refused:
                    await first.ask("signal", **wrong)
                assert (refused.value.code, refused.value.name) == (1510, name)
            await first.ask("signal", type="x" * 128, data="x" * 8192)

    asyncio.run(story())


def _offer(direction: str = "sendonly") -> str:
    """An offer whose media never connects."""
    return RawBrowser(direction=direction).offer
