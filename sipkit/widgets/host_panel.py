"""The host's panel: who is in the conversation by phone, who waits, and the door."""

from typing import Any

from anywidget import AnyWidget
from ipywidgets import Button, HBox, Layout
from traitlets import Bool, Dict, Int, List, Unicode

from sipkit.moderation import DEEDS
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.face import script, style
from sipkit.widgets.host_state import HostState
from sipkit.widgets.panel import Panel


class HostView(AnyWidget):
    """The list of phones, with a button for what can be done to each."""

    _esm = script("host_panel", "phone_list")
    _css = style("panel", "host_panel")
    room = Unicode().tag(sync=True)
    mode = Unicode().tag(sync=True)
    state = Unicode().tag(sync=True)
    phones = List(Dict()).tag(sync=True)
    waiting = Int().tag(sync=True)
    locked = Bool().tag(sync=True)
    lobby = Bool().tag(sync=True)
    waits_for_host = Bool().tag(sync=True)
    guessing = Bool().tag(sync=True)
    word = Unicode().tag(sync=True)
    why_no_talking = Unicode().tag(sync=True)
    error = Unicode().tag(sync=True)
    notice = Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"HostView(room={self.room!r})"


class HostPanel(Panel):
    """Admit, mute, ask to unmute, rename and remove phones of one room; lock it, open its lobby, give it a new PIN.

    Args:
        board: The switchboard.
        room: The room, or its name (which opens it).

    Attributes:
        lock: The *Lock the room* button, which unlocks it again.
        lobby: The *Use the lobby* button, which ends that again.
        wait_for_host: The *Wait for the host* button, which ends that again.
        new_pin: The *New PIN* button.
        everything: The *Hang up everything* button: every call of the project, of all rooms and all notebooks.
        state: The `HostState` behind the view.
    """

    state: HostState

    def __init__(self, board: Switchboard, room: Room | str) -> None:
        self.room = board.open_room(room) if isinstance(room, str) else room
        state = HostState(board, self.room)
        self.lock = Button(tooltip="Let no further phone in, but for a host's")
        self.lobby = Button(tooltip="Let each phone wait until you admit it")
        self.wait_for_host = Button(tooltip="Let phones hear music until a host is in")
        self.new_pin = Button(description="New PIN", tooltip="The old PIN lets nobody in any more; who is in stays")
        self.everything = Button(
            description="Hang up everything",
            button_style="danger",
            tooltip="End all calls of all rooms and notebooks",
        )
        row = (self.lock, self.lobby, self.wait_for_host, self.new_pin)
        self.everything.on_click(lambda _button: state.hang_up_everything())
        self.lock.on_click(lambda _button: state.lock(on=not state.locked))
        self.lobby.on_click(lambda _button: state.use_lobby(on=not state.lobby))
        self.wait_for_host.on_click(lambda _button: state.wait_for_host(on=not state.waits_for_host))
        self.new_pin.on_click(lambda _button: state.new_pin())
        for button in (*row, self.everything):
            button.layout.width = "auto"  # or their words would be cut off
        self.everything.layout.align_self = "flex-start"
        view = HostView(room=self.room.name)
        view.on_msg(self._told)
        state.observe(lambda _change: self._name_buttons(), names=["locked", "lobby", "waits_for_host"])
        buttons = {**dict.fromkeys(row, frozenset({"open"})), self.everything: frozenset({"open", "closed"})}
        super().__init__(
            board, state, view, buttons, [view, HBox(row, layout=Layout(flex_flow="row wrap")), self.everything]
        )
        self._name_buttons()

    def _told(self, _view: HostView, news: dict[str, str], _buffers: object) -> None:
        """Do what a button of the list says."""
        match news:
            case {"do": "rename", "phone": str(phone), "name": str(name)}:
                self.state.rename(phone, name)
            case {"do": str(deed), "phone": str(phone)} if deed in DEEDS:
                self.state.do(deed, phone)

    def _name_buttons(self) -> None:
        self.lock.description = "Unlock the room" if self.state.locked else "Lock the room"
        self.lobby.description = "Close the lobby" if self.state.lobby else "Use the lobby"
        self.wait_for_host.description = (
            "Do not wait for the host" if self.state.waits_for_host else "Wait for the host"
        )

    def _facts(self) -> dict[str, Any]:
        return {"room": self.room.name, "mode": self.state.mode}
