"""The call panel: dial the number out of a session, watch it come up, hang up."""

from typing import Any

from anywidget import AnyWidget
from ipywidgets import Button, HBox
from traitlets import Int, Unicode

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.call_state import CallState
from sipkit.widgets.face import script, style
from sipkit.widgets.panel import Panel


class CallView(AnyWidget):
    """The upper part of the panel: chip, state, number and PIN in large type, callers, banner."""

    _esm = script("call_panel")
    _css = style("panel")
    room = Unicode().tag(sync=True)
    mode = Unicode().tag(sync=True)
    state = Unicode().tag(sync=True)
    number = Unicode().tag(sync=True)
    pin = Unicode().tag(sync=True)
    callers = Int().tag(sync=True)
    cost = Unicode().tag(sync=True)
    error = Unicode().tag(sync=True)
    notice = Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"CallView(room={self.room!r})"


class CallPanel(Panel):
    """*Dial out* and *Hang up* for one room, with the number and the PIN a phone needs to join.

    Args:
        board: The switchboard.
        room: The room, or its name (which opens it).

    Attributes:
        dial: The *Dial out* button; `panel.dial.click()` presses it.
        hang_up: The *Hang up* button.
        state: The `CallState` behind the view.
    """

    state: CallState

    def __init__(self, board: Switchboard, room: Room | str) -> None:
        self.room = board.open_room(room) if isinstance(room, str) else room
        state = CallState(board, self.room)
        self.dial = Button(
            description="Dial out",
            icon="phone",
            button_style="success",
            tooltip="Dial the number out of the session",
        )
        self.hang_up = Button(
            description="Hang up", button_style="danger", tooltip="End the call and every phone in it"
        )
        self.dial.on_click(lambda _button: state.dial_out())
        self.hang_up.on_click(lambda _button: state.hang_up())
        view = CallView(room=self.room.name)
        buttons = {
            self.dial: frozenset({"idle", "failed"}),
            self.hang_up: frozenset({"dialing", "connected"}),
        }
        super().__init__(board, state, view, buttons, [view, HBox([self.dial, self.hang_up])])

    def _facts(self) -> dict[str, Any]:
        return {"room": self.room.name, "mode": self.state.mode}
