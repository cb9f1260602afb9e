"""How PINs are guessed, what slows it down, and the arithmetic of it. Pure, no I/O.

A guesser dials the number with many lines and types digits. Within a call three wrong PINs are the end; that alone
barely matters, for the next call is one second away. What matters is what is remembered across calls:

    per caller      `free` wrong PINs, then a pause in which the number is told to call later, then one wrong PIN per
                    pause, each pause longer than the one before. For a guesser with fixed caller ids.
    per number      many wrong PINs from whomever: somebody guesses with changing ids. Nobody is refused for it, for
                    it would be honest callers too: a room's PIN leads to the lobby, where a host admits; a PIN that
                    is one person's own, which is longer, leads straight in.
    per room        many tries of PINs that were this room's: one has leaked. The same, for this room alone.

`state` of all three is a `Wrongs`, kept by the store for all workers; the rule is `Policy.after_wrong`.
"""

import math
from dataclasses import dataclass
from typing import Final

from sipkit.pins import how_many

YEAR: Final = 365.25 * 86400.0


@dataclass(frozen=True, slots=True)
class Wrongs:
    """What is remembered of somebody's wrong PINs.

    Attributes:
        level: Wrong PINs that count now; it may leak away with time.
        pauses: How many pauses there were.
        until: When the last one ends; 0: there was none.
        last_at: When the last wrong PIN was typed. All times in seconds since 1970.
    """

    level: float = 0.0
    pauses: int = 0
    until: float = 0.0
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """When a pause begins, how long it is, and how long anything is remembered.

    Attributes:
        free: Wrong PINs before the first pause.
        again: Wrong PINs before each further one.
        first_pause: Seconds.
        factor: How much longer each pause is than the one before.
        longest_pause: Seconds.
        leak: Wrong PINs that are forgotten per second.
        remember: Seconds after which somebody who never paused is forgotten; after n pauses n + 1 times as many.
    """

    free: int = 3
    again: int = 1
    first_pause: float = 60.0
    factor: float = 2.0
    longest_pause: float = 86400.0
    leak: float = 0.0
    remember: float = 86400.0

    def after_wrong(self, before: Wrongs, now: float) -> Wrongs:
        """Return what is to be remembered after one more wrong PIN."""
        if now >= before.last_at + self.kept(before.pauses):
            before = Wrongs()
        level = max(0.0, before.level - self.leak * (now - before.last_at)) + 1.0
        if now < before.until or level < (self.again if before.pauses else self.free):
            return Wrongs(level, before.pauses, before.until, now)
        return Wrongs(0.0, before.pauses + 1, now + self.pause(before.pauses), now)

    def pause(self, before: int) -> float:
        """Return the seconds of a pause that comes after so many."""
        return min(self.longest_pause, self.first_pause * self.factor ** min(before, 64))

    def kept(self, pauses: int) -> float:
        """Return the seconds for which somebody with so many pauses is remembered."""
        return self.remember * (pauses + 1)


CALLER: Final = Policy()
"""For one caller id."""

NUMBER: Final = Policy(free=30, again=30, first_pause=600.0, longest_pause=86400.0, leak=30 / 600)
"""For the whole number: more than 30 wrong PINs in ten minutes."""

ROOM: Final = Policy(free=10, again=10, first_pause=600.0, longest_pause=86400.0, leak=10 / 600)
"""For one room: more than 10 tries in ten minutes of PINs that it had."""

TRIES_PER_CALL: Final = 3
"""The third wrong PIN of a call ends it."""

SECONDS_PER_CALL: Final = 12.0
"""What one call of a quick guesser takes: set-up, three times its keys into the prompt, and the goodbye cut short."""


def guesses_per_day(policy: Policy = CALLER) -> float:
    """Return what one caller id gets at best: going on for ever, or waiting each time until it is forgotten."""
    best, wrongs, begun = policy.again / policy.longest_pause, Wrongs(), policy.remember
    now, guesses = begun, 0
    while wrongs.until - now < policy.longest_pause:
        now = max(now, wrongs.until)
        wrongs = policy.after_wrong(wrongs, now)
        guesses += 1
        best = max(best, guesses / (now - begun + policy.kept(wrongs.pauses)))
    return 86400.0 * best


def fixed_rate(lines: int, policy: Policy = CALLER) -> float:
    """Return the guesses per second of so many lines, each with its own caller id for ever."""
    return lines * guesses_per_day(policy) / 86400.0


def changing_rate(lines: int) -> float:
    """Return the guesses per second of so many lines that show a new caller id on every call."""
    return lines * TRIES_PER_CALL / SECONDS_PER_CALL


def guesses_for_half(length: int, pins: int) -> float:
    """Return after how many guesses one of so many PINs is hit with a chance of 50 %.

    PINs may be changed meanwhile, so a wrong guess excludes nothing: the chance of each is ``pins / how_many``.
    """
    hit = min(1.0, pins / how_many(length))
    return 1.0 if hit == 1.0 else max(1.0, math.log(0.5) / math.log1p(-hit))


def seconds_to_half(length: int, pins: int, rate: float) -> float:
    """Return the seconds until a chance of 50 %, at so many guesses per second."""
    return guesses_for_half(length, pins) / rate


def in_words(seconds: float) -> str:
    """Say a time as people do: ``4 min``, ``1.4 years``."""
    for name, unit in (("years", YEAR), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= unit:
            return f"{seconds / unit:.{0 if seconds >= 10 * unit else 1}f} {name}"
    return f"{seconds:.0f} s"


def table(rooms: int = 10, lines: int = 30) -> list[dict[str, str]]:
    """Return the arithmetic of guessing for each length, as rows of text: the time until a chance of 50 %.

    Args:
        rooms: Open rooms, each with one PIN; a hit on any of them counts.
        lines: Calls that the guesser keeps up at once.
    """
    return [
        {
            "digits": str(length),
            "PINs": f"{how_many(length):,}",
            "guesses": f"{guesses_for_half(length, rooms):,.0f}",
            "changing ids, or no lock-out": in_words(seconds_to_half(length, rooms, changing_rate(lines))),
            "fixed ids": in_words(seconds_to_half(length, rooms, fixed_rate(lines))),
        }
        for length in range(4, 11)
    ]
