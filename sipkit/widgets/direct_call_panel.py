"""The panel of direct calls: type a number, agree to the call where it is billed, hang up."""

from typing import Any

from anywidget import AnyWidget
from ipywidgets import Button, HBox, Text
from traitlets import Unicode

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.direct_call_state import DirectCallState
from sipkit.widgets.face import script, style
from sipkit.widgets.panel import Panel


class DirectCallView(AnyWidget):
    """The upper part of the panel: chip, state, whom the call is for, its news, the question, the banner."""

    _esm = script("direct_call_panel")
    _css = style("panel")
    room = Unicode().tag(sync=True)
    mode = Unicode().tag(sync=True)
    state = Unicode().tag(sync=True)
    number = Unicode().tag(sync=True)
    question = Unicode().tag(sync=True)
    news = Unicode().tag(sync=True)
    error = Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"DirectCallView(room={self.room!r})"


class DirectCallPanel(Panel):
    """*Call* one phone into a room's session, and *Hang up*.

    Live, *Call* shows what would be billed and places nothing; the call is placed by *Yes, place it*. Which numbers
    may be called, `Switchboard.call` says; a refused one shows in the banner. The number typed is taken off the page
    as *Call* is pressed, so that a saved notebook does not keep it.

    Args:
        board: The switchboard.
        room: The room, or its name (which opens it).

    Attributes:
        number: The field for the number, with country code.
        call: The *Call* button.
        yes: The *Yes, place it* button.
        no: The *No* button.
        hang_up: The *Hang up* button.
        state: The `DirectCallState` behind the view.
    """

    state: DirectCallState

    def __init__(self, board: Switchboard, room: Room | str) -> None:
        self.room = board.open_room(room) if isinstance(room, str) else room
        state = DirectCallState(board, self.room)
        self.number = Text(
            description="Number", placeholder="+1 202 555 0123", tooltip="Whom to call, with country code"
        )
        self.call = Button(
            description="Call", icon="phone", button_style="success", tooltip="Call this number into the session"
        )
        self.yes = Button(
            description="Yes, place it", button_style="warning", tooltip="Place the call; it will be billed"
        )
        self.no = Button(description="No", tooltip="Place no call")
        self.hang_up = Button(description="Hang up", button_style="danger", tooltip="End this call")
        self.call.on_click(lambda _button: state.call(self._typed()))
        self.yes.on_click(lambda _button: state.agree())
        self.no.on_click(lambda _button: state.decline())
        self.hang_up.on_click(lambda _button: state.hang_up())
        view = DirectCallView(room=self.room.name)
        buttons = {
            self.call: frozenset({"idle", "failed"}),
            self.yes: frozenset({"asking"}),
            self.no: frozenset({"asking"}),
            self.hang_up: frozenset({"dialing", "calling"}),
        }
        agreeing = [self.yes, self.no] if board.mode == "live" else []
        rows = [view, self.number, HBox([self.call, *agreeing, self.hang_up])]
        super().__init__(board, state, view, buttons, rows)

    def _typed(self) -> str:
        typed: str = self.number.value
        self.number.value = ""
        return typed

    def _facts(self) -> dict[str, Any]:
        return {"room": self.room.name, "mode": self.state.mode}
