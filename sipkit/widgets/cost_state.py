"""The state of a room's costs: the sum as it grows, each leg, and how much of the budget is used."""

from decimal import Decimal
from time import monotonic
from typing import Any, Final

from traitlets import Bool, Dict, Float, List, Unicode

from sipkit.costs import Costs, in_words
from sipkit.guard import WARN_BEFORE
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.state import Waitable

LOOK_EVERY: Final = 1.0
"""Seconds between two looks: what is billed by the second changes no oftener."""

NEARLY: Final = "The budget is nearly used up: the call will be hung up in less than a minute."
SPENT: Final = "The budget is used up: no further call of this room is placed until it has more."


class CostState(Waitable):
    """What one room costs.

    Attributes:
        state: `idle`, `running` while anything is charged for, or `closed` when the room is.
        total: The sum in words, for each currency.
        estimate: Whether any of it is an estimate.
        rate: What another minute costs, in words; empty while nothing runs.
        legs: For each charge its `kind`, `who`, `time` and `amount` in words, and whether it is `running`.
        plot: For each currency its `currency`, and `points`: pairs of minutes since the first charge and the sum.
        budget: What it may cost, in words; empty: anything.
        used: How much of that it has, 1.0 for all.
        warning: That the budget is nearly, or quite, used up; empty otherwise.
        rental: The number's rental, a month and meanwhile, in words; it is in no sum.
        csv: All of it, for the export.
    """

    mode = Unicode()
    total = Unicode()
    estimate = Bool(default_value=False)
    rate = Unicode()
    legs = List(Dict())
    plot = List(Dict())
    budget = Unicode()
    used = Float(0.0)
    warning = Unicode()
    rental = Unicode()
    csv = Unicode()

    def __init__(self, board: Switchboard, room: Room) -> None:
        super().__init__(mode=board.mode)
        self._board = board
        self._room = room
        self._next_look = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Read the truth from the store, now and then."""
        if monotonic() < self._next_look:
            return
        self._next_look = monotonic() + LOOK_EVERY
        if all(room.id != self._room.id for room in self._board.rooms()):
            self.state = "closed"  # what it cost stays to be seen
            return
        costs = self._board.costs(self._room)
        self.state = "running" if costs.running else "idle"
        self.total, self.estimate = in_words(costs.total), costs.estimate
        self.rate = in_words(costs.per_minute) if costs.running else ""
        self.legs = [leg(line) for line in costs.lines]
        self.plot = curves(costs)
        self.rental = f"{costs.prices['number']} a month, {in_words(costs.rental)} for this time"
        self.csv = costs.csv()
        budget = self._board.budget(self._room)
        self.budget = f"{budget:g} in each currency" if budget else ""
        self.used = costs.share(Decimal(str(budget)))
        self.warning = warning_of(costs, budget)


def warning_of(costs: Costs, budget: float) -> str:
    """That a budget is nearly, or quite, used up; empty if it lasts, or there is none."""
    left = costs.seconds_left(Decimal(str(budget)))
    return SPENT if left == 0 else NEARLY if left is not None and left <= WARN_BEFORE else ""


def leg(line: Any) -> dict[str, Any]:
    """A line of the table, as the view shows it."""
    minutes, seconds = divmod(round(line.seconds), 60)
    return {
        "kind": line.charge.kind,
        "who": line.charge.who,
        "time": f"{minutes}:{seconds:02}",
        "amount": str(line),
        "running": line.running,
    }


def curves(costs: Costs) -> list[dict[str, Any]]:
    """The sum as it grew, a curve for each currency."""
    series = costs.series()
    return [
        {"currency": name, "points": [[round(at / 60, 2), float(money.get(name, 0))] for at, money in series]}
        for name in costs.total
    ]
