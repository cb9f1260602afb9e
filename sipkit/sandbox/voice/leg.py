"""One phone call into the application: from the INVITE to its ``completed`` event.

A :class:`VoiceLeg` asks the answer URL for a call document, answers the call and executes the document. Statuses and
payloads follow the recorded callbacks of the Voice API ("Webhook reference").
"""

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from sipkit.sandbox.media.leg import RtpLeg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.source import Pcm
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.call import media_host
from sipkit.sandbox.sip.incoming import IncomingCall
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.callbacks import CallbackFailed, Callbacks, EventQueue, JsonObject, Webhook
from sipkit.sandbox.voice.conversation import Conversation, ConversationFull, Conversations

RATE = "0.00450000"
"""Price a minute in the completed event, EUR: the figure of the recorded callbacks, not a quotation."""


class Voice(Protocol):
    """What a leg needs of the platform."""

    callbacks: Callbacks
    conversations: Conversations
    mixer: Mixer
    speech: Speech
    trace: Trace

    def webhook(self, name: Literal["answer", "event", "fallback"]) -> Webhook | None:
        """Return the application's webhook."""


class VoiceLeg:
    """One inbound leg.

    Attributes:
        uuid: 32 hex digits, as in recorded callbacks.
        endpoint: "sip" for a leg that authenticated with the API key, "phone" for one from the carrier.
        state: "started", "ringing", "answered", "completed".
    """

    def __init__(self, voice: Voice, call: IncomingCall, endpoint: Literal["sip", "phone"]) -> None:
        self.uuid = uuid.uuid4().hex
        self.conversation_uuid = f"CON-{uuid.uuid4()}"
        self.endpoint = endpoint
        self.state = "new"
        self.since = datetime.now(UTC)
        self.conversation: Conversation | None = None
        self._voice = voice
        self._call = call
        self._events = EventQueue(voice.callbacks, self.uuid)
        self._digits: asyncio.Queue[str] = asyncio.Queue()
        self._collecting = False
        self._barged: Callable[[], None] | None = None
        self._end_on_exit = False
        self._reason = ""
        self._answered_at: datetime | None = None
        self.audio = RtpLeg(f"voice:{self.uuid}", on_digit=self._digit)

    @property
    def caller(self) -> str:
        """Who calls, as the From header tells."""
        return self._call.caller

    @property
    def dialled(self) -> str:
        """The number that was called."""
        return self._call.dialled

    def end(self, reason: str) -> None:
        """Hang up, from the platform's side."""
        self._reason = self._reason or reason
        if not self._call.ended.done():
            asyncio.get_running_loop().create_task(self._call.hang_up())

    async def run(self) -> None:
        """Live through the call."""
        work = asyncio.get_running_loop().create_task(self._work())
        try:
            over: list[asyncio.Future[Any]] = [work, self._call.ended]
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if not self._call.ended.done():
                await self._call.hang_up()
        finally:
            self._finish()
            await self._events.finish()

    async def _work(self) -> None:
        self._status("started")
        self._call.ring()
        self._status("ringing")
        try:
            document = await self._ask_for_document()
            actions = ncco.parse(document)
            if isinstance(actions[0], ncco.Talk):
                # Synthesised while it still rings, so that whoever is answered is also spoken to.
                await self._voice.speech.say(actions[0].text)
            await self._answer()
            await self._execute(actions)
        except (CallbackFailed, ncco.InvalidNcco, ConversationFull) as error:
            self._error(str(error))
            if self.state == "ringing":
                # Vonage answers, then ends, a call whose document fails; a phone that never connected is not billed.
                self._call.reject(480)

    async def _ask_for_document(self) -> Any:
        answer = self._voice.webhook("answer")
        if answer is None:
            raise CallbackFailed("the application has no answer URL")
        fields: JsonObject = {
            "from": self.caller,
            "to": self.dialled,
            "endpoint_type": self.endpoint,
            "conversation_uuid": self.conversation_uuid,
            "uuid": self.uuid,
            "region_url": "https://api-us-3.vonage.com",
        }
        if self.endpoint == "sip":
            fields |= {
                f"SipHeader_{name}": value
                for name, value in self._call.custom_headers.items()
                if not name.upper().startswith("X-NEXMO")
            }
        return await self._voice.callbacks.fetch(
            answer, fields, leg=self.uuid, fallback=self._voice.webhook("fallback")
        )

    async def _answer(self) -> None:
        remote = self._call.remote_media
        assert remote is not None
        await self.audio.open()
        self.audio.connect(remote, media_host(remote))
        self._call.accept(sdp.answer(remote, "127.0.0.1", self.audio.port))
        self._voice.mixer.add(self.audio)
        self._answered_at = datetime.now(UTC)
        self._status("answered", start_time=None, rate=None, network=None)

    # The document -----------------------------------------------------------------------------------------------------

    async def _execute(self, actions: list[ncco.Action]) -> None:
        """Execute actions; the answer to an input replaces what is left. After the last one the call is hung up."""
        while actions:
            action, *actions = actions
            self._trace_step(action, "started")
            match action:
                case ncco.Talk():
                    await self._talk(action)
                case ncco.Input():
                    replacement = await self._input(action)
                    if replacement is not None:
                        actions = ncco.parse(replacement)
                case ncco.Conversation():
                    await self._converse(action)
            self._trace_step(action, "done")
        self._reason = self._reason or "the document ended"

    async def _talk(self, talk: ncco.Talk) -> None:
        self._collecting = talk.barge_in  # from the start: the first prompt of all may take a while to synthesise
        samples = await self._voice.speech.say(talk.text)
        if talk.barge_in and not self._digits.empty():
            return  # the caller is ahead of the prompt
        # level is documented as -1 to 1 around 0; a factor of two each way is this sandbox's reading of it.
        source = Pcm(samples, loop=talk.loop, gain=2**talk.level)
        self._voice.trace.emit("speech", leg=self.uuid, text=talk.text, seconds=round(len(samples) / 8000, 2))
        playing = self.audio.play(source)
        self._barged = self.audio.stop_playing if talk.barge_in else None
        await playing
        self._barged = None

    async def _input(self, wanted: ncco.Input) -> Any:
        """Collect digits until the hash, the last digit or the silence, and post them."""
        self._collecting = True
        digits, timed_out = "", False
        while len(digits) < wanted.max_digits:
            try:
                digit = await asyncio.wait_for(self._digits.get(), wanted.time_out or None)
            except TimeoutError:
                timed_out = True
                break
            if digit == "#" and wanted.submit_on_hash:
                break
            digits += digit
        self._collecting = False
        while not self._digits.empty():
            self._digits.get_nowait()
        webhook = Webhook(wanted.event_url, wanted.event_method) if wanted.event_url else self._voice.webhook("event")
        if webhook is None:
            return None
        fields: JsonObject = {
            "speech": {"error": "Speech was not enabled"},
            "dtmf": {"digits": digits, "timed_out": timed_out},
            "from": self.caller,
            "to": self.dialled,
            "uuid": self.uuid,
            "conversation_uuid": self.conversation_uuid,
            "timestamp": timestamp(),
        }
        return await self._voice.callbacks.fetch(webhook, fields, leg=self.uuid)

    async def _converse(self, wanted: ncco.Conversation) -> None:
        """Stay in the conversation until the call ends."""
        conversation = self._voice.conversations.named(wanted.name)
        conversation.enter(self, start_on_enter=wanted.start_on_enter)
        self.audio.muted = wanted.mute
        self.conversation, self._end_on_exit = conversation, wanted.end_on_exit
        self._notify(
            {
                "conversation_uuid_from": self.conversation_uuid,
                "type": "transfer",
                "uuid": self.uuid,
                "conversation_uuid_to": conversation.uuid,
                "timestamp": timestamp(),
            }
        )
        self._voice.trace.emit("leg", leg=self.uuid, state="in conversation", conversation=wanted.name)
        await asyncio.shield(self._call.ended)

    def _digit(self, digit: str) -> None:
        self._voice.trace.emit("dtmf", leg=self.uuid, digit=digit)
        if not self._collecting:
            return
        self._digits.put_nowait(digit)
        if self._barged is not None:
            self._barged()

    # What is told -----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Release the media and tell how it ended."""
        if self.conversation is not None:
            self.conversation.leave(self, end_on_exit=self._end_on_exit)
            self._voice.conversations.left(self.conversation)
        self._voice.mixer.remove(self.audio)
        self.audio.close()
        how = self._call.ended.result() if self._call.ended.done() else "local BYE"
        by = "user" if how in ("remote BYE", "cancelled") else "platform"
        if self._answered_at is None:
            self._status("cancelled" if how == "cancelled" else "failed", disconnected_by=by)
            return
        end = datetime.now(UTC)
        seconds = max(1, round((end - self._answered_at).total_seconds()))
        self._status(
            "completed",
            start_time=timestamp(self._answered_at),
            end_time=timestamp(end),
            duration=str(seconds),
            rate=RATE,
            price=f"{float(RATE) * seconds / 60:.8f}",
            network="SANDBOX",
            disconnected_by=by,
        )

    def _status(self, status: str, **more: Any) -> None:
        self.state = status
        self._voice.trace.emit(
            "leg",
            leg=self.uuid,
            state=status,
            endpoint=self.endpoint,
            call_id=self._call.call_id,
            reason=self._reason,
        )
        headers = self._call.custom_headers if self.endpoint == "sip" else {}
        self._notify(
            {
                "headers": headers,
                "from": self.caller,
                "to": self.dialled,
                "uuid": self.uuid,
                "conversation_uuid": self.conversation_uuid,
                "status": status,
                "direction": "inbound",
                **more,
                "timestamp": timestamp(),
            }
        )

    def _error(self, reason: str) -> None:
        """Tell the event URL what went wrong, as the platform's error event does."""
        self._reason = reason
        self._notify({"reason": reason, "conversation_uuid": self.conversation_uuid, "timestamp": timestamp()})
        self._voice.trace.emit("ncco", leg=self.uuid, action="error", state="failed", reason=reason)

    def _notify(self, fields: JsonObject) -> None:
        self._events.put(self._voice.webhook("event"), fields)

    def _trace_step(self, action: ncco.Action, state: str) -> None:
        self._voice.trace.emit("ncco", leg=self.uuid, action=type(action).__name__.lower(), state=state)


def timestamp(moment: datetime | None = None) -> str:
    """Print a time as the callbacks do: UTC, milliseconds, Z."""
    moment = moment or datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
