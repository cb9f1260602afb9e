"""Read call documents (NCCOs) as strictly as Vonage's reference describes them.

Source: "NCCO reference" of the Vonage Voice API documents; limits as in vonage_voice's models. What the reference does
not name is ignored (assumed).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from sipkit.sandbox.media.sound_files import CONTENT_TYPES, MP3_CHANNELS, FileFormat
from sipkit.sandbox.voice.ncco_actions import (
    Action,
    Connect,
    Conversation,
    Input,
    Notify,
    Record,
    Stream,
    Talk,
    Transfer,
    Wait,
)
from sipkit.sandbox.voice.ncco_fields import Fields, InvalidNcco

TALK_TEXT = 1500
"""Longest text of a talk action, characters; SSML tags do not count (documented)."""
LONGEST = 7200
"""Seconds of the longest wait, recording and connection."""
MAX_CHANNELS = 32
NOT_HERE = ("pay",)
"""Actions of the platform that the sandbox does not execute."""

_EVENTS = ("eventUrl", "eventMethod")
OPTIONS: Mapping[str, frozenset[str]] = {
    "talk": frozenset({"text", "bargeIn", "loop", "level", "language", "style", "premium"}),
    "stream": frozenset({"streamUrl", "bargeIn", "loop", "level"}),
    "input": frozenset({"type", "dtmf", "speech", "mode", *_EVENTS}),
    "input.dtmf": frozenset({"timeOut", "maxDigits", "submitOnHash", "mode"}),
    "conversation": frozenset(
        {
            *("name", "musicOnHoldUrl", "startOnEnter", "endOnExit", "record", "canSpeak", "canHear", "mute"),
            *("transcription", *_EVENTS),
        }
    ),
    "connect": frozenset(
        {
            *("endpoint", "from", "randomFromNumber", "eventType", "timeout", "limit", "machineDetection"),
            *("advancedMachineDetection", "ringbackTone", *_EVENTS),
        }
    ),
    "record": frozenset(
        {
            *("format", "split", "channels", "endOnSilence", "endOnKey", "timeOut", "beepStart", "transcription"),
            *_EVENTS,
        }
    ),
    "notify": frozenset({"payload", *_EVENTS}),
    "wait": frozenset({"timeout"}),
    "transfer": frozenset({"conversationId", "canSpeak", "canHear", "mute"}),
    "pay": frozenset(),
    "endpoint.phone": frozenset({"type", "number", "dtmfAnswer", "onAnswer", "shaken"}),
    "endpoint.phone.onAnswer": frozenset({"url", "ringbackTone"}),
    "endpoint.sip": frozenset({"type", "uri", "headers", "standardHeaders"}),
    "endpoint.websocket": frozenset({"type", "uri", "content-type", "headers", "authorization"}),
    "endpoint.app": frozenset({"type", "user"}),
    "endpoint.vbc": frozenset({"type", "extension"}),
}
"""Every option known of each action and of each endpoint of connect, honoured or refused."""


def parse(document: Any) -> list[Action]:
    """Read an NCCO.

    Raises:
        InvalidNcco: not a list of actions, an unknown or unsupported action, a missing or wrong field.
    """
    if not isinstance(document, list) or not document:
        raise InvalidNcco("the NCCO must be a list of actions")
    return list(_barging([_action(item) for item in document]))


def _barging(actions: list[Action]) -> Iterator[Action]:
    """Keep bargeIn on until the input that must follow; only speech and sound may come between (documented)."""
    first = ""
    for action in actions:
        if isinstance(action, Talk | Stream):
            first = first or (type(action).__name__.lower() if action.barge_in else "")
            yield replace(action, barge_in=bool(first))
            continue
        if first and not isinstance(action, Input):
            break
        first = ""
        yield action
    if first:
        raise InvalidNcco(f"{first} with bargeIn must be followed by input")


def _action(item: Any) -> Action:
    if not isinstance(item, dict) or not isinstance(item.get("action"), str):
        raise InvalidNcco("every entry of an NCCO must be an object with an action")
    name = item["action"]
    if name in NOT_HERE:
        raise InvalidNcco(f"{name} is not in the sandbox")
    if name not in _READERS:
        raise InvalidNcco(f"unknown action {name}")
    return _READERS[name](Fields(name, item))


def spoken_length(text: str) -> int:
    """Return how many characters of a text count for its limit: those outside SSML tags (documented)."""
    return len(re.sub(r"<[^<>]*>", "", text))


def _loop_and_level(fields: Fields) -> tuple[int, float]:
    return int(fields.number("loop", 1, 0, 100_000)), fields.number("level", 0, -1, 1)


def _talk(fields: Fields) -> Talk:
    text = fields.text("text")
    if spoken_length(text) > TALK_TEXT:
        raise InvalidNcco(f"text of talk is longer than {TALK_TEXT} characters")
    loop, level = _loop_and_level(fields)
    language = fields.text("language") if fields.raw("language") is not None else "en-US"
    style = int(fields.number("style", 0, 0, 100))
    premium = fields.flag("premium", default=False)
    return Talk(text, fields.flag("bargeIn", default=False), loop, level, language, style, premium)


def _stream(fields: Fields) -> Stream:
    loop, level = _loop_and_level(fields)
    return Stream(_needed_url(fields, "streamUrl"), fields.flag("bargeIn", default=False), loop, level)


def _input(fields: Fields) -> Input:
    types = fields.raw("type")
    if not isinstance(types, list) or not types or not set(map(str, types)) <= {"dtmf", "speech"}:
        raise InvalidNcco('input needs type, a list of "dtmf" and "speech"')
    if "speech" in types or fields.raw("speech"):
        raise InvalidNcco("speech input is not in the sandbox")
    dtmf = fields.sub("dtmf")
    # The reference has mode beside dtmf, its guide shows it within: either is taken.
    modes = ("synchronous", "asynchronous")
    asynchronous = modes[1] in (fields.choice("mode", modes[0], *modes), dtmf.choice("mode", modes[0], *modes))
    if asynchronous and set(dtmf.given()) - {"mode"}:
        raise InvalidNcco("dtmf of input must be empty in asynchronous mode")
    return Input(
        time_out=dtmf.number("timeOut", 3, 0, 10),
        max_digits=int(dtmf.number("maxDigits", 4, 1, 20)),
        submit_on_hash=dtmf.flag("submitOnHash", default=False),
        event_url=fields.url("eventUrl"),
        event_method=fields.method(),
        asynchronous=asynchronous,
    )


def _conversation(fields: Fields) -> Conversation:
    fields.refuse("transcription")
    return Conversation(
        name=fields.text("name"),
        start_on_enter=fields.flag("startOnEnter", default=True),
        end_on_exit=fields.flag("endOnExit", default=False),
        mute=_mute(fields),
        can_speak=fields.legs("canSpeak"),
        can_hear=fields.legs("canHear"),
        music_on_hold_url=fields.url("musicOnHoldUrl"),
        record=fields.flag("record", default=False),
        event_url=fields.url("eventUrl"),
        event_method=fields.method(),
    )


def _mute(fields: Fields) -> bool:
    mute = fields.flag("mute", default=False)
    if mute and fields.raw("canSpeak") is not None:
        raise fields.wrong("mute", "cannot be used with canSpeak")
    return mute


_ADDRESS = {"phone": "number", "sip": "uri", "websocket": "uri"}


def _connect(fields: Fields) -> Connect:
    endpoints = fields.raw("endpoint")
    if not isinstance(endpoints, list) or len(endpoints) != 1 or not isinstance(endpoints[0], dict):
        raise fields.wrong("endpoint", "must be a list of one endpoint")
    endpoint = endpoints[0]
    kind = Fields("endpoint", endpoint).choice("type", "", *_ADDRESS, "app", "vbc")
    if kind not in _ADDRESS:
        raise InvalidNcco(f"the endpoint {kind} is not in the sandbox")
    Fields(f"endpoint {kind}", endpoint).text(_ADDRESS[kind])
    fields.refuse("advancedMachineDetection")
    caller = fields.text("from") if fields.raw("from") is not None else None
    random = fields.flag("randomFromNumber", default=False)
    if caller and random:
        raise fields.wrong("from", "cannot be used with randomFromNumber")
    machine = fields.raw("machineDetection")
    return Connect(
        endpoint=endpoint,
        from_=caller,
        random_from_number=random,
        synchronous=fields.choice("eventType", "asynchronous", "asynchronous", "synchronous") == "synchronous",
        timeout=fields.number("timeout", 60, 1, LONGEST),
        limit=fields.number("limit", LONGEST, 1, LONGEST),
        machine_detection=fields.choice("machineDetection", "", "continue", "hangup") if machine else None,
        event_url=fields.url("eventUrl"),
        event_method=fields.method(),
        ringback_url=fields.url("ringbackTone"),
    )


def _record(fields: Fields) -> Record:
    fields.refuse("transcription")
    split = fields.choice("split", "none", "none", "conversation") == "conversation"
    channels = int(fields.number("channels", 2 if split else 1, 1, MAX_CHANNELS))
    if channels > 1 and not split:
        raise fields.wrong("channels", "needs split")
    # The default is MP3, or WAV for more than two channels (documented); what an MP3 of more would be is not.
    form = fields.choice("format", "mp3" if channels <= MP3_CHANNELS else "wav", *CONTENT_TYPES)
    if form == "mp3" and channels > MP3_CHANNELS:
        raise fields.wrong("format", f'"mp3" holds {MP3_CHANNELS} channels at most: ask for "wav"')
    key = fields.raw("endOnKey")
    if key is not None and (not isinstance(key, str) or len(key) != 1 or key not in "0123456789*#"):
        raise fields.wrong("endOnKey", "must be a digit, * or #")
    silence, time_out = fields.raw("endOnSilence"), fields.raw("timeOut")
    return Record(
        form=cast("FileFormat", form),
        split=split,
        channels=channels,
        end_on_silence=None if silence is None else fields.number("endOnSilence", 0, 3, 10),
        end_on_key=key,
        time_out=None if time_out is None else fields.number("timeOut", 0, 3, LONGEST),
        beep=fields.flag("beepStart", default=False),
        event_url=fields.url("eventUrl"),
        event_method=fields.method(),
    )


def _notify(fields: Fields) -> Notify:
    payload = fields.raw("payload")
    if not isinstance(payload, dict):
        raise InvalidNcco("notify needs payload, an object")
    return Notify(payload, _needed_url(fields, "eventUrl"), fields.method())


def _needed_url(fields: Fields, name: str) -> str:
    url = fields.url(name)
    if url is None:
        raise fields.wrong(name, "is missing")
    return url


def _wait(fields: Fields) -> Wait:
    # Values beyond the bounds are taken as the bounds (documented).
    return Wait(min(max(fields.number("timeout", 10, float("-inf"), float("inf")), 0.1), LONGEST))


def _transfer(fields: Fields) -> Transfer:
    return Transfer(fields.text("conversationId"), _mute(fields), fields.legs("canSpeak"), fields.legs("canHear"))


_READERS: dict[str, Callable[[Fields], Action]] = {
    "talk": _talk,
    "stream": _stream,
    "input": _input,
    "conversation": _conversation,
    "connect": _connect,
    "record": _record,
    "notify": _notify,
    "wait": _wait,
    "transfer": _transfer,
}

__all__ = [
    "NOT_HERE",
    "OPTIONS",
    "Action",
    "Connect",
    "Conversation",
    "Input",
    "InvalidNcco",
    "Notify",
    "Record",
    "Stream",
    "Talk",
    "Transfer",
    "Wait",
    "parse",
]
