"""The attendant: does by the Voice API what phones asked for by keys, and lets a room hear who comes and goes.

It does one errand (`sipkit.errands`) at a time, on a thread of the webhook server, and takes a turn for each request.
What fails is in the timeline, and the phone hears nothing of it: it keys again.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sipkit import pace, voice_calls
from sipkit.company import browsers_in, hears_music
from sipkit.errands import Errand
from sipkit.errors import SipkitError

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.phrases import Phrase, Speaker
    from sipkit.rooms import Caller, Room
    from sipkit.settings import Settings
    from sipkit.store import Store

MOST_PHONES: Final = 11
"""Phones in a room up to which they hear a tone. Each costs a request: with the bridge this is under two seconds. In
larger rooms somebody always comes or goes; there only the browsers hear it, by the bridge's one request."""

LETTERS_A_SECOND: Final = 12
"""About how fast the platform speaks: so long no tone is played into what it says to a phone."""


class Attendant:
    """Does errands.

    Args:
        settings: Languages and keys.
        store: Rooms, bridges and callers.
        account: Gives the platform account as it is now.
    """

    def __init__(self, settings: "Settings", store: "Store", account: "Callable[[], Account]") -> None:
        self._settings = settings
        self._store = store
        self._account = account
        self._spoken_to: dict[str, float] = {}  # leg -> when (monotonic) it has heard what is said to it

    def do(self, errand: Errand) -> Iterable[Errand]:
        """Do an errand; return what has to follow."""
        room, caller = self._store.room_by_id(errand.room_id), self._store.caller(errand.leg_uuid)
        if room is None or caller is None:
            return ()
        try:
            if not errand.urgent:
                return self._sound(errand, room)
            if caller.state == "joined":
                self._answer(errand, room, caller)
        except SipkitError as error:
            self._store.record("phone-keys", f"{_phone(caller)} was not answered: {error.message}", room.id)
        return ()

    # Keys

    def _answer(self, errand: Errand, room: "Room", caller: "Caller") -> None:
        speaker = self._settings.speaker(room.language)
        match errand.deed:
            case "mute":
                self._mute(room, caller, speaker)
            case "hand":
                what = "raised" if caller.hand else "lowered"
                self._store.record("hand", f"{_phone(caller)} {what} its hand in room {room.name!r}.", room.id)
                self._say(caller, speaker, speaker.text("hand_up" if caller.hand else "hand_down"))
            case "count":
                self._say(caller, speaker, self._count(room, speaker))
            case "help":
                self._say(caller, speaker, help_text(self._settings, speaker))

    def _mute(self, room: "Room", caller: "Caller", speaker: "Speaker") -> None:
        """Make the platform do what the store says the phone wants; the last of several errands is right, too."""
        done = False
        try:
            pace.take_turn(self._store)
            done = voice_calls.mute_leg(self._account(), caller.leg_uuid, on=caller.muted)
        finally:
            if not done:
                self._store.set_caller(caller.leg_uuid, muted=not caller.muted)
        if done:
            what = "muted" if caller.muted else "unmuted"
            self._store.record("mute", f"{_phone(caller)} {what} itself in room {room.name!r}.", room.id)
            self._say(caller, speaker, speaker.text("muted" if caller.muted else "unmuted"))

    def _count(self, room: "Room", speaker: "Speaker") -> str:
        phones, browsers = self._store.joined(room.id), None
        if self._store.living_bridge(room) is not None:
            pace.take_turn(self._store)
            browsers = browsers_in(self._account(), self._store, room)
        if browsers is None:  # they are not here, or nobody can tell
            return speaker.text("count_phones", phones=phones)
        return speaker.text("count", phones=phones, browsers=browsers)

    def _say(self, caller: "Caller", speaker: "Speaker", text: str) -> None:
        pace.take_turn(self._store)
        voice_calls.speak_to_leg(self._account(), caller.leg_uuid, text, speaker.language, speaker.style)
        now = time.monotonic()
        self._spoken_to = {leg: until for leg, until in self._spoken_to.items() if until > now}
        self._spoken_to[caller.leg_uuid] = now + len(text) / LETTERS_A_SECOND

    # Tones

    def _sound(self, errand: Errand, room: "Room") -> Iterable[Errand]:
        """Play a tone to the next one who shall hear it, and leave the others to further errands: keys come first."""
        legs = self._audience(errand, room) if errand.legs is None else list(errand.legs)
        if not legs:
            return ()
        leg_uuid, *rest = legs
        if self._spoken_to.get(leg_uuid, 0.0) <= time.monotonic():
            pace.take_turn(self._store)
            name = "joined" if errand.deed == "join-tone" else "left"
            played = voice_calls.play_to_leg(self._account(), leg_uuid, f"{errand.base_url}/tones/{name}")
            if not played:
                return ()  # the call is ending: the others are on their way out as well
        return (replace(errand, legs=tuple(rest)),)

    def _audience(self, errand: Errand, room: "Room") -> list[str]:
        """Return the legs that shall hear a tone: the bridge's, by which the browsers do, and some phones."""
        bridge = self._store.living_bridge(room)
        there = [caller for caller in self._store.callers(room) if caller.state == "joined"]
        if hears_music(room, there, bridged=bridge is not None):
            return []  # a tone would end it
        phones = [caller.leg_uuid for caller in there if caller.leg_uuid != errand.leg_uuid]
        first = [bridge.leg_uuid] if bridge is not None and bridge.leg_uuid else []
        return [*first, *(phones if len(phones) <= MOST_PHONES else ())]


def help_text(settings: "Settings", speaker: "Speaker") -> str:
    """Return what is read to a phone that asks for the keys of a call."""
    told: dict[str, Phrase] = {
        "mute": "help_mute",
        "hand": "help_hand",
        "count": "help_count",
        "help": "help_help",
    }
    return " ".join(speaker.text(told[deed], key=speaker.keys(keys)) for deed, keys in settings.keypad.deeds())


def _phone(caller: "Caller") -> str:
    return f"{caller.name} (phone {caller.masked_number})" if caller.name else f"Phone {caller.masked_number}"
