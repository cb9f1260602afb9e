"""The state of one telephone of the sandbox; it is driven over HTTP and lives there, never in the kernel."""

import threading
from typing import Final

from traitlets import Unicode

from sipkit.errors import PhoneError
from sipkit.phones import Heard, SandboxPhone
from sipkit.switchboard import Switchboard
from sipkit.widgets.state import Waitable, in_banner

QUIET_DBFS: Final = -50.0
"""Below this level a phone hears nothing a person would notice."""


class PhoneState(Waitable):
    """One telephone of the sandbox.

    Attributes:
        state: `idle`, `calling`, `ringing`, `answered`, `ended` or `failed`; in live mode always `sandbox-only`.
        mode: `sandbox` or `live`.
        number: The number this phone calls, with a leading plus.
        keyed: The keys pressed in this call. They go to the browser and into no representation of this object.
        hears: What comes out of the receiver now, in words.
    """

    mode = Unicode()
    number = Unicode()
    keyed = Unicode()
    hears = Unicode()

    def __init__(self, board: Switchboard) -> None:
        super().__init__(mode=board.mode, number=f"+{board.number}")
        self._board = board
        self._turn = threading.RLock()
        self.phone: SandboxPhone | None = None
        if board.mode != "sandbox":
            self.state = "sandbox-only"

    @in_banner
    def call(self) -> None:
        """Dial the number; a call that is still up is hung up first, as one telephone holds one call."""
        if self.state == "sandbox-only":
            return
        with self._turn:
            last, self.phone = self.phone, None
            if last is not None:
                last.hang_up()
            self.keyed, self.hears, self.state = "", "", "calling"
            self.phone = self._board.phone()

    @in_banner
    def press(self, keys: str) -> None:
        """Press keys, as digits, `*` and `#`; they travel as RFC 4733 telephone events."""
        with self._turn:
            self._receiver().keys(keys)
            self.keyed += keys

    @in_banner
    def say(self, text: str) -> None:
        """Speak into the phone."""
        self._receiver().say(text)

    @in_banner
    def tone(self, hz: int = 440, seconds: float = 2.0) -> None:
        """Whistle a steady tone into the phone: easy to find again in what the others hear."""
        self._receiver().tone(hz, seconds)

    @in_banner
    def hang_up(self) -> None:
        """Put the receiver down."""
        self._receiver().hang_up()

    def _receiver(self) -> SandboxPhone:
        """The phone in the hand.

        Raises:
            PhoneError: No call was made yet.
        """
        if self.phone is None:
            raise PhoneError("This phone is not in a call.", "Press Call first.")
        return self.phone

    def refresh(self) -> None:
        """Ask the sandbox how the call is going; while there is none, ask nothing."""
        with self._turn:
            phone = self.phone
            if phone is None or self.state == "ended":
                return
            self.state = phone.state
            self.hears = in_words(phone.heard) if self.state == "answered" else ""


def in_words(heard: Heard) -> str:
    """Say what a phone hears, from the sandbox's figures of the last second."""
    if heard.level_dbfs < QUIET_DBFS:
        return "silence"
    near = f", strongest near {heard.tones_hz[0]:.0f} Hz" if heard.tones_hz else ""
    return f"sound at {heard.level_dbfs:.0f} dBFS{near}"
