"""Which legs that are up should not be, by what is on record. Pure rules, no I/O; `sipkit.stocktaking` looks.

What is up and not on record at all is a *stranger*, and a matter of what can be known. An application may be used by
other software, or by this kit with another store; and a store that was lost in the middle of a call cannot be told from
a stranger's. All that the platform tells of a leg is its numbers and its name, and only the name proves that it is
ours: it was told to us by a signed webhook, and is on record. So a leg whose name is unknown is hung up only when
somebody asks for that (`board.hang_up_everything(strangers=True)`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

AT_THE_DOOR: Final = 15 * 60.0
"""Seconds that a phone may be asked for a PIN, or wait in the lobby: both end by themselves before, after at most five
prompts of eight seconds a key, and after ten minutes of music (`ncco`)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A leg that is up at the platform.

    Attributes:
        uuid: The leg, as its webhooks name it.
        conversation: What the platform calls the conversation that it is in.
        numbers: The numbers at its two ends, digits; a SIP address is none.
    """

    uuid: str
    conversation: str
    numbers: frozenset[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What the store says of a leg.

    Attributes:
        room_id: The room it belongs to; None for a phone that has not typed a PIN.
        over: It has left, or the bridge whose leg it is has ended.
        room_closed: Its room is closed.
        in_room: It is in its room's conversation.
    """

    room_id: int | None
    over: bool
    room_closed: bool = False
    in_room: bool = False


def why_lost(leg: OnRecord, up_for: float) -> str | None:
    """Say why a leg that is up should not be; None if it should.

    Args:
        leg: What is on record of it.
        up_for: Seconds since it was first seen to be up.
    """
    if leg.over:
        return "it is over, by all that is on record"
    if leg.room_closed:
        return "its room is closed"
    if not leg.in_room and up_for > AT_THE_DOOR:
        return "it has been at the door for too long"
    return None


def strangers_among(calls: Iterable[Call], on_record: Mapping[str, OnRecord], number: str) -> list[Call]:
    """Return the calls of a number that are not on record, nor in a conversation with one that is."""
    calls = list(calls)
    ours = {call.conversation for call in calls if call.uuid in on_record}
    return [call for call in calls if number in call.numbers and call.conversation not in ours]
