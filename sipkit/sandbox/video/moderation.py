"""What a project's server does to the people in its sessions: disconnect, mute and signal them, play them digits.

Answers as in OpenTok's REST reference ("Moderation", "Signaling") and in the SDKs, opentok 3.15 and vonage-video 1.6.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from aiohttp import web

from sipkit.sandbox.rest import Refusal, json_answer, parse_json
from sipkit.sandbox.video import asked
from sipkit.sandbox.video.presence import Session, now_ms
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.video.sip_side import Gateway

MAX_SIGNAL_TYPE = 128
MAX_SIGNAL_DATA = 8192
"""Bytes of UTF-8 ("Signaling": 128 bytes and 8 kB)."""
MAX_DIGITS = 255
"""Digits of one request (assumed: no document gives a figure)."""
_DIGITS = re.compile(r"[0-9*#p]+")  # SDKs' play_dtmf
_SIGNAL_TYPE = re.compile(r"[A-Za-z0-9\-_~]*")  # "only letters, numbers, '-', '_' and '~'" (Session.signal)


class SignalRefused(ValueError):
    """A signal's type or data is not allowed; `too_long` when only its size is wrong."""

    def __init__(self, text: str, *, too_long: bool = False) -> None:
        super().__init__(text)
        self.too_long = too_long


def read_signal(body: dict[str, Any]) -> tuple[str | None, str | None]:
    """Read type and data of a signal, as a page or a server sends it.

    Raises:
        SignalRefused: they are no strings, too long, or the type has other letters than allowed.
    """
    for name in ("type", "data"):
        if body.get(name) is not None and not isinstance(body[name], str):
            raise SignalRefused(f"The {name} of a signal must be a string")
    type_, data = body.get("type"), body.get("data")
    if _bytes(type_) > MAX_SIGNAL_TYPE or _bytes(data) > MAX_SIGNAL_DATA:
        raise SignalRefused("The type exceeds 128 bytes, or the data 8 kB", too_long=True)
    if type_ is not None and not _SIGNAL_TYPE.fullmatch(type_):
        raise SignalRefused("The type of a signal has only letters, numbers, '-', '_' and '~'")
    return type_, data


def _bytes(text: str | None) -> int:
    return len((text or "").encode(errors="surrogatepass"))


class Moderation:
    """The handlers, one method a route."""

    def __init__(self, sessions: Sessions, gateway: Gateway) -> None:
        self._sessions = sessions
        self._gateway = gateway
        self._since = now_ms()

    async def force_disconnect(self, request: web.Request, _: bytes) -> web.Response:
        """End a client's connection: a call is hung up, a page told and its socket closed."""
        session = asked.session(request, self._sessions)
        connection_id = self._connected(request, session)
        # Out of the session first, so that of two requests at once only one is told 204.
        self._sessions.remove(connection_id, "forceDisconnected")
        await self._gateway.hang_up(connection_id)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def mute_stream(self, request: web.Request, _: bytes) -> web.Response:
        """Tell the publisher of a stream to mute; the mute state of the session stays as it is."""
        session = asked.session(request, self._sessions)
        stream_id = request.match_info["stream"]
        if session.stream(stream_id) is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "The stream does not exist")
        self._sessions.force_mute(session, stream_id)
        return self._project(request)

    async def mute_all(self, request: web.Request, body: bytes) -> web.Response:
        """Switch the session's mute state: on mutes all streams but the excluded ones, and those to come."""
        session = asked.session(request, self._sessions)
        wish = parse_json(body)
        if not isinstance(wish.get("active"), bool):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid request: active must be true or false")
        excluded = set(_excluded(wish))
        if any(session.stream(stream_id) is None for stream_id in excluded):
            raise Refusal(HTTPStatus.NOT_FOUND, "An excluded stream does not exist")  # opentok: "or a stream"
        if wish["active"]:
            self._sessions.force_mute_all(session, excluded)
        else:
            self._sessions.disable_force_mute(session)
        return self._project(request)

    async def signal(self, request: web.Request, body: bytes) -> web.Response:
        """Send a signal to all clients of a session, or to the one in the path."""
        session = asked.session(request, self._sessions)
        to = self._connected(request, session) if "connection" in request.match_info else None
        try:
            type_, data = read_signal(parse_json(body))
        except SignalRefused as error:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if error.too_long else HTTPStatus.BAD_REQUEST
            raise Refusal(status, str(error)) from None
        self._sessions.signal(session, type_, data, sender=None, to=to)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def play_dtmf(self, request: web.Request, body: bytes) -> web.Response:
        """Play digits to the far ends of all SIP connections of a session, or to that of the one in the path."""
        session = asked.session(request, self._sessions)
        digits = parse_json(body).get("digits")
        if not isinstance(digits, str) or len(digits) > MAX_DIGITS or not _DIGITS.fullmatch(digits):
            raise Refusal(HTTPStatus.BAD_REQUEST, f"Invalid digits: 1 to {MAX_DIGITS} of 0-9, *, # and p")
        if "connection" in request.match_info:
            called = [session.connections[self._connected(request, session)]]
            if called[0].kind != "sip":
                # Documented for an invalid connectionId; that a browser's is one is assumed.
                raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid connection ID: it is not a SIP connection")
        else:
            called = [each for each in session.connections.values() if each.kind == "sip"]
        for connection in called:
            self._gateway.play_digits(connection.id, digits)
        return web.Response(status=HTTPStatus.OK)

    @staticmethod
    def _connected(request: web.Request, session: Session) -> str:
        connection_id = request.match_info["connection"]
        if connection_id not in session.connections:
            raise Refusal(HTTPStatus.NOT_FOUND, "The client is not connected to the session")
        return connection_id

    def _project(self, request: web.Request) -> web.Response:
        """Answer what muting answers: the project (fields of the OpenAPI document, their values assumed)."""
        project = request.match_info["key"]
        told = {"projectId": project, "applicationId": project, "status": "ACTIVE", "name": "sandbox"}
        return json_answer({**told, "environment": "standard", "createdAt": self._since})


def _excluded(wish: dict[str, Any]) -> Iterator[str]:
    """The streams to spare: opentok calls them excludedStreams, vonage and the OpenAPI document excludedStreamIds."""
    for name in ("excludedStreams", "excludedStreamIds"):
        ids = wish.get(name)
        if ids is None:
            continue
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise Refusal(HTTPStatus.BAD_REQUEST, f"Invalid request: {name} must be a list of stream ids")
        yield from ids
