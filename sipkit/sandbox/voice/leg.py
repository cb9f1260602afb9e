"""One call of the application: from its INVITE to its ``completed`` event, in either direction.

A :class:`VoiceLeg` that is called asks the answer URL for a call document, answers and executes it; one that calls
is answered first. Statuses and payloads follow the recorded callbacks of the Voice API ("Webhook reference").
What may be done to it from outside while it lives (mute, transfer, talk, ...) is the Voice REST API's modify call.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.call import END_DEADLINE, CallFailed, media_host
from sipkit.sandbox.sip.transport import LOOPBACK
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.callbacks import CallbackFailed, JsonObject, Webhook
from sipkit.sandbox.voice.conversation import Conversation, ConversationFull
from sipkit.sandbox.voice.leg_control import LegControl
from sipkit.sandbox.voice.leg_parts import (
    LENGTH_TIMER,
    NETWORK,
    RATE,
    RINGING_TIMER,
    IncomingCall,
    OutgoingCall,
    Voice,
    WebhookName,
    outcome,
    timestamp,
)
from sipkit.sandbox.voice.recording import Recorder
from sipkit.sandbox.voice.steps import Steps

Script = Callable[["VoiceLeg"], Awaitable[None]]


class VoiceLeg(LegControl):
    """One leg.

    Args:
        voice: the platform.
        call: the SIP call, received or to be placed.
        endpoint: ``{"type": "phone", "number"}`` or ``{"type": "sip", "uri"}``.
        document: executed instead of what the answer URL would say.
        script: awaited after the answer instead of any document (how `connect` makes its second leg).
        webhook: finds the application's webhooks; the platform's by default.
        conversation_uuid: the leg's own conversation; a new one by default.
        ringing_timer: seconds an outbound leg may ring.
        length_timer: seconds the answered call may last.

    Attributes:
        uuid: 32 hex digits, as in recorded callbacks.
        state: "started", "ringing", "answered", "completed", or how it failed.
        muted: what it says reaches nobody; earmuffed: it hears nobody.
        audio: its RTP leg.
        on_digit: told each digit the far end keys.
        rate, price, network: known when it is completed, as texts; None before.
    """

    def __init__(
        self,
        voice: Voice,
        call: IncomingCall | OutgoingCall,
        endpoint: JsonObject,
        *,
        document: Any = None,
        script: Script | None = None,
        webhook: Callable[[WebhookName], Webhook | None] | None = None,
        conversation_uuid: str | None = None,
        ringing_timer: float = RINGING_TIMER,
        length_timer: float = LENGTH_TIMER,
    ) -> None:
        super().__init__(voice, call, endpoint, webhook, conversation_uuid)
        self.answered_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.rate: str | None = None
        self.price: str | None = None
        self.network: str | None = None
        self.conversation: Conversation | None = None
        self.recorder: Recorder | None = None
        self._document = document
        self._script = script
        self._timers = (ringing_timer, length_timer)
        self._length: asyncio.TimerHandle | None = None
        self._end_on_exit = False
        self._failure: tuple[str, str | None, int | None] | None = None
        self._next: list[ncco.Action] | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Has the call ended?"""
        return self._call.ended.done()

    # From outside -----------------------------------------------------------------------------------------------------

    def transfer(self, actions: list[ncco.Action]) -> None:
        """Execute these actions instead of whatever is executed now; the leg leaves the conversation it sits in.

        An answered leg only: the caller checks ``state``. The leg gets a new conversation of its own and the event URL
        a ``transfer`` event (assumed).
        """
        self._next = actions
        if self._work is not None:
            self._work.cancel()

    # For its steps ----------------------------------------------------------------------------------------------------

    def enter(self, conversation: Conversation, *, start_on_enter: bool = True, end_on_exit: bool = False) -> None:
        """Join a conversation, leaving the one it is in.

        Raises:
            ConversationFull: it holds its legs already.
        """
        self.part()
        conversation.enter(self, start_on_enter=start_on_enter)
        self.conversation, self._end_on_exit = conversation, end_on_exit
        self.voice.trace.emit("leg", leg=self.uuid, state="in conversation", conversation=conversation.name)

    def part(self, *, end_on_exit: bool = False) -> None:
        """Leave the conversation, if it is in one; with ``end_on_exit`` it is over for all."""
        conversation, self.conversation = self.conversation, None
        if conversation is not None:
            conversation.leave(self, end_on_exit=end_on_exit)
            self.voice.conversations.left(conversation)
            if not conversation.members and (kept := conversation.stop_recording()) is not None:
                self.recorded(kept)

    async def ended(self) -> None:
        """Wait until the call is over."""
        await asyncio.shield(self._call.ended)

    def record(self, wanted: ncco.Record) -> Recorder:
        """Begin to record the leg; what was recorded before is finished."""
        self.stop_recording()
        self.recorder = Recorder(wanted)
        self.on_digit.add(self.recorder.key)
        self.audio.tap = self.recorder.take
        return self.recorder

    def stop_recording(self) -> None:
        """Finish the recording, if there is one; it is told of when it is written."""
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            self.audio.tap = None
            self.on_digit.discard(recorder.key)
            self.recorded(recorder.finish())

    # Its life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Live through the call."""
        loop = asyncio.get_running_loop()
        self._work = loop.create_task(self._receive() if self.direction == "inbound" else self._place())
        try:
            while True:
                over: list[asyncio.Future[Any]] = [self._work, self._call.ended]
                await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
                if self.direction == "outbound" and self.answered_at is None:
                    # The refusal that ends the call reaches the one who places it, too, and it knows what it means.
                    await asyncio.wait([self._work], timeout=END_DEADLINE)
                self._work.cancel()
                await asyncio.gather(self._work, return_exceptions=True)
                actions, self._next = self._next, None
                if actions is None or self.over:
                    break
                self._work = loop.create_task(self._follow(actions))
            if not self.over:
                await self._call.hang_up()
        finally:
            self._finish()
            await self.written()
            await self._events.finish()

    async def _receive(self) -> None:
        call = self._call
        assert isinstance(call, IncomingCall)
        self._status("started")
        call.ring()
        self._status("ringing")
        try:
            actions = await self._ask()
            await self._prepare(actions)
            remote = call.remote_media
            assert remote is not None
            await self.audio.open()
            self.audio.connect(remote, media_host(remote))
            call.accept(sdp.answer(remote, LOOPBACK, self.audio.port))
            self._answered()
            await Steps(self).execute(actions)
        except (CallbackFailed, ncco.InvalidNcco, ConversationFull) as error:
            self.error(str(error))
            if self.state == "ringing":
                # Vonage answers, then ends, a call whose document fails; a phone that never connected is not billed.
                call.reject(480)

    async def _place(self) -> None:
        call = self._call
        assert isinstance(call, OutgoingCall)
        self._status("started")
        try:
            await self.audio.open()
            async with asyncio.timeout(self._timers[0]):
                await call.place(sdp.offer(LOOPBACK, self.audio.port), lambda: self._status("ringing"))
        except CallFailed as error:
            self._failure = (*outcome(error.code), error.code)
            return
        except TimeoutError:
            # Vonage's "timeout": the ringing timer ran out; the call is cancelled. Of a WebSocket it is "unanswered".
            self._failure = ("unanswered" if self.kind == "websocket" else "timeout", None, None)
            await call.hang_up()
            return
        if call.remote_media is not None:  # a WebSocket carries its sound itself
            self.audio.connect(call.remote_media, media_host(call.remote_media))
        self._answered()
        try:
            if self._script is not None:
                await self._script(self)
                return
            actions = ncco.parse(self._document) if self._document is not None else await self._ask()
            await Steps(self).execute(actions)
        except (CallbackFailed, ncco.InvalidNcco, ConversationFull) as error:
            self.error(str(error))

    async def _follow(self, actions: list[ncco.Action]) -> None:
        """Execute what the leg was transferred to."""
        self.part()
        self.audio.limit(None, None)
        self.audio.stop_playing()
        fresh = f"CON-{uuid.uuid4()}"
        self.moved(fresh)
        self.conversation_uuid = fresh
        try:
            await Steps(self).execute(actions)
        except (CallbackFailed, ncco.InvalidNcco, ConversationFull) as error:
            self.error(str(error))

    async def _prepare(self, actions: list[ncco.Action]) -> None:
        """Synthesise the first prompt while it still rings, so that whoever is answered is also spoken to."""
        if isinstance(actions[0], ncco.Talk):
            await self.voice.speech.say(actions[0].text)

    async def _ask(self) -> list[ncco.Action]:
        """Ask the answer URL for the call document."""
        answer = self.webhook("answer")
        if answer is None:
            raise CallbackFailed("the application has no answer URL")
        fields: JsonObject = {
            "from": self.caller,
            "to": self.dialled,
            "endpoint_type": self.kind,
            "conversation_uuid": self.conversation_uuid,
            "uuid": self.uuid,
            "region_url": "https://api-us-3.vonage.com",
        }
        if self.kind == "sip":
            fields |= {
                f"SipHeader_{name}": value
                for name, value in self._call.custom_headers.items()
                if not name.upper().startswith("X-NEXMO")
            }
        found = await self.voice.callbacks.fetch(answer, fields, leg=self.uuid, fallback=self.webhook("fallback"))
        return ncco.parse(found)

    def _answered(self) -> None:
        self.voice.mixer.add(self.audio)
        self.answered_at = datetime.now(UTC)
        self._length = asyncio.get_running_loop().call_later(self._timers[1], self.end, "the length timer ran out")
        self._status("answered", start_time=None, rate=None, network=None)

    def _finish(self) -> None:
        """Release the media and tell how it ended."""
        if self._length is not None:
            self._length.cancel()
        self.stop_recording()
        self.part(end_on_exit=self._end_on_exit)
        self.voice.mixer.remove(self.audio)
        self.audio.close()
        how = self._call.ended.result() if self.over else "local BYE"
        self.ended_at = datetime.now(UTC)
        if self.answered_at is None:
            status, detail, code = self._failure or ("cancelled" if how == "cancelled" else "failed", None, None)
            self._status(status, **self._why(status, detail, code))
            return
        seconds = max(1, round((self.ended_at - self.answered_at).total_seconds()))
        self.rate, self.price, self.network = RATE, f"{float(RATE) * seconds / 60:.8f}", NETWORK
        self._status(
            "completed",
            start_time=timestamp(self.answered_at),
            end_time=timestamp(self.ended_at),
            duration=str(seconds),
            rate=self.rate,
            price=self.price,
            network=self.network,
            disconnected_by="user" if how == "remote BYE" else "platform",
            **self._why("completed", None, 200 if self.direction == "outbound" else None),
        )
