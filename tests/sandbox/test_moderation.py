"""Disconnect, mute and signal: by moderators in the page, and by the project's server with the vendor's SDK."""

import asyncio
from typing import Any

import pytest
import requests
from opentok.exceptions import ForceDisconnectError, OpenTokException, RequestError

from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab
from tests.standins.page import Page, Refused
from tests.standins.room import Room
from tests.standins.video_api import VideoApi


@pytest.fixture
def room(lab: Lab) -> Room:
    """A new session."""
    return Room(lab)


async def muted(page: Page) -> tuple[bool, list[str] | None]:
    """Wait for muteForced."""
    told = await page.news("muteForced")
    return told["active"], told["streamIds"]


# ---------------------------------------------------------------- from a page


def test_a_moderator_ends_streams_and_connections(room: Room) -> None:
    """The one it happens to and the others are told why; the forced-out page's socket is closed."""

    async def story() -> None:
        async with room.pages("moderator", "publisher", "subscriber") as (host, guest, viewer):
            stream_id, raw = await guest.publish()
            await viewer.news("streamCreated")
            await host.ask("force-unpublish", streamId=stream_id)
            for page in (host, guest, viewer):
                gone = await page.news("streamDestroyed")
                assert (gone["streamId"], gone["reason"]) == (stream_id, "forceUnpublished")
            await asyncio.wait_for(raw.closed.wait(), 10)
            with pytest.raises(Refused) as refused:
                await host.ask("force-unpublish", streamId=stream_id)
            assert (refused.value.code, refused.value.name) == (1535, "OT_STREAM_NOT_FOUND")
            await host.ask("force-disconnect", connectionId=guest.id)
            assert (await guest.news("sessionDisconnected"))["reason"] == "forceDisconnected"
            await guest.ended()
            for page in (host, viewer):
                gone = await page.news("connectionDestroyed")
                assert (gone["connectionId"], gone["reason"]) == (guest.id, "forceDisconnected")
            assert await host.ask("force-disconnect", connectionId=host.id) == {}
            assert (await host.news("sessionDisconnected"))["reason"] == "forceDisconnected"

    asyncio.run(story())


def test_a_moderator_hangs_up_the_phone_leg(room: Room, lab: Lab, app: AnsweringApp) -> None:
    """Forcing a dialled leg out ends its call; ending its stream does the same."""
    app.on("/answer", [{"action": "conversation", "name": "test", "endOnExit": True}])

    async def story() -> None:
        async with room.pages("moderator") as (host,):
            for do in ("force-disconnect", "force-unpublish"):
                connection_id = await asyncio.to_thread(lab.sip_dial, room.session)
                stream = (await host.news("streamCreated"))["stream"]
                fields = {"force-disconnect": {"connectionId": connection_id}}
                await host.ask(do, **fields.get(do, {"streamId": stream["streamId"]}))
                gone = await host.news("connectionDestroyed")
                assert (gone["connectionId"], gone["reason"]) == (connection_id, "forceDisconnected")
                await asyncio.to_thread(lab.wait_legs, 0)

    asyncio.run(story())


def test_a_moderator_mutes_one_or_all(room: Room) -> None:
    """One: only its publisher is told. All: everybody, with the streams meant; who publishes later is told too."""

    async def story() -> None:
        async with room.pages("moderator", "publisher", "publisher") as (host, first, second):
            one, _ = await first.publish()
            two, _ = await second.publish()
            await host.ask("force-mute", streamId=one)
            assert await muted(first) == (True, [one])
            await host.ask("force-mute-all", excludedStreamIds=[one])
            for page in (host, first, second):
                assert await muted(page) == (True, [two])
            three, _ = await first.publish()
            assert await muted(first) == (True, [three])
            await host.ask("disable-force-mute")
            for page in (host, first, second):
                assert await muted(page) == (False, None)
            await second.publish()
            for page in (host, first, second):
                await page.settle()
                assert page.heard("muteForced") == []

    asyncio.run(story())


# ---------------------------------------------------------------- from the project's server


def test_opentok_disconnects_a_page(room: Room) -> None:
    """DELETE connection reaches the page once; the second time nobody is there."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (guest, viewer):
            await guest.publish()
            video = room.lab.video
            await asyncio.to_thread(video.force_disconnect, room.session, guest.id)
            assert (await guest.news("sessionDisconnected"))["reason"] == "forceDisconnected"
            await guest.ended()
            assert (await viewer.news("streamDestroyed"))["reason"] == "forceDisconnected"
            assert (await viewer.news("connectionDestroyed"))["connectionId"] == guest.id
            with pytest.raises(ForceDisconnectError, match="not connected"):
                await asyncio.to_thread(video.force_disconnect, room.session, guest.id)

    asyncio.run(story())


def test_opentok_mutes_pages(room: Room) -> None:
    """mute_stream, mute_all and disable_force_mute answer the project and reach the pages."""

    async def story() -> None:
        async with room.pages("publisher", "publisher") as (first, second):
            one, _ = await first.publish()
            two, _ = await second.publish()
            video = room.lab.video
            answer = await asyncio.to_thread(video.mute_stream, room.session, one)
            assert answer.status_code == 200
            assert answer.json()["status"] == "ACTIVE"
            assert {"projectId", "applicationId", "name", "environment", "createdAt"} <= answer.json().keys()
            assert await muted(first) == (True, [one])
            await second.settle()
            assert second.heard("muteForced") == []
            await asyncio.to_thread(video.mute_all, room.session, [two])
            assert await muted(first) == await muted(second) == (True, [one])
            await asyncio.to_thread(video.mute_all, room.session, None)
            active, ids = await muted(first)
            assert (active, set(ids or [])) == (True, {one, two})
            await muted(second)
            await asyncio.to_thread(video.disable_force_mute, room.session)
            assert await muted(first) == await muted(second) == (False, None)
            with pytest.raises(OpenTokException):
                await asyncio.to_thread(video.mute_stream, room.session, "none")

    asyncio.run(story())


def test_opentok_signals_pages(room: Room) -> None:
    """send_signal reaches all or one, from nobody; what is too long or for nobody is refused."""

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (first, second):
            video = room.lab.video
            await asyncio.to_thread(video.send_signal, room.session, {"type": "news", "data": "for all"})
            for page in (first, second):
                assert await page.news("signal") == {
                    "event": "signal",
                    "type": "news",
                    "data": "for all",
                    "from": None,
                }
            await asyncio.to_thread(video.send_signal, room.session, {"data": "for one"}, second.id)
            assert (await second.news("signal"))["data"] == "for one"
            await first.settle()
            assert first.heard("signal") == []
            for payload, to in (({"data": "x" * 8193}, None), ({"type": 5}, None), ({"data": "x"}, "nobody")):
                with pytest.raises(RequestError):
                    await asyncio.to_thread(video.send_signal, room.session, payload, to)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("signal", {"type": "x" * 129}, 413),
        ("signal", {"data": "€" * 2731}, 413),
        ("signal", {"type": "no spaces"}, 400),
        ("signal", {"data": ["x"]}, 400),
        ("signal", [], 400),
        ("connection/nobody/signal", {"data": "x"}, 404),
        ("signal", {}, 204),
        ("mute", {}, 400),
        ("mute", {"active": "true"}, 400),
        ("mute", {"active": True, "excludedStreams": "all"}, 400),
        ("mute", {"active": True, "excludedStreamIds": [5]}, 400),
        ("mute", {"active": True, "excludedStreamIds": ["none"]}, 404),
        ("mute", {"active": True, "excludedStreamIds": None}, 200),
        ("stream/none/mute", {}, 404),
    ],
)
def test_requests_are_answered_as_documented(video: VideoApi, path: str, body: Any, status: int) -> None:
    """Each wrong body or place has its status, in a session that exists; in any other it is 404 or 400."""
    url = f"{video.project}/session/{video.routed()}/{path}"
    answer = requests.post(url, json=body, headers=video.auth(), timeout=10)
    assert answer.status_code == status
    if status >= 400:
        assert answer.json().keys() == {"code", "message", "description"}
    assert requests.post(url, json=body, timeout=10).status_code == 403
    nowhere = f"{video.project}/session/nonsense/{path}"
    assert requests.post(nowhere, json=body, headers=video.auth(), timeout=10).status_code == 400
