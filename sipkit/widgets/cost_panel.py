"""The cost panel: what a room costs while it costs it, leg by leg and over time, and how much of its budget is used."""

from typing import Any

from anywidget import AnyWidget
from traitlets import Bool, Dict, Float, List, Unicode

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.cost_state import CostState
from sipkit.widgets.face import script, style
from sipkit.widgets.panel import Panel


class CostView(AnyWidget):
    """The sum, the budget's bar, the plot, the table, and *Export CSV*, which the page saves by itself."""

    _esm = script("cost_panel")
    _css = style("panel", "cost_panel")
    room = Unicode().tag(sync=True)
    mode = Unicode().tag(sync=True)
    state = Unicode().tag(sync=True)
    total = Unicode().tag(sync=True)
    estimate = Bool().tag(sync=True)
    rate = Unicode().tag(sync=True)
    legs = List(Dict()).tag(sync=True)
    plot = List(Dict()).tag(sync=True)
    budget = Unicode().tag(sync=True)
    used = Float().tag(sync=True)
    warning = Unicode().tag(sync=True)
    rental = Unicode().tag(sync=True)
    csv = Unicode().tag(sync=True)
    error = Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"CostView(room={self.room!r})"


class CostPanel(Panel):
    """The running costs of one room.

    Args:
        board: The switchboard.
        room: The room, or its name (which opens it).

    Attributes:
        state: The `CostState` behind the view.
    """

    state: CostState

    def __init__(self, board: Switchboard, room: Room | str) -> None:
        self.room = board.open_room(room) if isinstance(room, str) else room
        view = CostView(room=self.room.name)
        super().__init__(board, CostState(board, self.room), view, {}, [view])

    def __repr__(self) -> str:
        return f"CostPanel(room={self.room.name!r})"  # what a call has cost is another sum each time a lesson is run

    def _facts(self) -> dict[str, Any]:
        return {"room": self.room.name}
