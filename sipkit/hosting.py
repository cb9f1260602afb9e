"""What a host does with a room from a notebook: its PINs, and what `sipkit.moderation` has for its door and phones."""

from sipkit.moderation import Moderation
from sipkit.rooms import Pin, Room, checked_name


class Hosting(Moderation):
    """The part of a `Switchboard` that is a host's."""

    # PINs

    def pins(self, room: Room | str) -> list[Pin]:
        """Return the PINs that let into a room: everybody's, the hosts', and those that are one guest's own."""
        return self._store.pins(self._room(room))

    def new_pin(self, room: Room | str) -> Pin:
        """Give a room a new PIN in place of the one that everybody has; who is in stays in.

        Raises:
            PinSpaceExhausted: Every PIN is taken.
        """
        room = self._room(room)
        pin = self._store.make_pin(room)
        self._store.record("pin", f"Room {room.name!r} has a new PIN; the one before lets nobody in any more.", room.id)
        return pin

    def personal_pin(self, room: Room | str, name: str) -> Pin:
        """Give a guest a PIN of its own, in place of an earlier one: longer than the room's, and not to be passed on.

        It lets in even while somebody guesses PINs, and its caller has a name. It is good until `withdraw_pin`, or
        until the room is closed.

        Raises:
            BadRoomName: The name cannot be shown on one line, is empty, or longer than 64 characters.
        """
        room = self._room(room)
        pin = self._store.make_pin(room, "personal", name)
        self._store.record("pin", f"{pin.name!r} has a PIN of its own for room {room.name!r}.", room.id)
        return pin

    def host_pin(self, room: Room | str) -> Pin:
        """Give the hosts of a room a PIN, in place of an earlier one: it passes the lobby and a locked door."""
        room = self._room(room)
        pin = self._store.make_pin(room, "host")
        self._store.record("pin", f"The hosts of room {room.name!r} have a PIN.", room.id)
        return pin

    def withdraw_pin(self, room: Room | str, name: str) -> bool:
        """Let a guest's own PIN let nobody in any more; who is in stays in. False if there is none."""
        room = self._room(room)
        done = self._store.withdraw_pin(room, name)
        if done:
            self._store.record("pin", f"The PIN of {checked_name(name)!r} for room {room.name!r} is void.", room.id)
        return done

    def forgive(self) -> bool:
        """Let everybody who has to pause after wrong PINs call again, at once; False if nobody had typed one.

        For the honest caller who stands beside you. Somebody who guesses begins at the beginning, too.
        """
        forgiven = self._store.forgive()
        if forgiven:
            self._store.record("pin", "All wrong PINs were forgiven: who had to pause may call again.")
        return forgiven
