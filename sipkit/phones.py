"""Phones of the sandbox, held by a notebook: dial the number, press keys, speak, listen.

The phones live in the sandbox's process; what is here drives them over its control API. They are a
learner's stand-in for picking up a real phone, so live there is nothing of this.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote

from sipkit.control import ANSWER_SECONDS, Control, SandboxTrace
from sipkit.errors import PhoneError, WaitTimeout

if TYPE_CHECKING:
    from sipkit.sandbox.launcher import SandboxInfo

__all__ = ["Heard", "SandboxParticipant", "SandboxPhone", "SandboxTrace"]

PhoneState = Literal["calling", "ringing", "answered", "ended"]
PHONE_STATES: tuple[PhoneState, ...] = get_args(PhoneState)
"""A phone's states in their order; it never goes back in it."""

POLL = 0.05
"""Seconds between two looks at a state that is waited for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a phone or a participant hears.

    Attributes:
        seconds: How much audio came so far.
        level_dbfs: How loud the last second was; 0 is full scale, digital silence is far below -60.
        tones_hz: The strongest tones of the last second, at most three, strongest first.
        prompt_ended: Whether something was said and silence followed: time to answer.
    """

    seconds: float
    level_dbfs: float
    tones_hz: tuple[float, ...]
    prompt_ended: bool

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Heard":
        """Read it from the sandbox's JSON."""
        return cls(
            seconds=float(told.get("seconds") or 0.0),
            level_dbfs=float(told["level_dbfs"]) if told.get("level_dbfs") is not None else float("-inf"),
            tones_hz=tuple(float(tone) for tone in told.get("tones_hz") or ()),
            prompt_ended=bool(told.get("prompt_ended")),
        )


class SandboxPhone:
    """One phone on a call; `call` makes it dial.

    Its repr names the state it was last seen in, and nothing that differs from run to run.
    """

    def __init__(self, info: "SandboxInfo", phone_id: str) -> None:
        self.id = phone_id
        self._control = Control(info)
        self._path = f"/sandbox/phones/{quote(phone_id)}"
        self._seen: PhoneState = "calling"

    @classmethod
    def call(
        cls,
        info: "SandboxInfo",
        number: str,
        from_: str | None = None,
        transport: Literal["udp", "tcp", "tls"] | None = None,
    ) -> "SandboxPhone":
        """Take a phone and dial a number; returns at once, while the phone is calling.

        Args:
            info: The sandbox to call in.
            number: What to dial, with country code.
            from_: The phone's own number, if it matters.
            transport: What SIP goes over.

        Raises:
            PhoneError: The sandbox does not place the call.
        """
        asked = {"number": number, "from": from_, "transport": transport}
        wanted = {key: value for key, value in asked.items() if value is not None}
        made = Control(info).ask("POST", "/sandbox/phones", wanted).json()
        return cls(info, str(made["id"]))

    def __repr__(self) -> str:
        return f"<SandboxPhone {self._seen}>"

    @property
    def state(self) -> PhoneState:
        """Where the call is now: calling, ringing, answered or ended."""
        return self._look()[0]

    @property
    def reason(self) -> str | None:
        """Why the call ended, if it did."""
        told = self._control.ask("GET", self._path).json().get("reason")
        return str(told) if told else None

    @property
    def heard(self) -> Heard:
        """What the phone heard so far."""
        return self._look()[1]

    def keys(self, digits: str) -> None:
        """Press keys, as RFC 4733 telephone events; returns when the last one was sent.

        Raises:
            PhoneError: There is no such key, or the phone is not answered.
        """
        # The digits may be a PIN: no text here repeats them.
        if not re.fullmatch(r"[0-9*#A-Da-d]+", digits):
            raise PhoneError("A phone has no such keys.", "Use 0-9, * and #, such as phone.keys('1234#').")
        seconds = ANSWER_SECONDS + len(digits)
        self._do("keys", {"digits": digits}, seconds=seconds)

    def say(self, text: str) -> None:
        """Speak a text; returns at once, while it is being said."""
        self._do("say", {"text": text})

    def tone(self, hz: float, seconds: float = 2.0) -> None:
        """Play a tone; returns at once."""
        self._do("tone", {"hz": hz, "seconds": seconds})

    def play(self, sound: str | Path | bytes) -> None:
        """Play a wav file; returns at once.

        Args:
            sound: The file's path, or what is in it.

        Raises:
            PhoneError: The file cannot be read, or not be played.
        """
        try:
            wav = sound if isinstance(sound, bytes) else Path(sound).read_bytes()
        except OSError as error:
            raise PhoneError(f"The sound cannot be read: {error.strerror}.", "Check the path.") from None
        self._control.ask("POST", f"{self._path}/play", wav=wav)

    def receiver(self, offer: str) -> str:
        """Lift the receiver with a browser: its microphone becomes the phone's mouth, its speaker the ear.

        It may be lifted from the moment the phone calls until the call ends. Lifting it again, also with
        another browser, replaces the one before.

        Args:
            offer: The browser's SDP offer of one audio line (RFC 8829); its candidates are not needed.

        Returns:
            The SDP answer, which is to be handed to that browser.

        Raises:
            PhoneError: The offer is no good, or the call has ended.
        """
        return str(self._control.ask("POST", f"{self._path}/receiver", {"sdp": offer}).json()["sdp"])

    def lay_down(self) -> None:
        """Lay the receiver down: the browser is cut off, and the call goes on without it."""
        self._control.ask("DELETE", f"{self._path}/receiver")

    def listen(self, silence: float = 0.6, timeout: float = 10.0) -> None:
        """Wait until something was heard and `silence` seconds of quiet followed.

        Raises:
            WaitTimeout: That did not happen within `timeout` seconds.
            PhoneError: The phone is not on a call.
        """
        asked = {"silence": silence, "timeout": timeout}
        self._do("listen", asked, seconds=timeout + ANSWER_SECONDS)

    def wait_for(self, state: PhoneState, timeout: float = 10.0) -> "SandboxPhone":
        """Wait until the call is in a state, or beyond it.

        Returns:
            The phone itself.

        Raises:
            WaitTimeout: It did not get there in time.
            PhoneError: The call ended before.
        """
        if state not in PHONE_STATES:
            raise PhoneError(f"A phone has no state {state!r}.", f"Use one of {', '.join(PHONE_STATES)}.")
        deadline = time.monotonic() + timeout
        while PHONE_STATES.index(seen := self.state) < PHONE_STATES.index(state):
            if time.monotonic() > deadline:
                raise WaitTimeout(f"The phone is not {state} after {timeout:g} s; it is {seen}.")
            time.sleep(POLL)
        if seen == "ended" != state:
            raise PhoneError(
                f"The call ended before the phone was {state}: {self.reason or 'no reason was told'}.",
                "Look at board.events(): does the webhook server run, and is the number right?",
            )
        return self

    def wait_until_heard(self, predicate: Callable[[Heard], bool], timeout: float = 10.0) -> Heard:
        """Wait until what the phone hears satisfies a predicate.

        Raises:
            WaitTimeout: It did not in time; the error tells what was heard last.
        """
        return _wait_until_heard(lambda: self.heard, predicate, timeout)

    def hold(self) -> None:
        """Hold the call: the phone neither hears nor says anything until `resume` (re-INVITE, RFC 3264 section 8.4).

        Raises:
            SandboxError: There is no call, or the far end refuses.
        """
        self._do("hold", {})

    def resume(self) -> None:
        """Take the call up again; raises as `hold` does."""
        self._do("resume", {})

    def hang_up(self) -> None:
        """End the call; does nothing if it has ended."""
        self._do("hang-up", {})
        self._seen = "ended"

    def recording(self) -> bytes:
        """Return what the phone heard so far: a wav, 8 kHz, mono, 16 bit."""
        return self._control.ask("GET", f"{self._path}/recording").content

    def _do(self, what: str, asked: Mapping[str, Any], seconds: float = ANSWER_SECONDS) -> None:
        self._control.ask("POST", f"{self._path}/{what}", asked, seconds=seconds)

    def _look(self) -> tuple[PhoneState, Heard]:
        told = self._control.ask("GET", self._path).json()
        if told["state"] in PHONE_STATES:
            self._seen = told["state"]
        return self._seen, Heard.of(told.get("heard") or {})


class SandboxParticipant:
    """Somebody in the video session, without a browser: hears the phones, and plays a tone or speaks."""

    def __init__(self, info: "SandboxInfo", session_id: str, participant_id: str) -> None:
        self.id = participant_id
        self._control = Control(info)
        self._path = f"{_participants(session_id)}/{quote(participant_id)}"
        self._left = False

    @classmethod
    def join(
        cls, info: "SandboxInfo", session_id: str, tone_hz: float | None = None, text: str | None = None
    ) -> "SandboxParticipant":
        """Join a session, playing a tone, speaking a text, or only listening.

        Raises:
            SandboxError: There is no such session.
        """
        asked = {"tone_hz": tone_hz, "text": text}
        wanted = {key: value for key, value in asked.items() if value is not None}
        made = Control(info).ask("POST", _participants(session_id), wanted).json()
        return cls(info, session_id, str(made["id"]))

    def __repr__(self) -> str:
        return f"<SandboxParticipant {'left' if self._left else 'joined'}>"

    @property
    def heard(self) -> Heard:
        """What the participant heard so far."""
        return Heard.of(self._control.ask("GET", self._path).json().get("heard") or {})

    def wait_until_heard(self, predicate: Callable[[Heard], bool], timeout: float = 10.0) -> Heard:
        """Wait until what the participant hears satisfies a predicate.

        Raises:
            WaitTimeout: It did not in time; the error tells what was heard last.
        """
        return _wait_until_heard(lambda: self.heard, predicate, timeout)

    def recording(self) -> bytes:
        """Return what the participant heard so far: a wav, 8 kHz, mono, 16 bit."""
        return self._control.ask("GET", f"{self._path}/recording").content

    def leave(self) -> None:
        """Leave the session; does nothing the second time."""
        if not self._left:
            self._control.ask("DELETE", self._path)
            self._left = True


def _participants(session_id: str) -> str:
    return f"/sandbox/sessions/{quote(session_id, safe='')}/participants"


def _wait_until_heard(look: Callable[[], Heard], predicate: Callable[[Heard], bool], timeout: float) -> Heard:
    deadline = time.monotonic() + timeout
    while not predicate(heard := look()):
        if time.monotonic() > deadline:
            raise WaitTimeout(f"It was not heard within {timeout:g} s; heard last: {heard}.")
        time.sleep(POLL)
    return heard
