"""The state of one telephone of the sandbox; it is driven over HTTP and lives there, never in the kernel."""

import threading
from pathlib import Path
from typing import Final

from traitlets import Int, Unicode

from sipkit.errors import PhoneError, SandboxError
from sipkit.phones import Heard, SandboxPhone
from sipkit.switchboard import Switchboard
from sipkit.widgets.state import Waitable, in_banner, in_passing

QUIET_DBFS: Final = -50.0
"""Below this level a phone hears nothing a person would notice."""


class PhoneState(Waitable):
    """One telephone of the sandbox.

    Attributes:
        state: `idle`, `calling`, `ringing`, `answered`, `ended` or `failed`; in live mode always `sandbox-only`.
        calls: How many calls this phone has made; whoever talks to one of them can tell it from the next.
        mode: `sandbox` or `live`.
        number: The number this phone calls, with a leading plus.
        keyed: The keys pressed in this call. They go to the browser and into no representation of this object.
        hears: What comes out of the receiver now, in words.
    """

    calls = Int(0)
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
            self.calls += 1
            self.keyed, self.hears, self.state = "", "", "calling"
            self.phone = self._board.phone()

    @in_passing
    def press(self, keys: str) -> None:
        """Press keys, as digits, `*` and `#`; they travel as RFC 4733 telephone events."""
        with self._turn:
            self._in_hand().keys(keys)
            self.keyed += keys

    @in_passing
    def say(self, text: str) -> None:
        """Speak into the phone."""
        self._in_hand().say(text)

    @in_passing
    def tone(self, hz: int = 440, seconds: float = 2.0) -> None:
        """Whistle a steady tone into the phone: easy to find again in what the others hear."""
        self._in_hand().tone(hz, seconds)

    @in_passing
    def play(self, sound: str | Path | bytes) -> None:
        """Play a WAV file into the phone: its path, or what is in it."""
        self._in_hand().play(sound)

    def lift(self, call: int, offer: str) -> str:
        """Let a browser take the receiver of a call; see `SandboxPhone.receiver`.

        Args:
            call: Which of the phone's `calls` the browser means.
            offer: The browser's SDP offer.

        Returns:
            The SDP answer.

        Raises:
            PhoneError: That call is over, or the sandbox refuses the offer.
            SandboxError: The sandbox does not answer.
        """
        with self._turn:  # the page sees "calling" a moment before the sandbox has given a phone
            if call != self.calls:
                raise PhoneError("That call is over.", "The next one lifts the receiver by itself.")
            phone = self._in_hand()
        return phone.receiver(offer)

    def lay_down(self, call: int) -> None:
        """Take the receiver of a call from the browser again; a call that is over has none, which is fine."""
        with self._turn:
            phone = self.phone if call == self.calls and self.state != "ended" else None
        if phone is not None:
            phone.lay_down()

    @in_banner
    def hang_up(self) -> None:
        """Put the receiver down."""
        self._in_hand().hang_up()

    def _in_hand(self) -> SandboxPhone:
        """The phone in the hand.

        Raises:
            PhoneError: No call was made yet.
        """
        if self.phone is None:
            raise PhoneError("This phone is not in a call.", "Press Call first.")
        return self.phone

    def refresh(self) -> None:
        """Ask the sandbox how the call is going; while there is none, ask nothing.

        Raises:
            SandboxError: It does not answer, or knows the phone no more. Until it does the state is `failed`, in
                which one can call anew.
        """
        with self._turn:
            phone = self.phone
            if phone is None or self.state == "ended":
                return
            try:
                self.state = phone.state
                self.hears = in_words(phone.heard) if self.state == "answered" else ""
            except SandboxError:
                self.state, self.hears = "failed", ""
                raise


def in_words(heard: Heard) -> str:
    """Say what a phone hears, from the sandbox's figures of the last second."""
    if heard.level_dbfs < QUIET_DBFS:
        return "silence"
    near = f", strongest near {heard.tones_hz[0]:.0f} Hz" if heard.tones_hz else ""
    return f"sound at {heard.level_dbfs:.0f} dBFS{near}"
