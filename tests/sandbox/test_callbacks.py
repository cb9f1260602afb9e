"""The webhooks the voice side calls, as a stranger's application sees them: fields, signatures, deadlines, retries."""

import hashlib
import json
import threading
import time
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.answering_app import AnsweringApp, Asked, Reply
from tests.standins.lab import Lab, wait_for

STAY = [{"action": "conversation", "name": "callbacks"}]
BRIEF = [{"action": "input", "type": ["dtmf"], "dtmf": {"timeOut": 0.2}}]
ALWAYS = {"from", "to", "uuid", "conversation_uuid", "status", "direction", "headers", "timestamp"}


def _claims(asked: Asked, info: SandboxInfo) -> dict[str, Any]:
    """Verify a callback's signature as an application should; returns its claims."""
    scheme, _, token = asked.headers["authorization"].partition(" ")
    assert scheme == "Bearer"
    claims: dict[str, Any] = jwt.decode(
        token, info.signature_secret, ["HS256"], options={"require": ["iat", "jti", "iss", "payload_hash"]}
    )
    if asked.method == "POST":
        signed = asked.body
    else:
        query = dict(parse_qsl(asked.query, keep_blank_values=True))
        signed = json.dumps(query, separators=(",", ":"), ensure_ascii=False).encode()
    assert claims["payload_hash"] == hashlib.sha256(signed).hexdigest()
    return claims


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_callback_is_signed(lab: Lab, app: AnsweringApp, method: str) -> None:
    """Answer, events and input carry an HS256 JWT with the hash of their payload; no two share an id."""
    lab.point(app.url, method=method, event_method=method)
    action = {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 1}, "eventUrl": [f"{app.url}/input"]}
    app.on("/answer", [{**action, "eventMethod": method}])
    app.on("/input", STAY)
    phone = lab.dial()
    phone.wait("answered")
    phone.keys("7")
    lab.wait_joined(1)
    phone.hang_up()
    wait_for(lambda: "completed" in app.statuses(), what="the last event")
    claims = [_claims(asked, lab.info) for asked in app.asked()]
    assert len(claims) >= 6
    assert len({claim["jti"] for claim in claims}) == len(claims)
    assert {asked.method for asked in app.asked()} == {method}
    for claim in claims:
        assert claim["iss"] == "Vonage"
        assert claim["api_key"] == lab.info.voice_api_key
        assert claim["application_id"] == lab.info.application_id
        assert abs(time.time() - claim["iat"]) < 30


def test_answer_request_of_a_phone(lab: Lab, app: AnsweringApp) -> None:
    """The answer URL is told who calls whom, from what kind of endpoint, and the ids of call and conversation."""
    app.on("/answer", BRIEF)
    lab.dial(from_="12025550144").wait("ended")
    fields = app.asked("/answer")[0].fields
    assert set(fields) == {"from", "to", "endpoint_type", "conversation_uuid", "uuid", "region_url"}
    assert fields["from"] == "12025550144"
    assert fields["to"] == lab.info.number
    assert fields["endpoint_type"] == "phone"
    assert len(fields["uuid"]) == 32
    assert int(fields["uuid"], 16)
    assert fields["conversation_uuid"].startswith("CON-")


def test_answer_request_of_a_sip_leg(lab: Lab, app: AnsweringApp) -> None:
    """X- headers come as SipHeader_ fields, spelled as sent, X-Nexmo ones do not; events carry them too."""
    app.on("/answer", STAY)
    session = lab.session()
    lab.sip_dial(session, headers={"X-Room": "blue room", "X-Nexmo-Secret": "no"})
    lab.wait_joined(1)
    fields = app.asked("/answer")[0].fields
    assert fields["endpoint_type"] == "sip"
    assert fields["SipHeader_X-OpenTok-SessionId"] == session
    assert fields["SipHeader_X-Room"] == "blue room"
    assert not any("Nexmo" in name for name in fields)
    wait_for(lambda: "answered" in app.statuses(), what="the answered event")
    assert app.events()[0]["headers"]["X-OpenTok-SessionId"] == session


def test_events_of_a_call_in_order(lab: Lab, app: AnsweringApp) -> None:
    """started, ringing, answered, the move into the conversation, completed; with the fields of recorded callbacks."""
    app.on("/answer", STAY)
    phone = lab.dial(from_="12025550144")
    phone.wait("answered")
    leg = lab.wait_joined(1)[0]["uuid"]
    phone.hang_up()
    wait_for(lambda: "completed" in app.statuses(leg), what="the last event")
    events = app.events(leg)
    assert [event.get("status", event.get("type")) for event in events] == [
        "started",
        "ringing",
        "answered",
        "transfer",
        "completed",
    ]
    by_status = {event["status"]: event for event in events if "status" in event}
    assert set(by_status["started"]) == ALWAYS
    assert set(by_status["answered"]) == ALWAYS | {"start_time", "rate", "network"}
    ended = {"start_time", "end_time", "duration", "rate", "price", "network", "disconnected_by"}
    assert set(by_status["completed"]) == ALWAYS | ended
    completed = by_status["completed"]
    assert int(completed["duration"]) >= 1
    assert float(completed["price"]) > 0
    assert completed["disconnected_by"] == "user"
    assert all(isinstance(completed[name], str) for name in ended)
    transfer = events[3]
    assert set(transfer) == {"conversation_uuid_from", "type", "uuid", "conversation_uuid_to", "timestamp"}
    assert transfer["conversation_uuid_from"] == completed["conversation_uuid"]
    for event in by_status.values():
        assert (event["from"], event["to"], event["direction"]) == ("12025550144", lab.info.number, "inbound")
        assert event["timestamp"].endswith("Z")


def test_input_by_get_carries_json_texts(lab: Lab, app: AnsweringApp) -> None:
    """With eventMethod GET the objects of the input callback are JSON strings in the query, as recorded."""
    dtmf = {"maxDigits": 2, "timeOut": 3}
    url = f"{app.url}/input?room=7"
    app.on("/answer", [{"action": "input", "type": ["dtmf"], "dtmf": dtmf, "eventUrl": [url], "eventMethod": "GET"}])
    app.on("/input", STAY)
    phone = lab.dial()
    phone.wait("answered")
    phone.keys("42")
    lab.wait_joined(1)
    fields = app.asked("/input")[0].fields
    assert fields["room"] == "7"
    assert json.loads(fields["dtmf"]) == {"digits": "42", "timed_out": False}
    assert "error" in json.loads(fields["speech"])


@pytest.mark.parametrize("status", [429, 503, 504])
def test_answer_url_is_tried_twice(lab: Lab, app: AnsweringApp, status: int) -> None:
    """Too busy once: asked again with the same fields and the same token, and the call goes on."""
    app.on("/answer", lambda _: Reply(status=status) if len(app.asked("/answer")) == 1 else Reply(STAY))
    phone = lab.dial()
    phone.wait("answered")
    first, second = app.asked("/answer")
    assert first.fields == second.fields
    assert _claims(first, lab.info)["jti"] == _claims(second, lab.info)["jti"]


def test_answer_url_is_not_tried_a_third_time(lab: Lab, app: AnsweringApp) -> None:
    """Too busy twice ends the call with an error event."""
    app.on("/answer", Reply(status=503))
    assert lab.dial().wait("ended")["reason"] == "480 Temporarily Unavailable"
    wait_for(app.errors, what="the error event")
    assert "HTTP 503" in app.errors()[0]
    assert len(app.asked("/answer")) == 2
    wait_for(lambda: "failed" in app.statuses(), what="the last event")
    assert app.statuses() == ["started", "ringing", "failed"]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(status=404), id="404"),
        pytest.param(Reply(status=401), id="401"),
        pytest.param(Reply(status=500), id="500"),
        pytest.param(Reply(status=302), id="redirect"),
        pytest.param(Reply(body=b"<html>tunnel not found</html>", content_type="text/html"), id="HTML"),
        pytest.param(Reply(body=b"[{"), id="bad JSON"),
        pytest.param(Reply(body=b"\xff\xfe"), id="no text"),
        pytest.param(Reply(body=b""), id="nothing"),
        pytest.param(Reply({"action": "talk"}), id="no list"),
    ],
)
def test_useless_answers_are_not_retried(lab: Lab, app: AnsweringApp, reply: Reply) -> None:
    """An answer that will not get better is not asked for again: error event, and the call is refused."""
    app.on("/answer", reply)
    assert lab.dial().wait("ended")["reason"] == "480 Temporarily Unavailable"
    wait_for(app.errors, what="the error event")
    event = next(each for each in app.events() if "reason" in each)
    assert set(event) == {"reason", "conversation_uuid", "timestamp"}
    assert len(app.asked("/answer")) == 1


def test_slow_answer_is_tried_twice(lab: Lab, app: AnsweringApp) -> None:
    """An answer that takes longer than the application's socket_timeout is given up and tried once more."""
    lab.point(app.url, answer={"socket_timeout": 1000})
    gate = threading.Event()
    app.on("/answer", lambda _: Reply(STAY, gate=gate) if len(app.asked("/answer")) == 1 else Reply(STAY))
    phone = lab.dial()
    phone.wait("answered")
    gate.set()
    assert len(app.asked("/answer")) == 2
    attempts = [e for e in lab.trace(kind="webhook") if e["url"].endswith("/answer")][-2:]
    assert [(each["attempt"], each["status"], each["failure"]) for each in attempts] == [
        (1, None, "TimeoutError"),
        (2, 200, None),
    ]
    assert 900 < attempts[0]["milliseconds"] < 2500


def test_answer_url_where_nobody_listens(lab: Lab, app: AnsweringApp) -> None:
    """Refused connections are tried twice too; the events still tell."""
    lab.point(app.url, answer={"address": "http://127.0.0.1:9/answer"})
    since = lab.now()
    assert lab.dial().wait("ended")["reason"] == "480 Temporarily Unavailable"
    wait_for(app.errors, what="the error event")
    assert "cannot be reached" in app.errors()[0]
    attempts = [each["attempt"] for each in lab.trace(since, "webhook") if each["url"].endswith(":9/answer")]
    assert attempts == [1, 2]


def test_fallback_is_asked_with_the_reason(lab: Lab, app: AnsweringApp) -> None:
    """When the answer URL fails, the fallback gets the same fields, the reason and the original request."""
    lab.point(app.url, fallback_answer_url={"address": f"{app.url}/fallback", "http_method": "POST"})
    app.on("/answer", Reply(status=500))
    app.on("/fallback", STAY)
    lab.dial().wait("answered")
    asked = app.asked("/fallback")[0]
    assert asked.fields["uuid"] == app.asked("/answer")[0].fields["uuid"]
    assert "HTTP 500" in asked.fields["reason"]
    assert asked.fields["original_request"] == {"url": f"{app.url}/answer", "type": "answer"}
    assert _claims(asked, lab.info)
    assert app.errors() == []


def test_dead_event_url_does_not_hold_up_the_call(lab: Lab, app: AnsweringApp) -> None:
    """Events are told in the background, in order; while one hangs the call goes on and can be hung up."""
    gate = threading.Event()
    app.on("/event", Reply(gate=gate))
    app.on("/answer", STAY)
    phone = lab.dial()
    phone.wait("answered", timeout=5)
    lab.wait_joined(1)
    assert [asked.fields["status"] for asked in app.asked("/event")] == ["started"]
    phone.hang_up()
    gate.set()
    wait_for(lambda: "completed" in app.statuses(), what="the rest of the events")
    assert app.statuses() == ["started", "ringing", "answered", "completed"]


def test_application_without_webhooks(lab: Lab, app: AnsweringApp) -> None:
    """An application nobody pointed anywhere refuses calls."""
    path = f"{lab.info.api_url}/v2/applications/{lab.info.application_id}"
    lab._http.put(
        path, json={"name": "empty", "capabilities": {"voice": {}, "video": {}}}, timeout=10
    ).raise_for_status()
    assert lab.dial().wait("ended")["reason"] == "480 Temporarily Unavailable"
    assert app.asked() == []
