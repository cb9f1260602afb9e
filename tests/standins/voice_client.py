"""The Voice REST API spoken by hand: a JWT made with the application's key, JSON in and out."""

import time
import uuid
from pathlib import Path
from typing import Any

import jwt
import requests

from sipkit.sandbox.launcher import SandboxInfo


class VoiceClient:
    """A client of one application."""

    def __init__(self, info: SandboxInfo) -> None:
        self._url = f"{info.api_url}/v1/calls"
        self._number = info.number
        self.application_id = info.application_id
        self.key = Path(info.private_key_file).read_text()
        self._http = requests.Session()
        self._http.trust_env = False

    def token(self, **claims: Any) -> str:
        """Return a fresh JWT; claims of None are left out."""
        now = int(time.time())
        every = {"application_id": self.application_id, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())} | claims
        return jwt.encode({name: value for name, value in every.items() if value is not None}, self.key, "RS256")

    def request(self, method: str, path: str, body: Any = None, token: str | None = None) -> requests.Response:
        """Send a request; with an empty token without one."""
        given = self.token() if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        return self._http.request(method, self._url + path, json=body, headers=headers, timeout=20)

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Send a request that must be answered with a status; returns the JSON, {} for none."""
        answer = self.request(method, path, body)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    def post(self, to: str | dict[str, Any], **more: Any) -> requests.Response:
        """Ask for a call to a number, or an endpoint."""
        endpoint = {"type": "phone", "number": to} if isinstance(to, str) else to
        return self.request("POST", "", {"to": [endpoint], "from": {"type": "phone", "number": self._number}, **more})

    def create(self, to: str | dict[str, Any], **more: Any) -> str:
        """Make a call; returns its uuid."""
        answer = self.post(to, **more)
        assert answer.status_code == 201, answer.text
        created = answer.json()
        assert (created["status"], created["direction"]) == ("started", "outbound")
        return str(created["uuid"])
