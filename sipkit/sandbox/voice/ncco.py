"""Read call documents (NCCOs) as strictly as Vonage's reference describes them.

Source: "NCCO reference" of the Vonage Voice API documents; limits as in vonage_voice's models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]

TALK_TEXT = 1500
"""Longest text of a talk action, characters."""
NOT_HERE = ("connect", "record", "stream", "notify", "wait", "transfer", "pay")
"""Actions of the platform that the sandbox does not execute."""


class InvalidNcco(ValueError):
    """The document breaks the reference; the text is the platform's error event's reason."""


@dataclass(frozen=True)
class Talk:
    """Speak a text to the leg. ``level`` is -1 to 1, ``loop`` 0 means for ever."""

    text: str
    barge_in: bool
    loop: int
    level: float


@dataclass(frozen=True)
class Input:
    """Collect digits and post them to the event URL. ``time_out`` in seconds."""

    time_out: float
    max_digits: int
    submit_on_hash: bool
    event_url: str | None
    event_method: str


@dataclass(frozen=True)
class Conversation:
    """Join a named conversation."""

    name: str
    start_on_enter: bool
    end_on_exit: bool
    mute: bool


Action = Talk | Input | Conversation


def parse(document: Any) -> list[Action]:
    """Read an NCCO.

    Raises:
        InvalidNcco: not a list of actions, an unknown or unsupported action, a missing or wrong field.
    """
    if not isinstance(document, list) or not document:
        raise InvalidNcco("the NCCO must be a list of actions")
    actions = [_action(item) for item in document]
    for action, following in zip(actions, [*actions[1:], None], strict=True):
        if isinstance(action, Talk) and action.barge_in and not isinstance(following, Input):
            raise InvalidNcco("talk with bargeIn must be followed by input")
    return actions


def _action(item: Any) -> Action:
    if not isinstance(item, dict) or not isinstance(item.get("action"), str):
        raise InvalidNcco("every entry of an NCCO must be an object with an action")
    name = item["action"]
    if name in NOT_HERE:
        raise InvalidNcco(f"{name} is not in the sandbox yet")
    if name not in _READERS:
        raise InvalidNcco(f"unknown action {name}")
    fields = _Fields(name, item)
    action = _READERS[name](fields)
    fields.refuse_unsupported()
    return action


class _Fields:
    """The fields of one action, read with their types."""

    def __init__(self, action: str, item: JsonObject) -> None:
        self._action = action
        self._item = item

    def text(self, name: str) -> str:
        value = self._item.get(name)
        if not isinstance(value, str) or not value:
            raise InvalidNcco(f"{self._action} needs {name}, a text")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self._item.get(name, default)
        if isinstance(value, str) and value in ("true", "false"):
            value = value == "true"  # the reference writes some flags as text
        if not isinstance(value, bool):
            raise InvalidNcco(f"{name} of {self._action} must be true or false")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self._item.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidNcco(f"{name} of {self._action} must be a number")
        try:
            number = float(value)
        except ValueError:
            raise InvalidNcco(f"{name} of {self._action} must be a number") from None
        if not low <= number <= high:
            raise InvalidNcco(f"{name} of {self._action} must be {low:g} to {high:g}")
        return number

    def url(self, name: str) -> str | None:
        value = self._item.get(name)
        if value is None:
            return None
        urls = value if isinstance(value, list) else [value]
        if len(urls) != 1 or not isinstance(urls[0], str) or not urls[0].startswith(("http://", "https://")):
            raise InvalidNcco(f"{name} of {self._action} must be a list of one URL")
        return urls[0]

    def raw(self, name: str) -> Any:
        return self._item.get(name)

    def sub(self, name: str) -> "_Fields":
        value = self._item.get(name, {})
        if not isinstance(value, dict):
            raise InvalidNcco(f"{name} of {self._action} must be an object")
        return _Fields(f"{self._action}.{name}", value)

    def refuse_unsupported(self) -> None:
        for name in _UNSUPPORTED.get(self._action, ()):
            if self._item.get(name):
                raise InvalidNcco(f"{name} of {self._action} is not in the sandbox yet")


_UNSUPPORTED = {
    "conversation": ("record", "canSpeak", "canHear", "musicOnHoldUrl", "transcription"),
    "input": ("speech",),
}


def _talk(fields: _Fields) -> Talk:
    text = fields.text("text")
    if len(text) > TALK_TEXT:
        raise InvalidNcco(f"text of talk is longer than {TALK_TEXT} characters")
    loop = int(fields.number("loop", 1, 0, 100_000))
    return Talk(text, fields.flag("bargeIn", default=False), loop, fields.number("level", 0, -1, 1))


def _input(fields: _Fields) -> Input:
    types = fields.raw("type")
    if not isinstance(types, list) or not types or not set(map(str, types)) <= {"dtmf", "speech"}:
        raise InvalidNcco('input needs type, a list of "dtmf" and "speech"')
    if "speech" in types:
        raise InvalidNcco("speech input is not in the sandbox yet")
    dtmf = fields.sub("dtmf")
    method = fields.raw("eventMethod") or "POST"
    if method not in ("GET", "POST"):
        raise InvalidNcco("eventMethod of input must be GET or POST")
    return Input(
        time_out=dtmf.number("timeOut", 3, 0, 10),
        max_digits=int(dtmf.number("maxDigits", 4, 1, 20)),
        submit_on_hash=dtmf.flag("submitOnHash", default=False),
        event_url=fields.url("eventUrl"),
        event_method=method,
    )


def _conversation(fields: _Fields) -> Conversation:
    return Conversation(
        name=fields.text("name"),
        start_on_enter=fields.flag("startOnEnter", default=True),
        end_on_exit=fields.flag("endOnExit", default=False),
        mute=fields.flag("mute", default=False),
    )


_READERS: dict[str, Callable[[_Fields], Action]] = {
    "talk": _talk,
    "input": _input,
    "conversation": _conversation,
}
