"""Wait for something to become true, with a deadline, and say what was seen when it did not.

What happens in a call is written to the store by another process, so waiting is looking again.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from sipkit.errors import WaitTimeout
from sipkit.rooms import Bridge, BridgeState, Caller, Room
from sipkit.store import Store

T = TypeVar("T")

POLL = 0.05
"""Seconds between two looks."""

_SILENT_PHONE_SIDE = (
    "The platform took the dial, and the phone side did not answer. If board.events() shows no voice-answer, "
    "check VOICE_API_KEY and VOICE_API_SECRET, and that the number is linked to the Voice application."
)
_UP: tuple[BridgeState, ...] = ("dialing", "dialed", "answered")


def wait_for(look: Callable[[], T], timeout: float, what: str) -> T:
    """Call `look` until it returns something true, and return that.

    Args:
        look: What to ask.
        timeout: Seconds.
        what: Names the awaited thing in the error.

    Raises:
        WaitTimeout: It stayed false; the error tells what was seen last.
    """
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise WaitTimeout(f"Waited {timeout:g} s for {what}; seen last: {seen!r}.")
        time.sleep(POLL)
    return seen


def wait_for_bridge(store: Store, room: Room, state: BridgeState, timeout: float) -> Bridge | None:
    """Wait until a room's bridge is in a state, or beyond it; a bridge dialled meanwhile is followed.

    Returns:
        The bridge; None if "ended" was asked for and there is none.

    Raises:
        WaitTimeout: It did not get there; the error tells where it is, and why if it ended.
    """
    deadline = time.monotonic() + timeout
    followed: Bridge | None = None
    while True:
        living = store.living_bridge(room)
        if living is not None and state != "ended":
            followed = living
        elif followed is not None:
            followed = store.bridge(followed.id)
        else:
            followed = living
        seen = "none" if followed is None else followed.state
        if seen == state or (state == "ended" and followed is None):
            return followed
        if state in _UP and seen in _UP and _UP.index(seen) > _UP.index(state):
            return followed
        if time.monotonic() > deadline:
            why = f", because {followed.reason}" if followed is not None and followed.reason else ""
            fix = _SILENT_PHONE_SIDE if seen == "dialed" else None
            raise WaitTimeout(f"The bridge is not {state} after {timeout:g} s; it is {seen}{why}.", fix)
        time.sleep(POLL)


def wait_for_callers(store: Store, room: Room, count: int, timeout: float) -> list[Caller]:
    """Wait until exactly `count` callers are in a room's conversation, and return them.

    Raises:
        WaitTimeout: The error tells how many there are.
    """
    deadline = time.monotonic() + timeout
    while True:
        joined = [caller for caller in store.callers(room) if caller.state == "joined"]
        if len(joined) == count:
            return joined
        if time.monotonic() > deadline:
            raise WaitTimeout(f"There are {len(joined)} callers after {timeout:g} s, not {count}.")
        time.sleep(POLL)
