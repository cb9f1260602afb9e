"""Execute a call document, action by action ("NCCO reference").

What the reference leaves open is assumed, and said so where it is done. A leg makes one :class:`Steps` for each
document it executes: the one of its answer, and each it is transferred to.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sipkit.sandbox.media.fetched import SoundRefused, fetch_sound
from sipkit.sandbox.media.g711 import Samples
from sipkit.sandbox.media.source import Pcm, Tone
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.callbacks import CallbackFailed, JsonObject, Webhook
from sipkit.sandbox.voice.leg_parts import timestamp

if TYPE_CHECKING:
    from sipkit.sandbox.voice.leg import VoiceLeg

BEEP_HZ = 1000
BEEP_SECONDS = 0.3


class Steps:
    """The execution of one document on one leg."""

    def __init__(self, leg: "VoiceLeg") -> None:
        self._leg = leg
        self._digits: asyncio.Queue[str] = asyncio.Queue()
        self._collecting = False
        self._barged: Callable[[], None] | None = None

    async def execute(self, actions: list[ncco.Action]) -> None:
        """Execute actions; a document in the answer to one replaces what is left. After the last the call is over.

        Raises:
            InvalidNcco: a document or a sound cannot be used.
            ConversationFull: a conversation holds its legs already.
        """
        self._leg.on_digit.add(self._digit)
        try:
            while actions:
                action, *actions = actions
                self._trace(action, "started")
                replacement = await self._step(action)
                if replacement is not None:
                    actions = ncco.parse(replacement)
                self._trace(action, "done")
        except SoundRefused as error:
            # Assumed: what becomes of a call whose file cannot be played is not documented. Here it is an error.
            raise ncco.InvalidNcco(str(error)) from None
        finally:
            self._leg.on_digit.discard(self._digit)
        self._leg.note("the document ended")

    async def _step(self, action: ncco.Action) -> Any:
        """Execute one action; returns the document that replaces the rest, None when there is none."""
        match action:
            case ncco.Talk():
                await self._talk(action)
            case ncco.Stream():
                self._collecting = action.barge_in
                await self._play(await fetch_sound(action.url), action)
            case ncco.Input() if action.asynchronous:
                self._leg.listen_dtmf(self._webhook(action.event_url, action.event_method))
            case ncco.Input():
                return await self._input(action)
            case ncco.Conversation():
                await self._converse(action)
            case ncco.Record():
                await self._record(action)
            case ncco.Notify():
                return await self._notify(action)
            case ncco.Wait():
                await asyncio.sleep(action.timeout)
            case ncco.Transfer():
                await self._transfer(action)
            case ncco.Connect():
                return await self._connect(action)
        return None

    async def _talk(self, talk: ncco.Talk) -> None:
        self._collecting = talk.barge_in  # from the start: the first prompt of all may take a while to synthesise
        # The sandbox has one English voice: language, style and premium are taken and do not change it.
        samples = await self._leg.voice.speech.say(talk.text)
        if talk.barge_in and not self._digits.empty():
            return  # the caller is ahead of the prompt
        seconds = round(len(samples) / 8000, 2)
        self._leg.voice.trace.emit("speech", leg=self._leg.uuid, text=talk.text, seconds=seconds)
        await self._play(samples, talk)

    async def _play(self, samples: Samples, wanted: ncco.Talk | ncco.Stream) -> None:
        if wanted.barge_in and not self._digits.empty():
            return
        # level is documented as -1 to 1 around 0; a factor of two each way is this sandbox's reading of it.
        playing = self._leg.audio.play(Pcm(samples, loop=wanted.loop, gain=2**wanted.level))
        self._barged = self._leg.audio.stop_playing if wanted.barge_in else None
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
        webhook = self._webhook(wanted.event_url, wanted.event_method)
        if webhook is None:
            return None
        fields = {
            "speech": {"error": "Speech was not enabled"},
            "dtmf": {"digits": digits, "timed_out": timed_out},
            **self._leg.identity(),
            "timestamp": timestamp(),
        }
        return await self._replacement(webhook, fields)

    async def _converse(self, wanted: ncco.Conversation) -> None:
        """Stay in the conversation until the call ends."""
        leg = self._leg
        conversation = leg.voice.conversations.named(wanted.name)
        music: Samples | None = None
        if wanted.music_on_hold_url is not None and not (wanted.start_on_enter or conversation.started.is_set()):
            music = await fetch_sound(wanted.music_on_hold_url)
            conversation = leg.voice.conversations.named(wanted.name)
        leg.audio.muted = wanted.mute
        leg.audio.limit(_names(wanted.can_speak), _names(wanted.can_hear))
        leg.enter(conversation, start_on_enter=wanted.start_on_enter, end_on_exit=wanted.end_on_exit)
        # Assumed: the conversation's own event URL gets what the application's would get of it.
        leg.moved(conversation.uuid, self._webhook(wanted.event_url, wanted.event_method))
        if wanted.record:
            conversation.record(wanted.event_url, wanted.event_method)
        if music is not None and not conversation.started.is_set():
            leg.audio.play(Pcm(music, loop=0))
            await conversation.started.wait()
            leg.audio.stop_playing()
        await leg.ended()

    async def _record(self, wanted: ncco.Record) -> None:
        """Begin a recording; with an end condition wait for it, else go on ("asynchronous by default")."""
        if wanted.beep:
            await self._leg.play(Tone(BEEP_HZ, BEEP_SECONDS))
        recorder = self._leg.record(wanted)
        if wanted.synchronous:
            await recorder.done.wait()
            if self._leg.recorder is recorder:
                self._leg.stop_recording()
            # Told before the next action is executed ("Recording" guide, synchronous recording).
            await self._leg.written()

    async def _notify(self, wanted: ncco.Notify) -> Any:
        fields = {
            "conversation_uuid": self._leg.conversation_uuid,
            "payload": wanted.payload,
            "timestamp": timestamp(),
        }
        webhook = self._leg.hook(wanted.event_url, wanted.event_method)
        return await self._replacement(webhook, fields)

    async def _replacement(self, webhook: Webhook, fields: JsonObject) -> Any:
        """Ask a webhook, then the fallback, for a new document; None when neither has one.

        In the middle of a call that is told as an error, and the call flow continues ("Webhook reference").
        """
        leg = self._leg
        try:
            return await leg.voice.callbacks.fetch(webhook, fields, leg=leg.uuid, fallback=leg.webhook("fallback"))
        except CallbackFailed as failure:
            leg.error(str(failure))
            return None

    async def _transfer(self, wanted: ncco.Transfer) -> None:
        """Move the leg into another conversation, by its id, and stay there: the action is terminal."""
        leg = self._leg
        target = leg.voice.conversations.by_uuid(wanted.conversation_id)
        if target is None:
            raise ncco.InvalidNcco(f"there is no conversation {wanted.conversation_id}")
        leg.audio.muted = wanted.mute
        leg.audio.limit(_names(wanted.can_speak), _names(wanted.can_hear))
        leg.enter(target, start_on_enter=False)
        leg.moved(target.uuid)
        await leg.ended()

    async def _connect(self, wanted: ncco.Connect) -> Any:
        connect = self._leg.voice.connect
        if connect is None:
            raise ncco.InvalidNcco("connect is not in the sandbox")
        return await connect(self._leg, wanted)

    def _webhook(self, url: str | None, method: str) -> Webhook | None:
        return self._leg.hook(url, method) if url else self._leg.webhook("event")

    def _digit(self, digit: str) -> None:
        if not self._collecting:
            return
        self._digits.put_nowait(digit)
        if self._barged is not None:
            self._barged()

    def _trace(self, action: ncco.Action, state: str) -> None:
        self._leg.voice.trace.emit("ncco", leg=self._leg.uuid, action=type(action).__name__.lower(), state=state)


def _names(legs: frozenset[str] | None) -> frozenset[str] | None:
    """Return the mixer's names of legs given by their ids."""
    return None if legs is None else frozenset(f"voice:{each}" for each in legs)
