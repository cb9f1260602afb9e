"""The state of a room as its host sees it: who is there, who waits, and whether the door is open."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from traitlets import Bool, Dict, Int, List, Unicode

from sipkit.errors import SipkitError
from sipkit.rooms import Caller, Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.state import Waitable, in_passing

GONE: Final = "That phone is not there any more.\nFix: nothing is to be done; the list shows who is."


class HostState(Waitable):
    """A room's phones and door.

    Attributes:
        state: `open` or `closed`: whether the room is.
        phones: Who is in the conversation or waits, in the order they called: for each `leg`, `name`, `number`
            (masked), `since` (the local time at which it joined), `waiting`, `muted` and `host`.
        waiting: How many wait to be admitted.
        locked: Whether no further phone is let in.
        lobby: Whether each phone waits to be admitted.
        guessing: Whether somebody is taken to be guessing PINs, so that phones wait for that.
    """

    phones = List(Dict())
    waiting = Int(0)
    locked = Bool(default_value=False)
    lobby = Bool(default_value=False)
    guessing = Bool(default_value=False)
    mode = Unicode()

    def __init__(self, board: Switchboard, room: Room) -> None:
        super().__init__(state="open", mode=board.mode)
        self._board = board
        self._room = room
        self._deeds: Mapping[str, Callable[[Caller], Any]] = {
            "admit": board.admit,
            "mute": board.mute,
            "remove": board.remove,
        }
        self.refresh()

    def refresh(self) -> None:
        """Read the truth from the store."""
        now = next((room for room in self._board.rooms() if room.id == self._room.id), None)
        self.state = "closed" if now is None else "open"
        if now is None:
            self.phones, self.waiting = [], 0
            return
        there = [caller for caller in self._board.callers(now) if caller.state in {"waiting", "joined"}]
        self.phones = [line(caller) for caller in there]
        self.waiting = sum(caller.state == "waiting" for caller in there)
        self.locked, self.lobby, self.guessing = now.locked, now.lobby, self._board.guessed_at(now)

    @in_passing
    def do(self, deed: str, leg: str) -> None:
        """Do something to one phone: `admit`, `mute` or `remove`. What another host has done already is done."""
        caller = next((each for each in self._board.callers(self._room) if each.leg_uuid == leg), None)
        if caller is None or (not self._deeds[deed](caller) and deed == "mute"):
            raise SipkitError(*GONE.split("\nFix: "))
        self.refresh()

    @in_passing
    def rename(self, leg: str, name: str) -> None:
        """Give one phone a name."""
        for caller in self._board.callers(self._room):
            if caller.leg_uuid == leg:
                self._board.rename(caller, name)
        self.refresh()

    @in_passing
    def lock(self, *, on: bool) -> None:
        """Lock the room, or open it again."""
        (self._board.lock if on else self._board.unlock)(self._room)
        self.refresh()

    @in_passing
    def use_lobby(self, *, on: bool) -> None:
        """Let each phone wait to be admitted, or no longer."""
        self._board.use_lobby(self._room, on=on)
        self.refresh()

    @in_passing
    def hang_up_everything(self) -> None:
        """End every call and every phone of the project, of all rooms and all notebooks."""
        self._board.hang_up_everything()
        self.refresh()

    @in_passing
    def new_pin(self) -> None:
        """Give the room a new PIN; the call panel shows it."""
        self._board.new_pin(self._room)


def line(caller: Caller) -> dict[str, Any]:
    """One line of the list."""
    return {
        "leg": caller.leg_uuid,
        "name": caller.name,
        "number": caller.masked_number,
        "since": f"{caller.joined_at.astimezone():%H:%M}" if caller.joined_at else "",
        "waiting": caller.state == "waiting",
        "muted": caller.muted,
        "host": caller.host,
    }
