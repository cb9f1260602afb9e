"""The account's one Vonage application: where its webhooks are, read and replaced over REST.

`GET` and `PUT /v2/applications/{id}` of Vonage's Application API v2. PUT replaces everything: a capability
left out of the body is gone, as many learn at Vonage. One kindness is needed and taken: webhook addresses
may be plain http on this machine, where Vonage wants a public https address.
"""

import asyncio
import json
import re
import threading
import uuid
from http import HTTPStatus
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sipkit.sandbox.files import write_private
from sipkit.sandbox.home import Credentials, Home
from sipkit.sandbox.rest import Refusal, basic_auth_matches, json_answer, parse_json, vendor_api
from sipkit.sandbox.trace import Trace

WebhookName = Literal["answer_url", "event_url", "fallback_answer_url"]

DEFAULT_METHODS = {"answer_url": "GET", "event_url": "POST", "fallback_answer_url": "GET"}
CONNECT_TIMEOUT_MS = (300, 1000)
SOCKET_TIMEOUT_MS = {  # lowest, highest; the highest is the default (Application OpenAPI 2.4.1)
    "answer_url": (1000, 5000),
    "event_url": (1000, 10_000),
    "fallback_answer_url": (1000, 5000),
}
# Both names are about: Vonage's SDKs say the first, its reference showed the second.
_CONNECT_TIMEOUT_NAMES = ("connect_timeout", "connection_timeout")
_CAPABILITIES = frozenset({"voice", "rtc", "messages", "vbc", "verify", "video", "network_apis"})
_ERRORS = "https://developer.vonage.com/api-errors"


class Timeouts(NamedTuple):
    """How long a webhook may take, in seconds."""

    connect: float
    answer: float


class InvalidApplication(ValueError):
    """The application's new configuration breaks the rules.

    Attributes:
        problems: [{"name": path of the field, "reason": what is wrong}].
    """

    def __init__(self, problems: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{each['name']} {each['reason']}" for each in problems))
        self.problems = problems


class Applications:
    """The application and its file. Readable from the loop; `put` waits for the disk."""

    def __init__(self, home: Home) -> None:
        """Load the application of `home`, or make it: with voice and video, without webhooks."""
        self._path = home.application_file
        self._lock = threading.Lock()
        self.id = home.credentials.application_id
        try:
            self._kept: dict[str, Any] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            self._kept = {
                "name": "sipkit sandbox",
                "capabilities": {"voice": {"webhooks": {}, "signed_callbacks": True}, "video": {}},
                "keys": {"public_key": home.public_key()},
                "privacy": {"improve_ai": False},
            }
            self._keep(self._kept)

    def get(self) -> dict[str, Any]:
        """The application as Vonage shows it; a copy."""
        shown: dict[str, Any] = {"id": self.id, **json.loads(json.dumps(self._kept))}
        shown["_links"] = {"self": {"href": f"/v2/applications/{self.id}"}}
        return shown

    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace the application by `body` and return it. Waits for the disk: call it in a thread.

        Only the public key outlives a body that has none (assumed: Vonage keeps the key pair too).

        Raises:
            InvalidApplication: a field is missing or wrong; nothing was changed.
        """
        problems = list(_problems(body))
        if problems:
            raise InvalidApplication(problems)
        with self._lock:
            public_key = body.get("keys", {}).get("public_key") or self._kept["keys"]["public_key"]
            fresh = {
                "name": body["name"],
                "capabilities": body.get("capabilities", {}),
                "keys": {"public_key": public_key},
                "privacy": {"improve_ai": body.get("privacy", {}).get("improve_ai", False)},
            }
            self._keep(fresh)
            self._kept = fresh
        return self.get()

    @property
    def answer_url(self) -> tuple[str, str] | None:
        """URL and method ("GET" or "POST") asked what to do with a call; None when none is set."""
        return self._webhook("answer_url")

    @property
    def event_url(self) -> tuple[str, str] | None:
        """URL and method told what happens to a call; None when none is set."""
        return self._webhook("event_url")

    @property
    def fallback_url(self) -> tuple[str, str] | None:
        """URL and method asked when the answer URL fails; None when none is set."""
        return self._webhook("fallback_answer_url")

    @property
    def signed_callbacks(self) -> bool:
        """Are webhooks signed? On unless turned off, as at Vonage."""
        return bool(self._voice().get("signed_callbacks", True))

    def timeouts(self, name: WebhookName) -> Timeouts:
        """The seconds a webhook may take to connect and to answer."""
        webhook = self._voice().get("webhooks", {}).get(name, {})
        connect = next((webhook[each] for each in _CONNECT_TIMEOUT_NAMES if each in webhook), CONNECT_TIMEOUT_MS[1])
        answer = webhook.get("socket_timeout", SOCKET_TIMEOUT_MS[name][1])
        return Timeouts(connect / 1000, answer / 1000)

    def _voice(self) -> dict[str, Any]:
        voice: dict[str, Any] = self._kept["capabilities"].get("voice", {})
        return voice

    def _webhook(self, name: WebhookName) -> tuple[str, str] | None:
        webhook = self._voice().get("webhooks", {}).get(name)
        return (webhook["address"], webhook.get("http_method", DEFAULT_METHODS[name])) if webhook else None

    def _keep(self, application: dict[str, Any]) -> None:
        write_private(self._path, json.dumps(application, indent=1))


def routes(applications: Applications, credentials: Credentials, trace: Trace) -> list[web.RouteDef]:
    """GET and PUT of the application, each request authenticated and traced."""

    def check(request: web.Request) -> None:
        if not basic_auth_matches(request, credentials.voice_api_key, credentials.voice_api_secret):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "You did not provide correct credentials.")
        if request.match_info["id"] != applications.id:
            raise Refusal(HTTPStatus.NOT_FOUND, "The application is not among those of this account.")

    async def get(request: web.Request, _: bytes) -> web.Response:
        check(request)
        return json_answer(applications.get())

    async def put(request: web.Request, body: bytes) -> web.Response:
        check(request)
        try:
            return json_answer(await asyncio.to_thread(applications.put, parse_json(body)))
        except InvalidApplication as error:
            text = "The request failed due to validation errors."
            raise Refusal(HTTPStatus.BAD_REQUEST, text, invalid_parameters=error.problems) from None

    wrap = vendor_api(trace, _problem)
    return [web.get("/v2/applications/{id}", wrap(get)), web.put("/v2/applications/{id}", wrap(put))]


def _problem(refusal: Refusal) -> dict[str, Any]:
    """The error JSON of Vonage's newer APIs (RFC 7807 with Vonage's documentation as type)."""
    slug, title = {
        HTTPStatus.BAD_REQUEST: ("bad-request", "Bad Request"),
        HTTPStatus.UNAUTHORIZED: ("unauthorized", "Unauthorized"),
        HTTPStatus.NOT_FOUND: ("not-found", "Not Found"),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("bad-request", "Request Entity Too Large"),
    }.get(HTTPStatus(refusal.status), ("internal-error", "Internal Server Error"))
    return {
        "type": f"{_ERRORS}#{slug}",
        "title": title,
        "detail": refusal.text,
        "instance": str(uuid.uuid4()),
        **refusal.more,
    }


class _Problems(list[dict[str, str]]):
    """What is wrong with a body, collected field by field."""

    def check(self, good: bool, name: str, reason: str) -> None:
        if not good:
            self.append({"name": name, "reason": reason})

    def inner(self, parent: dict[str, Any], path: str) -> dict[str, Any]:
        """The object in `parent` named by the end of `path`; empty when it is missing, or wrong and told."""
        value = parent.get(path.rpartition(".")[2], {})
        self.check(isinstance(value, dict), path, "must be an object.")
        return value if isinstance(value, dict) else {}


def _problems(body: dict[str, Any]) -> _Problems:
    found = _Problems()
    name = body.get("name")
    found.check(isinstance(name, str) and bool(name.strip()), "name", "must be a text.")
    key = found.inner(body, "keys").get("public_key")
    found.check(key is None or _is_public_key(key), "keys.public_key", "must be a public key in PEM.")
    improve = found.inner(body, "privacy").get("improve_ai", False)
    found.check(isinstance(improve, bool), "privacy.improve_ai", "must be true or false.")
    capabilities = found.inner(body, "capabilities")
    for each in capabilities:
        path = f"capabilities.{each}"
        found.check(each in _CAPABILITIES, path, "is not a capability.")
        capability = found.inner(capabilities, path)
        if each == "voice":
            _check_voice(found, capability, path)
    return found


def _check_voice(found: _Problems, voice: dict[str, Any], path: str) -> None:
    signed = voice.get("signed_callbacks", True)
    found.check(isinstance(signed, bool), f"{path}.signed_callbacks", "must be true or false.")
    webhooks = found.inner(voice, f"{path}.webhooks")
    for name, webhook in webhooks.items():
        here = f"{path}.webhooks.{name}"
        if name not in DEFAULT_METHODS:
            found.check(good=False, name=here, reason="is not a webhook of voice.")
        elif not isinstance(webhook, dict):
            found.check(good=False, name=here, reason="must be an object.")
        else:
            _check_webhook(found, name, webhook, here)


def _check_webhook(found: _Problems, name: str, webhook: dict[str, Any], path: str) -> None:
    found.check(_is_url(webhook.get("address")), f"{path}.address", "must be an http or https URL.")
    method = webhook.get("http_method", DEFAULT_METHODS[name])
    found.check(method in ("GET", "POST"), f"{path}.http_method", "must be GET or POST.")
    limits = {
        "socket_timeout": SOCKET_TIMEOUT_MS[name],
        **dict.fromkeys(_CONNECT_TIMEOUT_NAMES, CONNECT_TIMEOUT_MS),
    }
    for field, (lowest, highest) in limits.items():
        value = webhook.get(field, highest)
        good = type(value) is int and lowest <= value <= highest
        found.check(good, f"{path}.{field}", f"must be from {lowest} to {highest} ms.")


def _is_url(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):  # printable ASCII (RFC 3986)
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a half IPv6 address
        return False


def _is_public_key(value: Any) -> bool:
    try:
        load_pem_public_key(value.encode())
    except (AttributeError, ValueError):
        return False
    return True
