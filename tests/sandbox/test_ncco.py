"""Call documents: what is read, what is refused, and what a caller and the application notice of a refusal."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vonage_voice.models import ncco as sdk
from vonage_voice.models.input_types import Dtmf

from sipkit.sandbox.voice import ncco
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for

TALK = {"action": "talk", "text": "Hello"}
ASK = {"action": "input", "type": ["dtmf"]}
JOIN = {"action": "conversation", "name": "n"}
STREAM = {"action": "stream", "streamUrl": ["http://127.0.0.1/a.wav"]}
RECORD = {"action": "record", "format": "wav"}
CONNECT = {"action": "connect", "endpoint": [{"type": "phone", "number": "12025550123"}]}


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
    assert talk == ncco.Talk("Hello", barge_in=True, loop=0, level=-0.4, language="en-GB", style=2)
    assert ask == ncco.Input(10, 20, submit_on_hash=True, event_url="https://a.example/x", event_method="GET")
    assert join == ncco.Conversation("n", start_on_enter=False, end_on_exit=True, mute=True)


def test_new_actions_are_read() -> None:
    """Each further action is read with the reference's defaults; a wait beyond its bounds is taken as the bound."""
    actions = ncco.parse(
        [
            STREAM,
            {**RECORD, "split": "conversation", "endOnKey": "#", "timeOut": "30", "beepStart": True},
            {"action": "notify", "payload": {"a": 1}, "eventUrl": ["https://a.example/x"]},
            {"action": "wait"},
            {"action": "wait", "timeout": 0},
            {"action": "wait", "timeout": 9000},
            {**CONNECT, "from": "12025550100", "eventType": "synchronous"},
            {"action": "transfer", "conversationId": "CON-1", "canHear": ["a"]},
        ]
    )
    assert actions == [
        ncco.Stream("http://127.0.0.1/a.wav", barge_in=False, loop=1, level=0),
        ncco.Record("wav", True, 2, None, "#", 30, beep=True, event_url=None, event_method="POST"),
        ncco.Notify({"a": 1}, "https://a.example/x", "POST"),
        ncco.Wait(10),
        ncco.Wait(0.1),
        ncco.Wait(7200),
        ncco.Connect(CONNECT["endpoint"][0], "12025550100", False, True, 60, 7200, None, None, "POST", None),  # type: ignore[arg-type]
        ncco.Transfer("CON-1", mute=False, can_speak=None, can_hear=frozenset({"a"})),
    ]
    assert not ncco.parse([RECORD])[0].synchronous  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "model",
    [sdk.Talk, sdk.Stream, sdk.Input, sdk.Conversation, sdk.Connect, sdk.Record, sdk.Notify, sdk.Wait, sdk.Transfer],
)
def test_every_option_of_the_vendors_models_is_known(model: Any) -> None:
    """What vonage_voice can put into an action is listed, to be honoured or refused; so are the digits' options."""
    names = {field.serialization_alias or name for name, field in model.model_fields.items()} - {"action"}
    assert names <= ncco.OPTIONS[model.__name__.lower()]
    assert set(Dtmf.model_fields) <= ncco.OPTIONS["input.dtmf"]


def test_barge_in_stays_on_until_the_input() -> None:
    """More prompts and sounds may come between, and a key ends them too, even those that say false; no tag counts."""
    long = {"action": "talk", "text": f"<speak>{'x' * 1500}</speak>", "bargeIn": False}
    talk, second, stream, _, last = ncco.parse([{**TALK, "bargeIn": True}, long, STREAM, ASK, TALK])
    for action, barge_in in ((talk, True), (second, True), (stream, True), (last, False)):
        assert isinstance(action, ncco.Talk | ncco.Stream)
        assert action.barge_in is barge_in


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
        ([{"action": "talk", "text": f"<speak>{'x' * 1501}</speak>"}], "longer than 1500"),
        ([{**TALK, "level": 2}], "level of talk must be -1 to 1"),
        ([{**TALK, "level": "loud"}], "must be a number"),
        ([{**TALK, "level": True}], "must be a number"),
        ([{**TALK, "level": float("nan")}], "must be -1 to 1"),
        ([{**TALK, "loop": -1}], "loop of talk"),
        ([{**TALK, "bargeIn": "yes"}], "must be true or false"),
        ([{**TALK, "bargeIn": True}], "followed by input"),
        ([{**TALK, "bargeIn": True}, TALK], "followed by input"),
        ([{**TALK, "bargeIn": True}, {"action": "wait"}, ASK], "followed by input"),
        ([{"action": "input"}], "needs type"),
        ([{"action": "input", "type": "dtmf"}], "needs type"),
        ([{"action": "input", "type": ["smell"]}], "needs type"),
        ([{"action": "input", "type": ["dtmf", "speech"]}], "speech input is not in the sandbox"),
        ([{**ASK, "mode": "later"}], "mode of input must be synchronous or asynchronous"),
        ([{**ASK, "mode": "asynchronous", "dtmf": {"maxDigits": 3}}], "must be empty in asynchronous mode"),
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
        ([{**JOIN, "record": "always"}], "record of conversation must be true or false"),
        ([{**JOIN, "canHear": "x"}], "canHear of conversation must be a list of leg ids"),
        ([{**JOIN, "canSpeak": [1]}], "canSpeak of conversation must be a list of leg ids"),
        ([{**JOIN, "canSpeak": [], "mute": True}], "mute of conversation cannot be used with canSpeak"),
        ([{**JOIN, "musicOnHoldUrl": "music"}], "musicOnHoldUrl of conversation must be a list of one URL"),
        ([{**JOIN, "transcription": {}}, {**JOIN, "transcription": {"language": "en"}}], "is not in the sandbox"),
        ([{"action": "stream"}], "streamUrl of stream is missing"),
        ([{**STREAM, "level": -2}], "level of stream must be -1 to 1"),
        ([{**STREAM, "bargeIn": True}, TALK], "stream with bargeIn must be followed by input"),
        ([{**RECORD, "format": "mp3", "split": "conversation", "channels": 3}], '"mp3" holds 2 channels at most'),
        ([{**RECORD, "format": "flac"}], "format of record must be mp3 or wav or ogg"),
        ([{**RECORD, "channels": 2}], "channels of record needs split"),
        ([{**RECORD, "split": "conversation", "channels": 33}], "channels of record must be 1 to 32"),
        ([{**RECORD, "endOnKey": "12"}], "endOnKey of record must be"),
        ([{**RECORD, "endOnSilence": 2}], "endOnSilence of record must be 3 to 10"),
        ([{**RECORD, "timeOut": 7201}], "timeOut of record must be 3 to 7200"),
        ([{**RECORD, "transcription": {"language": "en"}}], "transcription of record is not in the sandbox"),
        ([{"action": "notify", "eventUrl": ["http://a"]}], "notify needs payload"),
        ([{"action": "notify", "payload": {}}], "eventUrl of notify is missing"),
        ([{"action": "wait", "timeout": "long"}], "timeout of wait must be a number"),
        ([{"action": "transfer"}], "transfer needs conversationId"),
        ([{"action": "transfer", "conversationId": "CON-1", "mute": True, "canSpeak": ["a"]}], "cannot be used with"),
        ([{"action": "connect"}], "endpoint of connect must be a list of one endpoint"),
        ([{"action": "connect", "endpoint": [{"type": "fax"}]}], "type of endpoint must be"),
        ([{"action": "connect", "endpoint": [{"type": "phone"}]}], "endpoint phone needs number"),
        ([{"action": "connect", "endpoint": [{"type": "vbc", "extension": "1"}]}], "vbc is not in the sandbox"),
        ([{**CONNECT, "from": "1", "randomFromNumber": True}], "from of connect cannot be used with"),
        ([{**CONNECT, "limit": 7201}], "limit of connect must be 1 to 7200"),
        ([{**CONNECT, "advancedMachineDetection": {"mode": "x"}}], "advancedMachineDetection of connect is not"),
        *[([{"action": name}], f"{name} is not in the sandbox") for name in ncco.NOT_HERE],
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
FIELDS = sorted(frozenset().union(*ncco.OPTIONS.values()))
ACTIONS = st.fixed_dictionaries(
    {"action": st.sampled_from(sorted(ncco.OPTIONS)) | JSON},
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
        ([TALK, {"action": "pay"}], "pay is not in the sandbox"),
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
