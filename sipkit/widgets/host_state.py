"""The state of a room as its host sees it: who is there, who waits, and whether the door is open."""

from time import monotonic
from typing import Final

from traitlets import Bool, Dict, Int, List, Unicode

from sipkit.errors import SipkitError
from sipkit.moderation import DEEDS, shown
from sipkit.rooms import Caller, Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.state import Waitable, in_passing

GONE: Final = "That phone has left."
WHY_NO_TALKING: Final = "The platform tells nobody which phone is talking; only the sandbox does."

_LISTEN_EVERY: Final = 0.5
"""Seconds; the sandbox measures once a second."""


class HostState(Waitable):
    """A room's phones and door.

    Attributes:
        state: `open` or `closed`: whether the room is.
        phones: Who is in the conversation or waits, in the order they called: for each what
            `sipkit.moderation.shown` tells, and `talking`.
        waiting: How many wait to be admitted.
        locked: Whether no further phone is let in.
        lobby: Whether each phone waits to be admitted.
        waits_for_host: Whether phones hear music until a host is in.
        guessing: Whether somebody is taken to be guessing PINs, so that phones wait for that.
        word: What became of the last thing a button asked for.
        why_no_talking: Why it is not told who talks; empty in the sandbox.
    """

    phones = List(Dict())
    waiting = Int(0)
    locked = Bool(default_value=False)
    lobby = Bool(default_value=False)
    waits_for_host = Bool(default_value=False)
    guessing = Bool(default_value=False)
    word = Unicode()
    why_no_talking = Unicode()
    mode = Unicode()

    def __init__(self, board: Switchboard, room: Room) -> None:
        why = "" if board.mode == "sandbox" else WHY_NO_TALKING
        super().__init__(state="open", mode=board.mode, why_no_talking=why)
        self._board = board
        self._room = room
        self._talking: frozenset[str] = frozenset()
        self._listened_at = float("-inf")
        self.refresh()

    def refresh(self) -> None:
        """Read the truth from the store, and who talks from the sandbox."""
        now = next((room for room in self._board.rooms() if room.id == self._room.id), None)
        self.state = "closed" if now is None else "open"
        if now is None:
            self.phones, self.waiting, self.notice = [], 0, ""
            return
        self.notice = self._board.notice(now)
        there = [caller for caller in self._board.callers(now) if caller.state in {"waiting", "joined"}]
        talking = self._listen() if there else frozenset()
        self.phones = [{**shown(caller), "talking": caller.leg_uuid in talking} for caller in there]
        self.waiting = sum(caller.state == "waiting" for caller in there)
        self.locked, self.lobby, self.waits_for_host = now.locked, now.lobby, now.waits_for_host
        self.guessing = self._board.guessed_at(now)

    def _listen(self) -> frozenset[str]:
        """Return the legs that are talking; none where nobody tells."""
        if not self.why_no_talking and monotonic() - self._listened_at > _LISTEN_EVERY:
            self._listened_at = monotonic()
            try:
                self._talking = self._board.talking()
            except SipkitError:  # the sandbox is away, of which other parts of the panel complain
                self._talking = frozenset()
        return self._talking

    @in_passing
    def do(self, deed: str, phone: str) -> None:
        """Do one of `moderation.DEEDS` to one phone. What another host has done already is done."""
        caller = self._caller(phone)
        self.word = DEEDS[deed](self._board, caller).words if caller is not None else GONE
        self.refresh()

    @in_passing
    def rename(self, phone: str, name: str) -> None:
        """Give one phone a name."""
        caller = self._caller(phone)
        self.word = self._board.rename(caller, name).words if caller is not None else GONE
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
    def wait_for_host(self, *, on: bool) -> None:
        """Let phones hear music until a host is in, or no longer."""
        self._board.wait_for_host(self._room, on=on)
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

    def _caller(self, phone: str) -> Caller | None:
        return next((caller for caller in self._board.callers(self._room) if caller.alias == phone), None)
