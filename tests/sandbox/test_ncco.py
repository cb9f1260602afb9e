"""Call documents: what is read, what is refused, and what a caller and the application notice of a refusal."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit.sandbox.voice import ncco
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for

TALK = {"action": "talk", "text": "Hello"}
ASK = {"action": "input", "type": ["dtmf"]}


def test_defaults_are_the_references() -> None:
    """What a document leaves out has the values of the NCCO reference."""
    assert ncco.parse([TALK]) == [ncco.Talk("Hello", barge_in=False, loop=1, level=0)]
    assert ncco.parse([ASK]) == [
        ncco.Input(time_out=3, max_digits=4, submit_on_hash=False, event_url=None, event_method="POST")
    ]
    assert ncco.parse([{"action": "conversation", "name": "n"}]) == [
        ncco.Conversation("n", start_on_enter=True, end_on_exit=False, mute=False)
    ]


def test_all_fields_are_read() -> None:
    """Numbers and flags are taken in the forms the reference and its examples use."""
    talk, ask, join = ncco.parse(
        [
            {**TALK, "bargeIn": "true", "loop": "0", "level": "-0.4", "language": "en-GB", "style": 2},
            {
                **ASK,
                "dtmf": {"timeOut": 10, "maxDigits": "20", "submitOnHash": True},
                "eventUrl": ["https://a.example/x"],
                "eventMethod": "GET",
            },
            {"action": "conversation", "name": "n", "startOnEnter": "false", "endOnExit": True, "mute": True},
        ]
    )
    assert talk == ncco.Talk("Hello", barge_in=True, loop=0, level=-0.4)
    assert ask == ncco.Input(10, 20, submit_on_hash=True, event_url="https://a.example/x", event_method="GET")
    assert join == ncco.Conversation("n", start_on_enter=False, end_on_exit=True, mute=True)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "list of actions"),
        ({}, "list of actions"),
        ([], "list of actions"),
        (["talk"], "object with an action"),
        ([{"text": "x"}], "object with an action"),
        ([{"action": 5}], "object with an action"),
        ([{"action": "sing"}], "unknown action sing"),
        ([{"action": "Talk", "text": "x"}], "unknown action Talk"),
        ([{"action": "talk"}], "needs text"),
        ([{"action": "talk", "text": ""}], "needs text"),
        ([{"action": "talk", "text": 5}], "needs text"),
        ([{"action": "talk", "text": "x" * 1501}], "longer than 1500"),
        ([{**TALK, "level": 2}], "level of talk must be -1 to 1"),
        ([{**TALK, "level": "loud"}], "must be a number"),
        ([{**TALK, "level": True}], "must be a number"),
        ([{**TALK, "level": float("nan")}], "must be -1 to 1"),
        ([{**TALK, "loop": -1}], "loop of talk"),
        ([{**TALK, "bargeIn": "yes"}], "must be true or false"),
        ([{**TALK, "bargeIn": True}], "followed by input"),
        ([{**TALK, "bargeIn": True}, TALK], "followed by input"),
        ([{"action": "input"}], "needs type"),
        ([{"action": "input", "type": "dtmf"}], "needs type"),
        ([{"action": "input", "type": ["smell"]}], "needs type"),
        ([{"action": "input", "type": ["speech"]}], "not in the sandbox yet"),
        ([{**ASK, "dtmf": 4}], "must be an object"),
        ([{**ASK, "dtmf": {"maxDigits": 0}}], "maxDigits of input.dtmf must be 1 to 20"),
        ([{**ASK, "dtmf": {"maxDigits": 21}}], "1 to 20"),
        ([{**ASK, "dtmf": {"timeOut": 11}}], "0 to 10"),
        ([{**ASK, "dtmf": {"submitOnHash": 1}}], "true or false"),
        ([{**ASK, "eventUrl": "ftp://x"}], "one URL"),
        ([{**ASK, "eventUrl": ["http://a", "http://b"]}], "one URL"),
        ([{**ASK, "eventUrl": [5]}], "one URL"),
        ([{**ASK, "eventMethod": "PUT"}], "GET or POST"),
        ([{"action": "conversation"}], "needs name"),
        ([{"action": "conversation", "name": "n", "mute": 1}], "true or false"),
        ([{"action": "conversation", "name": "n", "record": True}], "not in the sandbox yet"),
        ([{"action": "conversation", "name": "n", "canHear": ["x"]}], "not in the sandbox yet"),
        *[([{"action": name}], f"{name} is not in the sandbox yet") for name in ncco.NOT_HERE],
    ],
)
def test_what_breaks_the_reference_is_refused(document: Any, reason: str) -> None:
    """Each mistake is refused with words that name it."""
    with pytest.raises(ncco.InvalidNcco, match=reason.replace(".", r"\.")):
        ncco.parse(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("text", "bargeIn", "loop", "level", "type", "dtmf", "eventUrl", "eventMethod", "name", "mute", "speech")
ACTIONS = st.fixed_dictionaries(
    {"action": st.sampled_from(["talk", "input", "conversation", "connect"]) | JSON},
    optional=dict.fromkeys(FIELDS, JSON | st.just(["dtmf"]) | st.just({"maxDigits": 3})),
)


@settings(max_examples=60, deadline=None)
@given(JSON | st.lists(ACTIONS, min_size=1, max_size=4))
def test_any_json_is_read_or_refused(document: Any) -> None:
    """No document, however odd, does anything but parse or be refused."""
    actions = None
    with suppress(ncco.InvalidNcco):
        actions = ncco.parse(document)
    assert actions is None or len(actions) == len(document)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([TALK, {"action": "connect", "endpoint": []}], "connect is not in the sandbox yet"),
        ([{"action": "dance"}], "unknown action dance"),
        ([{**TALK, "bargeIn": True}], "talk with bargeIn must be followed by input"),
    ],
)
def test_bad_document_ends_the_call(lab: Lab, app: AnsweringApp, document: list[dict[str, Any]], reason: str) -> None:
    """The event URL gets the error event, the caller is refused, nothing of the document is done."""
    app.on("/answer", document)
    phone = lab.dial()
    phone.wait("ended")
    wait_for(lambda: "failed" in app.statuses(), what="the last event")
    assert app.errors() == [reason]
    lab.wait_legs(0)
    failed = [each for each in lab.trace(kind="ncco") if each["state"] == "failed"]
    assert failed[-1]["reason"] == reason
