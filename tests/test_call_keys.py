"""Keys pressed in a call: how they are found, in whatever order they come, and what is kept of them."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from sipkit.errands import Errand, Errands
from sipkit.errors import SettingsError
from sipkit.keypad import Keypad, told_apart
from sipkit.replays import Answer, answered_once
from sipkit.rooms import Room
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.store.key_book import KEYS_WITHIN
from sipkit.store.schema import READ, facts
from sipkit.webhooks import office_of
from sipkit.webhooks.callbacks import Callback
from sipkit.webhooks.key_desk import KeyDesk
from tests.standins.forger import Forger, Sent, app_of_an_account

NUMBER = "12025550123"
CALL = Callback("leg", NUMBER, None)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of this file's store."""
    return f"sqlite:///{tmp_path_factory.mktemp('keys') / 'store.db'}"


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[Store]:
    """This file's store."""
    store = Store.open(url, "sandbox:1")
    yield store
    store.close()


@pytest.fixture(scope="module")
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


@pytest.fixture
def desk(store: Store, room: Room) -> KeyDesk:
    """The desk, with a phone in the room that has keyed nothing."""
    store.caller_seen("leg", NUMBER, "joined", room.id)
    store.set_caller("leg", muted=False)
    store.set_hand("leg", up=False)
    store.forget_keys("leg")
    return KeyDesk(Keypad(), store)


def typed(desk: KeyDesk, keys: str, start: float = 1000.0, apart: float = 0.3) -> list[str]:
    """The deeds of keys that come one after the other."""
    found = [desk.pressed(CALL, key, start + apart * n) for n, key in enumerate(keys)]
    return [errand.deed for errands in found for errand in errands]


def kept(store: Store) -> str:
    """All that the store knows by name."""
    return store.run(READ, lambda conn: str(conn.execute(select(facts.c.key, facts.c.value)).all()))


@pytest.mark.parametrize(
    ("keys", "deeds"),
    [
        ("*6", ["mute"]),
        ("*6*6", ["mute", "mute"]),
        ("*9*1*#", ["hand", "count", "help"]),
        ("**6", ["mute"]),
        ("483920#*9", ["hand"]),
        ("6*", []),
        ("*7#", []),
    ],
)
def test_what_keys_do(desk: KeyDesk, keys: str, deeds: list[str]) -> None:
    """A deed is done when its last key comes, whatever came before; other keys do nothing."""
    assert typed(desk, keys) == deeds


def test_what_is_kept_at_once(desk: KeyDesk, store: Store) -> None:
    """The wish is in the store before the platform is asked; unmuting settles a host's wish to hear the phone."""
    typed(desk, "*6")
    store.ask_unmute("leg", on=True)
    typed(desk, "*9", 2000.0)
    now = store.caller("leg")
    assert now is not None
    assert (now.muted, now.hand, now.unmute_asked) == (True, True, True)
    typed(desk, "*6*9", 3000.0)
    now = store.caller("leg")
    assert now is not None
    assert (now.muted, now.hand, now.unmute_asked) == (False, False, False)


def test_keys_that_come_late_or_twice(desk: KeyDesk) -> None:
    """Times of the platform order the keys of a deed, and a request that is repeated counts once."""
    assert not desk.pressed(CALL, "6", 2.0)
    assert [errand.deed for errand in desk.pressed(CALL, "*", 1.0)] == ["mute"]
    for key, at in (("6", 2.0), ("*", 1.0), ("6", 2.0)):
        assert not desk.pressed(CALL, key, at)
    assert typed(desk, "*6", 10.0) == ["mute"]


@given(
    order=st.sampled_from(sorted(permutations(range(2)))),
    deed=st.sampled_from(sorted(Keypad().deeds())),
    gap=st.floats(0.05, 1.9),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_any_order_any_worker(
    url: str, store: Store, desk: KeyDesk, order: tuple[int, ...], deed: tuple[str, str], gap: float
) -> None:
    """The two keys of a deed are found in either order, each by a worker of its own, and repeats of both do nothing."""
    store.forget_keys("leg")
    workers = [Store.open(url, "sandbox:1") for _ in range(2)]
    desks = [KeyDesk(Keypad(), worker) for worker in workers]
    found = []
    for n in (*order, *order):
        found += desks[n].pressed(CALL, deed[1][n], 50.0 + gap * n)
    assert [errand.deed for errand in found] == [deed[0]]
    for worker in workers:
        worker.close()


def test_two_workers_at_the_same_moment(store_url: str) -> None:
    """Where both keys of a deed come to two workers at once, whole requests, exactly one of them finds the deed."""
    workers = [Store.open(store_url, "sandbox:1") for _ in range(2)]
    room = workers[0].open_room("standup", lambda: "SESSION")
    for leg in (f"leg-{n}" for n in range(12)):
        workers[0].caller_seen(leg, NUMBER, "joined", room.id)
        with ThreadPoolExecutor(2) as pool:
            for round_ in range(2):
                start = threading.Barrier(2)
                answers = list(pool.map(partial(press, workers, start, leg, 10.0 * round_), range(2)))
                assert sorted(answers) == ["", "mute"]
        now = workers[1].caller(leg)
        assert now is not None
        assert not now.muted  # twice
    for worker in workers:
        worker.close()


def press(workers: list[Store], start: threading.Barrier, leg: str, at: float, n: int) -> str:
    """One of the keys of *6, as a worker takes the request of it; returns the deeds it found."""
    store = workers[n]
    desk = KeyDesk(Keypad(), store)

    def work() -> Answer:
        found = desk.pressed(Callback(leg, NUMBER, None), "*6"[n], 100.0 + at + n)
        return Answer(200, " ".join(errand.deed for errand in found))

    start.wait(10)
    return answered_once(store, f"{leg} {at} {n}", "hash", work).body


def test_slow_keys_are_no_deed(desk: KeyDesk) -> None:
    """A key that is pressed much later belongs to nothing that was begun."""
    assert typed(desk, "*6", apart=KEYS_WITHIN + 0.1) == []


def test_without_times_the_order_of_arrival_counts(desk: KeyDesk, store: Store) -> None:
    """Where the platform tells no time, keys count in the order in which they come."""
    assert not desk.pressed(CALL, "*", None)
    assert [errand.deed for errand in desk.pressed(CALL, "6", None)] == ["mute"]


def test_keys_are_forgotten(desk: KeyDesk, store: Store) -> None:
    """A PIN that somebody keys into a call is gone with the next key that anybody presses some seconds later."""
    typed(desk, "483920", 1000.0, 0.1)
    assert "483" not in kept(store).replace('", ', "").replace("[1000", "")
    store.caller_seen("other", NUMBER, "joined", 1)
    store.advance_clock(KEYS_WITHIN + 1)
    desk.pressed(Callback("other", NUMBER, None), "1", None)
    assert "keyed:leg" not in kept(store)


def test_phones_that_are_not_in_a_call(store: Store, room: Room) -> None:
    """Keys of a leg that nobody knows, that waits, or that has left, do nothing."""
    desk = KeyDesk(Keypad(), store)
    store.caller_seen("waits", NUMBER, "waiting", room.id)
    store.caller_seen("gone", NUMBER, "left", room.id)
    for leg in ("unknown", "waits", "gone"):
        assert typed(KeyDesk(Keypad(), store), "") == []
        assert not [each for key in "*6" for each in desk.pressed(Callback(leg, NUMBER, None), key, None)]


class Noted(Errands):
    """Errands that nobody does."""

    left: Sequence[Errand] = ()

    def put(self, errands: Iterable[Errand]) -> None:
        """Keep them to be looked at."""
        self.left = [*self.left, *errands]


def test_a_request_of_a_key_has_one_effect(tmp_path: Path) -> None:
    """The requests of two keys mute a phone and leave one errand; both again, by their tokens, change nothing."""
    secret = "a-signature-secret-of-32-letters"
    app, forger = app_of_an_account(tmp_path, secret), Forger(secret, "KEY", "APP")
    office, noted = office_of(app), Noted(lambda _errand: ())
    office.errands = noted
    room = office.store.open_room("standup", lambda: "SESSION")
    office.store.caller_seen("leg", NUMBER, "joined", room.id)
    requests = [
        forger.signed(
            Sent("POST", "voice-keys", {"uuid": "leg", "dtmf": key, "timestamp": f"2026-11-30T10:00:0{n}Z"}, "")
        )
        for n, key in enumerate("*6")
    ]
    for request in (*requests, *requests):
        assert request.send(app) == (200, '{"ok":true}\n')
    assert noted.left == [Errand("mute", "leg", room.id)]
    now = office.store.caller("leg")
    assert now is not None
    assert now.muted
    assert not [event for event in office.store.events() if "*" in event.text or "dtmf" in event.text]


@given(st.lists(st.text("0123456789*#", min_size=1, max_size=4), min_size=4, max_size=4))
def test_keys_that_are_told_apart_are_all_found(keys: list[str]) -> None:
    """Where no keys are within others, each deed is found when its keys are pressed, and no other before."""
    keypad = Keypad(*keys)
    if not told_apart(keypad):
        return
    for deed, typed_keys in keypad.deeds():
        assert keypad.find(typed_keys) == (deed, len(typed_keys))
        assert keypad.find(typed_keys[:-1]) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEY_MUTE", "*6x"), ("KEY_HAND", "12345"), ("KEY_COUNT", "*6"), ("KEY_HELP", "6"), ("PHONE_LANGUAGE", "tlh")],
)
def test_settings_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str) -> None:
    """Keys that no phone has, that are another's or within another's, and unknown languages are a SettingsError."""
    monkeypatch.setenv("SIPKIT_PROJECT_ROOT", str(tmp_path))
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        Settings.load()


def test_keys_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A line of .env sets keys, # included; off means none, for a child process as well."""
    (tmp_path / ".env").write_text("KEY_MUTE=*#\nKEY_HELP=off\nKEY_COUNT=*0\nPHONE_LANGUAGE=DE_de\nPHONE_STYLE=2\n")
    monkeypatch.setenv("SIPKIT_PROJECT_ROOT", str(tmp_path))
    settings = Settings.load()
    assert dict(settings.keypad.deeds()) == {"mute": "*#", "hand": "*9", "count": "*0"}
    assert (settings.speaker().language, settings.speaker().style) == ("de-DE", 2)
    assert (settings.speaker("fr-FR").language, settings.speaker("fr-FR").style) == ("fr-FR", 0)
    assert settings.child_environ()["KEY_HELP"] == "off"


@pytest.mark.parametrize(("first", "following", "rounds"), [(16, 8, 2), (15, 5, 3), (3, 10, 1), (16, 5, 4)])
def test_two_timers_out_of_one(first: int, following: int, rounds: int) -> None:
    """The time to the first digit is kept by as many rounds of the platform's one timer as it takes."""
    settings = Settings.load(mode="sandbox", first_digit_seconds=first, next_digit_seconds=following)
    assert settings.silent_rounds == rounds
