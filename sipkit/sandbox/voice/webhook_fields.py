"""Every field of every callback the sandbox may send, by kind: what the vendor documents or what was recorded, no more.

Sources: "Webhook reference" of the Voice API; callbacks recorded in the tests of Vonage's PHP SDK
(`test/Voice/requests`); `disconnected_by`, `sip_code` and `sub_state`, and the statuses they come with, from the Java
SDK's `EventWebhook` (9.8). `docs/fidelity.md` judges each.
`Callbacks` compares what it sends with this list and tells the trace what is not in it; tests and the fidelity check
read both.
"""

from collections.abc import Mapping
from typing import Any, Final

SIP_HEADER: Final = "SipHeader_"
"""An answer request carries one such field for each X- header of the INVITE, and for User-to-User."""

_LEG: Final = frozenset({"uuid", "conversation_uuid", "from", "to", "timestamp"})
_STATUS: Final = _LEG | {"status", "direction", "headers"}
_WHY: Final = frozenset({"detail", "sip_code"})
_BILL: Final = frozenset({"start_time", "rate", "network"})
_DETECTED: Final = frozenset({"call_uuid", "conversation_uuid", "from", "to", "status", "sub_state", "timestamp"})
_ANSWER: Final = frozenset(
    {"from", "from_user", "to", "endpoint_type", "uuid", "conversation_uuid", "region_url", "custom_data"}
)

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "answer": _ANSWER,
    "fallback": _ANSWER | {"reason", "original_request", "dtmf", "speech", "payload", "timestamp"},
    "started": _STATUS,
    "ringing": _STATUS,
    "answered": _STATUS | _BILL,
    "busy": _STATUS | {"sip_code"},
    "cancelled": _STATUS,
    "unanswered": _STATUS | _WHY,
    "disconnected": _STATUS - {"direction"},
    "rejected": _STATUS | _WHY,
    "failed": _STATUS | _WHY,
    "timeout": _STATUS,
    "completed": _STATUS | _BILL | {"end_time", "duration", "price", "disconnected_by", "sip_code"},
    "human": _DETECTED,
    "machine": _DETECTED,
    "input": _LEG | {"dtmf", "speech"},
    "notify": frozenset({"payload", "conversation_uuid", "timestamp"}),
    "record": frozenset(
        {"start_time", "end_time", "recording_url", "recording_uuid", "size", "conversation_uuid", "timestamp"}
    ),
    "transfer": frozenset({"type", "uuid", "conversation_uuid_from", "conversation_uuid_to", "timestamp"}),
    "error": frozenset({"reason", "conversation_uuid", "timestamp"}),
}


def kind_of(fields: Mapping[str, Any]) -> str:
    """Tell the kind of a callback from what it holds; empty if it is none that is listed."""
    if "original_request" in fields:
        return "fallback"
    status = fields.get("status")
    if status is not None:
        return status if isinstance(status, str) and status in FIELDS else ""
    for mark, kind in (
        ("recording_url", "record"),
        ("conversation_uuid_to", "transfer"),
        ("dtmf", "input"),
        ("payload", "notify"),
        ("reason", "error"),
        ("endpoint_type", "answer"),
    ):
        if mark in fields:
            return kind
    return ""


def unlisted(fields: Mapping[str, Any]) -> list[str]:
    """Return the fields of a callback that its kind does not have; all of them if the kind is unknown."""
    kind = kind_of(fields)
    known = FIELDS.get(kind, frozenset())
    headers = kind in {"answer", "fallback"}
    return sorted(name for name in fields if name not in known and not (headers and name.startswith(SIP_HEADER)))
