"""The phone desk by itself: languages, timers, what lets a phone in, and what follows from a request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit import ncco
from sipkit.admission import document_from_lobby
from sipkit.errands import Errand
from sipkit.phrases import Speaker
from sipkit.rooms import Room
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.webhooks.address import Address
from sipkit.webhooks.callbacks import Callback, Event, read_event, read_time
from sipkit.webhooks.desk import TONE_SECONDS, Desk

BASE = "https://calls.example.com"
NUMBER = "12025550123"
KEYS_OF_A_CALL = {
    "action": "input",
    "type": ["dtmf"],
    "mode": "asynchronous",
    "eventUrl": [f"{BASE}/voice-keys"],
    "eventMethod": "POST",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store."""
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}", "sandbox:1")
    yield store
    store.close()


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


def desk_of(store: Store, *, voice_api: bool = True, **settings: Any) -> Desk:
    """A desk whose server has a public address."""
    loaded = Settings.load(mode="sandbox", **settings)
    address = Address(loaded, store)
    store.set_fact("public_url", BASE)
    return Desk(loaded, store, "12025550100", address, voice_api=voice_api)


def call(leg: str = "leg") -> Callback:
    """What a request of a phone says of it."""
    return Callback(leg, NUMBER, None)


def news(leg: str, **more: str) -> Event:
    """An event about a phone."""
    return read_event({"uuid": leg, "from": NUMBER, **more})


def test_prompts_in_the_language_of_the_settings(store: Store, room: Room) -> None:
    """Language, style and timer of the settings are in the prompt, and in what is said to wrong keys and to none."""
    desk = desk_of(store, phone_language="de-DE", phone_style=3, next_digit_seconds=5, first_digit_seconds=15)
    german = Speaker("de-DE", 3)
    talk, listen = desk.answer(call())
    assert (talk["text"], talk["language"], talk["style"]) == (german.text("enter_pin"), "de-DE", 3)
    assert listen["dtmf"]["timeOut"] == 5
    url = f"{BASE}/voice-dtmf"
    silent = ncco.nothing_typed(url, 6, speaker=german, seconds=5)
    assert [desk.keys(call(), "", []) for _ in range(3)] == [silent, silent, ncco.goodbye("goodbye_no_keys", german)]
    assert desk.keys(call("other"), "111111", []) == ncco.wrong_pin(url, 6, 2, speaker=german, seconds=5)


def test_a_rooms_own_language(store: Store, room: Room) -> None:
    """Once the PIN has told the room, its language is spoken, in the first style; a wrong PIN tells no room."""
    store.set_room(room, language="fr-FR", locked=True)
    desk = desk_of(store, phone_language="de-DE", phone_style=3)
    assert desk.keys(call(), room.pin, []) == ncco.goodbye("goodbye_locked", Speaker("fr-FR"))
    store.set_room(room, locked=False, lobby=True)
    waits = desk.keys(call("two"), room.pin, [])
    assert waits == ncco.wait_in_lobby(f"{BASE}/hold-music", Speaker("fr-FR"))
    store.close_room(room.name)
    wrong = desk.keys(call("three"), room.pin, [])
    assert wrong[0]["language"] == "de-DE"


def test_what_lets_a_phone_in(store: Store, room: Room) -> None:
    """A phone joins from where its keys are heard; in a room that waits it hears music, and a host begins and ends."""
    desk = desk_of(store)
    host = store.make_pin(room, "host")
    assert desk.keys(call("plain"), room.pin, []) == [KEYS_OF_A_CALL, {"action": "conversation", "name": "SESSION"}]
    assert desk.keys(call("plain host"), host.digits, [])[1] == {"action": "conversation", "name": "SESSION"}
    store.set_room(room, waits_for_host=True)
    _input, guest = desk.keys(call("guest"), room.pin, [])
    assert (guest["startOnEnter"], guest["musicOnHoldUrl"]) == (False, [f"{BASE}/hold-music.mp3"])
    assert "endOnExit" not in guest
    _input, begins = desk.keys(call("host"), host.digits, [])
    assert (begins["startOnEnter"], begins["endOnExit"]) == (True, True)
    assert "musicOnHoldUrl" not in begins


def test_admitted_from_the_lobby(store: Store, room: Room) -> None:
    """Who is let in from the lobby, by whatever process, gets the document of those who walk in."""
    desk = desk_of(store)
    straight = desk.keys(call("first"), room.pin, [])
    store.set_room(room, lobby=True)
    desk.keys(call("second"), room.pin, [])
    assert document_from_lobby(store, room) == straight


@pytest.mark.parametrize("why", ["no key", "all off"])
def test_without_keys_nothing_is_listened_to(store: Store, room: Room, why: str) -> None:
    """Without the application's key, or with all keys off, a phone joins as it is, and from the lobby as well."""
    off: dict[str, Any] = {"key_mute": "off", "key_hand": "off", "key_count": "off", "key_help": "off"}
    desk = desk_of(store, **off) if why == "all off" else desk_of(store, voice_api=False)
    after: list[Errand] = []
    assert desk.keys(call(), room.pin, after) == ncco.join("SESSION")
    store.set_room(room, lobby=True)
    desk.keys(call("second"), room.pin, [])
    assert document_from_lobby(store, room) == ncco.join("SESSION")
    assert bool(after) == (why == "all off")  # a tone needs the Voice API, and no key


def test_tones_are_rare(store: Store, room: Room) -> None:
    """One tone of joining and one of leaving in ten seconds, whatever happens, and each phone's joining once."""
    desk = desk_of(store)
    after: list[Errand] = []
    for leg in ("one", "two", "three"):
        desk.keys(call(leg), room.pin, after)
    assert after == [Errand("join-tone", "one", room.id, BASE)]
    for leg in ("one", "two"):
        desk.note(news(leg, status="completed"), after)
    assert [errand.deed for errand in after] == ["join-tone", "leave-tone"]
    store.advance_clock(TONE_SECONDS + 1)
    desk.note(news("three", type="transfer"), after)  # it was heard when it came
    desk.keys(call("four"), room.pin, after)
    desk.note(news("one", status="completed"), after)  # again: it left long ago
    desk.note(news("three", status="completed"), after)
    assert [errand.leg_uuid for errand in after] == ["one", "one", "four", "three"]


def test_tones_of_the_lobby(store: Store, room: Room) -> None:
    """A phone that waits is heard by nobody; the platform's word that an admitted one was moved is its tone."""
    store.set_room(room, lobby=True)
    desk = desk_of(store)
    after: list[Errand] = []
    desk.keys(call(), room.pin, after)
    desk.note(news("leg", type="transfer"), after)
    assert not after
    store.admit_caller("leg")
    for _ in range(2):
        desk.note(news("leg", type="transfer"), after)
    assert [errand.deed for errand in after] == ["join-tone"]


def test_tones_can_be_switched_off(store: Store, room: Room) -> None:
    """With PHONE_TONES=false nobody hears who comes and goes."""
    desk = desk_of(store, phone_tones=False)
    after: list[Errand] = []
    desk.keys(call(), room.pin, after)
    desk.note(news("leg", status="completed"), after)
    assert not after


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("2020-07-01T20:45:42.125Z", 1593636342.125),
        ("2020-07-01T20:45:42", 1593636342.0),
        ("2020-07-01T22:45:42+02:00", 1593636342.0),
        ("now", None),
        ("", None),
    ],
)
def test_the_platforms_times(told: str, seconds: float | None) -> None:
    """A time is read as the platform writes it; what is none counts as not said."""
    assert read_time({"timestamp": told}) == seconds
