"""Every callback of whole calls against schemas written from the vendor's documents: nothing missing, nothing extra."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from vonage_voice.models.webhooks import AnswerWebhook

from sipkit.sandbox.voice.webhook_fields import FIELDS, SIP_HEADER, kind_of, unlisted
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, wait_for

SCHEMAS = Path(__file__).parent.parent / "schemas"
FILES = {
    **dict.fromkeys(("started", "ringing"), "coming"),
    **dict.fromkeys(("cancelled", "timeout"), "ended"),
    **dict.fromkeys(("unanswered", "rejected", "failed"), "refused"),
    **dict.fromkeys(("human", "machine"), "detection"),
}
"""Kinds that share a schema; any other one has that of its own name."""


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of a kind of callback."""
    return dict(json.loads((SCHEMAS / f"{FILES.get(kind, kind)}.json").read_text()))


def problems(fields: dict[str, Any]) -> list[str]:
    """What is wrong with a callback; nothing if it is as documented."""
    kind = kind_of(fields)
    if not kind:
        return [f"of no known kind: {sorted(fields)}"]
    return [f"{kind}: {each.message}" for each in Draft202012Validator(schema_of(kind)).iter_errors(fields)]


@pytest.mark.parametrize("kind", FIELDS)
def test_the_list_of_fields_is_what_the_schemas_allow(kind: str) -> None:
    """The fields that the sandbox may send are those of the schema, kind by kind; each schema names its source."""
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["properties"].keys() == FIELDS[kind]
    assert schema["additionalProperties"] is False
    assert schema["$comment"]
    assert all(re.match(name, f"{SIP_HEADER}X-A") for name in schema.get("patternProperties", {}))


def test_no_schema_is_left_over() -> None:
    """Every schema is one of a kind of callback."""
    assert {path.stem for path in SCHEMAS.glob("*.json")} == {FILES.get(kind, kind) for kind in FIELDS}


def test_a_made_up_field_is_noticed() -> None:
    """One more field, a number for a text, or an unknown status: each of them is a problem."""
    good = {"reason": "why", "conversation_uuid": f"CON-{'0' * 8}-0000-0000-0000-{'0' * 12}"}
    good["timestamp"] = "2020-07-01T20:45:34.796Z"
    assert problems(good) == []
    assert unlisted(good) == []
    assert problems({**good, "extra": 1})
    assert unlisted({**good, "extra": 1}) == ["extra"]
    assert problems({**good, "timestamp": 7})
    assert problems({**good, "status": "dancing"})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_whole_call(lab: Lab, app: AnsweringApp, method: str) -> None:
    """A SIP leg and a phone that keys digits, joins and leaves: each callback is as documented."""
    lab.point(app.url, method=method)
    url, dtmf = f"{app.url}/input", {"maxDigits": 2}
    ask = [{"action": "input", "type": ["dtmf"], "dtmf": dtmf, "eventUrl": [url]}]
    stay = [{"action": "conversation", "name": "whole call"}]
    app.on("/answer", lambda asked: stay if "SipHeader_X-OpenTok-SessionId" in asked.fields else ask)
    app.on("/input", stay)
    session = lab.session()
    lab.sip_dial(session, headers={"X-Room": "blue"})
    lab.wait_joined(1)
    phone = lab.dial()
    phone.wait("answered")
    phone.keys("42")
    lab.wait_joined(2)
    phone.hang_up()
    wait_for(lambda: "completed" in app.statuses(), what="the last event")
    for asked in app.asked():
        assert problems(asked.fields) == [], asked.path
    kinds = {kind_of(asked.fields) for asked in app.asked()}
    assert {"answer", "started", "ringing", "answered", "input", "transfer", "completed"} <= kinds
    _read_by_the_sdk(app)


def _read_by_the_sdk(app: AnsweringApp) -> None:
    """The Python SDK's own model takes every answer request, and finds in it what was sent."""
    for asked in app.asked("/answer"):
        read = AnswerWebhook.model_validate(asked.fields)
        assert (read.uuid, read.conversation_uuid) == (asked.fields["uuid"], asked.fields["conversation_uuid"])
        assert (read.from_, read.to) == (asked.fields["from"], asked.fields["to"])
        assert read.endpoint_type in {"sip", "phone"}
        assert (read.region_url or "").startswith("https://")


def test_a_call_that_fails(lab: Lab, app: AnsweringApp) -> None:
    """The fallback's request, the error event and the end of a call that got no document are as documented."""
    lab.point(app.url, fallback_answer_url={"address": f"{app.url}/fallback", "http_method": "POST"})
    app.on("/answer", Reply(status=500))
    app.on("/fallback", Reply(status=404))
    lab.dial().wait("ended")
    wait_for(lambda: {"failed", "completed"} & {*app.statuses()}, what="the last event")
    for asked in app.asked():
        assert problems(asked.fields) == [], asked.path
    assert {"fallback", "error"} <= {kind_of(asked.fields) for asked in app.asked()}


def test_a_call_that_is_placed_tells_its_sip_status(lab: Lab, app: AnsweringApp) -> None:
    """Busy is 486, and says nothing of who hung up; a placed call that ends with its caller is 200, by the platform."""

    def told(status: str) -> dict[str, Any]:
        wanted = {"direction": "outbound", "status": status}.items()
        return dict(wait_for(lambda: next((each for each in app.events() if wanted <= each.items()), None)))

    to = {number: [{"type": "phone", "number": number}] for number in ("12025550177", "12025550178")}
    app.on("/answer", [{"action": "connect", "endpoint": each, "from": lab.info.number} for each in to.values()])
    lab.expect("12025550177", busy=True)
    called = lab.expect("12025550178")
    caller = lab.dial()
    called.wait("answered")
    caller.hang_up()
    assert told("completed")["sip_code"] == 200
    assert told("completed")["disconnected_by"] == "platform"
    assert told("busy")["sip_code"] == 486
    assert "disconnected_by" not in told("busy")
    for asked in app.asked():
        assert problems(asked.fields) == [], asked.path


def test_the_trace_tells_of_unlisted_fields(lab: Lab, app: AnsweringApp) -> None:
    """A callback with a field that is not listed would say so in the trace; these have none."""
    app.on("/answer", [{"action": "talk", "text": "Hello."}])
    lab.dial().wait("ended")
    wait_for(lambda: "completed" in app.statuses(), what="the last event")
    sent = lab.trace(kind="webhook")
    assert sent
    assert [each["unlisted"] for each in sent if "unlisted" in each] == []
