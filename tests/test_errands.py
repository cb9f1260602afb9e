"""Errands: what follows from a webhook is done afterwards, in order of who waits, and a failure costs nobody else."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from sipkit import voice_calls
from sipkit.attendant import MOST_PHONES, Attendant, help_text
from sipkit.cloud import Account
from sipkit.errands import MOST, Errand, Errands
from sipkit.errors import PlatformUnreachable
from sipkit.phrases import ENGLISH, Speaker
from sipkit.rooms import Room
from sipkit.settings import Settings
from sipkit.store import Store

KEY, TONE = Errand("help", "leg", 1), Errand("join-tone", "leg", 1, "https://example.org")
ACCOUNT = Account(
    mode="sandbox",
    video_api_url="http://127.0.0.1:1",
    video_api_key="46000001",
    video_api_secret=SecretStr("video-secret"),
    voice_api_url="http://127.0.0.1:1",
    voice_api_key="KEY",
    voice_api_secret=SecretStr("voice-secret"),
    application_id="APP",
    signature_secret=SecretStr("a-signature-secret-of-32-letters"),
    conference_number="12025550100",
    private_key=SecretStr(
        rsa.generate_private_key(65537, 2048)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    ),
)
"""Of a platform at which nobody answers."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store."""
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}", ACCOUNT.environment)
    yield store
    store.close()


@pytest.fixture
def room(store: Store) -> Room:
    """An open room with a bridge and one phone."""
    room = store.open_room("standup", lambda: "SESSION")
    bridge, _claimed = store.claim_bridge(room, "owner")
    store.bridge_answered("SESSION", "bridge", bridge.nonce)
    store.caller_seen("leg", "12025550123", "joined", room.id)
    return room


@pytest.fixture
def attendant(store: Store) -> Attendant:
    """An attendant of that store."""
    return Attendant(Settings.load(mode="sandbox"), store, lambda: ACCOUNT)


def test_who_waits_comes_first(wait_until: Callable[..., Any]) -> None:
    """A key that is pressed while a tone goes round is answered before the rest of the tone."""
    done: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def do(errand: Errand) -> list[Errand]:
        if not done:
            begun.set()
            go_on.wait(10)
        done.append(errand.deed)
        return [TONE] if errand is TONE and len(done) < 4 else []

    errands = Errands(do)
    errands.put([TONE])
    begun.wait(10)
    errands.put([TONE, KEY])
    go_on.set()
    wait_until(lambda: len(done) >= 4)
    assert done[:3] == ["join-tone", "help", "join-tone"]
    errands.close()


def test_a_failure_costs_nobody_else(wait_until: Callable[..., Any]) -> None:
    """An errand that fails, foreseen or not, is followed by the next one."""
    done: list[int] = []

    def do(errand: Errand) -> list[Errand]:
        done.append(errand.room_id)
        raise ZeroDivisionError

    errands = Errands(do)
    errands.put(Errand("help", "leg", n) for n in range(3))
    wait_until(lambda: done == [0, 1, 2])
    errands.close()


def test_the_queue_is_bounded_and_ends(wait_until: Callable[..., Any]) -> None:
    """What does not fit is dropped, putting never waits, and closing leaves no thread and takes no more."""
    done: list[Errand] = []
    begun, go_on = threading.Event(), threading.Event()

    def do(errand: Errand) -> list[Errand]:
        begun.set()
        go_on.wait(10)
        done.append(errand)
        return []

    errands = Errands(do)
    errands.put([KEY])
    begun.wait(10)
    errands.put([KEY] * (2 * MOST))
    go_on.set()
    wait_until(lambda: len(done) == MOST + 1)
    errands.close()
    errands.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "errands"]
    errands.put([KEY])
    assert not [thread for thread in threading.enumerate() if thread.name == "errands"]


def test_nobody_asks_a_queue_that_was_never_used() -> None:
    """A server that never had an errand has no thread for them."""
    Errands(lambda _errand: ()).close()
    assert not [thread for thread in threading.enumerate() if thread.name == "errands"]


def test_a_mute_that_fails_is_taken_back(attendant: Attendant, store: Store, room: Room) -> None:
    """If the platform cannot be asked, the record is what it was and the timeline says so, without the number."""
    store.set_caller("leg", muted=True)
    assert not list(attendant.do(Errand("mute", "leg", room.id)))
    now = store.caller("leg")
    assert now is not None
    assert not now.muted
    text = store.events(room)[-1].text
    assert "•••0123 was not answered" in text
    assert "12025550123" not in text


@pytest.mark.parametrize(("phones", "heard"), [(0, 1), (MOST_PHONES, MOST_PHONES + 1), (MOST_PHONES + 1, 1), (48, 1)])
def test_what_a_tone_costs(
    attendant: Attendant, store: Store, room: Room, monkeypatch: pytest.MonkeyPatch, phones: int, heard: int
) -> None:
    """A tone goes to the bridge and to a few phones, not to the one that came; in a large room to the bridge alone."""
    for n in range(phones):
        store.caller_seen(f"other-{n}", "", "joined", room.id)
    played: list[str] = []

    def play(_account: object, leg: str, _url: str) -> bool:
        played.append(leg)
        return True

    monkeypatch.setattr(voice_calls, "play_to_leg", play)
    monkeypatch.setattr("sipkit.pace.take_turn", lambda _store: None)
    left = [Errand("join-tone", "leg", room.id, "https://example.org")]
    while left:
        left = list(attendant.do(left.pop()))
    assert len(played) == heard
    assert played[0] == "bridge"
    assert "leg" not in played


def test_a_tone_ends_with_the_call(
    attendant: Attendant, room: Room, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a leg is gone the others are on their way out as well, and nobody is asked for them."""
    store.caller_seen("other", "", "joined", room.id)
    asked: list[str] = []
    monkeypatch.setattr(voice_calls, "play_to_leg", lambda _account, leg, _url: asked.append(leg))
    assert not list(attendant.do(Errand("leave-tone", "leg", room.id, "https://example.org")))
    assert asked == ["bridge"]


def test_no_tone_into_music(attendant: Attendant, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones that hear music until their host is in are played nothing: it would end the music."""
    waits = store.open_room("waits", lambda: "OTHER")
    store.set_room(waits, waits_for_host=True)
    for leg in ("one", "two"):
        store.caller_seen(leg, "", "joined", waits.id)
    monkeypatch.setattr(voice_calls, "play_to_leg", lambda *_: pytest.fail("a tone was played"))
    assert not list(attendant.do(Errand("join-tone", "one", waits.id, "https://example.org")))


def test_errands_of_who_is_gone(attendant: Attendant, store: Store, room: Room) -> None:
    """For a phone that has left, or a room that was closed, nothing is asked of the platform."""
    store.caller_left("leg")
    assert not list(attendant.do(Errand("help", "leg", room.id)))
    store.close_room(room.name)
    assert not list(attendant.do(Errand("help", "leg", room.id)))
    assert not [event for event in store.events() if "not answered" in event.text]


def test_help_names_the_keys_that_are_set() -> None:
    """Help is read of the settings: other keys are read, and what is off is not."""
    settings = Settings.load(mode="sandbox", key_mute="*2", key_count="off")
    assert help_text(settings, ENGLISH) == (
        "To mute or unmute yourself, press star 2. To raise or lower your hand, press star 9. "
        "To hear this again, press star hash."
    )
    assert "Stern 2" in help_text(settings, Speaker("de-DE"))


def test_the_platform_is_not_there() -> None:
    """A tone that cannot be played is a PlatformUnreachable, as all requests about a leg are."""
    with pytest.raises(PlatformUnreachable):
        voice_calls.play_to_leg(ACCOUNT, "leg", "https://example.org/tones/joined")
