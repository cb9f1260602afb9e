"""One ordered list of everything that happened, in words, with nothing secret in it.

The store keeps the list; this module says what an entry is and hides what must not be in one:
PINs, tokens, and all but the last four digits of a phone number.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

HIDDEN = "•••"
SHOWN_DIGITS = 4
MAX_TEXT_LENGTH = 500
"""Longest text of one entry, in characters; longer ones are cut."""

# A JWT (RFC 7519) starts with the base64 of '{"'; T1 tokens are OpenTok's older form.
_TOKEN = re.compile(r"\beyJ[\w-]+(?:\.[\w-]*){0,2}|\bT1==[\w+/=-]+")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+\S+", re.IGNORECASE)
# Seven digits or more that stand alone; part of a session id or of a uuid is no phone number.
_NUMBER = re.compile(r"(?<![\w.-])\+?\d{7,20}(?![\w-])")

# One look that finds nothing of the three, which is what most texts have.
_SUSPECT = re.compile(r"eyJ|T1==|\d{7}|(?i:bearer|basic)")

_SECRET_KEYS = frozenset({"authorization", "digits", "dtmf", "jwt", "password", "pin", "secret", "signature", "token"})
_NUMBER_KEYS = frozenset({"caller", "from", "from_user", "msisdn", "number", "to"})


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the timeline.

    Attributes:
        id: Its place in the order; greater is later.
        at: When it was recorded, UTC.
        kind: A short word to filter by, such as ``voice-answer`` or ``dial``.
        text: What happened, in one sentence.
        room_id: The room it concerns, or None.
        data: Details for a program, already masked.
    """

    id: int
    at: datetime
    kind: str
    text: str
    room_id: int | None
    data: Mapping[str, Any]


def mask_number(number: str) -> str:
    """Return at most the last four characters of a phone number: ``•••0123``.

    A number of four digits or fewer is hidden altogether, for nothing of it would be.
    """
    shown = number.strip().lstrip("+")
    return f"{HIDDEN}{shown[-SHOWN_DIGITS:]}" if len(shown) > SHOWN_DIGITS else HIDDEN


def mask_digits(digits: str) -> str:
    """Return how many keys were pressed, and nothing about which: ``4 digits``."""
    return f"{len(digits)} digit{'' if len(digits) == 1 else 's'}"


def mask_text(text: str) -> str:
    """Return the text on one line with tokens and phone numbers hidden, cut to a sane length."""
    if _SUSPECT.search(text):
        text = _BEARER.sub(rf"\1 {HIDDEN}", text)
        text = _TOKEN.sub(HIDDEN, text)
        text = _NUMBER.sub(lambda found: mask_number(found.group()), text)
    # A surrogate half cannot be stored, a line break would forge a second entry.
    text = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[: MAX_TEXT_LENGTH - 1]}…"


def mask_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the details with every secret in it hidden, however deep."""
    return {mask_text(str(key)): _masked(str(key), value) for key, value in data.items()}


def _masked(key: str, value: Any) -> Any:
    """Hide one value: by its name when that tells, by its looks otherwise."""
    name = key.lower()
    if value is None or isinstance(value, bool):
        return value
    if name in _SECRET_KEYS or name.endswith(("_secret", "_token", "_pin", "_password")):
        return HIDDEN
    if name in _NUMBER_KEYS:
        return mask_number(str(value))
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return mask_data(value)
    if isinstance(value, Sequence):
        return [_masked("", item) for item in value]
    if isinstance(value, int | float):
        return value
    return mask_text(str(value))
