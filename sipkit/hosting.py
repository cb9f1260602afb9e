"""What a host does with a room and its phones: give PINs, admit from the lobby, mute, rename, remove, lock.

Phones are legs of the Voice API, and what is done to one is one request to it (`sipkit.voice_calls`). Two hosts may
press the same button at once: the store lets one of them do it, and the other one sees that it is done.
"""

from typing import TYPE_CHECKING

from sipkit.errors import SipkitError
from sipkit.phrases import checked_language
from sipkit.rooms import Caller, Pin, Room, checked_name

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.store import Store


class Hosting:
    """The part of a `Switchboard` that is a host's."""

    _store: "Store"

    def _room(self, room: Room | str) -> Room:
        raise NotImplementedError

    def _account(self) -> "Account":
        raise NotImplementedError

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

    def guessed_at(self, room: Room | str) -> bool:
        """Tell whether somebody is taken to be guessing PINs now, so that the room's PIN leads to the lobby."""
        return self._store.guarded(self._room(room).id) > 0

    def forgive(self) -> bool:
        """Let everybody who has to pause after wrong PINs call again, at once; False if nobody had typed one.

        For the honest caller who stands beside you. Somebody who guesses begins at the beginning, too.
        """
        forgiven = self._store.forgive()
        if forgiven:
            self._store.record("pin", "All wrong PINs were forgiven: who had to pause may call again.")
        return forgiven

    # The door

    def lock(self, room: Room | str) -> None:
        """Let no further phone into a room, but for a host's."""
        self._set(room, "is locked", locked=True)

    def unlock(self, room: Room | str) -> None:
        """Let phones in again."""
        self._set(room, "is open to phones again", locked=False)

    def use_lobby(self, room: Room | str, *, on: bool = True) -> None:
        """Let each phone wait until a host admits it, or no longer; who waits already goes on waiting."""
        self._set(room, "has a lobby" if on else "has no lobby any more", lobby=on)

    def wait_for_host(self, room: Room | str, *, on: bool = True) -> None:
        """Let phones hear music until a host is in, by phone or by the bridge; who has joined already is not moved."""
        self._set(room, "waits for its host" if on else "waits for no host any more", waits_for_host=on)

    def use_language(self, room: Room | str, language: str) -> None:
        """Let the phones of a room be spoken to in another language than PHONE_LANGUAGE says; empty: in that again.

        A caller is first of all asked for its PIN, and nobody knows its room before: that is in PHONE_LANGUAGE.

        Raises:
            SettingsError: Nobody speaks it here; the fix names who there is.
        """
        tag = checked_language(language) if language else ""
        room = self._room(room)
        self._store.set_room(room, language=tag)
        self._store.record(
            "room", f"Phones of room {room.name!r} are told things in {tag or 'the usual language'}.", room.id
        )

    def lobby(self, room: Room | str) -> list[Caller]:
        """Return the phones that wait to be admitted, in the order they called."""
        return [caller for caller in self._store.callers(self._room(room)) if caller.state == "waiting"]

    def admit(self, caller: Caller) -> bool:
        """Let a waiting phone in.

        Returns:
            False if it does not wait any more: it was admitted by another host, or is gone.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It waits on.
        """
        from sipkit import admission, voice_calls

        room = self._room_of(caller)
        if not self._store.admit_caller(caller.leg_uuid):
            return False
        try:
            document = admission.document_from_lobby(self._store, room)
            moved = voice_calls.transfer_leg(self._account(), caller.leg_uuid, document)
        except SipkitError:
            self._store.not_admitted(caller.leg_uuid)
            raise
        if not moved:
            self._store.caller_left(caller.leg_uuid)
            return False
        self._store.record("lobby", f"{_who(caller)} was admitted to room {room.name!r}.", room.id)
        return True

    # Phones

    def mute(self, caller: Caller) -> bool:
        """Let nobody hear a phone; its user unmutes it, nobody else. False if it is gone.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It may be heard.
        """
        from sipkit import voice_calls

        room = self._room_of(caller)
        done = voice_calls.mute_leg(self._account(), caller.leg_uuid, on=True)
        if done:
            self._store.set_caller(caller.leg_uuid, muted=True)
            self._store.record("mute", f"{_who(caller)} was muted in room {room.name!r}.", room.id)
        return done

    def rename(self, caller: Caller, name: str) -> None:
        """Give a phone a name, for all who look at the room.

        Raises:
            BadRoomName: It cannot be shown on one line, is empty, or longer than 64 characters.
        """
        self._store.set_caller(caller.leg_uuid, name=checked_name(name))

    def remove(self, caller: Caller) -> bool:
        """Hang up a phone, in the conversation or in the lobby. False if it is gone already.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It may still be there.
        """
        from sipkit import voice_calls

        room = self._room_of(caller)
        done = voice_calls.hang_up_leg(self._account(), caller.leg_uuid)
        if done:
            self._store.record("remove", f"{_who(caller)} was removed from room {room.name!r}.", room.id)
        return done

    def _set(self, room: Room | str, what: str, **wishes: bool) -> None:
        room = self._room(room)
        self._store.set_room(room, **wishes)
        self._store.record("room", f"Room {room.name!r} {what}.", room.id)

    def _room_of(self, caller: Caller) -> Room:
        found = None if caller.room_id is None else self._store.room_by_id(caller.room_id)
        if found is None:
            raise SipkitError("The phone is in no open room.", "Look at board.callers(room) for who is there now.")
        return found


def _who(caller: Caller) -> str:
    return f"{caller.name} (phone {caller.masked_number})" if caller.name else f"Phone {caller.masked_number}"
