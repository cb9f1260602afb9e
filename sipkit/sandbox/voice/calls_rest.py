"""The Voice REST API: create, list, show and modify calls (Voice OpenAPI 1.10.0).

Every request carries the application's JWT (RS256, "Authentication" of the developer documents). The document names
no error body: the shape here, ``type`` and ``error_title``, is assumed. Assumed too: what can be done to a call only
while it is answered is 404 before and after, and a call of another application is 404.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeAlias

from aiohttp import web

from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.media.fetched import SoundRefused
from sipkit.sandbox.rest import Refusal, json_answer, parse_json, vendor_api
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.answered import send_digits
from sipkit.sandbox.voice.application import Applications
from sipkit.sandbox.voice.call_wish import bad, number_of, read_call, url_of
from sipkit.sandbox.voice.callbacks import CallbackFailed, Webhook
from sipkit.sandbox.voice.calls import Calls
from sipkit.sandbox.voice.calls_auth import application_of
from sipkit.sandbox.voice.calls_page import page
from sipkit.sandbox.voice.leg import VoiceLeg
from sipkit.sandbox.voice.platform import VoicePlatform

PATH = "/v1/calls"
MAX_DIGITS = 500
Handler: TypeAlias = Callable[[web.Request, bytes], Awaitable[web.Response]]


class CallsApi:
    """The API of all applications.

    Args:
        voice: the platform as the first application sees it.
        applications: verify the JWTs.
        limits: three new calls and fifteen other requests a second, as documented.
    """

    def __init__(self, voice: VoicePlatform, applications: Applications, limits: Limits, trace: Trace) -> None:
        self._voice = voice
        self._applications = applications
        self._limits = limits
        self._trace = trace

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        wrap = vendor_api(self._trace, problem)
        one = f"{PATH}/{{uuid}}"
        return [
            web.post(PATH, wrap(self._create)),
            web.get(PATH, wrap(self._list)),
            web.get(one, wrap(self._show)),
            web.put(one, wrap(self._modify)),
            web.put(f"{one}/talk", wrap(self._talk)),
            web.delete(f"{one}/talk", wrap(self._stop_talk)),
            web.put(f"{one}/stream", wrap(self._stream)),
            web.delete(f"{one}/stream", wrap(self._stop_stream)),
            web.put(f"{one}/dtmf", wrap(self._dtmf)),
            web.put(f"{one}/input/dtmf", wrap(self._listen)),
            web.delete(f"{one}/input/dtmf", wrap(self._stop_listening)),
        ]

    def _enter(self, request: web.Request) -> Calls:
        """Let a request in; returns the calls of its application."""
        application_id = application_of(request, self._applications)
        if request.method != "POST":
            self._limits.take("voice")
        return self._voice.face(application_id).calls

    def _leg(self, request: web.Request, *, answered: bool = True) -> VoiceLeg:
        calls = self._enter(request)
        leg = calls.book.leg(calls.voice.application_id, request.match_info["uuid"])
        if leg is None or (answered and leg.state != "answered"):
            raise Refusal(HTTPStatus.NOT_FOUND, "There is no such call in progress.")
        return leg

    async def _create(self, request: web.Request, body: bytes) -> web.Response:
        calls = self._enter(request)
        wish = read_call(parse_json(body), calls)
        calls.take()
        leg = calls.create(wish)
        call = {"uuid": leg.uuid, "status": "started", "direction": "outbound"}
        return json_answer({**call, "conversation_uuid": leg.conversation_uuid}, HTTPStatus.CREATED)

    async def _list(self, request: web.Request, _: bytes) -> web.Response:
        calls = self._enter(request)
        return json_answer(page(calls.book.all(calls.voice.application_id), request.query))

    async def _show(self, request: web.Request, _: bytes) -> web.Response:
        calls = self._enter(request)
        call = calls.book.find(calls.voice.application_id, request.match_info["uuid"])
        if call is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "There is no such call.")
        return json_answer(call)

    async def _modify(self, request: web.Request, body: bytes) -> web.Response:
        leg = self._leg(request, answered=False)
        wish = parse_json(body)
        match wish.get("action"):
            case "hangup":
                leg.end("hung up over REST")
            case "mute" | "unmute" as action:
                leg.mute(action == "mute")
            case "earmuff" | "unearmuff" as action:
                leg.earmuff(action == "earmuff")
            case "transfer":
                await self._transfer(leg, wish.get("destination"))
            case _:
                raise bad("action", "Must be one of hangup, mute, unmute, earmuff, unearmuff, transfer.")
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _transfer(self, leg: VoiceLeg, destination: Any) -> None:
        if not isinstance(destination, dict) or destination.get("type") != "ncco":
            raise bad("destination", "Must be an object of type ncco.")
        if leg.state != "answered":
            raise bad("uuid", "The call is not answered.")
        try:
            if "ncco" in destination:
                document = destination["ncco"]
            else:
                url = url_of(destination, "url")
                if url is None:
                    raise bad("destination", "Needs ncco or url.")
                document = await leg.voice.callbacks.fetch(Webhook(url, "GET"), leg.identity(), leg=leg.uuid)
            leg.transfer(ncco.parse(document))
        except (ncco.InvalidNcco, CallbackFailed) as error:
            raise bad("destination", str(error)) from None

    async def _talk(self, request: web.Request, body: bytes) -> web.Response:
        leg, wish = self._leg(request), parse_json(body)
        text, language = wish.get("text"), wish.get("language", "en-US")
        if not isinstance(text, str) or not 0 < ncco.spoken_length(text) <= ncco.TALK_TEXT:
            raise bad("text", f"Must be 1 to {ncco.TALK_TEXT} characters.")
        if not isinstance(language, str):
            raise bad("language", "Must be a text.")
        loop, level = _loop_and_level(wish)
        await leg.talk(text, loop, level, language, int(number_of(wish, "style", 0, 0, 100)))
        return _done("Talk started", leg)

    async def _stop_talk(self, request: web.Request, _: bytes) -> web.Response:
        leg = self._leg(request)
        leg.stop_talk()
        return _done("Talk stopped", leg)

    async def _stream(self, request: web.Request, body: bytes) -> web.Response:
        leg, wish = self._leg(request), parse_json(body)
        url = url_of(wish, "stream_url")
        if url is None:
            raise bad("stream_url", "Is required.")
        loop, level = _loop_and_level(wish)
        try:
            await leg.stream(url, loop, level)
        except SoundRefused as error:
            # Assumed: at Vonage the file is fetched later, and what becomes of one that is none is not documented.
            raise bad("stream_url", str(error)) from None
        return _done("Stream started", leg)

    async def _stop_stream(self, request: web.Request, _: bytes) -> web.Response:
        leg = self._leg(request)
        leg.stop_stream()
        return _done("Stream stopped", leg)

    async def _dtmf(self, request: web.Request, body: bytes) -> web.Response:
        leg, digits = self._leg(request), parse_json(body).get("digits")
        if not isinstance(digits, str) or not 0 < len(digits) <= MAX_DIGITS or set(digits) - set("0123456789*#p"):
            raise bad("digits", "Must be of 0-9 * # p.")
        self._voice.calls.spawn(send_digits(leg, digits))
        return _done("DTMF sent", leg)

    async def _listen(self, request: web.Request, body: bytes) -> web.Response:
        leg, url = self._leg(request), url_of(parse_json(body), "event_url")
        if url is None:
            raise bad("event_url", "Is required.")
        leg.listen_dtmf(Webhook(url, "POST"))
        return json_answer({})

    async def _stop_listening(self, request: web.Request, _: bytes) -> web.Response:
        self._leg(request).listen_dtmf(None)
        return json_answer({})


def _loop_and_level(wish: dict[str, Any]) -> tuple[int, float]:
    return int(number_of(wish, "loop", 1, 0, 100_000)), number_of(wish, "level", 0, -1, 1)


def _done(message: str, leg: VoiceLeg) -> web.Response:
    return json_answer({"message": message, "uuid": leg.uuid})


def problem(refusal: Refusal) -> dict[str, Any]:
    """The error JSON of the Voice API (assumed)."""
    status = HTTPStatus(refusal.status)
    return {"type": status.name, "error_title": status.phrase, "detail": refusal.text, **refusal.more}
