"""Who a leg is, and what it tells the application: statuses, transfers, recordings, errors ("Webhook reference")."""

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from sipkit.sandbox.voice.callbacks import EventQueue, JsonObject, Webhook
from sipkit.sandbox.voice.leg_parts import Call, Voice, WebhookName, second, timestamp, why
from sipkit.sandbox.voice.recording import RecordingEnd


class LegNews:
    """A leg's identity and its event queue; :class:`~sipkit.sandbox.voice.leg.VoiceLeg` describes the attributes."""

    def __init__(
        self,
        voice: Voice,
        call: Call,
        endpoint: JsonObject,
        webhook: Callable[[WebhookName], Webhook | None] | None,
        conversation_uuid: str | None,
    ) -> None:
        self.uuid = uuid.uuid4().hex
        self.conversation_uuid = conversation_uuid or f"CON-{uuid.uuid4()}"
        self.endpoint = endpoint
        self.direction: Literal["inbound", "outbound"] = call.direction
        self.state = "new"
        self.since = datetime.now(UTC)
        self.voice = voice
        self.webhook = webhook or voice.webhook
        self._call = call
        self._events = EventQueue(voice.callbacks, self.uuid)
        self._reason = ""
        self.told: JsonObject = {}
        """The last status as the application was told it."""
        self._writing: set[asyncio.Task[None]] = set()

    @property
    def kind(self) -> str:
        """The endpoint's type: "sip" for a leg that authenticated with the API key, "phone" for the carrier's."""
        return str(self.endpoint["type"])

    @property
    def caller(self) -> str:
        """Who calls, as the From header tells."""
        return self._call.caller

    @property
    def dialled(self) -> str:
        """The number that was called."""
        return self._call.dialled

    def recorded(self, end: RecordingEnd) -> None:
        """Begin to write a recording, beside the audio loop; told of when it is written."""
        writing = asyncio.get_running_loop().create_task(self._keep(end, self.conversation_uuid))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def written(self) -> None:
        """Wait until the leg's recordings are written and told of."""
        if self._writing:
            await asyncio.wait(self._writing)

    async def _keep(self, end: RecordingEnd, conversation_uuid: str) -> None:
        """Keep a recording and tell where it can be had: start, end, size and URL, as recorded callbacks show."""
        try:
            file = await asyncio.to_thread(end.file)
        except (RuntimeError, MemoryError) as error:
            self.error(f"the recording cannot be written: {type(error).__name__}")
            return
        kept = self.voice.recordings.keep(file, end.form)
        fields = {
            "start_time": second(end.start),
            "recording_url": self.voice.recordings.url(kept),
            "size": len(file),
            "recording_uuid": str(uuid.uuid4()),
            "end_time": second(end.end),
            "conversation_uuid": conversation_uuid,
            "timestamp": timestamp(),
        }
        self.tell(fields, self.hook(end.event_url, end.event_method) if end.event_url else None)

    def hook(self, url: str, method: str) -> Webhook:
        """Return a webhook that a document names: signed as the application's own are."""
        own = self.webhook("event")
        return Webhook(url, method, application=own.application, signed=own.signed) if own else Webhook(url, method)

    def identity(self) -> JsonObject:
        """The fields every callback about a leg has."""
        return {
            "from": self.caller,
            "to": self.dialled,
            "uuid": self.uuid,
            "conversation_uuid": self.conversation_uuid,
        }

    def tell(self, fields: JsonObject, webhook: Webhook | None = None) -> None:
        """Queue an event, for the application's event URL unless another webhook is given."""
        self._events.put(webhook or self.webhook("event"), fields)

    def moved(self, to: str, webhook: Webhook | None = None) -> None:
        """Tell that the leg went from its conversation to another one."""
        self.tell(
            {
                "conversation_uuid_from": self.conversation_uuid,
                "type": "transfer",
                "uuid": self.uuid,
                "conversation_uuid_to": to,
                "timestamp": timestamp(),
            },
            webhook,
        )

    def note(self, reason: str) -> None:
        """Keep the first reason why the call ends."""
        self._reason = self._reason or reason

    def _status(self, status: str, **more: Any) -> None:
        self.state = status
        self.voice.trace.emit(
            "leg", leg=self.uuid, state=status, endpoint=self.kind, call_id=self._call.call_id, reason=self._reason
        )
        headers = self._call.custom_headers if self.kind in ("sip", "websocket") else {}
        direction = {"status": status, "direction": self.direction}
        self.told = {"headers": headers, **self.identity(), **direction, **more, "timestamp": timestamp()}
        self.tell(self.told)

    def _why(self, status: str, detail: str | None, code: int | None) -> JsonObject:
        """Return the reason of the last event; that of a WebSocket has none (guide "WebSockets", fallback options)."""
        return {} if self.kind == "websocket" else why(status, detail, code)

    def error(self, reason: str) -> None:
        """Tell the event URL what went wrong, as the platform's error event does."""
        self._reason = reason
        self.tell({"reason": reason, "conversation_uuid": self.conversation_uuid, "timestamp": timestamp()})
        self.voice.trace.emit("ncco", leg=self.uuid, action="error", state="failed", reason=reason)
