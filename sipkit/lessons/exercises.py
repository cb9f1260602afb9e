"""Exercises that check themselves: a question with a number, or a sound that has to be heard.

An exercise nobody has done yet says so and gives a hint; it never raises, so a lesson runs to its end.
"""

from dataclasses import dataclass
from typing import Final

from sipkit.errors import WaitTimeout
from sipkit.lessons.sound import hears
from sipkit.phones import SandboxParticipant, SandboxPhone
from sipkit.waiting import wait_for

LISTENING: Final = 3.0
"""Seconds an exercise listens for a sound that may be on its way."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a lesson.

    Attributes:
        right: The answer.
        why: What makes it right.
        hint: Where to look.
    """

    right: int
    why: str
    hint: str


QUESTIONS: Final = {
    "connections": Question(
        right=3,
        why="two browsers and the bridge. All phones are behind the one bridge.",
        hint="what did the session's count do when one more phone came?",
    ),
    "streams": Question(
        right=2,
        why="the other browser's and the bridge's. Nobody subscribes to their own.",
        hint="each browser publishes one stream, the bridge one. Whose do you not need to hear?",
    ),
    "bill": Question(
        right=8,
        why="three for the bridge, one for each phone, one for each browser.",
        hint="step 6 had a bridge and a phone. What does one more phone add, and what a browser?",
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an exercise says of an answer."""

    passed: bool
    text: str

    def __repr__(self) -> str:
        return f"✔ {self.text}" if self.passed else f"○ not yet: {self.text}"


def answer(question: str, given: int | None) -> Verdict:
    """Check an answer.

    Args:
        question: A key of `QUESTIONS`.
        given: The answer; None is the exercise as it was handed out.

    Raises:
        KeyError: There is no such question.
    """
    known = QUESTIONS[question]
    if given is None:
        return Verdict(passed=False, text=f"put a number in the place of None. Hint: {known.hint}")
    if given != known.right:
        return Verdict(passed=False, text=f"{given} is another number. Hint: {known.hint}")
    return Verdict(passed=True, text=f"{given}: {known.why}")


def heard(listener: SandboxPhone | SandboxParticipant, hz: int, timeout: float = LISTENING) -> Verdict:
    """Check whether somebody hears a tone, or has heard it: half a second of it has to be in their recording.

    Args:
        listener: A phone or a participant.
        hz: The tone's frequency in Hz.
        timeout: Seconds to listen at most; a tone that was heard before is found at once.
    """
    try:
        wait_for(lambda: hears(listener.recording(), hz), timeout, f"{hz} Hz")
    except WaitTimeout:
        return Verdict(passed=False, text=f"{hz} Hz was not heard. Hint: a phone has tone(hz) and play(file)")
    return Verdict(passed=True, text=f"{hz} Hz was heard")
