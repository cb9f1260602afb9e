"""What happened, told so that it reads the same in every run.

The timeline keeps events in the order they became known, and that order is the network's: the news that a call rings
may overtake the question what to do with it. So a lesson tells three stories side by side, each of which has an order
of its own: what you did, what your server was asked, and how each call went.
"""

import re
from collections.abc import Iterable
from typing import Final

from sipkit.timeline import Event

YOURS: Final = ("dial", "hang-up")
ASKED: Final = ("voice-answer", "voice-dtmf")
LIFE: Final = (
    "started",
    "ringing",
    "answered",
    "completed",
    "busy",
    "cancelled",
    "disconnected",
    "failed",
    "rejected",
    "timeout",
    "unanswered",
)
"""What the platform says of a call, in the order of a call's life; all from `completed` on are its end."""
ENDS: Final = frozenset(LIFE[3:])
_WHO: Final = re.compile(r"^(.*?): ")


def tell(events: Iterable[Event]) -> list[str]:
    """Tell the three stories, one thing a line."""
    events = list(events)
    yours = [event.text for event in events if event.kind in YOURS]
    asked = [event.text for event in events if event.kind in ASKED]
    calls = [f"{who}: {', '.join(statuses)}." for who, statuses in calls_of(events)]
    stories = {"You": yours, "Your server was asked": asked, "The calls": calls}
    told = [(title, story) for title, story in stories.items() if story]
    return [line for title, story in told for line in (f"{title}:", *(f"  {text}" for text in story))]


def calls_of(events: Iterable[Event]) -> list[tuple[str, list[str]]]:
    """List who called and how each call went, in the order in which your server was first asked about them."""
    events = list(events)
    asked = [leg for event in events if event.kind in ASKED and (leg := event.data.get("leg"))]
    statuses: dict[str, set[str]] = {leg: set() for leg in dict.fromkeys(asked)}
    names: dict[str, str] = {}
    for event in events:
        leg, status = event.data.get("leg"), event.data.get("status")
        if event.kind == "voice-events" and leg in statuses and status in LIFE:
            statuses[leg].add(status)
            who = _WHO.match(event.text)
            names.setdefault(leg, who.group(1) if who else "A call")
    return [(names[leg], sorted(statuses[leg], key=LIFE.index)) for leg in statuses if leg in names]


def unfinished(events: Iterable[Event]) -> set[str]:
    """The legs that the platform has told something about, but not their end."""
    known = [event for event in events if event.kind in {*ASKED, "voice-events"} and event.data.get("leg")]
    ended = {event.data["leg"] for event in known if event.data.get("status") in ENDS}
    return {event.data["leg"] for event in known} - ended
