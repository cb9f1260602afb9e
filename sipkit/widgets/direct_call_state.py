"""The state of one direct call, as the learner sees it.

    idle --call, nothing is billed----------------------> dialing --our webhook answered--> calling
    idle --call, live--> asking --yes--> dialing             |                                |
                           +--no--> idle                     +-------ended by anybody---------+--> idle

*Calling* says that the session's leg is up and the phone is rung; whether somebody took it off stands in the news,
which are the timeline's last line about the phone. A refused number or dial is `failed`, with its fix in the banner.
A call of the room that the store knows and nobody shows, because the cell ran again or the answer to the dial was lost,
is taken up from any state but `asking`: what may be billed can always be hung up.
"""

import contextlib
import threading

from traitlets import Unicode

from sipkit.errors import CallNotConfirmed
from sipkit.rooms import Bridge, Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.state import Waitable, in_banner


class DirectCallState(Waitable):
    """The call from a room to one phone.

    Attributes:
        state: `idle`, `asking`, `dialing`, `calling`, `hanging-up` or `failed`.
        mode: `sandbox` or `live`.
        number: Whom the call is for, masked; empty while there is none.
        question: What somebody has to agree to, with the whole number; empty unless `asking`. It goes to the browser
            and into no representation of this object.
        news: The last thing that happened to the call, in words.
    """

    mode = Unicode()
    number = Unicode()
    question = Unicode()
    news = Unicode()

    def __init__(self, board: Switchboard, room: Room) -> None:
        super().__init__(mode=board.mode)
        self._board = board
        self._room = room
        self._wanted = ""
        self._call: Bridge | None = None
        self._seen = 0
        # As in `CallState`: no refresh between "dialing" and the store knowing the call.
        self._turn = threading.RLock()
        self.refresh()

    @in_banner
    def call(self, number: str) -> None:
        """Call a number; live, ask first. In the sandbox nothing is billed, so nobody is asked."""
        with self._turn:
            if self.state not in {"idle", "failed"}:  # the button's second press, on its way as it was switched off
                return
            self._wanted = number
            if self.mode == "sandbox":
                self._dial("")
                return
            with contextlib.suppress(CallNotConfirmed):
                self._board.call(self._room, number, confirm=self._ask)

    @in_banner
    def agree(self) -> None:
        """Place the call that was asked about, and no other one."""
        with self._turn:
            if self.state == "asking":
                self._dial(self.question)

    def decline(self) -> None:
        """Place no call, and forget its number."""
        with self._turn:
            self._wanted = self.question = ""
            self.state = "idle"

    @in_banner
    def hang_up(self) -> None:
        """End the call; if it stays on record, the banner says why."""
        with self._turn:
            call = self._call
            if call is None or call.number is None:
                return
            self.state = "hanging-up"
            outcome = self._board.hang_up_call(self._room, f"+{call.number}")
            self.refresh()
            if not outcome.hung_up and self._call is not None:
                self.error = outcome.reason

    def refresh(self) -> None:
        """Read the truth from the store."""
        with self._turn:
            living = self._board.calls(self._room)
            if self._call is None:
                if not living or self.state == "asking":
                    return
                self._call = living[-1]
                self.number = self._call.masked_number
                self._seen = self._seen or self._last_event()
            for event in self._board.events(self._room, since=self._seen):
                self._seen = event.id
                self.news = event.text if event.kind == "called-phone" else self.news
            self._call = {call.id: call for call in living}.get(self._call.id)
            if self._call is None:
                self.state = "idle"
            else:
                self.state = "calling" if self._call.state == "answered" else "dialing"

    def _ask(self, text: str) -> bool:
        """Show what is about to happen; nobody has agreed to it yet."""
        self.question, self.state = text, "asking"
        return False

    def _dial(self, agreed: str) -> None:
        number, self._wanted, self.question = self._wanted, "", ""
        self.state, self.news = "dialing", ""
        self._seen = self._last_event()
        self._call = self._board.call(self._room, number, confirm=(lambda text: text == agreed) if agreed else None)
        self.number = self._call.masked_number
        self.refresh()

    def _last_event(self) -> int:
        events = self._board.events(self._room)
        return events[-1].id if events else 0
