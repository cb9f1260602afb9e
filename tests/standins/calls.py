"""Fixtures for tests that make calls: the running sandbox, and an application for it to ask."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox.app import Sandbox
from sipkit.sandbox.home import Home
from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab


@pytest.fixture(scope="session")
def session_app() -> Iterator[AnsweringApp]:
    """This worker's voice application; tests use `app`."""
    with AnsweringApp() as app:
        yield app


@pytest.fixture(scope="session")
def session_lab(sandbox: SandboxInfo) -> Iterator[Lab]:
    """The control API of this worker's sandbox; tests use `lab`."""
    lab = Lab(sandbox)
    yield lab
    lab.close()


@pytest.fixture
def app(session_app: AnsweringApp, session_lab: Lab) -> AnsweringApp:
    """A voice application that the running sandbox calls: GET for answers, POST for events."""
    session_app.reset()
    session_lab.point(session_app.url)
    return session_app


@pytest.fixture
def lab(session_lab: Lab, app: AnsweringApp) -> Iterator[Lab]:
    """The control API of the running sandbox, without a call up; what the test leaves behind is ended."""
    session_lab.begin()
    yield session_lab
    session_lab.tidy()


class OwnSandbox:
    """A whole sandbox in this process, its loop in a thread, for tests that shorten its timers."""

    def __init__(self, home: Home) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._sandbox = self._run(self._open(home))
        state = {**self._sandbox.line(), "pid": os.getpid(), "create_time": "", "instance": self._sandbox.instance}
        self.info = SandboxInfo.from_state(state)

    async def _open(self, home: Home) -> Sandbox:
        return await Sandbox(home, os.getpid(), {}).__aenter__()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        """Stop serving."""
        self._run(self._sandbox.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def own_lab(tmp_path: Path, session_app: AnsweringApp) -> Iterator[Lab]:
    """A sandbox of this test alone, in this process, that calls `session_app` (ask for it after patching timers)."""
    session_app.reset()
    own = OwnSandbox(Home.open(tmp_path / "own-sandbox"))
    lab = Lab(own.info)
    lab.point(session_app.url)
    yield lab
    lab.close()
    own.close()
