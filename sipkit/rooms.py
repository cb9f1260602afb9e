"""What the kit talks about: rooms, bridges and callers, as plain frozen data.

A *room* is a name a person chose, the video session behind it, and the PINs that let phones in: one that everybody
of the room has, and those that are one person's own.
A *bridge* is the one SIP leg that connects the session with the phone side. A *caller* is a
phone that dialled the number. Nothing here does any I/O; all times are `datetime` in UTC.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from sipkit.errors import BadRoomName
from sipkit.pins import PinKind
from sipkit.timeline import mask_number

BridgeState = Literal["dialing", "dialed", "answered", "ended"]
CallerState = Literal["calling", "asked", "waiting", "joined", "left"]

CALLER_STATES: tuple[CallerState, ...] = get_args(CallerState)
"""A caller's states in their order; a caller never goes back in it."""

MAX_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Room:
    """A session that phones can join by PIN.

    Attributes:
        id: The store's number for it.
        name: What people call it; unique among open rooms of an environment.
        session_id: The video session; the phone side's conversation has the same name.
        pin: The digits that let a phone in; empty once they have expired or the room is closed.
        environment: Which cloud and project it belongs to, for example ``sandbox:KEY``.
        opened_at: When the room was first opened.
        pin_until: When the PIN expires; None: with the room.
        lobby: Whether each phone waits until a host admits it.
        locked: Whether no further phone is let in.
        waits_for_host: Whether phones hear music until a host is in.
        language: Of what its phones are told, BCP 47 such as ``de-DE``; empty: the setting's.
        budget: What it may cost, in each currency on its own; 0: anything; None: as the setting says.
        reopened: True when the platform had forgotten the session and it was made anew.
    """

    id: int
    name: str
    session_id: str
    pin: str = field(repr=False)
    environment: str
    opened_at: datetime
    pin_until: datetime | None = None
    lobby: bool = False
    locked: bool = False
    waits_for_host: bool = False
    language: str = ""
    budget: float | None = None
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class Pin:
    """A PIN of a room.

    Attributes:
        id: The store's number for it.
        room_id: The room it leads, or led, to.
        kind: ``room``, ``host`` or ``personal``.
        name: Whose it is, if it is one person's own.
        digits: What is typed; kept out of the repr.
        until: When it expires; None: with the room.
        void: Whether it lets nobody in (any more): it expired, was replaced or withdrawn, or its room was closed.
    """

    id: int
    room_id: int
    kind: PinKind
    name: str
    digits: str = field(repr=False)
    until: datetime | None
    void: bool = False

    @property
    def own(self) -> bool:
        """Whether it is one person's own, and not everybody's of the room."""
        return self.kind != "room"


@dataclass(frozen=True, slots=True)
class Bridge:
    """The SIP leg between a room's session and the phone side; billed while it lives.

    Attributes:
        id: The store's number for it.
        room_id: The room it belongs to.
        connection_id: The leg seen from the session, known once the dial request was answered.
        stream_id: Its audio in the session, known with the connection.
        leg_uuid: The leg seen from the phone side, known once the answer webhook came.
        state: ``dialing``, ``dialed``, ``answered`` or ``ended``.
        owner: The process that dialled it and will hang it up.
        dialed_at: When the dialling began.
        ended_at: When it ended, or None while it lives.
        reason: Why it ended, or None while it lives.
        dialler: Who placed the dial: the owner, or a room page that dialled for it; empty if unknown.
        number: Whom a direct call is for, E.164 digits, kept out of the repr; None: the conference number.
        caller_id: The number that a direct call shows, if it is another than the conference number.
        nonce: What the dial says of itself to the answer webhook, so that its leg is known; empty in an old record.
    """

    id: int
    room_id: int
    connection_id: str | None
    stream_id: str | None
    leg_uuid: str | None
    state: BridgeState
    owner: str
    dialed_at: datetime
    ended_at: datetime | None
    reason: str | None
    dialler: str = ""
    number: str | None = field(default=None, repr=False)
    caller_id: str | None = field(default=None, repr=False)
    nonce: str = field(default="", repr=False)

    @property
    def living(self) -> bool:
        """True until it ended."""
        return self.ended_at is None

    @property
    def masked_number(self) -> str:
        """The last four digits of a direct call's number; empty for the conference number."""
        return mask_number(self.number) if self.number else ""


@dataclass(frozen=True, slots=True)
class Caller:
    """A phone that dialled the number.

    Attributes:
        leg_uuid: Its leg on the phone side.
        room_id: The room whose PIN it typed, or None until then.
        number: The caller's number as digits; kept out of the repr.
        state: ``calling``, ``asked`` (for the PIN), ``waiting`` (to be admitted), ``joined`` or ``left``.
        joined_at: When it joined the room, or None.
        left_at: When it left, or None.
        name: What a host calls it, or whose personal PIN it typed; empty if nobody said.
        host: Whether it typed the host's PIN.
        muted: Whether nobody hears it.
        hand: Whether it has raised its hand.
        unmute_asked: Whether a host has asked it to unmute itself, and it has not yet.
    """

    leg_uuid: str
    room_id: int | None
    number: str = field(repr=False)
    state: CallerState
    joined_at: datetime | None
    left_at: datetime | None
    name: str = ""
    host: bool = False
    muted: bool = False
    hand: bool = False
    unmute_asked: bool = False

    @property
    def masked_number(self) -> str:
        """The number's last four digits, such as ``•••0123``."""
        return mask_number(self.number)

    @property
    def alias(self) -> str:
        """What pages call it: 12 hex digits. The leg's own name is for the Voice API, and stays with us."""
        return hashlib.sha256(self.leg_uuid.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Deed:
    """What became of something a host wanted done to a phone; true if this very request did it.

    Attributes:
        done: False when there was nothing to do: another host was quicker, or the phone has left.
        words: What is so now, to be shown.
    """

    done: bool
    words: str

    def __bool__(self) -> bool:
        return self.done


@dataclass(frozen=True, slots=True)
class HangUp:
    """What a hang-up did.

    Attributes:
        room: The room's name.
        hung_up: True when a living bridge was ended by this request.
        reason: In words, why (not).
    """

    room: str
    hung_up: bool
    reason: str


def checked_name(name: str, whose: str = "A room's name") -> str:
    """Return a name without surrounding space.

    Args:
        name: As somebody typed it.
        whose: How the error begins.

    Raises:
        BadRoomName: If it is no text, empty, longer than 64 characters, or holds characters that
            cannot be shown (control characters, half of a surrogate pair).
    """
    if not isinstance(name, str):
        raise BadRoomName(f"{whose} must be text, not {type(name).__name__}.")
    name = name.strip()
    if not name:
        raise BadRoomName(f"{whose} must not be empty.")
    if len(name) > MAX_NAME_LENGTH:
        raise BadRoomName(f"{whose} has at most {MAX_NAME_LENGTH} characters; this has {len(name)}.")
    if not name.isprintable():
        raise BadRoomName(f"{whose} must be printable on one line.")
    return name
