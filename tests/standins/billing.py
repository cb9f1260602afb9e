"""What the sandbox's trace says of SIP legs: how many each session has had at once, on either side of the call."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any


def most_bridges(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The most SIP legs that a session, or its conversation, has had at any time: each of them is billed."""
    up: dict[str, set[str]] = defaultdict(set)
    where: dict[str, str] = {}  # of the phone side's legs
    sip: set[str] = set()
    most: dict[str, int] = defaultdict(int)
    for event in events:
        match event:
            case {"kind": "connection", "client": "sip", "event": "created"}:
                place, leg = f"session {event['sessionId']}", event["connectionId"]
                up[place].add(leg)
            case {"kind": "connection", "client": "sip", "event": "destroyed"}:
                place, leg = f"session {event['sessionId']}", event["connectionId"]
                up[place].discard(leg)
            case {"kind": "leg", "state": "in conversation", "leg": leg} if leg in sip:
                place = where[leg] = f"conversation {event['conversation']}"
                up[place].add(leg)
            case {"kind": "leg", "endpoint": "sip", "state": state, "leg": leg}:
                sip.add(leg)
                place = where.get(leg, "")
                if state in {"completed", "failed", "cancelled"}:
                    up[place].discard(leg)
            case _:
                continue
        most[place] = max(most[place], len(up[place]))
    return {place: count for place, count in most.items() if count}
