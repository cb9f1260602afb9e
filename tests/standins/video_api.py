"""The sandbox's video REST API alone, in this process, behind a gateway that calls nobody."""

import time
from collections.abc import Callable
from typing import Any

import jwt
import opentok
import requests
from aiohttp import web
from opentok import MediaModes

from sipkit.sandbox.home import Home
from sipkit.sandbox.rest import json_errors
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video import rest
from sipkit.sandbox.video.presence import Connection, Session
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.video.sip_target import SipTarget
from sipkit.sandbox.video.tokens import Tokens

URI = "sip:12025550100@sip.nexmo.com;transport=tls"
"""The conference number as the kit dials it."""


class RecordingGateway:
    """Notes what it is asked to do, and does not call anybody: these tests are about REST."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, str, SipTarget]] = []
        self.hung_up: list[str] = []
        self.played: list[tuple[str, str]] = []
        self.broken = False

    def dial(self, session: Session, connection: Connection, sip: SipTarget) -> None:
        """Note the call, or fail."""
        if self.broken:
            raise RuntimeError("the gateway is out of order")
        self.dialled.append((session.session_id, connection.id, sip))

    async def hang_up(self, connection_id: str) -> None:
        """Note the end."""
        self.hung_up.append(connection_id)

    def play_digits(self, connection_id: str, digits: str) -> None:
        """Note the digits."""
        self.played.append((connection_id, digits))


class VideoApi:
    """The video API in this process, with what it stands on in reach."""

    def __init__(self, home: Home, serve: Callable[[web.Application], Any]) -> None:
        self.credentials = home.credentials
        self.key = home.private_key_file.read_text()
        self.trace = Trace()
        self.gateway = RecordingGateway()
        self.sessions = Sessions(home, home.credentials.video_api_key, self.trace)
        app = web.Application(middlewares=[json_errors(self.trace)])
        app.add_routes(rest.routes(self.sessions, self.gateway, Tokens(home), self.trace))
        self.url = serve(app).url
        key, secret = home.credentials.video_api_key, home.credentials.video_api_secret
        self.client: Any = opentok.Client(key, secret, api_url=self.url, timeout=10)
        self.project = f"{self.url}/v2/project/{home.credentials.video_api_key}"

    def auth(self, secret: str | None = None, **changes: Any) -> dict[str, str]:
        """Make the header of a request; `changes` replace claims, None leaves one out."""
        now = int(time.time())
        claims = {"iss": self.credentials.video_api_key, "ist": "project", "iat": now, "exp": now + 180, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(claims, secret or self.credentials.video_api_secret, "HS256")
        return {"X-OPENTOK-AUTH": token, "Accept": "application/json"}

    def routed(self) -> str:
        """Create a routed session and return its id."""
        return str(self.client.create_session(media_mode=MediaModes.routed).session_id)

    def token(self, session_id: str, /, secret: str | None = None, **changes: Any) -> str:
        """Make a session token; `changes` replace claims, None leaves one out."""
        claims = jwt.decode(self.client.generate_token(session_id), options={"verify_signature": False}) | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, secret or self.credentials.video_api_secret, "HS256")

    def dial(self, session_id: str, **changes: Any) -> requests.Response:
        """POST a dial; `changes` replace fields of the body."""
        body = {"sessionId": session_id, "token": self.token(session_id), "sip": {"uri": URI}, **changes}
        return requests.post(f"{self.project}/dial", json=body, headers=self.auth(), timeout=10)

    def rest_events(self) -> list[dict[str, Any]]:
        """Return the trace's events of REST requests."""
        return [event for event in self.trace.since(0) if event["kind"] == "rest"]
