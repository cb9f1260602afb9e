"""The OpenTok REST API, as far as a call needs it: sessions, dial, force-disconnect, streams, connections.

Paths, bodies and status codes are those of OpenTok's REST reference and of opentok 3.15, which works with
only its `api_url` changed. What is assumed rather than documented says so.
"""

import asyncio
import ipaddress
import re
import time
import uuid
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web

from sipkit.sandbox.home import Credentials
from sipkit.sandbox.rest import (
    Handler,
    Refusal,
    VendorHandler,
    json_answer,
    parse_form,
    parse_json,
    vendor_api,
)
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.sessions import Connection, Session, Sessions, SipTarget, now_ms, project_of
from sipkit.sandbox.video.tokens import DIALLING_ROLES, verify_request, verify_session_token

# A header's name (RFC 3261 section 25.1, token), and text without line ends, control characters or the lone
# surrogates that JSON can hold and UTF-8 cannot.
_HEADER_NAME = re.compile(r"X-[A-Za-z0-9\-.!%*_+`'~]+", re.IGNORECASE)
_LINE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")
_FROM = re.compile(r"(?:sip:)?[A-Za-z0-9\-_.!~*'()&=+$,%]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")

_ALWAYS_NULL = (
    "session_status",
    "status_invalid",
    "media_server_hostname",
    "messaging_server_url",
    "messaging_url",
    "symphony_address",
    "properties",
    "ice_server",
    "ice_servers",
)
"""Fields of a created session that the recorded answers hold, and never fill."""


class Gateway(Protocol):
    """The SIP side, which places and ends the calls of connections."""

    def dial(self, session: Session, connection: Connection, sip: SipTarget) -> None:
        """Begin to call; returns at once."""

    async def hang_up(self, connection_id: str) -> None:
        """End the call of a connection: BYE, or CANCEL while it rings."""


def routes(sessions: Sessions, gateway: Gateway, credentials: Credentials, trace: Trace) -> list[web.RouteDef]:
    """The API's routes, each request verified and traced."""
    api = _VideoApi(sessions, gateway, credentials)
    wrap = vendor_api(trace, _problem)

    def guarded(handler: VendorHandler) -> Handler:
        async def answer(request: web.Request, body: bytes) -> web.Response:
            api.verify(request)
            return await handler(request, body)

        return wrap(answer)

    project, session = "/v2/project/{key}", "/v2/project/{key}/session/{session}"
    return [
        web.post("/session/create", guarded(api.create)),
        web.post(f"{project}/dial", guarded(api.dial)),
        web.get(f"{session}/stream", guarded(api.streams)),
        web.get(f"{session}/stream/{{stream}}", guarded(api.stream)),
        web.get(f"{session}/connection", guarded(api.connections)),
        web.delete(f"{session}/connection/{{connection}}", guarded(api.force_disconnect)),
    ]


def _problem(refusal: Refusal) -> dict[str, Any]:
    """OpenTok's error JSON; `code` is -1 in every recorded one, the message is told twice."""
    return {"code": -1, "message": refusal.text, "description": refusal.text}


class _VideoApi:
    """The handlers, one method a route."""

    def __init__(self, sessions: Sessions, gateway: Gateway, credentials: Credentials) -> None:
        self._sessions = sessions
        self._gateway = gateway
        self._credentials = credentials

    def verify(self, request: web.Request) -> None:
        verify_request(request.headers, self._credentials)
        key = request.match_info.get("key", self._credentials.video_api_key)
        if key != self._credentials.video_api_key:
            raise Refusal(HTTPStatus.FORBIDDEN, "The token is not of the project in the path")

    async def create(self, _: web.Request, body: bytes) -> web.Response:
        properties = _session_properties(parse_form(body))
        session = self._sessions.create(properties.pop("p2p.preference") == "disabled", **properties)
        await asyncio.to_thread(self._sessions.settle)
        key = self._credentials.video_api_key
        created = time.asctime(time.gmtime(session.created_at / 1000))
        answer = {
            "session_id": session.session_id,
            "project_id": key,
            "partner_id": key,
            "create_dt": f"{created[:-4]}UTC {created[-4:]}",
            **dict.fromkeys(_ALWAYS_NULL),
            "session_segment_id": str(uuid.uuid4()),
            "ice_credential_expiration": 86100,
        }
        return json_answer([answer])

    async def dial(self, _: web.Request, body: bytes) -> web.Response:
        wish = parse_json(body)
        session_id, token = wish.get("sessionId"), wish.get("token")
        if not isinstance(session_id, str) or not isinstance(token, str):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid request: sessionId and token must be strings")
        target = _sip_target(wish.get("sip"))
        session = self._session(session_id)
        granted = verify_session_token(token, session_id, self._credentials)
        if granted.role not in DIALLING_ROLES:
            raise Refusal(HTTPStatus.FORBIDDEN, f"A token of role {granted.role} cannot dial")
        if not session.routed:
            raise Refusal(HTTPStatus.CONFLICT, "The session does not use the OpenTok Media Router")
        connection = self._sessions.add(session, "sip", granted.data)
        try:
            self._gateway.dial(session, connection, target)
        except BaseException:
            self._sessions.remove(connection.id, "networkDisconnected")
            raise
        # 200 says that the call is being placed, not that anybody answers or that the SIP password is right.
        now = now_ms()
        return json_answer(
            {
                "id": str(uuid.uuid4()),
                "projectId": self._credentials.video_api_key,
                "sessionId": session_id,
                "connectionId": connection.id,
                "streamId": connection.stream_id,
                "createdAt": now,
                "updatedAt": now,
            }
        )

    async def force_disconnect(self, request: web.Request, _: bytes) -> web.Response:
        session = self._session(request.match_info["session"])
        connection_id = request.match_info["connection"]
        if connection_id not in session.connections:
            raise Refusal(HTTPStatus.NOT_FOUND, "The client is not connected to the session")
        # Out of the session first, so that of two requests at once only one is told 204.
        self._sessions.remove(connection_id, "forceDisconnected")
        await self._gateway.hang_up(connection_id)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def streams(self, request: web.Request, _: bytes) -> web.Response:
        session = self._session(request.match_info["session"])
        if not session.connections:
            # The documented answer; opentok makes an empty list of it.
            text = "The session exists but has not had any streams added to it yet"
            raise Refusal(HTTPStatus.NOT_FOUND, text)
        items = [_stream(connection) for connection in session.connections.values()]
        return json_answer({"count": len(items), "items": items})

    async def stream(self, request: web.Request, _: bytes) -> web.Response:
        session = self._session(request.match_info["session"])
        for connection in session.connections.values():
            if connection.stream_id == request.match_info["stream"]:
                return json_answer(_stream(connection))
        # Odd but documented: 408 is "You passed in an invalid stream ID" (REST reference and every SDK).
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "Invalid stream ID")

    async def connections(self, request: web.Request, _: bytes) -> web.Response:
        session = self._session(request.match_info["session"])
        items = [
            {
                "connectionId": connection.id,
                "connectionState": connection.state.capitalize(),
                "createdAt": connection.created_at,
            }
            for connection in session.connections.values()
        ]
        key = self._credentials.video_api_key
        # Documented with applicationId in the unified environment; projectId is what OpenTok calls it.
        return json_answer(
            {
                "count": len(items),
                "projectId": key,
                "applicationId": key,
                "sessionId": session.session_id,
                "items": items,
            }
        )

    def _session(self, session_id: str) -> Session:
        """The session of a request.

        Raises:
            Refusal: 400, that is no session id at all (assumed); 404, no such session was created here.
        """
        session = self._sessions.get(session_id)
        if session is None and project_of(session_id) is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid session ID")
        if session is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "The session does not exist")
        return session


def _stream(connection: Connection) -> dict[str, Any]:
    return {"id": connection.stream_id, "videoType": "camera", "name": "", "layoutClassList": []}


def _session_properties(form: dict[str, str]) -> dict[str, Any]:
    """Read the form of a new session; unknown fields are left out, as at OpenTok.

    Raises:
        Refusal: 400, a value the REST reference does not allow.
    """
    properties = {
        "p2p.preference": form.get("p2p.preference", "disabled"),
        "archiveMode": form.get("archiveMode", "manual"),
        "e2ee": form.get("e2ee", "false").lower(),
        "location": form.get("location") or None,
    }
    allowed = {
        "p2p.preference": {"enabled", "disabled"},
        "archiveMode": {"manual", "always"},
        "e2ee": {"true", "false"},
    }
    for name, values in allowed.items():
        if properties[name] not in values:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"Invalid {name}: use {' or '.join(sorted(values))}")
    routed = properties["p2p.preference"] == "disabled"
    if not routed and (properties["archiveMode"] == "always" or properties["e2ee"] == "true"):
        raise Refusal(HTTPStatus.BAD_REQUEST, "Automatic archives and e2ee need p2p.preference disabled")
    if properties["location"] is not None:
        try:
            ipaddress.IPv4Address(properties["location"])
        except ValueError:
            raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid location: it must be an IPv4 address") from None
    return properties


def _sip_target(sip: Any) -> SipTarget:
    """Read the `sip` object of a dial (SDK README and REST reference).

    Raises:
        Refusal: 400, something in it is missing or malformed, or leads out of the sandbox.
    """
    if not isinstance(sip, dict) or not isinstance(sip.get("uri"), str):
        raise _bad("sip.uri must be a string")
    from_, headers, auth = sip.get("from"), sip.get("headers") or {}, sip.get("auth") or {}
    if from_ is not None and not (isinstance(from_, str) and _FROM.fullmatch(from_)):
        raise _bad("sip.from must look like 12025550123@example.com")
    _check_headers(headers)
    if not isinstance(auth, dict):
        raise _bad("sip.auth must be an object of username and password")
    for name in ("username", "password"):
        value = auth.get(name)
        if value is not None and not (isinstance(value, str) and _LINE.fullmatch(value)):
            raise _bad(f"sip.auth.{name} must be one line of text")
    for name in ("secure", "video", "observeForceMute"):
        if not isinstance(sip.get(name, False), bool):
            raise _bad(f"sip.{name} must be true or false")
    streams = sip.get("streams", [])
    if not isinstance(streams, list) or not all(isinstance(each, str) for each in streams):
        raise _bad("sip.streams must be a list of stream ids")
    try:
        target = SipTarget(
            sip["uri"], from_, headers, auth.get("username"), auth.get("password"), sip.get("secure", False)
        )
    except ValueError as error:
        raise _bad(str(error)) from None
    if not target.inside:
        # Vonage calls any host; this is the sandbox's own promise, so it is told plainly.
        raise _bad(f"{target.host} is not in the sandbox, which never calls out: use sip.nexmo.com or *.vonage.com")
    return target


def _check_headers(headers: Any) -> None:
    if not isinstance(headers, dict):
        raise _bad("sip.headers must be an object")
    for name, value in headers.items():
        # Without X- in front it is a 400 (SDK documentation of dial).
        if not _HEADER_NAME.fullmatch(name):
            raise _bad("the names of sip.headers must be SIP header names that start with X-")
        if name.lower() == "x-opentok-sessionid":
            raise _bad("X-OpenTok-SessionId is set by the platform")  # assumed
        if not isinstance(value, str) or not _LINE.fullmatch(value):
            raise _bad(f"the value of sip.headers {name} must be one line of text")


def _bad(why: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, f"Invalid request: {why}")
