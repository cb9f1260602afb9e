"""The watch at work: what is left connected is hung up, by whoever is alive; with real calls.

What becomes of a call whose processes are killed is in `test_kills`.
"""

from collections.abc import Iterator

import pytest

from sipkit.rooms import Bridge, Room
from sipkit.switchboard import Switchboard
from sipkit.watch import ROLE, ROLE_SECONDS, Watch

SECONDS = 15.0


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests."""
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room with nobody in it, closed afterwards."""
    room = board.open_room("watched")
    yield room
    board.close_room("watched")


@pytest.fixture
def watch(board: Switchboard) -> Watch:
    """A watch that leads, so that the webhook server's own does nothing."""
    store = board._store
    store.advance_clock(ROLE_SECONDS + 1)
    board.wait_for(lambda: store.leads(ROLE, "test", 10**6), SECONDS, "the role")
    return Watch(board._settings, store, board._account, "test")


def called(board: Switchboard, room: Room) -> Bridge:
    """The room's bridge, answered."""
    board.dial_out(room)
    bridge = board.wait_for_bridge(room, "answered", SECONDS)
    assert bridge is not None
    return bridge


def told(board: Switchboard, room: Room) -> list[str]:
    """What the timeline says of the guard."""
    return [event.text for event in board.events(room) if "guard" in event.kind or "guard" in event.text]


def test_a_call_with_nobody_in_it(board: Switchboard, room: Room, watch: Watch) -> None:
    """After five minutes without browser and phone a call is hung up, and the timeline says why."""
    called(board, room)
    watch.round()
    board._store.advance_clock(290)
    watch.round()
    assert board.bridge(room) is not None
    board._store.advance_clock(11)
    watch.round()
    assert board.bridge(room) is None
    warned, ended = told(board, room)
    assert "will be hung up in" in warned
    assert "nobody is in it" in ended


def test_a_browser_or_a_phone_keeps_it(board: Switchboard, room: Room, watch: Watch) -> None:
    """With somebody in the session a call lasts three hours; the end is spoken to the phones before."""
    participant = board.participant(room)
    called(board, room)
    phone = board.phone().wait_for("answered", SECONDS)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    phone.keys(f"{board.open_room('watched').pin}#")
    board.wait_for_callers(room, 1, SECONDS)
    for minutes in (10, 169):
        board._store.advance_clock(60 * minutes)
        watch.round()
        assert board.bridge(room) is not None
    board._store.advance_clock(30)
    watch.round()
    board.wait_for(
        lambda: [line for line in board.trace().events() if "less than a minute" in str(line.get("text"))],
        SECONDS,
        "the warning on the phone",
    )
    board._store.advance_clock(61)
    watch.round()
    phone.wait_for("ended", SECONDS)
    participant.leave()


def test_a_phone_alone_is_not_enough_for_ever(board: Switchboard, room: Room, watch: Watch) -> None:
    """Fifteen minutes after the last browser a call is hung up though a phone is in it."""
    called(board, room)
    phone = board.phone().wait_for("answered", SECONDS)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    phone.keys(f"{board.open_room('watched').pin}#")
    board.wait_for_callers(room, 1, SECONDS)
    watch.round()
    board._store.advance_clock(14 * 60)
    watch.round()
    assert board.bridge(room) is not None
    board._store.advance_clock(61)
    watch.round()
    phone.wait_for("ended", SECONDS)


def test_one_watch_acts(board: Switchboard, watch: Watch) -> None:
    """While one leads no other one does; when it is gone another one leads within 15 seconds."""
    store = board._store
    other = Watch(board._settings, store, board._account, "other")
    assert watch is not other
    assert not store.leads(ROLE, "other", ROLE_SECONDS)
    store.advance_clock(10**6 + 1)
    assert store.leads(ROLE, "other", ROLE_SECONDS)
    assert not store.leads(ROLE, "test", ROLE_SECONDS)
    store.advance_clock(15)
    assert store.leads(ROLE, "test", ROLE_SECONDS)
