"""The cost meter over real calls: what is charged for, corrected, told and exported, and budgets that end calls."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests

from sipkit import cli
from sipkit.errors import BudgetSpent, SettingsError
from sipkit.lessons.sound import voice
from sipkit.phones import SandboxPhone
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.watch import ROLE, ROLE_SECONDS, Watch

SECONDS = 15.0
NUMBER = "12025550123"
CALLER = "12025550187"


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests."""
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room that has cost nothing yet, closed afterwards."""
    yield board.open_room("metered")
    board.close_room("metered")


@pytest.fixture
def watch(board: Switchboard) -> Watch:
    """A watch that leads, so that the webhook server's own does nothing."""
    store = board._store
    store.advance_clock(ROLE_SECONDS + 1)
    board.wait_for(lambda: store.leads(ROLE, "test", 10**6), SECONDS, "the role")
    return Watch(board._settings, store, board._account, "test")


def joined(board: Switchboard, room: Room) -> SandboxPhone:
    """A phone in the room's conversation."""
    phone = board.phone(from_=CALLER).wait_for("answered", SECONDS)
    phone.wait_until_heard(voice, SECONDS)
    phone.keys(f"{room.pin}#")
    board.wait_for_callers(room, 1, SECONDS)
    return phone


def kinds(board: Switchboard, room: Room) -> list[tuple[str, str]]:
    """What is charged for and whose it is, sorted."""
    return sorted((line.charge.kind, line.charge.who.partition(" •")[0]) for line in board.costs(room).lines)


def told(board: Switchboard, room: Room, word: str) -> list[str]:
    """The timeline's lines of a kind."""
    return [event.text for event in board.events(room) if event.kind == word]


def test_a_call_is_metered_corrected_and_told(
    board: Switchboard, room: Room, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each leg is counted while it lives; at its end the platform's price takes the place of ours; a sum is told."""
    participant = board.participant(room)
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    joined(board, room)
    watch.round()
    here = [("inbound", "phone"), ("inbound", "the bridge"), ("sip", "the bridge")]
    assert kinds(board, room) == [*here, ("video", "a participant"), ("video", "the bridge")]
    live = board.costs(room)
    assert live.running
    assert live.per_minute == {"USD": Decimal("0.0132"), "EUR": Decimal("0.0090")}
    assert live.total["USD"] == Decimal("0.0132")  # three started minutes
    board._store.advance_clock(600)
    assert board.costs(room).total["USD"] == Decimal("0.1452")
    assert board.costs(room).total["EUR"] > Decimal("0.0900")
    board.hang_up(room)
    board.wait_for(lambda: sum(line.corrected for line in board.costs(room).lines) == 2, SECONDS, "two told prices")
    done = board.costs(room)
    assert not done.running
    # The sandbox says how long the legs really were: seconds, for which an estimate of ten minutes goes.
    assert Decimal(0) < done.total["EUR"] < Decimal("0.0090")
    assert done.total["USD"] == Decimal("0.1452")
    assert done.estimate
    [text] = told(board, room, "cost")
    assert "cost about 0.1452 USD and 0.0" in text
    participant.leave()
    assert cli.main(["costs", "metered", "--csv"]) == 0
    assert capsys.readouterr().out == done.csv()
    assert room.pin not in done.csv()
    assert "phone •••0187" in done.csv()
    assert CALLER not in done.csv()
    assert cli.main(["costs"]) == 0
    assert "room 'metered': 0.1452 USD and 0.0" in capsys.readouterr().out
    assert cli.main(["costs", "nowhere"]) == 1


def test_a_phone_without_a_pin_costs_too(board: Switchboard, room: Room) -> None:
    """Who calls the number and types nothing is in the sum of all rooms, and in no room's."""
    before = len(board.costs().lines)
    phone = board.phone().wait_for("answered", SECONDS)
    board.wait_for(lambda: len(board.costs().lines) > before, SECONDS, "its charge")
    assert board.costs().lines[-1].charge.room == ""
    phone.hang_up()
    board.wait_for(lambda: board.costs().lines[-1].corrected, SECONDS, "its price")
    assert board.costs(room).lines == ()


def test_a_direct_call_has_a_leg_more(board: Switchboard, room: Room, sandbox: Any) -> None:
    """The phone that a direct call rings is charged for from its answer on, besides the bridge that leads to it."""
    auth = (sandbox.voice_api_key, sandbox.voice_api_secret)
    url = f"{sandbox.api_url}/sandbox/phones/expect"
    requests.post(url, json={"number": NUMBER}, auth=auth, timeout=10).raise_for_status()
    board.call(room, NUMBER)
    board.wait_for(lambda: ("outbound", "a called phone") in kinds(board, room), SECONDS, "the called phone")
    board.hang_up_calls(room)
    board.wait_for(lambda: not board.costs(room).running, SECONDS, "its end")
    outbound = next(line for line in board.costs(room).lines if line.charge.kind == "outbound")
    assert outbound.corrected


def test_a_budget_ends_the_call(board: Switchboard, room: Room, watch: Watch) -> None:
    """A minute before it is used up the timeline says so and the phone hears it; then the call is hung up, for good."""
    with pytest.raises(SettingsError):
        board.set_budget(room, -1)
    board.set_budget(room, 0.10)
    assert board.budget(room) == 0.10
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    phone = joined(board, room)
    watch.round()
    assert told(board, room, "guard") == []
    board._store.advance_clock(9 * 60)  # 0.0910 USD of 0.0091 a minute: 59 seconds are left
    watch.round()
    watch.round()
    [warning] = told(board, room, "guard")
    assert "the room's budget is used up" in warning
    assert board.bridge(room) is not None
    board.wait_for(
        lambda: [line for line in board.trace().events() if "less than a minute" in str(line.get("text"))],
        SECONDS,
        "the warning on the phone",
    )
    board._store.advance_clock(61)
    watch.round()
    phone.wait_for("ended", SECONDS)
    assert board.bridge(room) is None
    # Its leg's own news may come before the watch has written down why it ended.
    board.wait_for(lambda: "the room's budget is used up" in str(told(board, room, "hang-up")), SECONDS, "the reason")
    with pytest.raises(BudgetSpent, match=r"0\.1001 USD"):
        board.dial_out(room)
    board.set_budget(room, None)
    assert board.budget(room) == 0
    board.dial_out(room)
