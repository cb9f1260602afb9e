"""The calls an application makes: by the REST API, and by `connect`. One :class:`Calls` for each application."""

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.account.numbers import Numbers
from sipkit.sandbox.phone.line import Carrier
from sipkit.sandbox.sip.agent import UserAgent
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.answered import greet
from sipkit.sandbox.voice.call_wish import CallWish
from sipkit.sandbox.voice.callbacks import Webhook
from sipkit.sandbox.voice.callbook import CallBook
from sipkit.sandbox.voice.leg import VoiceLeg
from sipkit.sandbox.voice.leg_parts import WebhookName
from sipkit.sandbox.voice.outbound import Dial, Endpoint, InvalidEndpoint
from sipkit.sandbox.voice.socket_call import SocketCall
from sipkit.sandbox.voice.steps import Steps

if TYPE_CHECKING:
    from sipkit.sandbox.voice.platform import VoicePlatform

UNKNOWN = "unknown"
"""Who calls, where that may not be shown."""


@dataclass
class Exchange:
    """What all applications share.

    Attributes:
        agent: places the calls.
        carrier: where phones are; None as long as nobody told.
        authority: file of the sandbox's certificate authority.
    """

    agent: UserAgent
    numbers: Numbers
    limits: Limits
    authority: Path
    book: CallBook = field(default_factory=CallBook)
    carrier: Carrier | None = None
    over: dict[str, "asyncio.Future[None]"] = field(default_factory=dict)


class Calls:
    """The calls of one application.

    Args:
        voice: the platform as that application sees it.
    """

    def __init__(self, voice: "VoicePlatform", exchange: Exchange) -> None:
        self.voice = voice
        self.book = exchange.book
        self._exchange = exchange

    def take(self) -> None:
        """Count one more outgoing call.

        Raises:
            LimitExceeded: it is one too many.
        """
        self._exchange.limits.check_calls(len(self.book.legs()))  # first: a refused call counts for no rate
        self._exchange.limits.take("calls")

    def caller_id(self, number: str | None, *, any_number: bool) -> str:
        """Return the number shown as the caller: the one given, or any that is linked to the application.

        Raises:
            InvalidEndpoint: neither or both are asked for, or no number is linked.
        """
        if any_number == (number is not None):
            raise InvalidEndpoint("either from or a random number is required")
        if number is not None:
            # Documented: an E.164 number or a SIP URI. `_call` says what of it is shown.
            shown = number.removeprefix("sip:").partition("@")[0].lstrip("+")
            if not shown.isascii() or not shown.replace("-", "").replace(".", "").isalnum():
                raise InvalidEndpoint("number must be digits, or a SIP URI")
            return shown
        owned = [each.msisdn for each in self._exchange.numbers.owned() if each.app_id == self.voice.application_id]
        if not owned:
            raise InvalidEndpoint("no number is linked to the application")
        return secrets.choice(owned)

    def create(self, wish: CallWish) -> VoiceLeg:
        """Begin a call of the REST API."""
        voice, endpoint = self.voice, wish.endpoint

        def find(name: WebhookName) -> Webhook | None:
            own = voice.webhook(name)
            match name:
                case "event":
                    wanted = wish.event
                case "answer":
                    wanted = wish.answer
                case "fallback":
                    return None
            base = own or Webhook("", "", application=voice.application_id)
            return replace(base, url=wanted[0], method=wanted[1]) if wanted else own

        async def script(leg: VoiceLeg) -> None:
            await greet(leg, endpoint)
            await Steps(leg).execute(ncco.parse(wish.document))

        return self.place(
            endpoint,
            wish.caller,
            document=wish.document,
            script=script if endpoint.dtmf_answer else None,
            webhook=find,
            ringing_timer=wish.ringing_timer,
            length_timer=wish.length_timer,
        )

    def place(self, endpoint: Endpoint, caller: str, **more: Any) -> VoiceLeg:
        """Begin a call; returns at once. ``more`` is what `VoiceLeg` takes."""
        call = self._call(endpoint, caller)
        leg = VoiceLeg(self.voice, call, endpoint.shown, **more)
        if isinstance(call, Dial):
            call.on_turn = leg.audio.connect
        self._exchange.over[leg.uuid] = asyncio.get_running_loop().create_future()
        self.book.begin(self.voice.application_id, leg)
        self._exchange.agent.spawn(self._live(leg))
        return leg

    def _call(self, endpoint: Endpoint, caller: str) -> Dial | SocketCall:
        exchange = self._exchange
        if endpoint.socket is None:
            # Documented: a phone is shown numbers of the account only (NCCO reference, connect, `from`).
            shown = not endpoint.number or any(each.msisdn == caller for each in exchange.numbers.owned())
            return Dial(exchange.agent, exchange.carrier, endpoint, caller, caller if shown else UNKNOWN)

        def token(uri: str) -> str:
            event = self.voice.webhook("event")
            application, signed = self.voice.application_id, event is None or event.signed
            # Assumed: the claims of a webhook that is got, without parameters beyond the URI's own.
            return self.voice.callbacks.token(Webhook(uri, "GET", application=application, signed=signed), {})

        spawn = exchange.agent.spawn
        return SocketCall(endpoint.socket, caller, token, exchange.authority, spawn, self.voice.trace)

    async def live(self, leg: VoiceLeg) -> None:
        """Let a leg that was called live, in the book."""
        self.book.begin(self.voice.application_id, leg)
        try:
            await leg.run()
        finally:
            self.book.end(leg)

    async def finished(self, leg: VoiceLeg) -> None:
        """Wait until a placed call is over."""
        over = self._exchange.over.get(leg.uuid)
        if over is not None:
            await asyncio.shield(over)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something of a call in the background."""
        self._exchange.agent.spawn(work)

    async def _live(self, leg: VoiceLeg) -> None:
        try:
            await leg.run()
        finally:
            self.book.end(leg)
            self._exchange.over.pop(leg.uuid).set_result(None)
