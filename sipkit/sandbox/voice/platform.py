"""The voice side: the SIP server at sip.nexmo.com that gives calls to the application."""

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Literal

from sipkit.sandbox.home import Home
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.sip.agent import OnMessage, UserAgent
from sipkit.sandbox.sip.digest import DigestServer
from sipkit.sandbox.sip.incoming import IncomingCall
from sipkit.sandbox.sip.transport import Transport
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice.application import Applications
from sipkit.sandbox.voice.callbacks import Callbacks, Webhook
from sipkit.sandbox.voice.conversation import Conversations
from sipkit.sandbox.voice.leg import VoiceLeg

REALM = "sip.nexmo.com"
MAX_LEGS = 500
"""Legs the sandbox carries at once; the next one gets 503."""
SILENT_LEG = 60.0
"""Seconds without any RTP after which a phone's leg is hung up."""


@dataclass(frozen=True)
class LedgerLine:
    """One living leg: what a bill would count."""

    uuid: str
    direction: str
    from_: str
    to: str
    conversation: str | None
    state: str
    since: str


class VoicePlatform:
    """Vonage's voice side on this machine.

    Args:
        home: identity and certificate.
        applications: the one application, with its webhooks.
        mixer: carries the legs' audio.
        on_message: told every SIP message, for the trace.
    """

    def __init__(
        self,
        home: Home,
        applications: Applications,
        mixer: Mixer,
        speech: Speech,
        trace: Trace,
        on_message: OnMessage,
    ) -> None:
        credentials = home.credentials
        self._home = home
        self._applications = applications
        self.mixer = mixer
        self.speech = speech
        self.trace = trace
        self.callbacks = Callbacks(credentials, trace)
        self.conversations = Conversations(mixer)
        self._legs: dict[str, VoiceLeg] = {}
        passwords = {
            credentials.voice_api_key: credentials.voice_api_secret,
            credentials.carrier_user: credentials.carrier_password,
        }
        digest = DigestServer(REALM, passwords)
        self._agent = UserAgent("sipkit-voice", on_message, on_call=self._called, digest=digest)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(home.cert_file, home.key_file)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._watch: asyncio.Task[None] | None = None

    async def listen(self, transport: Transport, port: int) -> int:
        """Listen for SIP; returns the real port.

        Raises:
            OSError: the port is taken.
        """
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._hang_up_silent_legs())
        return await self._agent.listen(transport, port, self._tls if transport == "tls" else None)

    async def close(self) -> None:
        """Hang up every leg and close the sockets."""
        if self._watch is not None:
            self._watch.cancel()
        await self._agent.close()
        await self.callbacks.close()

    def webhook(self, name: Literal["answer", "event", "fallback"]) -> Webhook | None:
        """Return the application's webhook with its time limits, None when it has none."""
        owner = self._applications
        match name:
            case "answer":
                found, timeouts = owner.answer_url, owner.timeouts("answer_url")
            case "event":
                found, timeouts = owner.event_url, owner.timeouts("event_url")
            case "fallback":
                found, timeouts = owner.fallback_url, owner.timeouts("fallback_answer_url")
        return Webhook(*found, *timeouts) if found else None

    def ledger(self) -> list[LedgerLine]:
        """Return the legs alive now."""
        return [
            LedgerLine(
                leg.uuid,
                "inbound",
                leg.caller,
                leg.dialled,
                leg.conversation.name if leg.conversation else None,
                leg.state,
                leg.since.isoformat(),
            )
            for leg in self._legs.values()
        ]

    async def _called(self, call: IncomingCall) -> None:
        """Take an authenticated call."""
        credentials = self._home.credentials
        if call.dialled.lstrip("+") != credentials.number:
            call.reject(404)
        elif len(self._legs) >= MAX_LEGS:
            call.reject(503)
        else:
            leg = VoiceLeg(self, call, "sip" if call.user == credentials.voice_api_key else "phone")
            self._legs[leg.uuid] = leg
            try:
                await leg.run()
            finally:
                del self._legs[leg.uuid]

    async def _hang_up_silent_legs(self) -> None:
        """RTP timeout: a phone that vanished without BYE must not stay connected and billed."""
        while True:
            await asyncio.sleep(1)
            for leg in list(self._legs.values()):
                silent = time.monotonic() - leg.audio.heard_at
                if leg.endpoint == "phone" and leg.state == "answered" and silent > SILENT_LEG:
                    leg.end("no media")
