"""What may be done to a leg from outside while it lives: the Voice REST API's modify call, talk, stream and DTMF."""

import asyncio
from collections.abc import Callable

from sipkit.sandbox.media.fetched import fetch_sound
from sipkit.sandbox.media.leg import RtpLeg
from sipkit.sandbox.media.pcm_leg import tell_digit
from sipkit.sandbox.media.source import Pcm, Source
from sipkit.sandbox.voice.callbacks import JsonObject, Webhook
from sipkit.sandbox.voice.leg_news import LegNews
from sipkit.sandbox.voice.leg_parts import Call, Voice, WebhookName, timestamp
from sipkit.sandbox.voice.socket_call import SocketCall


class LegControl(LegNews):
    """A leg's sound and keys; :class:`~sipkit.sandbox.voice.leg.VoiceLeg` describes the attributes."""

    def __init__(
        self,
        voice: Voice,
        call: Call,
        endpoint: JsonObject,
        webhook: Callable[[WebhookName], Webhook | None] | None,
        conversation_uuid: str | None,
    ) -> None:
        super().__init__(voice, call, endpoint, webhook, conversation_uuid)
        self.on_digit: set[Callable[[str], None]] = set()
        self._listener: Webhook | None = None
        self._keyed = 0
        name = f"voice:{self.uuid}"
        self.audio = call.carry(name) if isinstance(call, SocketCall) else RtpLeg(name, on_digit=self._digit)

    @property
    def muted(self) -> bool:
        """Does what it says reach nobody?"""
        return self.audio.muted

    @property
    def earmuffed(self) -> bool:
        """Does it hear nobody?"""
        return self.audio.earmuffed

    def end(self, reason: str) -> None:
        """Hang up, from the platform's side."""
        self._reason = self._reason or reason
        if not self._call.ended.done():
            asyncio.get_running_loop().create_task(self._call.hang_up())

    def mute(self, on: bool) -> None:
        """Let nobody hear it, or everybody again."""
        self.audio.muted = on

    def earmuff(self, on: bool) -> None:
        """Let it hear nobody, or everybody again."""
        self.audio.earmuff(on)

    async def talk(self, text: str, loop: int = 1, level: float = 0.0, language: str = "en-US", style: int = 0) -> None:
        """Begin to speak a text to the leg, in place of what it is played now; ``loop`` 0 goes on for ever."""
        samples = await self.voice.speech.say(text)
        self.voice.trace.emit("speech", leg=self.uuid, text=text, seconds=round(len(samples) / 8000, 2))
        self.audio.play(Pcm(samples, loop, 2**level))

    def stop_talk(self) -> None:
        """End what :meth:`talk` began."""
        self.audio.stop_playing()

    async def stream(self, url: str, loop: int = 1, level: float = 0.0) -> None:
        """Begin to play a sound file to the leg, in place of what it is played now.

        Raises:
            SoundRefused: it cannot be fetched, or is neither WAV nor MP3.
        """
        self.audio.play(Pcm(await fetch_sound(url), loop, 2**level))

    def stop_stream(self) -> None:
        """End what :meth:`stream` began."""
        self.audio.stop_playing()

    async def dtmf(self, digits: str) -> None:
        """Send digits to the leg and wait until they are sent.

        Raises:
            ValueError: a character is no DTMF digit.
        """
        await self.audio.send_digits(digits)

    def listen_dtmf(self, webhook: Webhook | None) -> None:
        """Post every digit the far end keys to a webhook as it comes, until told None."""
        self._listener = webhook

    async def play(self, source: Source) -> bool:
        """Play to the leg; True when it was played to its end."""
        return await self.audio.play(source)

    def _digit(self, digit: str) -> None:
        self._keyed += 1
        # How many, and not which: they may be a PIN.
        self.voice.trace.emit("dtmf", leg=self.uuid, key=self._keyed)
        for each in list(self.on_digit):
            each(digit)
        tell_digit(self.audio, digit)
        if self._listener is not None:
            # The shape of the synchronous input with one digit: no document shows the asynchronous one (assumed).
            told = {"dtmf": {"digits": digit, "timed_out": False}, **self.identity(), "timestamp": timestamp()}
            self.tell(told, self._listener)
