"""The `connect` action: call an endpoint, and let the leg and it talk with each other ("NCCO reference", connect).

Assumed, for the reference does not say it in so many words: the next action follows when the endpoint is not
reached, and also when the far end of an answered call hung up; with ``eventType`` synchronous the event URL may answer
that event with another document; the called leg is hung up with the one that called it; both share one conversation.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sipkit.sandbox.account.limits import LimitExceeded
from sipkit.sandbox.media.fetched import fetch_sound
from sipkit.sandbox.media.source import Pcm
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.answered import greet
from sipkit.sandbox.voice.callbacks import CallbackFailed, JsonObject, Webhook
from sipkit.sandbox.voice.calls import Calls
from sipkit.sandbox.voice.conversation import Conversation
from sipkit.sandbox.voice.leg_parts import WebhookName, timestamp
from sipkit.sandbox.voice.outbound import Endpoint, InvalidEndpoint, read_endpoint

if TYPE_CHECKING:
    from sipkit.sandbox.voice.leg import VoiceLeg

_ON_THE_WAY = ("new", "started", "ringing", "answered", "completed")


class Connector:
    """Connects the legs of one application.

    Args:
        calls: the application's.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def run(self, leg: "VoiceLeg", wanted: ncco.Connect) -> Any:
        """Execute the action; returns the document that replaces the rest, None when there is none.

        Raises:
            InvalidNcco: the endpoint or the caller cannot be used, or there are too many calls.
            ConversationFull: never in fact, for two are in it.
        """
        if wanted.machine_detection is not None:
            raise ncco.InvalidNcco("machine detection of connect is not in the sandbox")
        try:
            endpoint = read_endpoint(wanted.endpoint)
            caller = self._caller(leg, wanted, endpoint)
            self._calls.take()
        except (InvalidEndpoint, LimitExceeded) as error:
            raise ncco.InvalidNcco(f"connect: {error}") from None
        room = Conversation(leg.conversation_uuid, leg.voice.mixer)
        room.uuid = leg.conversation_uuid

        async def join(other: "VoiceLeg") -> None:
            await greet(other, endpoint)
            leg.audio.stop_playing()
            leg.enter(room)
            other.enter(room)
            await other.ended()

        legs: list[VoiceLeg] = []
        called = self._calls.place(
            endpoint,
            caller,
            script=join,
            webhook=self._events(leg, wanted, legs),
            conversation_uuid=leg.conversation_uuid,
            ringing_timer=wanted.timeout,
            length_timer=wanted.limit,
        )
        legs.append(called)
        try:
            if (ringback := wanted.ringback_url or endpoint.ringback) is not None:
                leg.audio.play(Pcm(await fetch_sound(ringback), loop=0))
            await self._calls.finished(called)
        finally:
            leg.audio.stop_playing()
            leg.part()
            called.end("the leg that called it is gone")
        if not wanted.synchronous:
            return None
        if called.answered_at is None:
            return await self._tell(leg, wanted, called.told)
        if called.kind == "websocket" and called.told.get("disconnected_by") == "user":
            # Documented: told of in synchronous mode only, and without a direction. Assumed: after `completed`.
            fields = {"headers": called.told["headers"], **called.identity(), "status": "disconnected"}
            return await self._tell(leg, wanted, fields)
        return None

    def _caller(self, leg: "VoiceLeg", wanted: ncco.Connect, endpoint: Endpoint) -> str:
        """Return the number shown: a WebSocket needs none (guide "WebSockets"; assumed: it is told the leg's own)."""
        if endpoint.socket is not None and wanted.from_ is None and not wanted.random_from_number:
            return leg.caller
        return self._calls.caller_id(wanted.from_, any_number=wanted.random_from_number)

    @staticmethod
    def _event(leg: "VoiceLeg", wanted: ncco.Connect) -> Webhook | None:
        own = leg.voice.webhook("event")
        if wanted.event_url is None:
            return own
        return replace(own or Webhook("", ""), url=wanted.event_url, method=wanted.event_method)

    def _events(self, leg: "VoiceLeg", wanted: ncco.Connect, called: list["VoiceLeg"]) -> Any:
        """Make the called leg's finder of webhooks. A synchronous event that may be answered is told by `_tell`."""

        def find(name: WebhookName) -> Webhook | None:
            if name != "event":
                return None
            failed = bool(called) and called[0].state not in _ON_THE_WAY
            return None if wanted.synchronous and failed else self._event(leg, wanted)

        return find

    async def _tell(self, leg: "VoiceLeg", wanted: ncco.Connect, fields: JsonObject) -> Any:
        """Tell synchronously that the endpoint was not reached, or closed its WebSocket.

        Where the event URL and the fallback fail, that is an error event, and the next action follows.
        """
        webhook = self._event(leg, wanted)
        if webhook is None:
            return None
        fields = {**fields, "timestamp": timestamp()}
        fallback = leg.webhook("fallback")
        try:
            return await leg.voice.callbacks.fetch(webhook, fields, leg=fields["uuid"], fallback=fallback)
        except CallbackFailed as failure:
            leg.error(str(failure))
            return None
