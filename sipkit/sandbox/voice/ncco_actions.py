"""The actions of call documents (NCCOs) as plain data, with the reference's defaults filled in."""

from dataclasses import dataclass

from sipkit.sandbox.media.sound_files import FileFormat
from sipkit.sandbox.voice.ncco_fields import JsonObject


@dataclass(frozen=True)
class Talk:
    """Speak a text to the leg. ``level`` is -1 to 1, ``loop`` 0 means for ever."""

    text: str
    barge_in: bool
    loop: int
    level: float
    language: str = "en-US"
    style: int = 0
    premium: bool = False


@dataclass(frozen=True)
class Stream:
    """Play a sound file to the leg."""

    url: str
    barge_in: bool
    loop: int
    level: float


@dataclass(frozen=True)
class Input:
    """Collect digits and post them to the event URL. ``time_out`` in seconds; asynchronous: each digit by itself."""

    time_out: float
    max_digits: int
    submit_on_hash: bool
    event_url: str | None
    event_method: str
    asynchronous: bool = False


@dataclass(frozen=True)
class Conversation:
    """Join a named conversation. ``can_speak``: legs that hear this one; ``can_hear``: legs this one hears."""

    name: str
    start_on_enter: bool
    end_on_exit: bool
    mute: bool
    can_speak: frozenset[str] | None = None
    can_hear: frozenset[str] | None = None
    music_on_hold_url: str | None = None
    record: bool = False
    event_url: str | None = None
    event_method: str = "POST"


@dataclass(frozen=True)
class Connect:
    """Call an endpoint and connect the leg with it. ``timeout`` and ``limit`` in seconds."""

    endpoint: JsonObject
    from_: str | None
    random_from_number: bool
    synchronous: bool
    timeout: float
    limit: float
    machine_detection: str | None
    event_url: str | None
    event_method: str
    ringback_url: str | None


@dataclass(frozen=True)
class Record:
    """Record the leg. With an end condition the next action waits for it. Times in seconds."""

    form: FileFormat
    split: bool
    channels: int
    end_on_silence: float | None
    end_on_key: str | None
    time_out: float | None
    beep: bool
    event_url: str | None
    event_method: str

    @property
    def synchronous(self) -> bool:
        """Does the next action wait until it is recorded?"""
        return any(each is not None for each in (self.end_on_silence, self.end_on_key, self.time_out))


@dataclass(frozen=True)
class Notify:
    """Tell the application something; it may answer with another document."""

    payload: JsonObject
    event_url: str
    event_method: str


@dataclass(frozen=True)
class Wait:
    """Do nothing for ``timeout`` seconds."""

    timeout: float


@dataclass(frozen=True)
class Transfer:
    """Move what is in the leg's conversation to another one that exists."""

    conversation_id: str
    mute: bool
    can_speak: frozenset[str] | None
    can_hear: frozenset[str] | None


Action = Talk | Stream | Input | Conversation | Connect | Record | Notify | Wait | Transfer
