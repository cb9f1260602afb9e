"""The state of a room's call, as the learner sees it.

    idle --dial_out--> dialing --answered--> connected --hang_up--> hanging-up --> idle
                          |
                          +--refused, or gone before the answer--> failed --dial_out--> dialing

The switchboard's store is the only truth. `refresh` reads it; nothing here guesses that a call came up.
"""

import threading
from time import monotonic
from typing import Final

from traitlets import Int, Unicode

from sipkit.costs import in_words
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.cost_state import LOOK_EVERY, warning_of
from sipkit.widgets.state import Waitable, in_banner

NOT_ANSWERED: Final = (
    "The call ended before anybody answered.\n"
    "Fix: is the webhook server running? Run board.start_webhook_server() and dial again."
)
ASK_EVERY: Final = 2.0
"""Seconds between two questions to the webhook server whether it can answer callers."""


class CallState(Waitable):
    """The call of one room: the bridge from the session to the number, and who has joined it by phone.

    Attributes:
        state: `idle`, `dialing`, `connected`, `hanging-up` or `failed`.
        callers: How many phones are in the conversation now.
        cost: What the room has cost, in words, while a call is up; empty otherwise.
        mode: `sandbox` or `live`.
        number: The number to call, with a leading plus.
        pin: The room's PIN as it is now, empty if it has expired. It goes to the browser and into no representation of
            this object.
    """

    callers = Int(0)
    cost = Unicode()
    mode = Unicode()
    number = Unicode()
    pin = Unicode()

    def __init__(self, board: Switchboard, room: Room) -> None:
        super().__init__(mode=board.mode, number=f"+{board.number}", pin=room.pin)
        self._board = board
        self._room = room
        # Dialling and refreshing take turns: between "dialing" and the store knowing the bridge, a refresh
        # would see a call that is gone.
        self._turn = threading.RLock()
        self._trouble = ""
        self._next_sum = 0.0
        self._next_question = monotonic() + ASK_EVERY
        self.refresh()

    @in_banner
    def dial_out(self) -> None:
        """Dial the number out of the session. The answer shows later, through `refresh`."""
        with self._turn:
            self.state = "dialing"
            self._board.dial_out(self._room)

    @in_banner
    def hang_up(self) -> None:
        """End the bridge; with it every phone in the conversation is hung up.

        If the bridge stays on record, the banner says why, and the state is again what the store tells.
        """
        with self._turn:
            if self.state in {"dialing", "connected"}:
                self.state = "hanging-up"
            outcome = self._board.hang_up(self._room)
            self.refresh()
            if not outcome.hung_up and self.state in {"dialing", "connected"}:
                self.error = outcome.reason

    def refresh(self) -> None:
        """Read the truth from the store, and now and then ask whether callers are answered."""
        self._ask_for_trouble()
        self.notice = self._board.notice(self._room)  # before its turn: a dial that gets no answer has it
        with self._turn:
            bridge = self._board.bridge(self._room)
            callers = self._board.callers(self._room)
            self.pin = next((room.pin for room in self._board.rooms() if room.id == self._room.id), "")
            self.callers = sum(caller.state == "joined" for caller in callers)
            self.state = self._after(None if bridge is None else bridge.state)
            self._reckon()

    def _after(self, bridge_state: str | None) -> str:
        """The state that follows from what the store says of the bridge."""
        if bridge_state is None or bridge_state == "ended":
            if self.state == "dialing":
                self.error = NOT_ANSWERED
                return "failed"
            return "failed" if self.state == "failed" else "idle"
        return "connected" if bridge_state == "answered" else "dialing"

    def _reckon(self) -> None:
        """Say what the room has cost, once a second while a call is up, and that its budget is nearly used up."""
        if self.state != "connected":
            self.cost, self._next_sum = "", 0.0
        elif monotonic() >= self._next_sum:
            self._next_sum = monotonic() + LOOK_EVERY
            costs = self._board.costs(self._room)
            words = f"about {in_words(costs.total)} so far"
            words = words if self.mode == "live" else f"live it would be {words}"
            self.cost = ". ".join(filter(None, (words, warning_of(costs, self._board.budget(self._room)))))

    def _ask_for_trouble(self) -> None:
        """Show in the banner why callers hear an apology, for as long as they do."""
        if monotonic() < self._next_question:
            return
        self._next_question = monotonic() + ASK_EVERY
        before, self._trouble = self._trouble, self._board.trouble()
        if self._trouble != before and (self._trouble or self.error == before):
            self.error = self._trouble
