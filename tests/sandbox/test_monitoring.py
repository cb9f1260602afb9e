"""Session monitoring: callbacks with the documented payloads, in order, tried again, never in anybody's way."""

import asyncio
import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox.home import Home
from sipkit.sandbox.video import monitoring
from tests.standins.answering_app import AnsweringApp, Asked, Reply
from tests.standins.calls import OwnSandbox
from tests.standins.lab import Lab, wait_for
from tests.standins.page import VIDEO
from tests.standins.room import Room

PATH = "/session-monitoring"


@pytest.fixture
def lab(tmp_path: Path, session_app: AnsweringApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A sandbox of this test alone that tells `app` of its sessions, and does not wait long to try again."""
    monkeypatch.setattr(monitoring, "FIRST_BACK_OFF", 0.02)
    session_app.reset()
    session_app.on("/monitoring", Reply())
    own = OwnSandbox(Home.open(tmp_path / "own"))
    lab = Lab(own.info)
    lab.point(session_app.url)
    yield lab
    lab.close()
    own.close()


@pytest.fixture
def app(lab: Lab, session_app: AnsweringApp) -> AnsweringApp:
    """The project's server, registered."""
    lab.ask("PUT", PATH, json={"url": f"{session_app.url}/monitoring"})
    return session_app


def told(app: AnsweringApp, count: int) -> list[dict[str, Any]]:
    """Wait for so many callbacks; returns their bodies in the order they came."""
    wait_for(lambda: len(app.asked("/monitoring")) >= count, 20, f"{count} callbacks")
    return [each.fields for each in app.asked("/monitoring")]


def test_a_visit_is_told_as_documented(lab: Lab, app: AnsweringApp) -> None:
    """Session, connection and stream, created and destroyed with their reasons: the guide's fields, and no more."""
    room = Room(lab)

    async def story() -> tuple[str, str]:
        async with room.pages("publisher") as (page,):
            stream_id, _ = await page.publish(name="Ada", **VIDEO)
            await asyncio.to_thread(told, app, 3)
            await page.ask("unpublish", streamId=stream_id)
            await page.ask("disconnect")
            return page.id, stream_id

    connection_id, stream_id = asyncio.run(story())
    opened, came, began, ended, left, over = told(app, 6)
    connection = {"id": connection_id, "createdAt": came["connection"]["createdAt"], "data": "a publisher"}
    head = {"sessionId": room.session, "projectId": room.key}
    assert opened == {**head, "event": "sessionCreated", "timestamp": opened["timestamp"]}
    assert over == {**head, "event": "sessionDestroyed", "timestamp": over["timestamp"]}
    assert came == {**head, "event": "connectionCreated", "timestamp": came["timestamp"], "connection": connection}
    stream = {
        "id": stream_id,
        "connection": connection,
        "createdAt": began["stream"]["createdAt"],
        "name": "Ada",
        "videoType": "camera",
    }
    assert began == {**head, "event": "streamCreated", "timestamp": began["timestamp"], "stream": stream}
    why = {"reason": "clientDisconnected"}
    assert ended == {**head, **why, "event": "streamDestroyed", "timestamp": ended["timestamp"], "stream": stream}
    assert left == {
        **head,
        **why,
        "event": "connectionDestroyed",
        "timestamp": left["timestamp"],
        "connection": connection,
    }
    assert came["timestamp"] <= began["timestamp"] <= ended["timestamp"] <= left["timestamp"]
    asked = app.asked("/monitoring")[0]
    assert (asked.method, asked.headers["content-type"]) == ("POST", "application/json")
    traced = [each for each in lab.trace(kind="webhook") if "monitoring" in each["url"]]
    assert [each["fields"]["event"] for each in traced] == [
        each["event"] for each in (opened, came, began, ended, left, over)
    ]
    assert {(each["status"], each["attempt"]) for each in traced} == {(200, 1)}


def test_a_session_begins_with_its_first_client_and_ends_with_its_last(lab: Lab, app: AnsweringApp) -> None:
    """Who comes second or leaves first makes no session event; one that is used again is created again."""
    session_id = lab.session()
    first, second = lab.participant(session_id), lab.participant(session_id)
    first.remove()
    second.remove()
    lab.participant(session_id)
    events = [each["event"] for each in told(app, 13)]
    visit, leave = ["connectionCreated", "streamCreated"], ["streamDestroyed", "connectionDestroyed"]
    assert events == ["sessionCreated", *visit * 2, *leave * 2, "sessionDestroyed", "sessionCreated", *visit]


def test_a_device_that_stopped_is_the_reason(lab: Lab, app: AnsweringApp) -> None:
    """A page that says mediaStopped has that as the reason of its streamDestroyed."""
    room = Room(lab)

    async def story() -> None:
        async with room.pages("publisher") as (page,):
            stream_id, _ = await page.publish()
            await asyncio.to_thread(told, app, 3)
            await page.ask("unpublish", streamId=stream_id, reason="mediaStopped")
            assert (await asyncio.to_thread(told, app, 4))[3]["reason"] == "mediaStopped"

    asyncio.run(story())


def test_a_phone_leg_is_told_without_a_picture(lab: Lab, app: AnsweringApp) -> None:
    """A dialled leg's stream is audio only: no videoType; a force-disconnect is its reason."""
    app.on("/answer", [{"action": "conversation", "name": "test"}])
    session_id = lab.session()
    connection_id = lab.sip_dial(session_id)
    assert told(app, 3)[2]["event"] == "streamCreated"
    lab.video.force_disconnect(session_id, connection_id)
    _, _, began, ended, left, _ = told(app, 6)
    assert began["stream"].keys() == {"id", "connection", "createdAt", "name"}
    assert (ended["reason"], left["reason"]) == ("forceDisconnected", "forceDisconnected")
    assert left["connection"]["id"] == connection_id


def test_failed_callbacks_are_tried_again_in_order(lab: Lab, app: AnsweringApp) -> None:
    """A server that fails twice gets the same callback a third time, before any later one of that session."""
    left = iter([Reply(status=500), Reply(status=404)])
    app.on("/monitoring", lambda _: next(left, Reply()))
    participant = lab.participant(lab.session())
    participant.remove()
    events = [each["event"] for each in told(app, 8)]
    assert events == [
        *["sessionCreated"] * 3,
        "connectionCreated",
        "streamCreated",
        "streamDestroyed",
        "connectionDestroyed",
        "sessionDestroyed",
    ]
    attempts = [each["attempt"] for each in lab.trace(kind="webhook") if "monitoring" in each["url"]]
    assert attempts == [1, 2, 3, 1, 1, 1, 1, 1]


def test_a_callback_is_given_up_after_its_retries(lab: Lab, app: AnsweringApp) -> None:
    """Five times in all, then the next one has its turn; nothing waits for ever."""

    def answer(asked: Asked) -> Reply:
        return Reply(status=503 if asked.fields["event"] == "sessionCreated" else 200)

    app.on("/monitoring", answer)
    lab.participant(lab.session())
    events = [each["event"] for each in told(app, 7)]
    assert events == ["sessionCreated"] * 5 + ["connectionCreated", "streamCreated"]


def test_a_slow_server_holds_up_nobody_else(lab: Lab, app: AnsweringApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one session's callback hangs, other sessions' arrive, and what waits too long in line is lost, traced."""
    monkeypatch.setattr(monitoring, "MAX_QUEUED", 4)
    gate = threading.Event()
    slow = lab.session()
    app.on("/monitoring", lambda asked: Reply(gate=gate if asked.fields["sessionId"] == slow else None))
    lab.participant(slow)
    lab.participant(slow)
    lab.participant(lab.session())
    wait_for(lambda: len([each for each in app.asked("/monitoring") if each.fields["sessionId"] != slow]) == 3)
    lost = [each for each in lab.trace(kind="webhook") if "lost" in (each.get("failure") or "")]
    assert [each["fields"]["event"] for each in lost] == ["streamCreated"]
    gate.set()
    wait_for(lambda: len([each for each in app.asked("/monitoring") if each.fields["sessionId"] == slow]) == 4)


def test_the_registration_is_shown_changed_and_kept(lab: Lab, app: AnsweringApp, tmp_path: Path) -> None:
    """GET, PUT and DELETE; a private file keeps it, and without it nobody is told."""
    url = f"{app.url}/monitoring"
    assert lab.ask("GET", PATH).json() == {"url": url}
    kept = tmp_path / "own" / "session-monitoring.json"
    assert json.loads(kept.read_text()) == {"url": url}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert monitoring._load(kept) == url
    assert lab.ask("DELETE", PATH).json() == lab.ask("GET", PATH).json() == {"url": None}
    participant = lab.participant(lab.session())
    participant.remove()
    assert app.asked("/monitoring") == []
    assert lab.trace(kind="webhook") == []
    lab.ask("GET", PATH, status=401, auth=("somebody", "else"))


@pytest.mark.parametrize(
    "url",
    [
        None,
        5,
        "",
        "http://example.com/",
        "http://127.0.0.1.example.com/",
        "http://192.168.0.1/",
        "http://user:pw@127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/\n",
        "http://127.0.0.1/" + "x" * 2000,
    ],
)
def test_only_this_machine_can_be_registered(lab: Lab, url: Any) -> None:
    """The sandbox calls nobody outside: any other URL is refused, and a file that was altered is not believed."""
    lab.ask("PUT", PATH, json={"url": url}, status=400)
    assert lab.ask("GET", PATH).json() == {"url": None}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 5}', '{"url": "http://example.com/"}', "null"])
def test_a_damaged_file_is_no_registration(tmp_path: Path, content: str) -> None:
    """Whatever is in the file, the sandbox starts."""
    file = tmp_path / "session-monitoring.json"
    file.write_text(content)
    assert monitoring._load(file) is None
