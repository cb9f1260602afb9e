"""Odd requests and odd orders: whatever comes to the webhook server, in whatever order, it keeps its promises.

`python soak/fuzz.py` sends two hundred thousand requests of the first kind.
"""

import json
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sipkit.rooms import Room
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from tests.standins.forger import STATUSES, Forger, Sent, app_of_an_account
from tests.standins.fuzz import Fuzz, document_faults

SECRET = "a-signature-secret-of-32-letters"
REQUESTS = 3_000
GROWTH_MEGABYTES = 60.0
"""What a server may take while it warms up; a body of 64 KiB kept for each request would be twice that."""


def test_whatever_comes(own_board: Switchboard) -> None:
    """Thousands of requests, right, odd and forged: 2xx or 4xx, JSON but for the page, valid documents."""
    own_board.start_webhook_server()
    fuzz = Fuzz(own_board, seed=5)
    fuzz.fire(REQUESTS // 2)
    fuzz.close_a_room()
    tally = fuzz.fire(REQUESTS // 2)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.requests == REQUESTS
    assert {200, 400, 401, 403, 404, 405, 410} <= tally.statuses.keys()
    assert tally.documents > REQUESTS / 10
    before, after = tally.megabytes
    assert after - before < GROWTH_MEGABYTES


def test_a_stranger_leaves_no_rows_behind(tmp_path: Path) -> None:
    """Hundreds of forged requests leave one line a second in the timeline, and nothing else in the store."""
    app = app_of_an_account(tmp_path, SECRET)
    forger = Forger("another secret", "KEY", "APP")

    def rows() -> dict[str, int]:
        with closing(sqlite3.connect(tmp_path / "db")) as conn:
            tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: conn.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608

    before, began = rows(), time.monotonic()
    assert {forger.genuine().send(app)[0] for _ in range(300)} == {401}
    seconds = time.monotonic() - began
    after = rows()
    assert 1 <= after.pop("events") - before.pop("events") <= seconds + 1
    assert after == before


LEGS = st.integers(0, 4)
TYPED = st.sampled_from(["room", "room", "own", "host", "other", "old", "wrong", "wrong", "none", "mute"])


class Desk(RuleBasedStateMachine):
    """A conference number in any order of calls, keys, news, repetitions, and hosts' decisions."""

    @initialize(locked=st.booleans())
    def open(self, locked: bool) -> None:
        """An app with two rooms, of which every other time one is locked, and PINs of every kind."""
        self.home = tempfile.TemporaryDirectory()
        self.app = app_of_an_account(Path(self.home.name), SECRET)
        self.store: Store = self.app.extensions["sipkit"].store
        self.forger = Forger(SECRET, "KEY", "APP")
        self.room = self.store.open_room("standup", lambda: "SESSION-1")
        other = self.store.open_room("retro", lambda: "SESSION-2")
        self.pins = {
            "room": self.room.pin,
            "old": self.room.pin,
            "other": other.pin,
            "own": self.store.make_pin(self.room, "personal", "Ada").digits,
            "host": self.store.make_pin(self.room, "host").digits,
            "wrong": "000000",
            "none": "",
            "mute": "*6",
        }
        self.ever = {pin for pin in self.pins.values() if len(pin) >= 6}
        self.rooms = {"SESSION-1": self.room, "SESSION-2": other}
        self.entitled: set[tuple[str, int]] = set()
        self.wrong: dict[str, int] = {}
        self.left: set[str] = set()
        self.open_room, self.locked = True, locked
        self.store.set_room(self.room, locked=locked)
        self.sent: list[tuple[Sent, tuple[int, str]]] = []

    def teardown(self) -> None:
        """Nothing that was ever written down tells a PIN or a number."""
        if not hasattr(self, "store"):
            return
        told = " ".join(f"{event.text} {json.dumps(dict(event.data))}" for event in self.store.events())
        assert not [secret for secret in (*self.ever, *map(self.number, range(5))) if secret in told]
        self.store.close()
        self.home.cleanup()

    @staticmethod
    def number(leg: int) -> str:
        """Two legs are of one caller."""
        return f"120255501{leg % 4:02}"

    def send(self, route: str, leg: int, **fields: Any) -> list[dict[str, Any]]:
        """Send a signed request; returns the call document, if that is the answer."""
        fields = {"uuid": f"leg-{leg}", "from": self.number(leg), **fields}
        sent = self.forger.signed(Sent("POST", route, fields, ""))
        answer = sent.send(self.app)
        self.sent.append((sent, answer))
        assert answer[0] == 200, answer
        value = json.loads(answer[1])
        if isinstance(value, dict):
            assert value == {"ok": True}
            return []
        assert not list(document_faults(value))
        return list(value)

    def joins(self, document: list[dict[str, Any]]) -> Room | None:
        """The room a call document lets in."""
        names = [action["name"] for action in document if action["action"] == "conversation"]
        return self.rooms[names[0]] if names else None

    @rule(leg=LEGS)
    def call(self, leg: int) -> None:
        """A phone calls: it is asked for a PIN, or told goodbye; never let in."""
        assert self.joins(self.send("voice-answer", leg)) is None

    @rule(leg=LEGS, typed=TYPED)
    def type(self, leg: int, typed: str) -> None:
        """A phone types: only a PIN that is good now lets in, and only where the door is open."""
        uuid = f"leg-{leg}"
        before = self.store.caller(uuid)
        document = self.send("voice-dtmf", leg, dtmf={"digits": self.pins[typed], "timed_out": False})
        room, spoken = self.joins(document), [action["action"] for action in document]
        good = typed == "other" or (typed in {"room", "own", "host"} and self.open_room)
        good |= typed == "old" and self.pins["old"] == self.pins["room"] and self.open_room
        if typed in {"wrong", "none", "mute", "old"} or not good:
            assert room is None or good
        if not good and typed != "none":
            self.wrong[uuid] = self.wrong.get(uuid, 0) + 1
            if self.wrong[uuid] >= 3:
                assert spoken == ["talk"]
        if good and (room is not None or spoken[-1] != "input"):
            self.entitled.add((uuid, self.rooms["SESSION-2" if typed == "other" else "SESSION-1"].id))
        inside = before is not None and before.state == "joined"
        if self.locked and typed in {"room", "own", "old"} and not inside:
            assert room is None

    @rule(leg=LEGS, status=st.sampled_from(STATUSES))
    def news(self, leg: int, status: str) -> None:
        """News of a leg comes, in whatever order."""
        self.send("voice-events", leg, status=status)
        if status in {"completed", "failed"}:
            self.left.add(f"leg-{leg}")

    @rule(which=st.randoms(use_true_random=False), otherwise=st.booleans())
    def repeat(self, which: Any, otherwise: bool) -> None:
        """A request comes again: the same answer, and nothing else happens. Sent to another route it is refused."""
        if not self.sent:
            return
        sent, answer = which.choice(self.sent)
        known = self.store.events()[-1].id if self.store.events() else 0
        if otherwise:
            other = "voice-events" if sent.route != "voice-events" else "voice-answer"
            assert replace(sent, route=other).send(self.app)[0] == 401
        else:
            assert sent.send(self.app) == answer
        assert {event.kind for event in self.store.events(since=known)} <= {"refused"}

    @rule(locked=st.booleans(), lobby=st.booleans())
    def decide(self, locked: bool, lobby: bool) -> None:
        """A host locks or opens the room, with a lobby or without."""
        if self.open_room:
            self.store.set_room(self.room, locked=locked, lobby=lobby)
            self.locked = locked

    @rule()
    def new_pin(self) -> None:
        """A host gives the room a new PIN."""
        if self.open_room:
            self.pins["room"] = self.store.make_pin(self.room).digits
            self.ever.add(self.pins["room"])

    @rule()
    def close_room(self) -> None:
        """A host closes the room."""
        self.store.close_room("standup")
        self.open_room = False

    @rule(seconds=st.sampled_from([1.0, 61.0, 200.0, 700.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by, for as long as PINs and tokens are good."""
        self.store.advance_clock(seconds)
        self.sent = self.sent if seconds < 61 else []

    @invariant()
    def nobody_is_there_who_may_not(self) -> None:
        """Who is on record as joined or waiting typed a right PIN; who left is gone for good."""
        if not hasattr(self, "store"):
            return
        for leg in range(5):
            caller = self.store.caller(f"leg-{leg}")
            if caller is None:
                continue
            if caller.state in {"joined", "waiting"}:
                assert (caller.leg_uuid, caller.room_id) in self.entitled
            assert (caller.state == "left") == (caller.leg_uuid in self.left)


TestDesk = pytest.mark.filterwarnings("ignore::ResourceWarning")(Desk.TestCase)
TestDesk.settings = hypothesis_settings(max_examples=20, stateful_step_count=25, deadline=None)
