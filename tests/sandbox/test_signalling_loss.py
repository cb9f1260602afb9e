"""Pages that vanish and come back, and sandboxes that close: nothing is lost too early, and nothing stays."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipkit.sandbox.home import Home
from sipkit.sandbox.video import browser, browser_socket
from tests.standins.calls import OwnSandbox
from tests.standins.lab import Lab, wait_for
from tests.standins.page import Page, Refused
from tests.standins.room import Room


class OwnRoom(Room):
    """A session of a sandbox in this process."""

    def __init__(self, own: OwnSandbox) -> None:
        super().__init__(Lab(own.info))
        self.own = own

    @property
    def idle(self) -> bool:
        """Whether the sandbox may leave."""
        return self.own._sandbox.idle

    def tasks(self) -> list[str]:
        """Return the names of the sandbox's asyncio tasks but those of plain HTTP, which come and go."""

        async def names() -> list[str]:
            found = (task.get_coro() for task in asyncio.all_tasks())
            return sorted(name for coro in found if "RequestHandler" not in (name := coro.__qualname__))  # type: ignore[union-attr]

        return [name for name in self.own._run(names()) if not name.startswith("OwnRoom")]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[OwnRoom]:
    """A new session of a sandbox of this test alone."""
    own = OwnSandbox(Home.open(tmp_path / "own"))
    room = OwnRoom(own)
    yield room
    room.lab.close()
    own.close()


def test_a_page_comes_back_to_its_connection(room: OwnRoom) -> None:
    """A socket cut without a goodbye is not told to others; with its key the page resumes, its stream still flows."""

    async def story() -> None:
        async with room.pages("publisher", "publisher") as (page, other), room.page() as again:
            stream_id, _ = await page.publish()
            await other.news("streamCreated")
            page.cut()
            await page.ended()
            with pytest.raises(Refused) as refused:
                await again.ask("resume", connectionId=page.id, resumeKey=other.own["resumeKey"])
            assert (refused.value.name, refused.value.code) == ("OT_DISCONNECTED", 1010)
            own = await again.resume(page)
            assert own["connection"] == page.own["connection"]
            assert [each["streamId"] for each in own["streams"]] == [stream_id]
            assert [each["connectionId"] for each in own["connections"]] == [other.id]
            await other.ask("signal", data="welcome back")
            assert (await again.news("signal"))["data"] == "welcome back"
            await other.settle()
            assert {each["event"] for each in other.events} == {"signal"}
            await again.ask("unpublish", streamId=stream_id)
            assert (await other.news("streamDestroyed"))["reason"] == "clientDisconnected"

    asyncio.run(story())


def test_a_page_may_notice_the_loss_first(room: OwnRoom) -> None:
    """Resuming while the old socket still looks open takes it over: the old one is closed, the connection stays."""

    async def story() -> None:
        async with room.pages("publisher") as (page,), room.page() as again:
            await again.resume(page)
            assert await page.ended() == 1001
            await again.ask("signal", data="here")
            assert (await again.news("signal"))["data"] == "here"
            assert len(room.connections()) == 1

    asyncio.run(story())


def test_mutes_that_a_lost_page_missed_reach_it(room: OwnRoom) -> None:
    """Back on a new socket, a page is told of its streams that were muted meanwhile, once; signals stay lost."""

    async def lose(page: Page) -> None:
        page.cut()
        browsers = room.own._sandbox._signalling._browsers
        await asyncio.to_thread(wait_for, lambda: browsers[page.id]._socket is None, 10, "the loss to be noticed")

    async def story() -> None:
        pages = room.page(), room.page(), room.page()
        async with room.pages("publisher", "moderator") as (page, host), pages[0] as second, pages[1] as third:
            stream_id, _ = await page.publish()
            await host.news("streamCreated")
            await lose(page)
            for _ in range(3):
                await host.ask("force-mute", streamId=stream_id)
            await host.ask("force-mute-all", excludedStreamIds=[])
            await host.ask("signal", data="too late")
            await second.resume(page)
            await second.settle()
            muted = {"event": "muteForced", "active": True, "streamIds": [stream_id]}
            assert second.events == [muted]
            await second.ask("update", streamId=stream_id, hasAudio=False)  # as the script answers
            await second.news("streamPropertyChanged")
            second.events.clear()
            await lose(second)
            await host.ask("disable-force-mute")
            await third.resume(second)
            await third.settle()
            assert third.events == [{"event": "muteForced", "active": False, "streamIds": None}]
            async with pages[2] as last:
                await last.resume(third)
                await last.settle()
                assert last.events == []

    asyncio.run(story())


def test_a_mute_sent_into_a_dead_socket_is_told_again(room: OwnRoom) -> None:
    """A mute that the page did not answer when it comes back, on a socket that looked open, is told once more."""

    async def story() -> None:
        async with room.pages("publisher", "moderator") as (page, host), room.page() as again:
            stream_id, _ = await page.publish()
            await host.news("streamCreated")
            await host.ask("force-mute", streamId=stream_id)
            await again.resume(page)
            assert (await again.news("muteForced"))["streamIds"] == [stream_id]

    asyncio.run(story())


def test_a_page_that_stays_away_is_network_disconnected(room: OwnRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time without a socket, its streams and connection end for the others, and it cannot come back."""
    monkeypatch.setattr(browser, "RESUME_SECONDS", 0.3)

    async def story() -> None:
        async with room.pages("publisher", "publisher") as (page, other), room.page() as again:
            stream_id, raw = await page.publish()
            await other.news("streamCreated")
            _, view = await other.subscribe(stream_id)
            page.cut()
            gone = await other.news("streamDestroyed")
            assert (gone["streamId"], gone["reason"]) == (stream_id, "networkDisconnected")
            gone = await other.news("connectionDestroyed")
            assert (gone["connectionId"], gone["reason"]) == (page.id, "networkDisconnected")
            for media in (raw, view):
                await asyncio.wait_for(media.closed.wait(), 10)
            with pytest.raises(Refused, match="connect anew"):
                await again.resume(page)

    asyncio.run(story())
    wait_for(lambda: not room.own._sandbox._signalling._browsers, what="every browser to be forgotten")


def test_a_lost_page_can_still_be_disconnected(room: OwnRoom) -> None:
    """A connection without a socket is there for REST: forced out, it is gone, and cannot be resumed."""

    async def story() -> None:
        async with room.pages("publisher") as (page,), room.page() as again:
            page.cut()
            await page.ended()
            await asyncio.to_thread(room.lab.video.force_disconnect, room.session, page.id)
            assert room.connections() == []
            with pytest.raises(Refused, match="connect anew"):
                await again.resume(page)

    asyncio.run(story())


def test_pongs_that_stop_are_a_loss(room: OwnRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose socket is open but dead is noticed by its missing pongs."""
    monkeypatch.setattr(browser_socket, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(browser, "RESUME_SECONDS", 0.1)

    async def story() -> None:
        dead = Page(room.lab.info.api_url, autoping=False)
        async with room.pages("publisher") as (page,), dead:
            dead._reading = asyncio.create_task(dead._read())
            await room.enter(dead)
            assert (await page.news("connectionDestroyed"))["reason"] == "networkDisconnected"
            await page.settle()

    asyncio.run(story())


def test_pages_hear_beats(room: OwnRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page gets a beat now and then, by which it knows that the socket lives; the trace leaves them out."""
    monkeypatch.setattr(browser_socket, "BEAT_SECONDS", 0.05)

    async def story() -> None:
        async with room.pages("subscriber") as (page,):
            async with asyncio.timeout(10):
                while page.beats < 3:
                    page._told.clear()
                    await page._told.wait()

    asyncio.run(story())
    assert "beat" not in [each["message"].get("event") for each in room.lab.trace(kind="signalling")]


def test_a_browser_keeps_the_sandbox_from_leaving(room: OwnRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a page is in a session, or may come back, the sandbox is not idle; afterwards it is."""
    monkeypatch.setattr(browser, "RESUME_SECONDS", 0.2)

    async def story() -> None:
        assert room.idle
        async with room.pages("publisher") as (page,):
            assert not room.idle
            page.cut()
            await page.ended()
            assert not room.idle

    asyncio.run(story())
    wait_for(lambda: room.idle, what="the sandbox to be idle")


def test_twenty_pages_leave_no_task(room: OwnRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Come and go with media, by goodbye or by a cut: tasks, browsers, streams and listeners are what they were."""
    monkeypatch.setattr(browser, "RESUME_SECONDS", 0.1)
    wait_for(lambda: "Speech.warm_up" not in room.tasks(), 60, "the speech to be warm")
    before = room.tasks()

    async def story() -> None:
        for turn in range(20):
            async with room.pages("publisher", "subscriber") as (page, viewer):
                stream_id, _ = await page.publish()
                await viewer.news("streamCreated")
                await viewer.subscribe(stream_id)
                if turn % 2:
                    await page.ask("disconnect")
                else:
                    page.cut()

    asyncio.run(story())
    wait_for(lambda: room.connections() == [], what="every connection to be gone")
    wait_for(lambda: room.tasks() == before, what=f"the tasks to be {before}")
    session = room.own._sandbox.sessions.get(room.session)
    assert session is not None
    assert (list(session.streams()), session.listeners) == ([], [])
    router = room.own._sandbox.router
    assert (router._streams, router._viewers) == ({}, {})


def test_a_sandbox_that_closes_takes_leave(tmp_path: Path) -> None:
    """Pages are told that the session is over, their sockets are closed as going away, and closing does not hang."""
    own = OwnSandbox(Home.open(tmp_path / "own"))
    room = OwnRoom(own)
    room.lab.close()

    async def story() -> None:
        async with room.pages("publisher", "subscriber") as (page, viewer), room.page() as nobody:
            await page.publish()
            await viewer.news("streamCreated")
            await asyncio.wait_for(asyncio.to_thread(own.close), 20)
            for each in (page, viewer):
                assert (await each.news("sessionDisconnected"))["reason"] == "networkDisconnected"
                assert await each.ended() in (1000, 1001)
            assert await nobody.ended() == 1001

    asyncio.run(story())
