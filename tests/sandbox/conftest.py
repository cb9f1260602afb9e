"""The sandbox for tests: its home and REST APIs in this process, or the whole, with an application to call."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from sipkit.sandbox.home import Home
from tests.standins.calls import app, lab, own_lab, session_app, session_lab
from tests.standins.video_api import VideoApi

__all__ = ["app", "lab", "own_lab", "session_app", "session_lab"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A new home."""
    return Home.open(tmp_path / "sandbox")


class Served:
    """An aiohttp app on a free port, its loop in a thread, so that blocking clients can call it."""

    def __init__(self, app: web.Application) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._runner = web.AppRunner(app)
        self.url = asyncio.run_coroutine_threadsafe(self._open(), self.loop).result(10)

    async def _open(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    def close(self) -> None:
        """Stop serving; connections are cut."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture
def serve() -> Iterator[Callable[[web.Application], Served]]:
    """`serve(app)` serves an aiohttp app until the test ends."""
    served: list[Served] = []

    def begin(app: web.Application) -> Served:
        served.append(Served(app))
        return served[-1]

    yield begin
    for each in served:
        each.close()


@pytest.fixture
def video(home: Home, serve: Callable[[web.Application], Served]) -> Iterator[VideoApi]:
    """The video API of a new home, in this process."""
    video = VideoApi(home, serve)
    yield video
    video.sessions.close()
