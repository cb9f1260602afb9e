"""The PIN desk: does what a phone typed let it in?

    right PIN                                    in
    right PIN of a room, while somebody guesses  into the lobby: a host admits it (`sipkit.guessing`)
    one's own PIN, while somebody guesses        in
    anything else                                wrong; the third in a call is its last, as is one that begins a pause
    anything, of a caller that has to pause      not looked at

Wrong, expired, replaced and a closed room's are one case here, with the same work and the same words: whoever listens
or takes the time learns nothing. A caller who has to pause is told so before it is asked for a PIN.
"""

from dataclasses import dataclass

from sipkit.guessing import TRIES_PER_CALL
from sipkit.pins import typed_pin
from sipkit.rooms import Pin, Room
from sipkit.store import Store


@dataclass(frozen=True, slots=True)
class Admitted:
    """The PIN lets in.

    Attributes:
        room: Into which room.
        pin: The PIN.
        doubtful: Somebody is guessing PINs, and this one is no person's own: a host shall look who it is.
    """

    room: Room
    pin: Pin
    doubtful: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The PIN lets nobody in.

    Attributes:
        tries: How many wrong ones this call has typed; 0 if this one was not looked at, as its caller has to pause.
        pause: Whether its caller has to pause now.
    """

    tries: int
    pause: bool

    @property
    def tries_left(self) -> int:
        """How many more it may type; 0 ends the call."""
        return 0 if self.pause else max(0, TRIES_PER_CALL - self.tries)


class PinDesk:
    """Judges PINs for all workers of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def must_pause(self, number: str) -> bool:
        """Tell whether this caller has typed so many wrong PINs, in all its calls, that it has to call later."""
        return self._store.pause_of(number) > 0

    def judge(self, leg_uuid: str, number: str, keys: str) -> Admitted | Refused:
        """Judge what a phone typed, and remember it if it is wrong.

        Args:
            leg_uuid: The phone's leg.
            number: Its number, as the platform tells it.
            keys: What it typed; not empty.
        """
        if self.must_pause(number):  # by another call of the same caller, or this one would have ended
            return Refused(0, pause=True)
        found = self._store.find_pin(typed_pin(keys))
        if found is not None and found.room is not None:
            doubtful = not found.pin.own and self._store.guarded(found.room.id) > 0
            return Admitted(found.room, found.pin, doubtful)
        self._store.wrong_pin(number, None if found is None else found.pin.room_id)
        return Refused(self._store.wrong_try(leg_uuid), pause=self.must_pause(number))
