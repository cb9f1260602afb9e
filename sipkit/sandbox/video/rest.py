"""The OpenTok REST API, as far as a call needs it: sessions, dial, streams, connections, moderation, signals.

Paths, bodies and status codes are those of OpenTok's REST reference and of opentok 3.15, which works with
only its `api_url` changed. The same paths with an application's id and JWT are those of the unified environment (Video
OpenAPI 0.3.2, vonage-video 1.6). What is assumed rather than documented says so.
"""

import asyncio
import ipaddress
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from xml.etree import ElementTree as ET

from aiohttp import web

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
from sipkit.sandbox.video import asked
from sipkit.sandbox.video.moderation import Moderation
from sipkit.sandbox.video.presence import Session, Stream, now_ms
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.video.sip_side import Gateway
from sipkit.sandbox.video.sip_target import read_sip
from sipkit.sandbox.video.tokens import DIALLING_ROLES, Tokens

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


def _unlimited() -> None:
    """Let every request in."""


def routes(
    sessions: Sessions, gateway: Gateway, tokens: Tokens, trace: Trace, admit: Callable[[], None] = _unlimited
) -> list[web.RouteDef]:
    """The API's routes, each request verified and traced.

    `admit` is asked about each genuine request, and raises a `Refusal` of 429 when there are too many.
    """
    api, moderation = _VideoApi(sessions, gateway, tokens), Moderation(sessions, gateway)
    wrap = vendor_api(trace, _problem)

    def guarded(handler: VendorHandler) -> Handler:
        async def answer(request: web.Request, body: bytes) -> web.Response:
            asked.verify(request, tokens)
            admit()
            return await handler(request, body)

        return wrap(answer)

    project, session = "/v2/project/{key}", "/v2/project/{key}/session/{session}"
    return [
        web.post("/session/create", guarded(api.create)),
        web.post(f"{project}/dial", guarded(api.dial)),
        web.get(f"{session}/stream", guarded(api.streams)),
        web.get(f"{session}/stream/{{stream}}", guarded(api.stream)),
        web.post(f"{session}/stream/{{stream}}/mute", guarded(moderation.mute_stream)),
        web.post(f"{session}/mute", guarded(moderation.mute_all)),
        web.post(f"{session}/signal", guarded(moderation.signal)),
        web.get(f"{session}/connection", guarded(api.connections)),
        web.delete(f"{session}/connection/{{connection}}", guarded(moderation.force_disconnect)),
        web.post(f"{session}/connection/{{connection}}/signal", guarded(moderation.signal)),
        # Every SDK plays digits below /v2/project; the OpenAPI document alone writes /v2/projects.
        *(
            web.post(each.replace("project", name, 1), guarded(moderation.play_dtmf))
            for name in ("project", "projects")
            for each in (f"{session}/play-dtmf", f"{session}/connection/{{connection}}/play-dtmf")
        ),
        web.put(f"{session}/stream", guarded(_absent)),
        web.route("*", f"{project}/{{api:archive|broadcast|render|captions|connect}}", guarded(_absent)),
        web.route("*", f"{project}/{{api:archive|broadcast|render|captions}}/{{rest:.*}}", guarded(_absent)),
    ]


def _problem(refusal: Refusal) -> dict[str, Any]:
    """OpenTok's error JSON; `code` is -1 in every recorded one, the message is told twice."""
    return {"code": -1, "message": refusal.text, "description": refusal.text}


async def _absent(_: web.Request, __: bytes) -> web.Response:
    """What the platform has and the sandbox has not: answered as if nothing had been recorded, sent or laid out.

    Raises:
        Refusal: 404, of which the SDKs make their own "not found" or request errors.
    """
    raise Refusal(
        HTTPStatus.NOT_FOUND,
        "The sandbox has no archives, broadcasts, Experience Composer, captions, Audio Connector or layouts",
    )


class _VideoApi:
    """The handlers, one method a route."""

    def __init__(self, sessions: Sessions, gateway: Gateway, tokens: Tokens) -> None:
        self._sessions = sessions
        self._gateway = gateway
        self._tokens = tokens

    async def create(self, request: web.Request, body: bytes) -> web.Response:
        project = asked.verify(request, self._tokens)
        properties = _session_properties(parse_form(body))
        routed = properties.pop("p2p.preference") == "disabled"
        session = self._sessions.create(routed, project=project, **properties)
        await asyncio.to_thread(self._sessions.settle)
        created = time.asctime(time.gmtime(session.created_at / 1000))
        answer = {
            "session_id": session.session_id,
            "project_id": project,
            "partner_id": project,
            "create_dt": f"{created[:-4]}UTC {created[-4:]}",
            **dict.fromkeys(_ALWAYS_NULL),
            "session_segment_id": str(uuid.uuid4()),
            "ice_credential_expiration": 86100,
        }
        # Recorded: OpenTok answers XML to whoever does not ask for JSON, as its early SDKs did not.
        # The unified environment knows JSON only (OpenAPI 0.3.2).
        if "json" not in request.headers.get("Accept", "") and project == self._sessions.project_key:
            return _session_as_xml(answer)
        return json_answer([answer])

    async def dial(self, request: web.Request, body: bytes) -> web.Response:
        wish = parse_json(body)
        session_id, token = wish.get("sessionId"), wish.get("token")
        if not isinstance(session_id, str) or not isinstance(token, str):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid request: sessionId and token must be strings")
        target = read_sip(wish.get("sip"))
        session = asked.session(request, self._sessions, session_id)
        granted = self._tokens.verify_session_token(token, session_id)
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
                "projectId": session.project,
                "sessionId": session_id,
                "connectionId": connection.id,
                "streamId": connection.stream_id,
                "createdAt": now,
                "updatedAt": now,
            }
        )

    async def streams(self, request: web.Request, _: bytes) -> web.Response:
        items = [_stream(each) for each in _listed(asked.session(request, self._sessions))]
        if not items:
            # The documented answer; opentok makes an empty list of it.
            text = "The session exists but has not had any streams added to it yet"
            raise Refusal(HTTPStatus.NOT_FOUND, text)
        return json_answer({"count": len(items), "items": items})

    async def stream(self, request: web.Request, _: bytes) -> web.Response:
        for stream in _listed(asked.session(request, self._sessions)):
            if stream.id == request.match_info["stream"]:
                return json_answer(_stream(stream))
        # Odd but documented: 408 is "You passed in an invalid stream ID" (REST reference and every SDK).
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "Invalid stream ID")

    async def connections(self, request: web.Request, _: bytes) -> web.Response:
        session = asked.session(request, self._sessions)
        items = [
            {
                "connectionId": connection.id,
                "connectionState": connection.state.capitalize(),
                "createdAt": connection.created_at,
            }
            for connection in session.connections.values()
        ]
        # Documented with applicationId in the unified environment; projectId is what OpenTok calls it.
        return json_answer(
            {
                "count": len(items),
                "projectId": session.project,
                "applicationId": session.project,
                "sessionId": session.session_id,
                "items": items,
            }
        )


def _session_as_xml(answer: dict[str, Any]) -> web.Response:
    """The answer of /session/create as the recorded XML ones are: these three fields, labelled text/xml."""
    sessions = ET.Element("sessions")
    session = ET.SubElement(sessions, "Session")
    for name in ("session_id", "partner_id", "create_dt"):
        ET.SubElement(session, name).text = answer[name]
    text = ET.tostring(sessions, encoding="unicode")
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    return web.Response(body=(head + text).encode(), content_type="text/xml")


def _listed(session: Session) -> list[Stream]:
    """The streams REST tells of: a dialled one from the dial on, a browser's when its media flows (assumed)."""
    return [stream for connection, stream in session.streams() if stream.live or connection.kind != "browser"]


def _stream(stream: Stream) -> dict[str, Any]:
    # A stream without a picture is a "camera" here too: the answers know no other word for it (assumed).
    return {"id": stream.id, "videoType": stream.video_type or "camera", "name": stream.name, "layoutClassList": []}


def _session_properties(form: dict[str, str]) -> dict[str, Any]:
    """Read the form of a new session; unknown fields are left out, as at OpenTok.

    Raises:
        Refusal: 400, a value the REST reference does not allow.
    """
    properties = {
        "p2p.preference": form.get("p2p.preference", "disabled"),
        "archiveMode": form.get("archiveMode", "manual"),
        "e2ee": form.get("e2ee", "false").lower(),
        # @vonage/video sends the word "null" where no location is wished.
        "location": form.get("location", "").replace("null", "") or None,
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
