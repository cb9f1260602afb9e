"""A call to a WebSocket: the platform is its client, the application its server (Voice API guide "WebSockets").

The first message is ``websocket:connected``; then sound goes both ways, 20 ms a message, and events and commands as
JSON text between. Whatever the far end does, it costs the sandbox a bounded buffer each way: who reads too slowly
loses sound, and who sends without end is cut off.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from sipkit.sandbox.media.pcm_leg import Message, PcmLeg
from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.call import CallFailed
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice.socket_wish import SocketWish

LONGEST_MESSAGE = 64 * 1024
"""Bytes of a message the far end may send; a longer one ends the connection."""
LONGEST_COMMAND = 4096
"""Characters of a command; a longer one is ignored (assumed), for its payload is kept until it is its turn."""
SOUND_WAITING = 250
"""Messages (5 s) that wait for a far end that reads slowly; sound beyond that is dropped."""
EVENTS_WAITING = 500
"""Messages with which a far end that does not even read its events is given up."""
BURST, PER_SECOND = 20_000, 500
"""Messages a far end may send at once, and each second after: many times the buffer, ten times real time."""
TURN = 200
"""Messages read before all others get their turn."""
HEARTBEAT = 20.0
"""Seconds between pings; a far end that answers none for half as long is gone."""
CLOSE_DEADLINE = 1.0
"""Seconds the far end has to answer our close."""


class SocketCall:
    """What `VoiceLeg` wants of an outgoing call, on a WebSocket.

    Args:
        wish: what to open.
        caller: number shown as the caller.
        token: makes the token of signed webhooks for this URI.
        authority: file of the sandbox's certificate authority, trusted beside the machine's own.
        spawn: runs the connection in the background.
        trace: told what goes over it, sound and Authorization excepted.
    """

    direction: Literal["outbound"] = "outbound"

    def __init__(
        self,
        wish: SocketWish,
        caller: str,
        token: Callable[[str], str],
        authority: Path,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        trace: Trace,
    ) -> None:
        self._wish = wish
        self.caller = caller
        self._token = token
        self._authority = authority
        self._spawn = spawn
        self._trace = trace
        self.call_id = ""
        self.remote_media: sdp.Audio | None = None
        self.audio = PcmLeg("", wish.rate, self._put)
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._opened: asyncio.Future[None] = loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._out: deque[Message] = deque()
        self._ready = asyncio.Event()

    @property
    def dialled(self) -> str:
        """The URI."""
        return self._wish.uri

    @property
    def custom_headers(self) -> dict[str, Any]:
        """The endpoint's headers, which the leg's events repeat (documented)."""
        return self._wish.headers

    def carry(self, name: str) -> PcmLeg:
        """Return the leg's audio, named."""
        self.audio.name = name
        return self.audio

    async def place(self, offer: sdp.Audio, ringing: Callable[[], None]) -> None:
        """Open the WebSocket; it does not ring.

        Raises:
            CallFailed: it cannot be opened.
        """
        if not _on_this_machine(self._wish.uri):
            self._end("503 the sandbox never calls out")
            raise CallFailed(503, "the sandbox never calls out")
        self._spawn(self._live())
        either: list[asyncio.Future[Any]] = [self._opened, self.ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._opened.done():
            raise CallFailed(487 if self.ended.result() == "cancelled" else 503, self.ended.result())

    async def hang_up(self) -> None:
        """Close it, or give up opening it."""
        self._end("local BYE" if self._opened.done() else "cancelled")
        if self._task is not None:
            self._task.cancel()

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def _live(self) -> None:
        """Be connected, from the handshake to the close."""
        if self.ended.done():
            return  # hung up before it began
        self._task = asyncio.current_task()
        reason = "remote BYE"
        try:
            async with self._client() as client:
                connection = await self._open(client)
                writer = asyncio.get_running_loop().create_task(self._write(connection))
                try:
                    self._opened.set_result(None)
                    await self._read(connection)
                finally:
                    writer.cancel()
                    await asyncio.gather(writer, return_exceptions=True)
                    await _close(connection)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # By its kind only: a text could hold the URI's query.
            reason = f"503 {type(error).__name__}" if not self._opened.done() else reason
        finally:
            self._end(reason)
            self._tell("closed", reason=self.ended.result(), wrong=self.audio.wrong, dropped=self.audio.lost)

    def _client(self) -> aiohttp.ClientSession:
        watch = aiohttp.TraceConfig()
        watch.on_request_redirect.append(_refuse_redirect)
        return aiohttp.ClientSession(
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "sipkit-sandbox"},
            trace_configs=[watch],
            # How long it may take is the leg's ringing timer.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )

    async def _open(self, client: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        wish = self._wish
        given = wish.secret if wish.authorization == "custom" else ""
        if wish.authorization == "vonage" and (token := self._token(wish.uri)):
            given = f"Bearer {token}"
        connection = await client.ws_connect(
            URL(wish.uri, encoded=True),
            headers={"Authorization": given} if given else {},
            ssl=_trust(self._authority),
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_DEADLINE),
            heartbeat=HEARTBEAT,
            autoping=False,  # pings count as messages
            max_msg_size=LONGEST_MESSAGE,
        )
        first = {"event": "websocket:connected", "content-type": wish.content_type, **wish.headers}
        await connection.send_json(first)
        # Not the headers, which are the application's own business.
        self._tell("connected", uri=wish.uri.partition("?")[0], content_type=wish.content_type)
        return connection

    # What the far end sends -------------------------------------------------------------------------------------------

    async def _read(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        allowed, since, count = float(BURST), time.monotonic(), 0
        async for message in connection:
            now = time.monotonic()
            allowed, since = min(BURST, allowed + (now - since) * PER_SECOND) - 1, now
            if allowed < 0:
                self._tell("flooded")
                return
            if message.type is aiohttp.WSMsgType.BINARY:
                self.audio.feed(message.data)
                if self.audio.wrong == 1 and len(message.data) != self.audio.frame_bytes:
                    self._tell("wrong", bytes=len(message.data), wanted=self.audio.frame_bytes)
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._command(message.data)
            elif message.type is aiohttp.WSMsgType.PING:
                await connection.pong(message.data)
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)

    def _command(self, text: str) -> None:
        """Do what a text asks for: clear or notify. Anything else is ignored (assumed)."""
        try:
            command: Any = json.loads(text) if len(text) <= LONGEST_COMMAND else None
        except (ValueError, RecursionError):
            command = None
        command = command if isinstance(command, dict) else {}
        action = command.get("action")
        if action == "clear":
            self.audio.clear()
        elif action == "notify" and isinstance(payload := command.get("payload", {}), dict):
            self.audio.notify(payload)
        else:
            action = "ignored"
        self._tell("received", action=action)

    # What it is sent --------------------------------------------------------------------------------------------------

    def _put(self, message: Message) -> None:
        """Queue a message for the far end."""
        if self.ended.done() or (isinstance(message, bytes) and len(self._out) >= SOUND_WAITING):
            return
        if len(self._out) >= EVENTS_WAITING:
            if self._task is not None:
                self._end("remote BYE")
                self._task.cancel()
            return
        if not isinstance(message, bytes):
            self._tell("sent", event=message["event"])
        self._out.append(message)
        self._ready.set()

    async def _write(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            while True:
                await self._ready.wait()
                self._ready.clear()
                while self._out:
                    message = self._out.popleft()
                    if isinstance(message, bytes):
                        await connection.send_bytes(message)
                    else:
                        await connection.send_json(message)

    def _tell(self, state: str, **more: Any) -> None:
        self._trace.emit("websocket", leg=self.audio.name.removeprefix("voice:"), state=state, **more)


async def _close(connection: aiohttp.ClientWebSocketResponse) -> None:
    """Close politely; a far end that does not even take the close is cut, with what waits to be sent."""
    wire = connection.get_extra_info("socket")  # aiohttp forgets it on closing, but goes on trying to send
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(CLOSE_DEADLINE):
            await connection.close()
    if wire is not None and connection.close_code in (None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE):
        # By a socket of our own: what the loop shows of its one can do nothing (uvloop).
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(wire.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)


async def _refuse_redirect(_client: aiohttp.ClientSession, _context: SimpleNamespace, _params: object) -> None:
    """Follow none: it could lead off this machine."""
    raise aiohttp.ClientConnectionError("a WebSocket endpoint must not redirect")


def _on_this_machine(uri: str) -> bool:
    host = urlsplit(uri).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _trust(authority: Path) -> ssl.SSLContext:
    """Verify the application's certificate by the machine's authorities and the sandbox's own."""
    context = ssl.create_default_context()
    context.load_verify_locations(authority)
    return context
