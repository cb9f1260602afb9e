"""Holders of a webhook server: processes that can be killed as a kernel can, and what one sees of the server.

The servers here run with a live account's settings that are made up: such a server starts without the
sandbox and talks to nobody.
"""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sipkit.processes import ProcessMark
from sipkit.server_state import HOLDER_HEADER, ServerState
from sipkit.settings import Settings

ROOT = Path(__file__).parent.parent.parent
WaitUntil = Callable[..., Any]

# What a notebook does, in a process that can be killed: holds the server, tells where it is, and stays.
HOLDER = """
import sys, threading
from sipkit.server import WebhookServer
from sipkit.processes import ProcessMark
from sipkit.server_state import HOLDER_HEADER, ServerState
from sipkit.settings import Settings
server = WebhookServer(Settings.load(), sys.argv[1]).start()
print(server.pid, server.port, server.adopted, flush=True)
{then}
threading.Event().wait()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a live account that does not exist, on a new data folder; no server is left after the test."""
    values = {
        "SIPKIT_MODE": "live",
        "SIPKIT_HOME": str(tmp_path / "data"),
        "VIDEO_API_KEY": "100",
        "VIDEO_API_SECRET": "video-secret-of-a-test",
        "VOICE_API_KEY": "abcdef01",
        "VOICE_API_SECRET": "voice-secret-of-a-test",
        "CONFERENCE_NUMBER": "12025550100",
        "SIGNATURE_SECRET": "signature-secret-of-a-test-32-characters",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    yield settings
    for process in servers_of(settings):
        process.kill()
        psutil.wait_procs([process], timeout=5)


def servers_of(settings: Settings) -> list[psutil.Process]:
    """Every living server process of a data folder, found without its state file."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "sipkit.serving" in process.cmdline() and process.environ().get("SIPKIT_HOME") == str(settings.home):
                found.append(process)
    return found


def runs(pid: int) -> bool:
    """Whether a process runs. One whose exit code nobody reads (a bare container's init) has ended, too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return ProcessMark.of(pid).alive
    return False


def listens(port: int) -> bool:
    """Whether anybody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(
    port: int, method: str = "GET", path: str = "/healthz", body: bytes | None = None, proof: str = ""
) -> tuple[int, Any]:
    """One request; its status and its JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"Content-Type": "application/json", HOLDER_HEADER: proof}
        with contextlib.suppress(BrokenPipeError):  # it may refuse a large body before it has all of it
            connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def health(port: int) -> dict[str, Any]:
    """What the server says of itself to somebody who can read the data folder."""
    state = ServerState.read(Settings.load().home / "server.json")
    assert state is not None
    status, told = ask(port, proof=state.proof)
    assert status == 200
    return dict(told)


@contextlib.contextmanager
def holder(owner: str, then: str = "") -> "Iterator[tuple[subprocess.Popen[str], int, int, bool]]":
    """A process that holds the server: itself, the server's pid and port, and whether it adopted it."""
    code = HOLDER.format(then=then)
    with subprocess.Popen(
        [sys.executable, "-c", code, owner],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            pid, port, adopted = process.stdout.readline().split()
            yield process, int(pid), int(port), adopted == "True"
        finally:
            process.kill()
