"""PINs: drawing one that is free, and reading what a phone typed. Pure functions, no I/O.

That a PIN is unique among open rooms is for the store to enforce, by a constraint: two processes
may draw the same digits at the same moment. This module only draws.
"""

import secrets
from collections.abc import Iterable
from typing import Final

from sipkit.errors import PinSpaceExhausted, SettingsError

MIN_LENGTH: Final = 4
MAX_LENGTH: Final = 10
MAX_WRONG_TRIES: Final = 3
"""The third wrong PIN of a leg ends its call."""

MAX_SILENT_TRIES: Final = 2
"""Nothing typed is asked once again; the second silence ends the call."""


def generate_pin(length: int = MIN_LENGTH, taken: Iterable[str] = ()) -> str:
    """Draw a PIN, each free one as likely as any other.

    Args:
        length: Digits, 4 to 10. The first is never 0, so a PIN read as a number stays itself.
        taken: PINs in use; those of another length do no harm.

    Returns:
        The digits.

    Raises:
        PinSpaceExhausted: If all PINs of this length are taken.
        SettingsError: If the length is not 4 to 10.
    """
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise SettingsError(f"PIN_LENGTH must be {MIN_LENGTH} to {MAX_LENGTH}.")
    lowest, end = 10 ** (length - 1), 10**length
    used = sorted({int(pin) for pin in taken if len(pin) == length and _is_pin(pin)})
    free = end - lowest - len(used)
    if free <= 0:
        raise PinSpaceExhausted(f"All {end - lowest} PINs of {length} digits are in use.")
    # Draw the k-th free PIN and step over the used ones below it: no retry, however full it is.
    drawn = lowest + secrets.randbelow(free)
    for pin in used:
        if pin > drawn:
            break
        drawn += 1
    return str(drawn)


def typed_pin(digits: str) -> str:
    """Return what was typed as a PIN: without the ``#`` that submits it, and without space."""
    return digits.strip().rstrip("#")


def _is_pin(text: str) -> bool:
    return text.isascii() and text.isdigit() and not text.startswith("0")
