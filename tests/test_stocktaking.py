"""Taking stock, with real calls: what is up and over on record is hung up, what is gone is ended, strangers stay."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sipkit import voice_calls
from sipkit.orphans import AT_THE_DOOR
from sipkit.phones import SandboxPhone
from sipkit.rooms import Room
from sipkit.stocktaking import Stocktaking
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from sipkit.watch import MISSING_AFTER, ROLE, ROLE_SECONDS, Watch
from tests.standins.boards import connections

SECONDS = 15.0


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests, whose webhook server's own watch does nothing."""
    store = hall._store
    store.advance_clock(ROLE_SECONDS + 1)
    hall.wait_for(lambda: store.leads(ROLE, "test", 10**6), SECONDS, "the role")
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room, closed afterwards."""
    room = board.open_room("counted")
    yield room
    board.close_room(room)


@pytest.fixture
def stock(board: Switchboard) -> Stocktaking:
    """Somebody who takes stock of the board's store."""
    return Stocktaking(board._settings, board._store, board._account)


def joined(board: Switchboard, room: Room) -> SandboxPhone:
    """A phone in the room's conversation."""
    phone = board.phone().wait_for("answered", SECONDS)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    phone.keys(f"{room.pin}#")
    board.wait_for_callers(room, 1, SECONDS)
    return phone


def told(board: Switchboard) -> list[str]:
    """What the timeline says of the guard, the newest last."""
    return [event.text for event in board.events() if event.kind == "guard"]


@pytest.mark.parametrize("by", ["its leg", "its connection"])
def test_a_bridge_that_is_up_and_over_on_record(
    board: Switchboard, room: Room, stock: Stocktaking, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bridge that the store takes for ended is hung up, phones and all; without an application's key too."""
    if by == "its connection":
        monkeypatch.setattr("sipkit.voice_calls.can_call", lambda _account: False)
    else:
        stock.look()  # the first look alone asks for connections
    board.dial_out(room)
    bridge = board.wait_for_bridge(room, "answered", SECONDS)
    assert bridge is not None
    phone = joined(board, room)
    board._store.end_bridge(bridge.id, "a test says so")
    stock.look()
    stock.look()
    phone.wait_for("ended", SECONDS)
    board.wait_for(lambda: not connections(board, room.session_id), SECONDS, "no connection")
    assert "was hung up" in told(board)[-1]


def test_phones_that_nobody_waits_for(board: Switchboard, room: Room, stock: Stocktaking) -> None:
    """Hung up are a phone in a room that was closed without its leave, and one that is at the door for hours."""
    closed = board.open_room("closed")
    left_in, here = joined(board, closed), joined(board, room)
    at_door = board.phone().wait_for("answered", SECONDS)
    board._store.close_room(closed.name)
    stock.look()
    stock.look()
    left_in.wait_for("ended", SECONDS)
    assert "its room is closed" in told(board)[-1]
    board._store.advance_clock(AT_THE_DOOR + 1)
    stock.look()
    stock.look()
    at_door.wait_for("ended", SECONDS)
    assert here.state == "answered"
    here.hang_up()


def test_what_is_on_record_and_gone(board: Switchboard, room: Room, stock: Stocktaking) -> None:
    """A bridge and a phone whose last news were lost with a killed server do not stay on record."""
    store = board._store
    bridge, _ = store.claim_bridge(room, board.owner)
    store.bridge_dialed(bridge.id, "gone", "gone")
    store.bridge_answered(room.session_id, "f" * 32, bridge.nonce)
    store.caller_seen("e" * 32, "12025550123", "joined", room.id)
    store.advance_clock(6)  # until then a leg that is not there may be on its way
    stock.look()
    assert board.bridge(room) is None
    (caller,) = board.callers(room)
    assert caller.state == "left"
    assert any("•••0123 is gone" in text for text in told(board))


def test_a_bridge_that_the_platform_does_not_list(board: Switchboard, room: Room) -> None:
    """A bridge whose connection is not listed, two looks long, is ended on record."""
    store = board._store
    watch = Watch(board._settings, store, board._account, "test")
    bridge, _ = store.claim_bridge(room, board.owner)
    store.bridge_dialed(bridge.id, "gone", "gone")
    watch.round()
    store.advance_clock(MISSING_AFTER + 1)
    watch.round()
    assert board.bridge(room) is not None
    watch.round()
    assert board.bridge(room) is None
    assert "does not list" in board.events(room)[-1].text


def test_a_lost_store(
    board: Switchboard, room: Room, tmp_path: Path, sandbox_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is up when the store is lost is told once and left alone, as a stranger's is, until somebody says so."""
    monkeypatch.setattr(voice_calls, "_PAGE", 1)
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    phone = joined(board, room)
    home = tmp_path / "another"
    home.mkdir(mode=0o700)
    (home / "sandbox").symlink_to(sandbox_home, target_is_directory=True)
    with Switchboard.from_env(home=home) as another:
        stock = Stocktaking(another._settings, another._store, another._account)
        for _ in range(4):
            stock.look()
        (text,) = told(another)
        assert text.startswith("2 of the number's calls are up that are not on record here")
        another.hang_up_everything()
        assert phone.state == "answered"
        assert connections(board, room.session_id)
        another.hang_up_everything(strangers=True)
    phone.wait_for("ended", SECONDS)
    board.wait_for(lambda: not connections(board, room.session_id), SECONDS, "no connection")


def test_another_machines_owner(board: Switchboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner elsewhere is gone when nobody there has said for a minute that it is not; one here when it has ended."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"

    def hostname(name: str) -> None:
        monkeypatch.setattr("socket.gethostname", lambda: name)

    with closing(Store.open(url, "test")) as there, closing(Store.open(url, "test")) as here:
        hostname("there")
        there.tell_owner("kernel")
        for _ in range(3):
            here.advance_clock(50)
            hostname("there")
            there.keep_owners(["kernel"])
            hostname("here")
            here.keep_owners(["kernel"])
            assert not here.owner_gone("kernel")
        here.advance_clock(61)
        assert here.owner_gone("kernel")
        assert not here.owner_gone("nobody knows")
        hostname("there")
        assert not there.owner_gone("kernel")
