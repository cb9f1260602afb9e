"""What the trace must not tell: secrets, the keys that were pressed, and of a phone number all but its last digits."""

import re
from typing import Any

HIDDEN = "•••"

_SECRET_WORDS = ("token", "secret", "password", "private_key", "authorization", "digits")
# Seven digits or more that stand alone; part of a session id or of a uuid is no phone number.
_NUMBER = re.compile(r"(?<![\w.-])\+?\d{3,16}(\d{4})(?![\w-])")
_SIP_USER = re.compile(r"\b(sips?|tel):\+?\d{3,16}(\d{4})\b")


def masked(value: Any) -> Any:
    """Return a copy of a JSON value with dots for secrets and keys, and for the beginning of each number."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if any(word in str(name).lower() for word in _SECRET_WORDS) else masked(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return _NUMBER.sub(rf"{HIDDEN}\1", value) if isinstance(value, str) else value


def masked_addresses(message: str) -> str:
    """Return a SIP message with dots for the beginning of each number that is in an address (RFC 3261, 19.1)."""
    return _SIP_USER.sub(rf"\1:{HIDDEN}\2", message)
