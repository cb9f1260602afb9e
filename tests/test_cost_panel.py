"""The cost panel over a real call: it grows, warns, ends with its room, and always looks the same in a notebook."""

from collections.abc import Iterator
from functools import partial

import pytest

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.watch import ROLE, ROLE_SECONDS
from sipkit.widgets import CallPanel, CostPanel, cost_state
from sipkit.widgets.cost_state import NEARLY, SPENT
from sipkit.widgets.refresh import stop_all

SECONDS = 15.0


@pytest.fixture
def board(hall: Switchboard, monkeypatch: pytest.MonkeyPatch) -> Switchboard:
    """The board of this file's tests, whose panels look as often as they can."""
    monkeypatch.setattr(cost_state, "LOOK_EVERY", 0.0)
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room that has cost nothing yet; afterwards no thread looks at the board."""
    yield board.open_room("costly")
    stop_all(board)
    board.close_room("costly")


def test_a_call_is_seen_to_cost(board: Switchboard, room: Room) -> None:
    """Sum, legs, plot and rate grow while the call is up, and stay when it is over; the export is the meter's."""
    panel, call = CostPanel(board, room), CallPanel(board, room)
    assert (panel.view.state, panel.view.total, panel.view.plot) == ("idle", "nothing", [])
    before = repr(panel), repr(panel.view)
    board.dial_out(room)
    panel.wait_for("running", SECONDS)
    board.wait_for(lambda: len(panel.view.legs) >= 3, SECONDS, "the bridge's legs")
    assert "USD" in panel.view.rate
    board._store.advance_clock(150)
    board.wait_for(lambda: panel.view.total.startswith("0.0273 USD and 0.01"), SECONDS, "three started minutes")
    [dollars, _euros] = panel.view.plot
    assert (dollars["currency"], dollars["points"][1], dollars["points"][-1][1]) == ("USD", [1.0, 0.0091], 0.0273)
    assert any(leg["time"].startswith("2:3") and leg["running"] for leg in panel.view.legs)
    board.wait_for(
        lambda: call.view.cost.startswith("live it would be about 0.0273 USD"), SECONDS, "the line of the call panel"
    )
    board.hang_up(room)
    panel.wait_for("idle", SECONDS)
    board.wait_for(lambda: call.view.cost == "", SECONDS, "the end of that line")
    board.wait_for(lambda: "platform" in panel.view.csv, SECONDS, "the told price")
    assert panel.view.csv == board.costs(room).csv()
    assert (repr(panel), repr(panel.view)) == before
    assert panel.view.rate == ""


def shows_budget(panel: CostPanel, words: str) -> bool:
    """Whether the panel shows this budget."""
    return bool(panel.view.budget == words)


def test_a_budget_is_seen_to_end(board: Switchboard, room: Room) -> None:
    """How much is used is shown, that a minute is left, and that nothing is; without a budget none of it."""
    board._store.advance_clock(ROLE_SECONDS + 1)  # so that the guard does not hang up what is looked at
    board.wait_for(lambda: board._store.leads(ROLE, "test", 600), SECONDS, "the guard's role")
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    panel, call = CostPanel(board, room), CallPanel(board, room)
    assert (panel.view.budget, panel.view.used, panel.view.warning) == ("", 0.0, "")
    for budget, warning in ((0.5, ""), (0.0092, NEARLY), (0.001, SPENT)):
        board.set_budget(room, budget)
        board.wait_for(partial(shows_budget, panel, f"{budget} in each currency"), SECONDS, "the budget")
        assert panel.view.warning == warning
    assert panel.view.used >= 1
    board.wait_for(lambda: SPENT in call.view.cost, SECONDS, "the call panel's word of it")


def test_what_a_closed_room_cost_stays(board: Switchboard, room: Room) -> None:
    """The panel of a room that was closed says so, and keeps the sum."""
    board.dial_out(room)
    panel = CostPanel(board, "costly")
    panel.wait_for("running", SECONDS)
    board.close_room(room)
    panel.wait_for("closed", SECONDS)
    assert "USD" in panel.view.total
