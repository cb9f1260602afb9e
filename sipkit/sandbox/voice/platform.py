"""The voice side: the SIP server at sip.nexmo.com that gives calls to the application."""

import asyncio
import copy
import ssl
import time
from dataclasses import dataclass, replace
from typing import Literal

from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.account.numbers import Numbers
from sipkit.sandbox.home import Home
from sipkit.sandbox.masking import masked
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.sip.agent import OnMessage, UserAgent
from sipkit.sandbox.sip.digest import DigestServer
from sipkit.sandbox.sip.incoming import IncomingCall
from sipkit.sandbox.sip.transport import Transport
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice.application import Applications
from sipkit.sandbox.voice.callbacks import Callbacks, Webhook
from sipkit.sandbox.voice.calls import Calls, Exchange
from sipkit.sandbox.voice.connect import Connector
from sipkit.sandbox.voice.conversation import Conversations
from sipkit.sandbox.voice.leg import VoiceLeg
from sipkit.sandbox.voice.leg_parts import Connect
from sipkit.sandbox.voice.recording import Recordings

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
        applications: all applications of the account, with their webhooks.
        limits: how many calls may be made.
        numbers: the account's numbers; the link of each decides which application answers its calls.
        mixer: carries the legs' audio.
        on_message: told every SIP message, for the trace.
    """

    def __init__(
        self,
        home: Home,
        applications: Applications,
        numbers: Numbers,
        limits: Limits,
        mixer: Mixer,
        speech: Speech,
        trace: Trace,
        on_message: OnMessage,
    ) -> None:
        credentials = home.credentials
        self._home = home
        self._applications = applications
        self._numbers = numbers
        self.application_id = applications.first_id
        self._faces: dict[str, VoicePlatform] = {}
        self.mixer = mixer
        self.speech = speech
        self.trace = trace
        self.callbacks = Callbacks(credentials, trace)
        self.conversations = Conversations(mixer)
        self.recordings = Recordings(applications, trace)
        passwords = {
            credentials.voice_api_key: credentials.voice_api_secret,
            credentials.carrier_user: credentials.carrier_password,
        }
        digest = DigestServer(REALM, passwords)
        self._agent = UserAgent("sipkit-voice", on_message, on_call=self._called, digest=digest)
        self.exchange = Exchange(self._agent, numbers, limits, home.ca_file)
        self.calls = Calls(self, self.exchange)
        self.connect: Connect | None = Connector(self.calls).run
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
        for leg in self.calls.book.legs():
            if leg.kind == "websocket":  # the agent hangs up its own, those on SIP
                leg.end("the sandbox ends")
        await self._agent.close()
        for face in (self, *self._faces.values()):
            await face.callbacks.close()

    def webhook(self, name: Literal["answer", "event", "fallback"]) -> Webhook | None:
        """Return the application's webhook with its time limits, None when it has none."""
        owner = self._applications.find(self.application_id)
        if owner is None:
            return None
        match name:
            case "answer":
                found, timeouts = owner.answer_url, owner.timeouts("answer_url")
            case "event":
                found, timeouts = owner.event_url, owner.timeouts("event_url")
            case "fallback":
                found, timeouts = owner.fallback_url, owner.timeouts("fallback_answer_url")
        return Webhook(*found, *timeouts, owner.id, owner.signed_callbacks) if found else None

    def face(self, application_id: str) -> "VoicePlatform":
        """Return this platform as one application sees it: its webhooks, its signatures, its own conversations.

        A conversation's name belongs to an application (NCCO reference); everything else is shared.
        """
        if application_id == self.application_id:
            return self
        if application_id not in self._faces:
            face = copy.copy(self)
            face.application_id = application_id
            credentials = replace(self._home.credentials, application_id=application_id)
            face.callbacks = Callbacks(credentials, self.trace, self.callbacks.desk)
            face.conversations = Conversations(self.mixer)
            face.calls = Calls(face, self.exchange)
            face.connect = Connector(face.calls).run
            self._faces[application_id] = face
        return self._faces[application_id]

    def ledger(self) -> list[LedgerLine]:
        """Return the legs alive now."""
        return [
            LedgerLine(
                leg.uuid,
                leg.direction,
                leg.caller,
                leg.dialled,
                leg.conversation.name if leg.conversation else None,
                leg.state,
                leg.since.isoformat(),
            )
            for leg in self.calls.book.legs()
        ]

    def levels(self) -> dict[str, float]:
        """Return how loud the party of each answered leg was in the last second, dBFS, by the leg's uuid."""
        return {leg.uuid: leg.audio.level for leg in self.calls.book.legs() if leg.state == "answered"}

    async def _called(self, call: IncomingCall) -> None:
        """Take an authenticated call."""
        number = self._numbers.find(call.dialled.lstrip("+"))
        if number is None:
            call.reject(404)
        elif number.callback_type or not number.app_id:
            # Documented: the number's own `sip` or `tel` comes before any application. Assumed: 480 without a link.
            where = f"its own {number.callback_type} callback" if number.callback_type else "no application"
            self.trace.emit(
                "leg", state="rejected", to=masked(number.msisdn), reason=f"the number is linked to {where}"
            )
            call.reject(480)
        elif len(self.calls.book.legs()) >= MAX_LEGS:
            call.reject(503)
        else:
            face = self.face(number.app_id)
            leg = VoiceLeg(face, call, self._endpoint(call))
            call.on_turn = leg.audio.connect
            await face.calls.live(leg)

    def _endpoint(self, call: IncomingCall) -> dict[str, str]:
        """Tell what calls: a SIP user with the API key, or a phone by way of the carrier."""
        if call.user == self._home.credentials.voice_api_key:
            return {"type": "sip", "uri": str(call.invite.from_address.uri)}
        return {"type": "phone", "number": call.caller}

    async def _hang_up_silent_legs(self) -> None:
        """RTP timeout: a phone that vanished without BYE must not stay connected and billed."""
        while True:
            await asyncio.sleep(1)
            for leg in self.calls.book.legs():
                silent = time.monotonic() - leg.audio.heard_at
                if leg.kind == "phone" and leg.state == "answered" and not leg.audio.held and silent > SILENT_LEG:
                    leg.end("no media")
