"""The SIP messages of a room's call, from the sandbox's trace."""

from typing import Any, Final

from sipkit.lessons.shown import Ladder, Step
from sipkit.phones import SandboxTrace

LEFT: Final = "video platform"
RIGHT: Final = "voice platform"

TraceEvent = dict[str, Any]


def sip_ladder(trace: SandboxTrace, session_id: str, *, ended: bool, timeout: float = 10.0) -> Ladder:
    """Draw the newest call that the video side placed for a session.

    Args:
        trace: The sandbox's trace.
        session_id: The session; its id travels in the INVITE's X-OpenTok-SessionId.
        ended: Whether the call is over, so that its last message has to be waited for.
        timeout: Seconds to wait for that message.

    Raises:
        WaitTimeout: No such call, or its last message did not come.
    """
    trace.wait_for(lambda event: _invites(event, session_id), timeout)
    call_id = [event["call_id"] for event in trace.events() if _invites(event, session_id)][-1]
    last = ("received", "BYE") if ended else ("sent", "ACK")
    trace.wait_for(lambda event: _of(event, call_id) and _closes(event, *last), timeout)
    messages = [event for event in trace.events() if _of(event, call_id)]
    return Ladder(LEFT, RIGHT, [_step(event) for event in messages if event["status"] != 100])  # noqa: PLR2004 - 100 Trying comes or not, by timing (RFC 3261 section 17.2.1)


def _of(event: TraceEvent, call_id: str) -> bool:
    """Whether it is a message of this call as the video side saw it; the voice side sees each a second time."""
    return _of_video_side(event) and bool(event["call_id"] == call_id)


def _invites(event: TraceEvent, session_id: str) -> bool:
    if not _of_video_side(event) or event["dir"] != "sent":
        return False
    return str(event["first_line"]).startswith("INVITE ") and session_id in event["message"]


def _of_video_side(event: TraceEvent) -> bool:
    return (event["kind"], event.get("ua")) == ("sip", "gateway")


def _closes(event: TraceEvent, direction: str, method: str) -> bool:
    """Whether it ends a transaction of `method`: the final answer that came, or the ACK of a 2xx that was sent."""
    if event["dir"] != direction or not event["cseq"].endswith(method):
        return False
    return event["status"] == 200 if direction == "received" else True  # noqa: PLR2004 - 200 OK


def _step(event: TraceEvent) -> Step:
    if event["status"] is not None:
        text = event["first_line"].removeprefix("SIP/2.0 ")
        method = event["cseq"].split()[-1]
        text = f"{text} ({method})" if method != "INVITE" else text
    else:
        text = event["first_line"].split()[0]
        text += " with digest" if "Authorization: Digest" in event["message"] else ""
    return Step(event["dir"] == "sent", text)
