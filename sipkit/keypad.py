"""The keys that do something in a call: which they are, and how they are found in what is pressed. No I/O."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

KeyDeed = Literal["mute", "hand", "count", "help"]

NO_KEY: Final = "off"
"""The setting of a deed that no key does."""

MAX_KEYS: Final = 4
_TYPEABLE = re.compile(rf"[0-9*#]{{1,{MAX_KEYS}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Keypad:
    """What each deed's keys are; empty: none.

    Attributes:
        mute: Mutes the phone that presses it, and unmutes it again.
        hand: Raises the hand, and lowers it again.
        count: Tells how many are in the call.
        help: Reads the keys aloud.
    """

    mute: str = "*6"
    hand: str = "*9"
    count: str = "*1"
    help: str = "*#"

    def deeds(self) -> Iterator[tuple[KeyDeed, str]]:
        """Return what can be done, each with its keys."""
        told: tuple[tuple[KeyDeed, str], ...] = (
            ("mute", self.mute),
            ("hand", self.hand),
            ("count", self.count),
            ("help", self.help),
        )
        return ((deed, keys) for deed, keys in told if keys)

    def find(self, keyed: str) -> tuple[KeyDeed, int] | None:
        """Return the first deed whose keys are in what was keyed, and how many keys that is up to its last one."""
        ends = [(at + len(keys), deed) for deed, keys in self.deeds() if (at := keyed.find(keys)) >= 0]
        if not ends:
            return None
        end, deed = min(ends)
        return deed, end


def checked_keys(value: str) -> str:
    """Return the keys of a setting without space, or `NO_KEY`.

    Raises:
        ValueError: No phone can type them.
    """
    keys = re.sub(r"\s", "", value)
    if keys.lower() == NO_KEY:
        return NO_KEY
    if not _TYPEABLE.fullmatch(keys):
        raise ValueError(f"must be 1 to {MAX_KEYS} keys of 0-9, * and #, such as *6, or {NO_KEY}")
    return keys


def told_apart(keypad: Keypad) -> bool:
    """Tell whether no deed's keys are in another one's: such a deed would be done, or missed, on the way."""
    keys = [each for _deed, each in keypad.deeds()]
    return not any(one in other for i, one in enumerate(keys) for j, other in enumerate(keys) if i != j)
