"""`make demo`: the whole call on this machine, without a browser, each step proven by what was heard.

Somebody is in a video session, playing a tone. The bridge dials out. A phone dials the number, hears the
prompt, keys a wrong PIN, hears the prompt again, keys the right one and plays a tone of its own. Then both
recordings are measured: each side must have heard the other. At the end nothing is left connected.

It works in a data folder of its own and takes it away afterwards; it can never reach a live account.
"""

import io
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sipkit.control import SandboxTrace
from sipkit.errors import SipkitError
from sipkit.phones import Heard, SandboxParticipant, SandboxPhone
from sipkit.rooms import Room
from sipkit.sandbox import launcher
from sipkit.switchboard import Switchboard

SESSION_TONE = 440
PHONE_TONE = 1000
TONE_SECONDS = 2.0
MEASURED_SECONDS = 1.0
NEAR_HZ = 15.0
"""How close a measured tone must be: the resolution of one second's spectrum, with room for its window."""
PURE = 0.5
"""The tone must hold at least this share of the power of the second it is measured in."""
AUDIBLE_DBFS = -45.0
"""Speech or a tone below this is not counted as heard."""
ANSWER_DEADLINE = 15.0


class NotProven(Exception):
    """A step happened differently from what the demo promises."""


@dataclass
class Story:
    """Prints each step as it happens and keeps the measured figures."""

    begin: float = field(default_factory=time.monotonic)
    figures: list[tuple[str, float, str, float | None]] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Print one step with the seconds since the beginning."""
        print(f"{time.monotonic() - self.begin:7.2f} s  {text}", flush=True)

    def prove(self, holds: bool, text: str) -> None:
        """Print what was proven.

        Raises:
            NotProven: It does not hold.
        """
        if not holds:
            raise NotProven(text)
        self.tell(f"✔ {text}")

    def measure(self, name: str, value: float, unit: str, goal: float | None = None) -> None:
        """Keep a figure for the table, with the most it should be."""
        self.figures.append((name, value, unit, goal))

    def table(self) -> str:
        """All figures, one a line."""
        lines = [f"{'figure':<58} {'measured':>12}  {'goal':>10}"]
        for name, value, unit, goal in self.figures:
            wanted = f"≤ {goal:g} {unit}" if goal is not None else ""
            lines.append(f"{name:<58} {value:>9.1f} {unit:<2}  {wanted:>10}")
        return "\n".join(lines)


def main() -> int:
    """Run the demo; 0 if every step was proven, 1 otherwise."""
    story = Story()
    with tempfile.TemporaryDirectory(prefix="sipkit-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            _demo(story, home)
        except (SipkitError, NotProven) as error:
            story.tell(f"✘ not proven: {error}")
            return 1
        finally:
            launcher.stop(home / "sandbox")
    story.measure("the whole demo", time.monotonic() - story.begin, "s", 20)
    print(f"\n{story.table()}")
    return 0


def _demo(story: Story, home: Path) -> None:
    """Tell the story from opening the room to the empty ledger."""
    with Switchboard.from_env(mode="sandbox", home=home) as board:
        room = board.open_room("demo")
        info = launcher.read(home / "sandbox")
        if info is None:
            raise NotProven("the sandbox runs")
        trace = SandboxTrace(info)
        story.tell(f"room 'demo' is open: a routed session and a PIN of {len(room.pin)} digits")
        server = board.start_webhook_server()
        story.tell(f"the webhook server answers at {server.url}, and the Voice application points at it")
        _dial_out(story, board, trace, room)
        participant = board.participant(room, tone_hz=SESSION_TONE)
        story.tell(f"somebody joined the session and plays {SESSION_TONE} Hz")
        phone = _call_in(story, board, trace, room)
        _hear_each_other(story, phone, participant)
        _hang_up(story, board, trace, room, phone, participant)


def _dial_out(story: Story, board: Switchboard, trace: SandboxTrace, room: Room) -> None:
    """The session's bridge dials the number and joins the conversation."""
    asked = time.time()
    board.dial_out(room)
    joined = trace.wait_for(_in_conversation(room), ANSWER_DEADLINE)
    story.prove(True, "dial_out: the bridge's leg is in the conversation named after the session")
    story.measure("dial_out to the leg in the conversation (first call)", (joined["t"] - asked) * 1000, "ms")


def _call_in(story: Story, board: Switchboard, trace: SandboxTrace, room: Room) -> SandboxPhone:
    """A phone dials, gets the PIN wrong once, then right."""
    phone = board.phone()
    phone.wait_for("answered", ANSWER_DEADLINE)
    story.tell("a phone dialled the number and was answered")
    phone.listen(timeout=ANSWER_DEADLINE)
    prompt = samples_of(phone.recording())
    story.prove(level(prompt) > AUDIBLE_DBFS, f"the phone heard the prompt ({_seconds(prompt)})")
    # The recording begins with the answer.
    story.measure("first sound of the prompt after the answer", silence_before(prompt) * 1000, "ms", 300)

    phone.keys(f"{_wrong(room.pin)}#")
    story.tell("the phone keyed a wrong PIN")
    phone.listen(timeout=ANSWER_DEADLINE)
    again = samples_of(phone.recording())[len(prompt) :]
    story.prove(level(again) > AUDIBLE_DBFS, f"the phone heard the prompt again ({_seconds(again)})")
    story.prove(not _joined(board, room), "a wrong PIN lets nobody in")

    before = _last(trace)
    keyed = time.time()
    phone.keys(f"{room.pin}#")
    joined = trace.wait_for(_in_conversation(room), ANSWER_DEADLINE, since=before)
    board.wait_for_callers(room, 1, timeout=ANSWER_DEADLINE)
    story.prove(True, "the right PIN: the phone's leg is in the same conversation")
    story.measure("first key of the right PIN to the conversation", (joined["t"] - keyed) * 1000, "ms")
    return phone


def _hear_each_other(story: Story, phone: SandboxPhone, participant: SandboxParticipant) -> None:
    """Measure, in both recordings, the tone that the other side plays."""
    _hear(phone, SESSION_TONE)
    _prove_tone(story, "phone", phone.recording(), SESSION_TONE)
    played = time.monotonic()
    phone.tone(PHONE_TONE, TONE_SECONDS)
    story.tell(f"the phone plays {PHONE_TONE} Hz")
    _hear(participant, PHONE_TONE)
    story.measure("one whole second of the phone's tone in the session", time.monotonic() - played, "s")
    _prove_tone(story, "session's participant", participant.recording(), PHONE_TONE)


def _hear(listener: SandboxPhone | SandboxParticipant, hz: int) -> None:
    """Wait until the tone is heard, and then for one second more, so that the last second is all tone."""

    def tone(heard: Heard) -> bool:
        return bool(heard.tones_hz) and abs(heard.tones_hz[0] - hz) <= NEAR_HZ

    begun = listener.wait_until_heard(tone, ANSWER_DEADLINE).seconds
    listener.wait_until_heard(lambda heard: heard.seconds >= begun + MEASURED_SECONDS, ANSWER_DEADLINE)


def _hang_up(
    story: Story,
    board: Switchboard,
    trace: SandboxTrace,
    room: Room,
    phone: SandboxPhone,
    participant: SandboxParticipant,
) -> None:
    """The phone leaves, the bridge is hung up, and nothing stays connected and billed."""
    phone.hang_up()
    board.wait_for_callers(room, 0, timeout=ANSWER_DEADLINE)
    story.prove(True, "the phone hung up, and the room knows")
    participant.leave()
    asked = time.monotonic()
    story.prove(board.hang_up(room).hung_up, "hang_up: the platform took the bridge down")
    deadline = asked + ANSWER_DEADLINE
    while any((left := trace.ledger()).values()):
        if time.monotonic() > deadline:
            raise NotProven(f"nothing is left connected; the ledger still shows {_count(left)}")
        time.sleep(0.02)
    story.measure("hang_up to an empty ledger", (time.monotonic() - asked) * 1000, "ms")
    story.prove(True, "the ledger shows no leg and no connection: nothing would cost money now")


def _prove_tone(story: Story, who: str, recording: bytes, hz: int) -> None:
    samples = samples_of(recording)[-round(8000 * MEASURED_SECONDS) :]
    found, share = strongest_tone(samples)
    loud = level(samples)
    text = f"the {who} heard {hz} Hz: {found:.0f} Hz with {share:.0%} of the power, at {loud:.1f} dBFS"
    story.prove(abs(found - hz) <= NEAR_HZ and share >= PURE and loud > AUDIBLE_DBFS, text)


def samples_of(recording: bytes) -> NDArray[np.float64]:
    """The samples of an 8 kHz mono 16-bit wav, full scale being 1."""
    with wave.open(io.BytesIO(recording)) as wav:
        frames = wav.readframes(wav.getnframes())
    return np.frombuffer(frames, "<i2").astype(np.float64) / 32768


def level(samples: NDArray[np.float64]) -> float:
    """Level in dBFS of the loudest 200 ms (a full-scale sine has -3 dBFS); -inf for silence."""
    blocks = [samples[n : n + 1600] for n in range(0, len(samples), 1600)]
    power = max((float(np.mean(block**2)) for block in blocks), default=0.0)
    return 10 * float(np.log10(power)) if power else float("-inf")


def silence_before(samples: NDArray[np.float64]) -> float:
    """Seconds before the first 20 ms that are loud enough to be heard; all of it if none is."""
    first = (n for n in range(0, len(samples), 160) if level(samples[n : n + 160]) > AUDIBLE_DBFS)
    return next(first, len(samples)) / 8000


def strongest_tone(samples: NDArray[np.float64]) -> tuple[float, float]:
    """Frequency in Hz of the strongest tone at 8 kHz, and its share of all power but DC."""
    if not len(samples):
        return 0.0, 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    spectrum[:2] = 0
    peak = int(np.argmax(spectrum))
    # A Hann window spreads a tone over a few lines; count them as one.
    near = spectrum[max(peak - 3, 0) : peak + 4].sum()
    total = spectrum.sum()
    return peak * 8000 / len(samples), float(near / total) if total else 0.0


def _leg(state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["kind"] == "leg" and event.get("state") == state


def _in_conversation(room: Room) -> Callable[[dict[str, Any]], bool]:
    there = _leg("in conversation")
    return lambda event: there(event) and event.get("conversation") == room.session_id


def _joined(board: Switchboard, room: Room) -> bool:
    return any(caller.state == "joined" for caller in board.callers(room))


def _last(trace: SandboxTrace) -> int:
    return max((int(event["seq"]) for event in trace.events()), default=0)


def _wrong(pin: str) -> str:
    """A PIN of the same length that is not this one; the demo's room is the only one there is."""
    return next(digit for digit in "98" if pin[0] != digit) + pin[1:]


def _seconds(samples: NDArray[np.float64]) -> str:
    return f"{len(samples) / 8000:.1f} s of audio, up to {level(samples):.1f} dBFS"


def _count(ledger: dict[str, list[dict[str, Any]]]) -> str:
    return ", ".join(f"{len(lines)} {name}" for name, lines in ledger.items())
