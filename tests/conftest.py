"""Fixtures for tests that want the real thing: a running sandbox, a board, foreign phones, a browser."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import requests

if TYPE_CHECKING:
    from sipkit.sandbox.launcher import SandboxInfo
    from sipkit.settings import Settings
    from sipkit.switchboard import Switchboard
    from tests.standins.postgres import Postgres
    from tests.standins.transactions import Watcher

SANDBOX_START_SECONDS = 60.0
SANDBOX_STOP_SECONDS = 15.0
POLL_SECONDS = 0.02

T = TypeVar("T")


def _wait_until(predicate: Callable[[], T], timeout: float = 10.0, what: str = "the condition") -> T:
    """Call `predicate` until it returns something true, and return that; fail after `timeout` seconds.

    Args:
        predicate: asked every 20 ms; the last thing it returned is part of the failure's text.
        timeout: seconds.
        what: names the awaited thing in the failure.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:g} s for {what}; last seen: {value!r}")
        time.sleep(POLL_SECONDS)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """`wait_until(predicate, timeout=10.0, what="...")`: the one way tests here wait for a state."""
    return _wait_until


@pytest.fixture(scope="session")
def sandbox_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where this worker's sandbox keeps its credentials, sessions and application."""
    return tmp_path_factory.mktemp("sandbox-home")


@pytest.fixture(scope="session")
def sandbox(sandbox_home: Path) -> "Iterator[SandboxInfo]":
    """A real sandbox process of this worker, started by its command line; must end by itself on SIGTERM."""
    from sipkit.sandbox import launcher

    log_path = sandbox_home.parent / f"{sandbox_home.name}.log"
    command = [sys.executable, "-m", "sipkit.sandbox", "serve", "--home", str(sandbox_home)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=os.name == "posix")

    def ready() -> "SandboxInfo | None":
        if process.poll() is not None:
            pytest.fail(f"the sandbox left with {process.returncode}:\n{log_path.read_text()[-4000:]}")
        return launcher.read(sandbox_home)

    try:
        info = _wait_until(ready, SANDBOX_START_SECONDS, "the sandbox's state file")
        assert info is not None
        yield info
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(SANDBOX_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the sandbox ignored SIGTERM for {SANDBOX_STOP_SECONDS:g} s")


@pytest.fixture
def sandbox_env(
    sandbox: "SandboxInfo", sandbox_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A new data folder that settings point at and whose sandbox is the running one; nobody stays in it."""
    home = tmp_path / "data"
    home.mkdir(mode=0o700)
    (home / "sandbox").symlink_to(sandbox_home, target_is_directory=True)
    monkeypatch.setenv("SIPKIT_HOME", str(home))
    monkeypatch.setenv("SIPKIT_MODE", "sandbox")
    monkeypatch.setenv("GUARD_PROCESS", "false")  # a process for each call of each test would take minutes in all
    yield home
    with suppress(requests.ConnectionError):  # a test may have ended the sandbox
        _send_participants_home(sandbox)


def _send_participants_home(sandbox: "SandboxInfo") -> None:
    """End the synthetic participants a test left behind: nobody else would, and the next test counts connections."""
    ask = partial(requests.request, auth=(sandbox.voice_api_key, sandbox.voice_api_secret), timeout=10)
    base = f"{sandbox.api_url}/sandbox"
    for each in ask("GET", f"{base}/ledger").json()["connections"]:
        if each["kind"] == "synthetic":
            ask("DELETE", f"{base}/sessions/{each['sessionId']}/participants/{each['id']}")


@pytest.fixture
def settings(sandbox_env: Path) -> "Settings":
    """Settings as a lesson would load them, on a new data folder and the running sandbox."""
    from sipkit.settings import Settings

    return Settings.load()


@pytest.fixture
def own_board(sandbox_env: Path) -> "Iterator[Switchboard]":
    """A switchboard on a new data folder and the running sandbox; closed afterwards."""
    from sipkit.switchboard import Switchboard

    with Switchboard.from_env() as board:
        yield board


@pytest.fixture
def board(own_board: "Switchboard") -> "Switchboard":
    """The test's switchboard: its own, where a file does not say that `hall` serves all its tests."""
    return own_board


@pytest.fixture(scope="module")
def hall(
    sandbox: "SandboxInfo", sandbox_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Switchboard]":
    """A switchboard for this file's tests, on the worker's sandbox, with its real webhook server running.

    A server takes a second to start, so tests that need one of their own use `board`. Each test opens a room here.
    """
    from sipkit.switchboard import Switchboard

    home = tmp_path_factory.mktemp("hall")
    (home / "sandbox").symlink_to(sandbox_home, target_is_directory=True)
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("SIPKIT_HOME", str(home))
        environ.setenv("SIPKIT_MODE", "sandbox")
        environ.setenv("GUARD_PROCESS", "false")
        with Switchboard.from_env() as board:
            board.start_webhook_server()
            yield board
    _send_participants_home(sandbox)


@pytest.fixture(scope="session")
def transactions() -> "Iterator[Watcher]":
    """Who watches over the transactions of this run."""
    from tests.standins.transactions import Watcher

    with Watcher().watching() as watcher:
        yield watcher


@pytest.fixture(autouse=True)
def no_transaction_waits_for_the_platform(transactions: "Watcher") -> Iterator[None]:
    """Whatever a test does: no thread asks a platform for something while it holds a transaction of a store."""
    transactions.seen.clear()
    yield
    assert not transactions.seen, "a transaction was open while the platform was asked:\n" + transactions.seen[0]


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A real PostgreSQL server of this worker, for tests that do not kill it: it does not wait for the disk."""
    from tests.standins.postgres import Postgres, programs

    found = programs()
    if found is None:
        pytest.skip("initdb is not installed (Debian package: postgresql)")
    server = Postgres(found, durable=False)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store that is not there yet: of a SQLite file, then of a database of a real PostgreSQL server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'home' / 'sipkit.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


def _program(names: tuple[str, ...], package: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    pytest.skip(f"{names[0]} is not installed (Debian package: {package})")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium or Chrome."""
    return _program(("chromium", "chromium-browser", "google-chrome"), "chromium")


@pytest.fixture(scope="session")
def sipp() -> str:
    """Path of SIPp, the foreign SIP load generator."""
    return _program(("sipp",), "sip-tester")


@pytest.fixture(scope="session")
def baresip() -> str:
    """Path of baresip, the foreign softphone."""
    return _program(("baresip",), "baresip-core")
