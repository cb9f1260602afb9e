"""PINs: drawing one that is free, and reading what a phone typed. Pure functions, no I/O.

A PIN here is easy to type and to say: it does not start with 0, no digit stands twice in a row (some providers lose
one of the two; Nextcloud Talk's rule), and no three digits count up or down, as 123 or 321.

That a PIN is unique among those that let in is for the store to enforce, by a constraint: two processes
may draw the same digits at the same moment. This module only draws.
"""

import secrets
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Final, Literal

from sipkit.errors import PinSpaceExhausted, SettingsError

PinKind = Literal["room", "host", "personal"]

MIN_LENGTH: Final = 4
DEFAULT_LENGTH: Final = 6
MAX_LENGTH: Final = 10

OWN_LENGTH: Final = MAX_LENGTH
"""Digits of a PIN that is one person's, a host's or a guest's: it lets in even while somebody guesses."""


def generate_pin(length: int = DEFAULT_LENGTH, taken: Iterable[str] = ()) -> str:
    """Draw a PIN, each free one as likely as any other.

    Args:
        length: Digits, 4 to 10.
        taken: PINs in use; those of another length, or drawn by other rules, do no harm.

    Returns:
        The digits.

    Raises:
        PinSpaceExhausted: If all PINs of this length are taken.
        SettingsError: If the length is not 4 to 10.
    """
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise SettingsError(f"PIN_LENGTH must be {MIN_LENGTH} to {MAX_LENGTH}.")
    used = sorted(_place(pin) for pin in {*taken} if len(pin) == length and well_formed(pin))
    free = how_many(length) - len(used)
    if free <= 0:
        raise PinSpaceExhausted(f"All {how_many(length)} PINs of {length} digits are in use.")
    # Draw the k-th free PIN and step over the used ones below it: no retry, however full it is.
    drawn = secrets.randbelow(free)
    for place in used:
        if place > drawn:
            break
        drawn += 1
    return _pin_at(drawn, length)


def how_many(length: int) -> int:
    """Return how many PINs of so many digits there are."""
    return sum(_ways(first, 0, length - 1) for first in range(1, 10))


def well_formed(text: str) -> bool:
    """Tell whether these digits could have been drawn here."""
    if not (text.isascii() and text.isdigit()) or text.startswith("0"):
        return False
    steps = [int(after) - int(before) for before, after in pairwise(text)]
    return 0 not in steps and all(step != after or abs(step) > 1 for step, after in pairwise(steps))


def typed_pin(digits: str) -> str:
    """Return what was typed as a PIN: without the ``#`` that submits it, and without space."""
    return digits.strip().rstrip("#")


def _followers(digit: int, step: int) -> Iterable[int]:
    """The digits that may follow one that was reached by a step."""
    return (after for after in range(10) if after != digit and not (after - digit == step and abs(step) == 1))


@cache
def _ways(digit: int, step: int, left: int) -> int:
    """How many ways there are to go on for `left` digits after this one."""
    if not left:
        return 1
    return sum(_ways(after, after - digit, left - 1) for after in _followers(digit, step))


def _pin_at(place: int, length: int) -> str:
    """The PIN at a place in the order of all PINs of a length, from 0."""
    pin = ""
    choices: Iterable[int] = range(1, 10)
    while len(pin) < length:
        for after in choices:
            step = after - int(pin[-1]) if pin else 0
            ways = _ways(after, step, length - len(pin) - 1)
            if place < ways:
                break
            place -= ways
        pin += str(after)
        choices = _followers(after, step)
    return pin


def _place(pin: str) -> int:
    """The place of a PIN; `_pin_at` read backwards."""
    place, step = 0, 0
    choices: Iterable[int] = range(1, 10)
    for index, digit in enumerate(map(int, pin)):
        before = int(pin[index - 1]) if index else None
        for after in choices:
            if after == digit:
                break
            place += _ways(after, 0 if before is None else after - before, len(pin) - index - 1)
        step = 0 if before is None else digit - before
        choices = _followers(digit, step)
    return place
