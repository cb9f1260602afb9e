"""The calls of the account, living and finished, as `GET /v1/calls` shows them (Voice OpenAPI 1.10.0)."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sipkit.sandbox.voice.leg import VoiceLeg

JsonObject = dict[str, Any]

KEEP = 1000
"""Finished calls kept; the oldest is forgotten (at Vonage the Reports API has older ones)."""


@dataclass(frozen=True)
class Finished:
    """A call that is over."""

    uuid: str
    application_id: str
    since: datetime
    shown: JsonObject


class CallBook:
    """All calls, by application."""

    def __init__(self) -> None:
        self._living: dict[str, tuple[str, VoiceLeg]] = {}
        self._finished: deque[Finished] = deque(maxlen=KEEP)

    def begin(self, application_id: str, leg: VoiceLeg) -> None:
        """Enter a call that begins."""
        self._living[leg.uuid] = (application_id, leg)

    def end(self, leg: VoiceLeg) -> None:
        """Keep what is shown of a call that is over."""
        application_id, _ = self._living.pop(leg.uuid)
        self._finished.append(Finished(leg.uuid, application_id, leg.since, shown(leg)))

    def legs(self) -> list[VoiceLeg]:
        """The calls that live."""
        return [leg for _, leg in self._living.values()]

    def leg(self, application_id: str, uuid: str) -> VoiceLeg | None:
        """A living call of an application."""
        owner, leg = self._living.get(uuid, ("", None))
        return leg if owner == application_id else None

    def find(self, application_id: str, uuid: str) -> JsonObject | None:
        """What is shown of one call of an application."""
        return next((call for _, call in self.all(application_id) if call["uuid"] == uuid), None)

    def all(self, application_id: str) -> list[tuple[datetime, JsonObject]]:
        """When each call of an application began, and what is shown of it; the oldest first."""
        calls = [(each.since, each.shown) for each in self._finished if each.application_id == application_id]
        calls += [(leg.since, shown(leg)) for owner, leg in self._living.values() if owner == application_id]
        return sorted(calls, key=lambda call: call[0])


def shown(leg: VoiceLeg) -> JsonObject:
    """Return what the API shows of a call.

    Documented: rate, price, duration, times and network are there once it is completed. Assumed: an inbound leg's
    ``to`` is the number that was called, and a SIP leg's ``from`` its user.
    """
    far, near = leg.endpoint, {"type": "phone", "number": leg.dialled if leg.direction == "inbound" else leg.caller}
    if leg.direction == "inbound":
        far = {"type": "phone", "number": leg.caller} if leg.kind == "phone" else {**leg.endpoint}
    call: JsonObject = {
        "_links": {"self": {"href": f"/v1/calls/{leg.uuid}"}},
        "uuid": leg.uuid,
        "conversation_uuid": leg.conversation_uuid,
        "to": near if leg.direction == "inbound" else far,
        "from": far if leg.direction == "inbound" else near,
        "status": leg.state,
        "direction": leg.direction,
    }
    if leg.state == "completed" and leg.answered_at is not None and leg.ended_at is not None:
        call |= {
            "rate": leg.rate,
            "price": leg.price,
            "duration": str(max(1, round((leg.ended_at - leg.answered_at).total_seconds()))),
            "start_time": f"{leg.answered_at:%Y-%m-%d %H:%M:%S}",
            "end_time": f"{leg.ended_at:%Y-%m-%d %H:%M:%S}",
            "network": leg.network,
        }
    return call
