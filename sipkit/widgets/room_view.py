"""The room itself in the notebook: its page in a frame, and the invitation for guests."""

from typing import Any, Final

from anywidget import AnyWidget
from ipywidgets import Button
from traitlets import Int, Unicode

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.face import script, style
from sipkit.widgets.panel import Panel
from sipkit.widgets.room_state import RoomState

ANY_STATE: Final = frozenset({"idle", "dialing", "connected", "hanging-up", "failed"})


class RoomFrame(AnyWidget):
    """The frame with the room's page, and around it the state of the call, the banner and the guests' invitation.

    Its links are as good as keys. They go to the browser as traits, and a notebook stores no traits unless JupyterLab
    is told to save the widgets' state, which it is not by default.
    """

    _esm = script("room_view")
    _css = style("panel", "room_view")
    room = Unicode().tag(sync=True)
    mode = Unicode().tag(sync=True)
    state = Unicode().tag(sync=True)
    callers = Int().tag(sync=True)
    page = Unicode().tag(sync=True)
    url = Unicode().tag(sync=True)
    link = Unicode().tag(sync=True)
    qr = Unicode().tag(sync=True)
    error = Unicode().tag(sync=True)
    notice = Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"RoomFrame(room={self.room!r})"


class RoomView(Panel):
    """The room page with its pictures, its people and its own *Dial out* and *Hang up*, as the host sees it.

    Args:
        board: The switchboard; its webhook server shows the page.
        room: The room, or its name (which opens it).
        name: What the others read under the host's picture.

    Attributes:
        invite: The button that shows, and hides again, a link and a QR code for guests.
        state: The `RoomState` behind the view; its `state` has the words of the call panel.
    """

    state: RoomState

    def __init__(self, board: Switchboard, room: Room | str, name: str = "Host") -> None:
        self.room = board.open_room(room) if isinstance(room, str) else room
        state = RoomState(board, self.room, name)
        self.invite = Button(description="Invite guests", tooltip="Show a link and a QR code that let guests in")
        self.invite.on_click(lambda _button: state.hide_invitation() if state.link else state.invite())
        state.observe(lambda _change: self._name_button(), names="link")
        view = RoomFrame(room=self.room.name)
        super().__init__(board, state, view, {self.invite: ANY_STATE}, [view, self.invite])
        self.add_class("sipkit-room")

    def _name_button(self) -> None:
        self.invite.description = "Hide the invitation" if self.state.link else "Invite guests"

    def _facts(self) -> dict[str, Any]:
        return {"room": self.room.name, "mode": self.state.mode}
