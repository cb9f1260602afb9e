"""SIP legs at the answer webhook: our own dials are known by their nonce, and nobody else's leg takes their place."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from sipkit import ncco
from sipkit.rooms import Bridge, Room
from sipkit.store import Store
from tests.standins.forger import Forger, Sent, app_of_an_account

SECRET = "a-signature-secret-of-32-letters"
NUMBER = "12025550123"


class Legs:
    """The platform, that says which leg has come."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._signer = Forger(SECRET, "KEY", "APP")

    def news(self, leg: str, status: str, to: str = NUMBER) -> None:
        """Tell of a leg that the platform has placed."""
        fields = {"uuid": leg, "from": "12025550100", "to": to, "direction": "outbound", "status": status}
        assert self._signer.signed(Sent("POST", "voice-events", fields, "")).send(self._app)[0] == 200

    def come(self, leg: str, nonce: str | None = None, session: str = "SESSION") -> str:
        """Tell of a leg; returns the answer's text."""
        fields = {"uuid": leg, "from": "46000001", "SipHeader_X-OpenTok-SessionId": session}
        fields |= {} if nonce is None else {"sipheader_x_sipkit_dial": nonce}
        status, text = self._signer.signed(Sent("POST", "voice-answer", fields, "")).send(self._app)
        assert status == 200
        return text


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """The app on a new store."""
    return app_of_an_account(tmp_path, SECRET)


@pytest.fixture
def store(app: Flask) -> Iterator[Store]:
    """Its store."""
    store: Store = app.extensions["sipkit"].store
    yield store
    store.close()


@pytest.fixture
def legs(app: Flask) -> Legs:
    """The platform."""
    return Legs(app)


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


@pytest.fixture
def bridge(store: Store, room: Room) -> Bridge:
    """Its bridge, claimed before the dial is sent."""
    return store.claim_bridge(room, "me")[0]


def said(store: Store) -> str:
    """The last entry of the timeline."""
    return store.events()[-1].text


def joins(text: str) -> bool:
    """Whether the leg was put into the conversation; if not, it must be hung up at once."""
    assert ('"conversation"' in text) != ('"wait"' in text)
    return '"conversation"' in text


def test_a_dial_whose_answer_was_lost_tells_its_leg(legs: Legs, store: Store, room: Room, bridge: Bridge) -> None:
    """The leg that comes with the nonce is the bridge's, though nobody knows its connection."""
    assert bridge.connection_id is None
    assert joins(legs.come("leg", bridge.nonce))
    living = store.living_bridge(room)
    assert living is not None
    assert (living.leg_uuid, living.state) == ("leg", "answered")
    assert joins(legs.come("leg", bridge.nonce))  # asked once more, with a new token


def test_a_second_leg_of_one_dial_is_hung_up(legs: Legs, store: Store, room: Room, bridge: Bridge) -> None:
    """A dial that arrived twice makes one bridge; the other leg is not wanted, and the timeline says so."""
    assert joins(legs.come("leg", bridge.nonce))
    assert not joins(legs.come("second", bridge.nonce))
    assert "nobody waits for" in said(store)
    living = store.living_bridge(room)
    assert living is not None
    assert living.leg_uuid == "leg"


def test_a_dial_that_was_hung_up_meanwhile_does_not_join(legs: Legs, store: Store, bridge: Bridge) -> None:
    """The leg of an ended bridge is hung up: nobody would end it later."""
    store.end_bridge(bridge.id, "hung up")
    assert not joins(legs.come("leg", bridge.nonce))
    assert "hung up meanwhile" in said(store)


@pytest.mark.parametrize("nonce", ["unknown", ""])
def test_an_unknown_nonce_does_not_join(legs: Legs, store: Store, room: Room, nonce: str) -> None:
    """A leg that names a dial nobody knows is hung up, bridge or not."""
    assert not joins(legs.come("leg", nonce))
    assert "No dial is known" in said(store)


def test_a_nonce_of_another_room_does_not_join(legs: Legs, store: Store, bridge: Bridge) -> None:
    """A dial is good for the session it was made for."""
    store.open_room("other", lambda: "OTHER")
    assert not joins(legs.come("leg", bridge.nonce, session="OTHER"))


def test_a_strangers_leg_joins_only_without_a_bridge_of_ours(legs: Legs, store: Store, room: Room) -> None:
    """A SIP leg of another program is let into an open room, unless our bridge is there or on its way."""
    assert joins(legs.come("stranger"))
    bridge, _ = store.claim_bridge(room, "me")
    assert not joins(legs.come("another"))
    assert joins(legs.come("leg", bridge.nonce))
    store.end_bridge(bridge.id, "hung up")
    assert joins(legs.come("third"))


def test_a_direct_call_is_connected_to_its_phone(legs: Legs, store: Store, room: Room) -> None:
    """The leg of a direct call is connected to the number it was dialled for, which no request and no log tells."""
    call, _ = store.claim_bridge(room, "me", number=NUMBER)
    text = legs.come("leg", call.nonce)
    assert text.strip() == _compact(ncco.call_phone(NUMBER, "12025550100"))
    assert NUMBER not in said(store)
    assert "0123" in said(store)


def test_a_called_phone_is_no_caller(legs: Legs, store: Store, room: Room) -> None:
    """What is told of the phone that a direct call rings stands in the room's timeline; it called no conference."""
    call, _ = store.claim_bridge(room, "me", number=NUMBER)
    legs.come("leg", call.nonce)
    for status in ("started", "ringing", "answered"):
        legs.news("called", status)
    store.end_bridge(call.id, "hung up")
    legs.news("called", "completed", to=f"+{NUMBER}")  # the last news may come after the call's own end
    assert store.caller("called") is None
    told = [event for event in store.events(room) if event.kind == "called-phone"]
    assert [event.data["status"] for event in told] == ["started", "ringing", "answered", "completed"]
    assert {event.text.partition(":")[0] for event in told} == {"The called phone •••0123"}
    assert all(NUMBER not in f"{event}" for event in store.events())


def test_a_phone_that_two_rooms_call(legs: Legs, store: Store, room: Room) -> None:
    """News of a number that several rooms call, or none, is noted in no room's timeline."""
    store.claim_bridge(room, "me", number=NUMBER)
    store.claim_bridge(store.open_room("other", lambda: "OTHER"), "me", number=NUMBER)
    for number in (NUMBER, "12025550199", ""):
        legs.news(f"called{number}", "ringing", to=number)
        assert "The called phone" in said(store)
        assert store.events()[-1].room_id is None


def _compact(document: ncco.Ncco) -> str:
    return json.dumps(document, separators=(",", ":"))
