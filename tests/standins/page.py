"""A page without a browser: the signalling spoken by hand, and media made of raw packets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp

from tests.standins.raw_browser import RawBrowser

PATH = "/v2/signalling"
PATIENCE = 20.0
"""Seconds that a reply or an event may take."""
STREAM = {"name": "", "hasAudio": True, "hasVideo": False, "videoType": None}
VIDEO = {"hasVideo": True, "videoType": "camera", "videoDimensions": {"width": 640, "height": 480}}


class Refused(Exception):
    """A request was answered with an error: `code`, `name` and the message."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['name']} {error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.name: str = error["name"]


class Page:
    """One page, from its socket on. ``async with Page(url) as page``.

    Attributes:
        socket: the WebSocket, for what a good page never sends.
        strays: replies to no request of ours.
        events: what it was told and has not been asked for by `news` yet.
        beats: how many beats came.
        own: the snapshot that `connect` or `resume` was answered with.
        over: set when the socket ended.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options
        self._asked = 0
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._raws: list[RawBrowser] = []
        self._told = asyncio.Event()
        self.strays: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.beats = 0
        self.own: dict[str, Any] = {}
        self.over = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(trust_env=False)
        try:
            self.socket = await self._http.ws_connect(self._url + PATH, max_msg_size=0, **self._options)
        except aiohttp.ClientError:
            await self._http.close()
            raise
        self._reading = asyncio.create_task(self._read()) if self._options.get("autoping", True) else None
        return self

    async def __aexit__(self, *_: object) -> None:
        for raw in self._raws:
            raw.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self.socket.close()
        await self._http.close()

    @property
    def id(self) -> str:
        """The connection's id."""
        return str(self.own["connection"]["connectionId"])

    async def connect(self, session_id: str, project: str, token: str) -> dict[str, Any]:
        """Come into a session."""
        self.own = await self.ask("connect", sessionId=session_id, project=project, token=token)
        return self.own

    async def resume(self, lost: "Page") -> dict[str, Any]:
        """Come back as a page whose socket was lost."""
        own = lost.own
        self.own = await self.ask("resume", connectionId=lost.id, resumeKey=own["resumeKey"])
        return self.own

    async def ask(self, do: str, /, **fields: Any) -> dict[str, Any]:
        """Send a request and return what it is answered with.

        Raises:
            Refused: an error.
        """
        self._asked += 1
        reply = self._replies[self._asked] = asyncio.get_running_loop().create_future()
        await self.socket.send_str(json.dumps({"id": self._asked, "do": do, **fields}))
        answer: dict[str, Any] = await asyncio.wait_for(reply, PATIENCE)
        if "error" in answer:
            raise Refused(answer["error"])
        return dict(answer["ok"])

    async def news(self, event: str, /, **match: Any) -> dict[str, Any]:
        """Wait for an event with these fields, and take it from the list."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self._told.clear()
                for each in self.events:
                    if each["event"] == event and all(each.get(name) == value for name, value in match.items()):
                        self.events.remove(each)
                        return each
                await self._told.wait()

    def heard(self, event: str) -> list[dict[str, Any]]:
        """Return the events of a name that are still in the list."""
        return [each for each in self.events if each["event"] == event]

    async def stray(self) -> dict[str, Any]:
        """Wait for a reply to no request of ours, and take it."""
        async with asyncio.timeout(PATIENCE):
            while not self.strays:
                self._told.clear()
                await self._told.wait()
        return self.strays.pop(0)

    async def ended(self) -> int | None:
        """Wait until the other side ended the socket; returns its code."""
        await asyncio.wait_for(self.over.wait(), PATIENCE)
        return self.socket.close_code

    async def settle(self) -> None:
        """Wait until everything that was sent to this page before has arrived."""
        with contextlib.suppress(Refused):
            await self.ask("nothing")

    async def publish(self, **stream: Any) -> tuple[str, RawBrowser]:
        """Publish, with media that is connected; returns the stream's id."""
        video = "VP8" if stream.get("hasVideo") else None
        raw = RawBrowser(direction="sendonly", video=video)
        self._raws.append(raw)
        answer = await self.ask("publish", stream={**STREAM, **stream}, offer=raw.offer)
        await raw.connect(answer["answer"])
        return answer["streamId"], raw

    async def subscribe(self, stream_id: str) -> tuple[str, RawBrowser]:
        """View a stream, with media that is connected; returns the subscription's id."""
        raw = RawBrowser(direction="recvonly", video="VP8")
        self._raws.append(raw)
        answer = await self.ask("subscribe", streamId=stream_id, offer=raw.offer)
        await raw.connect(answer["answer"])
        return answer["subscriptionId"], raw

    def cut(self) -> None:
        """Break the socket without a goodbye, as a network does."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                break
            told = json.loads(message.data)
            if "event" not in told:
                waiting = self._replies.pop(told["reply"], None)
                if waiting is None:
                    self.strays.append(told)
                    self._told.set()
                else:
                    waiting.set_result(told)
            elif told["event"] == "beat":
                self.beats += 1
                self._told.set()
            else:
                self.events.append(told)
                self._told.set()
        self.over.set()


@asynccontextmanager
async def pages_in(url: str, *tokens: tuple[str, str, str]) -> AsyncIterator[list[Page]]:
    """Open a page for each (session id, project, token), connected one after the other."""
    async with contextlib.AsyncExitStack() as stack:
        pages = []
        for session_id, project, token in tokens:
            page = await stack.enter_async_context(Page(url))
            await page.connect(session_id, project, token)
            pages.append(page)
        yield pages
