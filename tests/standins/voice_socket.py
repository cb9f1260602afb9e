"""A WebSocket server that the voice platform calls: it keeps what it is sent, and sends what a test tells it.

A real server on a free port; it shares no code with the sandbox.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pytest
from aiohttp import WSMsgType, web

from tests.standins.ear import Sound
from tests.standins.lab import Lab, wait_for

FRAME_SECONDS = 0.02


class Line:
    """One connection of the platform.

    Attributes:
        headers: of its handshake.
        texts: its text messages, read as JSON.
        frames: its binary messages.
        code: how it was closed, None if it was not.
        over: is it gone?
    """

    def __init__(self, headers: dict[str, str], ws: web.WebSocketResponse, loop: asyncio.AbstractEventLoop) -> None:
        self.headers = headers
        self.texts: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.code: int | None = None
        self.over = False
        self._ws, self._loop = ws, loop

    def send(self, *messages: bytes | dict[str, Any] | str) -> None:
        """Send messages, one after the other."""

        async def send() -> None:
            for each in messages:
                if isinstance(each, bytes):
                    await self._ws.send_bytes(each)
                else:
                    await self._ws.send_str(each if isinstance(each, str) else json.dumps(each))

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(10)

    def close(self) -> None:
        """Close the connection."""
        asyncio.run_coroutine_threadsafe(self._ws.close(), self._loop).result(10)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the messages of one event."""
        return [each for each in self.texts if each.get("event") == f"websocket:{name}"]

    def wait(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for messages of one event."""
        wait_for(lambda: len(self.events(name)) >= count, what=f"{count} {name}; seen: {self.texts}")
        return self.events(name)

    def heard(self, factor: int) -> Sound:
        """Return the sound so far, thinned to 8 kHz."""
        samples = np.frombuffer(b"".join(self.frames), dtype="<i2").astype(np.float64) / 32768
        return samples[::factor]


class VoiceSocket:
    """The server; ``with VoiceSocket() as server`` serves it.

    Attributes:
        lines: the connections so far.
        status: refuse the handshake with this HTTP status.
        location: and with this Location.
        silent: never answer the handshake.
        reading: clear it, and nothing is read of a connection.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.lines: list[Line] = []
        self.status = 0
        self.location = ""
        self.silent = False
        self.asked = 0
        self.reading = threading.Event()
        self.reading.set()
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self.uri = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.reading.set()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def reset(self) -> None:
        """Forget the connections, and be polite again."""
        self.lines, self.status, self.location, self.silent, self.asked = [], 0, "", False, 0

    def line(self, index: int = 0) -> Line:
        """Wait for a connection and its first message."""
        wait_for(lambda: len(self.lines) > index and self.lines[index].texts, what=f"connection {index}")
        return self.lines[index]

    async def _open(self) -> str:
        self._quit = asyncio.Event()
        app = web.Application()
        app.router.add_get("/socket", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        host, port = self._runner.addresses[0][:2]
        return f"{'wss' if self._tls else 'ws'}://{host}:{port}/socket"

    async def _close(self) -> None:
        self._quit.set()
        await self._runner.cleanup()
        await asyncio.sleep(0)  # the aborted connections' last callbacks

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.status:
            return web.Response(status=self.status, headers={"Location": self.location} if self.location else {})
        if self.silent:
            await self._quit.wait()
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        line = Line({name.lower(): value for name, value in request.headers.items()}, ws, self._loop)
        self.lines.append(line)
        try:
            async for message in ws:
                if message.type is WSMsgType.BINARY:
                    line.frames.append(message.data)
                elif message.type is WSMsgType.TEXT:
                    line.texts.append(json.loads(message.data))
                if not self.reading.is_set():
                    await asyncio.to_thread(self.reading.wait)
        finally:
            line.code, line.over = ws.close_code, True
            if request.transport is not None:  # not even a far end that was cut leaves one open
                request.transport.abort()
        return ws


def sound(hz: float, seconds: float, rate: int, amplitude: float = 0.25) -> list[bytes]:
    """Make a tone as messages of 20 ms."""
    samples = amplitude * 32767 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    raw = samples.astype("<i2").tobytes()
    step = 2 * round(rate * FRAME_SECONDS)
    return [raw[at : at + step] for at in range(0, len(raw), step)]


@pytest.fixture(scope="module")
def module_socket() -> Iterator[VoiceSocket]:
    """This module's server; tests use `server`."""
    with VoiceSocket() as server:
        yield server


@pytest.fixture
def server(module_socket: VoiceSocket, lab: Lab) -> Iterator[VoiceSocket]:
    """A WebSocket server without a connection; it closes those of the test before the sandbox is looked at."""
    module_socket.reset()
    yield module_socket
    for line in module_socket.lines:
        line.close()
