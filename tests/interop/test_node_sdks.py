"""Vonage's Node SDKs judge the sandbox: `opentok`, `@vonage/video` and `@vonage/voice`, in one process of node."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from playwright._impl._driver import compute_driver_executable

from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.calls import app, session_app, session_lab
from tests.standins.lab import Lab

FOLDER = Path(__file__).parent / "node"
PHONE = "12025550177"
DEADLINE = 60.0

LOWEST_NODE = 20
UNCALLED = {
    "opentok": {
        *("addArchiveStream", "deleteArchive", "getArchive", "listArchives", "removeArchiveStream", "setArchiveLayout"),
        *("startArchive", "stopArchive", "addBroadcastStream", "getBroadcast", "listBroadcasts", "startBroadcast"),
        *("removeBroadcastStream", "setBroadcastLayout", "stopBroadcast", "getRender", "listRenders", "startRender"),
        *("stopRender", "startCaptions", "stopCaptions", "setStreamClassLists", "websocketConnect"),
        *("listCallbacks", "registerCallback", "unregisterCallback"),
        "generateJwt",  # asks nobody
        "getStream",  # throws where nobody can catch it, as judge.cjs says
    },
    "video": {
        *("addArchiveStream", "deleteArchive", "getArchive", "removeArchiveStream", "searchArchives", "startArchive"),
        *("stopArchive", "updateArchiveLayout", "addStreamToBroadcast", "getBroadcast", "removeStreamFromBroadcast"),
        *("searchBroadcasts", "startBroadcast", "stopBroadcast", "updateBroadcast", "disableCaptions"),
        *("enableCaptions", "getCaptionStatus", "getExperienceComposerRender", "listExperienceComposerRenders"),
        *("startExperienceComposerRender", "stopExperienceComposerRender", "setStreamClassLists"),
        *("connectToWebsocket", "disconnectWebsocket"),
        "stripBlankValues",  # asks nobody
        *("intiateSIPCall", "muteAllStreams"),  # one is the other's misspelt name; the other what two others call
    },
    "voice": {
        "callAction",  # what others call
        *("downloadRecording", "downloadTranscription"),  # of the vendor's hosts only
    },
}
"""Methods of the SDKs that the judge does not call: what the sandbox has not, unless a comment says otherwise."""


def find_node() -> str | None:
    """A node that the SDKs run on: the system's, else the one that playwright brings to drive the browser."""
    for node in (shutil.which("node"), str(compute_driver_executable()[0])):
        if node is not None and Path(node).exists():
            told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
            if int(told.lstrip("v").split(".")[0]) >= LOWEST_NODE:
                return node
    return None


NODE = find_node()

pytestmark = [
    pytest.mark.skipif(NODE is None, reason=f"node {LOWEST_NODE} or newer is not installed"),
    pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="needs `npm ci` in tests/interop/node"),
]

__all__ = ["app", "session_app", "session_lab"]


@pytest.fixture(scope="module")
def verdict(session_app: AnsweringApp, session_lab: Lab) -> Iterator[dict[str, Any]]:
    """What the SDKs returned and threw, and under "trace" what the sandbox did."""
    lab, sandbox = session_lab, session_lab.info
    assert NODE is not None
    session_app.reset()
    lab.point(session_app.url)
    session_app.on("/answer", [{"action": "conversation", "name": "judged by node"}])
    session_app.on("/tone.wav", Reply(body=ear.make_wav(ear.tone(900, 1, 0.2)), content_type="audio/wav"))
    lab.begin()
    lab.ask("PUT", "/limits", json={"enforce": False})  # the judge polls
    phone = lab.ask("POST", "/phones/expect", json={"number": PHONE}, status=201).json()["id"]
    environ = {**os.environ, "NODE_EXTRA_CA_CERTS": sandbox.ca_file}
    try:
        run = subprocess.run(
            [NODE, str(FOLDER / "judge.cjs")],
            input=json.dumps({**asdict(sandbox), "phone": PHONE, "app": session_app.url}),
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert run.returncode == 0, run.stderr
        lab.wait_legs(0)
        yield {**json.loads(run.stdout), "trace": lab.trace()}
    finally:
        lab.ask("DELETE", "/limits")
        lab.ask("POST", f"/phones/{phone}/hang-up")
        lab.tidy()


@pytest.mark.parametrize("environment", ["opentok", "video"])
def test_a_session_is_created_dialled_and_hung_up(verdict: dict[str, Any], environment: str) -> None:
    """The leg's stream is the one the dial told, and it is gone after the disconnect."""
    judged = verdict[environment]
    assert judged["sessionId"]
    assert judged["listed"] == judged["streamId"]
    assert judged["unknownStream"]
    ids = [event.get("connectionId") for event in verdict["trace"] if event["kind"] == "connection"]
    assert judged["connectionId"] in ids


def test_opentok_reports_what_is_wrong(verdict: dict[str, Any]) -> None:
    """A wrong secret, an unknown connection and a relayed session are errors of the SDK."""
    judged = verdict["opentok"]
    assert "createSession" in judged["wrongSecret"]["message"]
    assert judged["unknownConnection"]["message"] == "Session or Connection not found"
    assert "Failed to dial endpoint" in judged["relayed"]["message"]


def test_vonage_video_reports_what_is_wrong(verdict: dict[str, Any]) -> None:
    """An unknown connection is 404, a token that is none 403, an address that is not the Voice API's 400."""
    assert verdict["video"]["unknownConnection"]["status"] == 404
    assert verdict["video"]["wrongToken"]["status"] == 403
    assert verdict["video"]["wrongAddress"]["status"] == 400


def test_a_phone_is_called_and_the_call_controlled(verdict: dict[str, Any]) -> None:
    """Create, show, mute, earmuff, talk, digits, transfer, list and hang up through the SDK; an unknown call is 404."""
    judged = verdict["voice"]
    assert (judged["created"], judged["answered"], judged["completed"]) == ("started", "outbound", "completed")
    assert judged["uuid"] in judged["listed"]
    assert judged["unknownCall"]["status"] == 404
    assert (judged["every"], judged["uuid"] in judged["found"]) == ([judged["uuid"]], True)
    assert judged["wrongNumber"]["status"] == 400


@pytest.mark.parametrize("environment", sorted(UNCALLED))
def test_every_method_is_judged(verdict: dict[str, Any], environment: str) -> None:
    """What the SDK's client has is called, or is on the list of what is not; a new method is neither."""
    methods = verdict[environment]["methods"]
    assert set(methods["known"]) - set(methods["called"]) == UNCALLED[environment]
