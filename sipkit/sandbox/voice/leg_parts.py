"""What a leg needs of the calls it lives on and of the platform, and how its figures are printed."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.sip import sdp
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.callbacks import Callbacks, Webhook
from sipkit.sandbox.voice.conversation import Conversations
from sipkit.sandbox.voice.recording import Recordings

if TYPE_CHECKING:
    from sipkit.sandbox.voice.leg import VoiceLeg

RATE = "0.00450000"
"""Price a minute in the completed event, EUR: the figure of the recorded callbacks, not a quotation."""
NETWORK = "SANDBOX"
RINGING_TIMER = 60.0
LENGTH_TIMER = 7200.0
"""Seconds; the Voice API's defaults for ringing_timer and length_timer."""

WebhookName: TypeAlias = Literal["answer", "event", "fallback"]


Connect: TypeAlias = Callable[["VoiceLeg", ncco.Connect], Awaitable[Any]]
"""Executes a connect action; returns the document that replaces the rest, None when there is none."""


class Call(Protocol):
    """A SIP call as a leg sees it.

    Attributes:
        call_id: its Call-ID; empty until an outgoing call has one.
        remote_media: the far end's description, known once it is answered (inbound: from the start).
        ended: completes with the reason: "remote BYE", "local BYE", "cancelled", or a refusal.
    """

    call_id: str
    remote_media: sdp.Audio | None
    ended: "asyncio.Future[str]"

    @property
    def direction(self) -> Literal["inbound", "outbound"]:
        """Who calls: the far end ("inbound") or the platform."""

    @property
    def caller(self) -> str:
        """Who calls."""

    @property
    def dialled(self) -> str:
        """The number or SIP user that is called."""

    @property
    def custom_headers(self) -> dict[str, str]:
        """The X- headers of the INVITE."""

    async def hang_up(self) -> None:
        """End it, at any time, and twice."""


@runtime_checkable
class IncomingCall(Call, Protocol):
    """A call the platform received."""

    def ring(self) -> None:
        """Send 180."""

    def accept(self, media: sdp.Audio) -> None:
        """Answer it."""

    def reject(self, code: int) -> None:
        """Refuse it."""


@runtime_checkable
class OutgoingCall(Call, Protocol):
    """A call the platform places."""

    async def place(self, offer: sdp.Audio, ringing: Callable[[], None]) -> None:
        """Send the INVITE and wait for the answer; tell once when it rings.

        Raises:
            CallFailed: it was refused, or cannot be reached.
        """


class Voice(Protocol):
    """What a leg needs of the platform; ``connect`` is None as long as the platform cannot place calls."""

    callbacks: Callbacks
    connect: Connect | None
    conversations: Conversations
    mixer: Mixer
    recordings: Recordings
    speech: Speech
    trace: Trace

    def webhook(self, name: WebhookName) -> Webhook | None:
        """Return the application's webhook."""


def outcome(code: int) -> tuple[str, str | None]:
    """Return status and detail of a call that was refused with a SIP status ("Webhook reference": statuses, details).

    Which SIP status makes which is assumed where the reference does not name one.
    """
    return {
        486: ("busy", None),
        600: ("busy", None),
        404: ("failed", "number_out_of_service"),
        408: ("unanswered", "timeout"),
        480: ("unanswered", "unavailable"),
        484: ("rejected", "invalid_number"),
        403: ("rejected", "restricted"),
        603: ("rejected", "declined"),
        487: ("cancelled", None),
        503: ("failed", "cannot_route"),
    }.get(code, ("failed", "internal_error" if code >= 500 else None))


def why(status: str, detail: str | None, code: int | None) -> dict[str, str | int]:
    """Return what the last event of a call tells of the reason: a detail, and the SIP status of a call that was placed.

    Documented by the Java SDK's EventWebhook: ``sip_code`` comes with these five.
    """
    coded = status in ("busy", "unanswered", "rejected", "failed", "completed")
    return {**({"detail": detail} if detail else {}), **({"sip_code": code} if code and coded else {})}


def second(moment: datetime) -> str:
    """Print a time as recordings do: UTC, whole seconds, Z ("NCCO reference", return parameters of record)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp(moment: datetime | None = None) -> str:
    """Print a time as the callbacks do: UTC, milliseconds, Z."""
    moment = moment or datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
