"""The phones of the sandbox and the HTTP API that drives them."""

import asyncio
import ssl
import time
from typing import Any, TypeGuard

from aiohttp import web

from sipkit.sandbox.control import read_object, recording_of, sound_of, wav_answer
from sipkit.sandbox.home import Home
from sipkit.sandbox.media.dtmf import DIGITS
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.phone.line import Carrier, Line
from sipkit.sandbox.phone.softphone import BUSY, Manners, Softphone
from sipkit.sandbox.sip.agent import OnMessage, UserAgent
from sipkit.sandbox.sip.call import CallFailed
from sipkit.sandbox.sip.digest import DigestClient, DigestServer
from sipkit.sandbox.sip.incoming import IncomingCall
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.webrtc.peer import Endpoint
from sipkit.sandbox.webrtc.sdp import OfferRefused

MAX_PHONES = 500
"""Phones alive at once."""
KEEP_ENDED = 600.0
"""Seconds an ended phone and its recording are kept."""
DEFAULT_CALLER = "12025550123"
LONGEST_LISTEN = 60.0
LONGEST_RING = 120.0
CARRIER = "carrier.example"
"""Realm of the carrier's phones."""


class PhoneDesk:
    """All phones."""

    def __init__(self, home: Home, mixer: Mixer, speech: Speech, trace: Trace, on_message: OnMessage) -> None:
        credentials = home.credentials
        tls = ssl.create_default_context(cafile=str(home.ca_file))
        self._line = Line({}, tls, DigestClient(credentials.carrier_user, credentials.carrier_password))
        carrier = DigestServer(CARRIER, {credentials.carrier_user: credentials.carrier_password})
        self._agent = UserAgent("sipkit-phone", on_message, on_call=self._called, digest=carrier)
        self._mixer = mixer
        self._speech = speech
        self._trace = trace
        self._endpoint = Endpoint()
        self._phones: dict[str, Softphone] = {}
        self._expecting: dict[str, Manners] = {}

    async def open(self) -> Carrier:
        """Bind the UDP ports of receivers (browsers) and of phones; returns where phones are called."""
        await self._endpoint.open()
        return Carrier(await self._agent.listen("udp"), self._line.credentials, self._line.tls)

    def route(self, ports: dict[str, int]) -> None:
        """Tell where the platform is reached, by transport."""
        self._line.ports.update(ports)

    async def close(self) -> None:
        """Hang up every phone."""
        await asyncio.gather(*(phone.hang_up() for phone in self._phones.values()), return_exceptions=True)
        await self._agent.close()
        self._endpoint.close()

    @property
    def busy(self) -> bool:
        """True while a phone is in a call."""
        return any(phone.state not in ("waiting", "ended") for phone in self._phones.values())

    def routes(self) -> list[web.RouteDef]:
        """Return the control API's routes."""
        phone = "/sandbox/phones/{id}"
        return [
            web.post("/sandbox/phones", self._dial),
            web.post("/sandbox/phones/expect", self._expect),
            web.get(phone, self._show),
            web.post(phone + "/keys", self._keys),
            web.post(phone + "/say", self._sound),
            web.post(phone + "/tone", self._sound),
            web.post(phone + "/play", self._play),
            web.post(phone + "/listen", self._listen),
            web.post(phone + "/hold", self._hold),
            web.post(phone + "/resume", self._hold),
            web.post(phone + "/hang-up", self._hang_up),
            web.get(phone + "/recording", self._recording),
            web.post(phone + "/receiver", self._lift),
            web.delete(phone + "/receiver", self._lay_down),
        ]

    async def _dial(self, request: web.Request) -> web.Response:
        wish = await read_object(request)
        number, caller = wish.get("number"), wish.get("from", DEFAULT_CALLER)
        transport = wish.get("transport", "udp")
        if not _is_number(number) or not _is_number(caller):
            raise web.HTTPBadRequest(reason="number and from must be digits")
        if transport not in ("udp", "tcp", "tls"):
            raise web.HTTPBadRequest(reason="transport must be udp, tcp or tls")
        phone = self._new(number, caller)
        phone.dial(transport)
        return web.json_response({"id": phone.id, "state": phone.state}, status=201)

    def _new(self, number: str, caller: str) -> Softphone:
        self._forget_old()
        if sum(phone.state != "ended" for phone in self._phones.values()) >= MAX_PHONES:
            raise web.HTTPServiceUnavailable(reason=f"there are {MAX_PHONES} phones in calls already")
        phone = Softphone(self._line, self._agent, self._mixer, self._trace, number, caller)
        self._phones[phone.id] = phone
        return phone

    async def _expect(self, request: web.Request) -> web.Response:
        """Let a phone wait for one call to its number."""
        wish = await read_object(request)
        number, busy = wish.get("number"), wish.get("busy", False)
        after, reject = wish.get("answer_after", 0.0), wish.get("reject")
        if not _is_number(number):
            raise web.HTTPBadRequest(reason="number must be digits")
        if isinstance(after, bool) or not isinstance(after, int | float) or not 0 <= after <= LONGEST_RING:
            raise web.HTTPBadRequest(reason=f"answer_after must be seconds up to {LONGEST_RING:g}")
        if not isinstance(busy, bool) or not (reject is None or (type(reject) is int and 400 <= reject < 700)):
            raise web.HTTPBadRequest(reason="busy must be true or false, reject a SIP status of 400 to 699")
        phone = self._new(number, "")
        self._expecting[phone.id] = Manners(after, BUSY if busy else reject)
        phone.wait_for_call()
        return web.json_response({"id": phone.id, "state": phone.state}, status=201)

    async def _called(self, call: IncomingCall) -> None:
        """Ring the first phone that waits at the number; 404 when none does."""
        waiting = [each for each in self._phones.values() if each.state == "waiting" and each.number == call.dialled]
        if not waiting:
            call.reject(404)
            return
        await waiting[0].take(call, self._expecting.pop(waiting[0].id))

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request).describe())

    async def _keys(self, request: web.Request) -> web.Response:
        phone = self._answered(request)
        digits = (await read_object(request)).get("digits")
        if not isinstance(digits, str) or not 0 < len(digits) <= 64 or set(digits.upper()) - set(DIGITS):
            raise web.HTTPBadRequest(reason="digits must be 1 to 64 of 0-9 * # A-D")
        try:
            await phone.keys(digits)
        except asyncio.CancelledError:
            if phone.state == "ended":
                raise web.HTTPConflict(reason="the call ended meanwhile") from None
            raise
        return web.json_response({"state": phone.state})

    async def _sound(self, request: web.Request) -> web.Response:
        phone = self._answered(request)
        source = await sound_of(await read_object(request), self._speech)
        if source is None:
            raise web.HTTPBadRequest(reason="say needs text, tone needs hz")
        phone.audio.play(source)
        return web.json_response({}, status=202)

    async def _play(self, request: web.Request) -> web.Response:
        self._answered(request).audio.play(await recording_of(request))
        return web.json_response({}, status=202)

    async def _listen(self, request: web.Request) -> web.Response:
        phone = self._answered(request)
        wish = await read_object(request)
        silence, timeout = wish.get("silence", 0.6), wish.get("timeout", 10.0)
        if not all(isinstance(value, int | float) and 0 < value <= LONGEST_LISTEN for value in (silence, timeout)):
            raise web.HTTPBadRequest(reason=f"silence and timeout are seconds up to {LONGEST_LISTEN:g}")
        if not await phone.listen(silence, timeout):
            raise web.HTTPRequestTimeout(reason="nothing was heard, or it did not end, in time")
        return web.json_response(phone.describe())

    async def _hold(self, request: web.Request) -> web.Response:
        phone = self._find(request)
        try:
            await phone.hold(request.path.endswith("/hold"))
        except CallFailed as error:
            raise web.HTTPConflict(reason=str(error)) from None
        return web.json_response(phone.describe())

    async def _hang_up(self, request: web.Request) -> web.Response:
        phone = self._find(request)
        await phone.hang_up()
        return web.json_response(phone.describe())

    async def _recording(self, request: web.Request) -> web.Response:
        hearing = self._find(request).audio.hearing
        assert hearing is not None
        return await wav_answer(hearing)

    async def _lift(self, request: web.Request) -> web.Response:
        offer = (await read_object(request)).get("sdp")
        phone = self._find(request)
        if phone.state == "ended":
            raise web.HTTPConflict(reason="the call ended meanwhile")
        try:
            answer = phone.lift(self._endpoint, offer)
        except OfferRefused as error:
            raise web.HTTPBadRequest(reason=str(error)) from None
        return web.json_response({"sdp": answer})

    async def _lay_down(self, request: web.Request) -> web.Response:
        self._find(request).lay_down()
        return web.json_response({})

    def _find(self, request: web.Request) -> Softphone:
        phone = self._phones.get(request.match_info["id"])
        if phone is None:
            raise web.HTTPNotFound(reason="no such phone")
        return phone

    def _answered(self, request: web.Request) -> Softphone:
        phone = self._find(request)
        if phone.state != "answered":
            raise web.HTTPConflict(reason=f"the phone is not in a call: {phone.state}")
        return phone

    def _forget_old(self) -> None:
        limit = time.monotonic() - KEEP_ENDED
        for phone in [p for p in self._phones.values() if p.ended_at is not None and p.ended_at < limit]:
            del self._phones[phone.id]
            self._expecting.pop(phone.id, None)


def _is_number(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value.isascii() and value.isdigit() and 3 <= len(value) <= 15
