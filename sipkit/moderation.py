"""What a host does with a room's door and its phones: lock, lobby, admit, mute, ask to unmute, rename, remove.

The board does it for a notebook, the webhook server for a host's room page; both are a `Moderation`. A phone is a leg
of the Voice API, and what is done to one is one request to it (`sipkit.voice_calls`). Two hosts may press the same
button at once: the store lets one of them ask the platform, and the other one is told that it is done.

Nobody but its own user lets a muted phone be heard again: a host can only ask for it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sipkit.errors import SipkitError
from sipkit.phrases import checked_language
from sipkit.rooms import Caller, Deed, Room, checked_name

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.settings import Settings
    from sipkit.store import Store


class Moderation:
    """Decides, asks the platform, and writes down what is so now."""

    _settings: "Settings"
    _store: "Store"

    def _room(self, room: Room | str) -> Room:
        """The open room as the store has it now."""
        raise NotImplementedError

    def _account(self) -> "Account":
        raise NotImplementedError

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
        self._set(room, f"tells its phones things in {tag or 'the usual language'}", language=tag)

    def lobby(self, room: Room | str) -> list[Caller]:
        """Return the phones that wait to be admitted, in the order they called."""
        return [caller for caller in self._store.callers(self._room(room)) if caller.state == "waiting"]

    def guessed_at(self, room: Room | str) -> bool:
        """Tell whether somebody is taken to be guessing PINs now, so that the room's PIN leads to the lobby."""
        return self._store.guarded(self._room(room).id) > 0

    # Phones

    def admit(self, caller: Caller) -> Deed:
        """Let a waiting phone in.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It waits on.
        """
        from sipkit import admission, voice_calls

        document = admission.document_from_lobby(self._store, self._room_of(caller))
        return self._do(
            caller,
            ("lobby", "was admitted", "was admitted already"),
            claim=self._store.admit_caller,
            request=lambda leg: voice_calls.transfer_leg(self._account(), leg, document),
            undo=self._store.not_admitted,
        )

    def mute(self, caller: Caller) -> Deed:
        """Let nobody hear a phone; its user unmutes it, nobody else.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It may be heard.
        """
        from sipkit import voice_calls

        return self._do(
            caller,
            ("mute", "was muted", "is heard by nobody already"),
            claim=self._store.mute_caller,
            request=lambda leg: voice_calls.mute_leg(self._account(), leg, on=True),
            undo=lambda leg: self._store.set_caller(leg, muted=False),
        )

    def ask_to_unmute(self, caller: Caller) -> Deed:
        """Ask the user of a muted phone, by a spoken word that nobody else hears, to unmute it.

        Asked twice within ten seconds, it is told once.

        Raises:
            SipkitError: By KEY_MUTE=off it has no key for it.
            AuthenticationRefused, PlatformError, PlatformUnreachable: It may not have heard it.
        """
        from sipkit import voice_calls

        keys = self._settings.keypad.mute
        if not keys:
            raise SipkitError("No key lets a phone unmute itself.", "Set KEY_MUTE in .env, such as KEY_MUTE=*6.")
        speaker = self._settings.speaker(self._room_of(caller).language)
        text = speaker.text("unmute_asked", key=speaker.keys(keys))
        now = self._store.caller(caller.leg_uuid)
        return self._do(
            caller,
            ("mute", "was asked to unmute itself", "was asked already" if now and now.muted else "is not muted"),
            claim=lambda leg: self._store.ask_unmute(leg, on=True),
            request=lambda leg: voice_calls.speak_to_leg(self._account(), leg, text, speaker.language, speaker.style),
            undo=lambda leg: self._store.ask_unmute(leg, on=False),
        )

    def lower_hand(self, caller: Caller) -> Deed:
        """Take down the hand that a phone has raised."""
        return self._do(
            caller,
            ("hand", "has its hand down again", "has raised no hand"),
            claim=lambda leg: self._store.set_hand(leg, up=False),
        )

    def rename(self, caller: Caller, name: str) -> Deed:
        """Give a phone a name, for the hosts who look at the room.

        Raises:
            BadRoomName: It cannot be shown on one line, is empty, or longer than 64 characters.
        """
        name = checked_name(name, "A phone's name")
        self._store.set_caller(caller.leg_uuid, name=name)
        return Deed(done=True, words=f"Phone {caller.masked_number} is called {name} now.")

    def remove(self, caller: Caller) -> Deed:
        """Hang up a phone, in the conversation or in the lobby.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It may still be there.
        """
        from sipkit import voice_calls

        return self._do(
            caller,
            ("remove", "was removed", "was removed already"),
            claim=self._store.remove_caller,
            request=lambda leg: voice_calls.hang_up_leg(self._account(), leg),
            undo=lambda leg: self._store.set_caller(leg, removed_at=None),
        )

    def _do(
        self,
        caller: Caller,
        words: tuple[str, str, str],
        *,
        claim: Callable[[str], bool],
        request: Callable[[str], bool] = lambda _leg: True,
        undo: Callable[[str], object] = lambda _leg: None,
    ) -> Deed:
        """Do something to a phone once, whoever else does it at the same moment.

        Args:
            caller: The phone.
            words: The timeline's kind; what is so when it is done; what is so when there was nothing to do.
            claim: Lets the store decide who does it; false for the others.
            request: Asks the platform; false if it knows no such leg (any more).
            undo: Takes the claim back when the platform did not do it.
        """
        kind, done, nothing_to_do = words
        leg, room, who = caller.leg_uuid, self._room_of(caller), _who(caller)
        if not claim(leg):
            now = self._store.caller(leg)
            return Deed(done=False, words=f"{who} {nothing_to_do}." if now and now.state != "left" else _gone(who))
        try:
            there = request(leg)
        except BaseException:
            undo(leg)
            raise
        if not there:
            self._store.caller_left(leg)
            return Deed(done=False, words=_gone(who))
        self._store.record(kind, f"{who} {done}, in room {room.name!r}.", room.id)
        return Deed(done=True, words=f"{who} {done}.")

    def _set(self, room: Room | str, what: str, **wishes: bool | str) -> None:
        room = self._room(room)
        if self._store.set_room(room, **wishes):
            self._store.record("room", f"Room {room.name!r} {what}.", room.id)

    def _room_of(self, caller: Caller) -> Room:
        found = None if caller.room_id is None else self._store.room_by_id(caller.room_id)
        if found is None:
            raise SipkitError("The phone is in no open room.", "Look at board.callers(room) for who is there now.")
        return found


DEEDS: Final[Mapping[str, Callable[[Moderation, Caller], Deed]]] = {
    "admit": Moderation.admit,
    "mute": Moderation.mute,
    "ask-to-unmute": Moderation.ask_to_unmute,
    "lower-hand": Moderation.lower_hand,
    "remove": Moderation.remove,
}
"""What a host's buttons do to a phone, by the names that panel and page call it. `rename` needs a name as well."""


def shown(caller: Caller) -> dict[str, Any]:
    """What a host's panel and page show of a phone; `since` is when it joined, in seconds since 1970."""
    return {
        "id": caller.alias,
        "name": caller.name,
        "number": caller.masked_number,
        "since": caller.joined_at.timestamp() if caller.joined_at else None,
        "waiting": caller.state == "waiting",
        "muted": caller.muted,
        "asked": caller.muted and caller.unmute_asked,
        "hand": caller.hand,
        "host": caller.host,
    }


def _gone(who: str) -> str:
    return f"{who} has left."


def _who(caller: Caller) -> str:
    return f"{caller.name} (phone {caller.masked_number})" if caller.name else f"Phone {caller.masked_number}"
