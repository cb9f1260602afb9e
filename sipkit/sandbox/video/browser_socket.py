"""One WebSocket of a page: a bounded queue to send from, beats, a polite end and a rude one."""

import asyncio
import json
from collections import deque
from typing import Any

from aiohttp import WSCloseCode, web

from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.messages import JsonObject, VendorError, traceable

HEARTBEAT_SECONDS = 10.0
"""A socket whose pongs stop is noticed within one and a half of these."""
BEAT_SECONDS = 5.0
"""Between the beats that a page waits for: it cannot see pings."""
CLOSE_SECONDS = 2.0
"""How long a page may take to answer our close frame."""
MAX_FRAME = 1024 * 1024
"""A longer frame closes the socket; one between `MAX_MESSAGE` and this is answered with an error."""
PATIENT_QUEUE = 20
"""Messages that may wait for a page before its next request is answered."""
MAX_QUEUED = 1000
MAX_QUEUED_CHARACTERS = 4 * 1024 * 1024
"""What may wait for a page that does not read, before it is dropped."""


class BrowserSocket:
    """Sends to one page. Made and used on the loop; nothing here waits for the page but `_write`.

    Attributes:
        connection_id, session_id: whose socket it is, once it is connected; for the trace.
    """

    def __init__(self, trace: Trace) -> None:
        self.ws = web.WebSocketResponse(
            heartbeat=HEARTBEAT_SECONDS, timeout=CLOSE_SECONDS, max_msg_size=MAX_FRAME, compress=False
        )
        self.connection_id: str | None = None
        self.session_id: str | None = None
        self._trace = trace
        self._transport: asyncio.Transport | None = None
        self._queue: deque[str] = deque()
        self._queued = 0
        self._news = asyncio.Event()
        self._sent = asyncio.Event()
        self._ending = False
        self._code: int = WSCloseCode.OK
        self._writer: asyncio.Task[None] | None = None
        self._beat: asyncio.TimerHandle | None = None

    async def open(self, request: web.Request) -> None:
        """Answer the upgrade.

        Raises:
            HTTPBadRequest: it is none.
        """
        await self.ws.prepare(request)
        self._transport = request.transport
        loop = asyncio.get_running_loop()
        self._writer = loop.create_task(self._write())
        self._beat = loop.call_later(BEAT_SECONDS, self._send_beat)

    def reply(self, request_id: int | None, ok: JsonObject) -> None:
        """Answer a request."""
        self.send({"reply": request_id, "ok": ok})

    def refuse(self, request_id: int | None, error: VendorError) -> None:
        """Answer a request with an error."""
        told = {"code": error.code, "name": error.name, "message": str(error)}
        self.send({"reply": request_id, "error": told})

    def send(self, message: JsonObject, *, may_be_lost: bool = False) -> None:
        """Queue a message; a page that reads too slowly for its queue is dropped.

        A message that `may_be_lost` is a signal: anybody can send many of them, so once the queue is half full they are
        lost rather than the page.
        """
        if self._ending:
            return
        if may_be_lost and (len(self._queue) * 2 > MAX_QUEUED or self._queued * 2 > MAX_QUEUED_CHARACTERS):
            self._tell(direction="out", dropped=f"a signal: {len(self._queue)} messages wait for a page already")
            return
        self.note("out", message)
        self._put(json.dumps(message))

    async def ready(self) -> None:
        """Wait until the page has read most of what it was sent, and let others have their turn in any case.

        Who asks much and reads nothing is asked to wait, not kept in memory; and no page keeps the audio waiting.
        """
        await asyncio.sleep(0)
        while len(self._queue) > PATIENT_QUEUE and not self._ending:
            self._sent.clear()
            await self._sent.wait()

    def note(self, direction: str, message: JsonObject) -> None:
        """Trace a message, "in" from the page or "out" to it."""
        self._tell(direction=direction, message=traceable(message))

    def finish(self, code: int = WSCloseCode.OK) -> None:
        """Close after what is queued; later messages are not sent."""
        self._ending = True
        self._code = code
        self._news.set()

    def drop(self) -> None:
        """Cut the wire."""
        self._ending = True
        if self._transport is not None:
            self._transport.abort()

    async def wind_up(self) -> None:
        """Release everything, when the page's side is over or our close is under way."""
        if self._beat is not None:
            self._beat.cancel()
        if self._writer is None:
            return
        if not self._ending:
            self._writer.cancel()
        await asyncio.wait([self._writer], timeout=CLOSE_SECONDS + 1.0)
        if not self._writer.done():
            self.drop()
            self._writer.cancel()
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        try:
            while self._queue or not self._ending:
                await self._news.wait()
                self._news.clear()
                while self._queue:
                    text = self._queue.popleft()
                    self._queued -= len(text)
                    await self.ws.send_str(text)
                    self._sent.set()
            await self.ws.close(code=self._code)
        except (ConnectionError, RuntimeError):
            self._ending = True  # the page is gone: whoever reads the socket sees it too
        finally:
            self._sent.set()

    def _put(self, text: str) -> None:
        self._queue.append(text)
        self._queued += len(text)
        if len(self._queue) > MAX_QUEUED or self._queued > MAX_QUEUED_CHARACTERS:
            self._tell(direction="out", dropped=f"{len(self._queue)} messages waited for a page that does not read")
            self._queue.clear()
            self.drop()
        self._news.set()

    def _send_beat(self) -> None:
        if not self._ending:
            self._put('{"event": "beat"}')  # not traced: every page gets one every five seconds
            self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._send_beat)

    def _tell(self, **more: Any) -> None:
        self._trace.emit("signalling", connectionId=self.connection_id, sessionId=self.session_id, **more)
