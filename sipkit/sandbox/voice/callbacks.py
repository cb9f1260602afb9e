"""Call the application's webhooks as Vonage does: signed, with its deadlines and its one retry.

Signature: "Signed webhooks" of the Vonage developer documents: an HS256 JWT in the Authorization header, made with the
account's signature secret, whose ``payload_hash`` is the SHA-256 of the body, or of the query's compact JSON for GET.
Retry: "Voice API webhooks retry" (support article 115016024247): the answer URL is tried a second time on connection
trouble, a timeout, 429, 503 and 504, and on nothing else.
"""

import asyncio
import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import jwt
from yarl import URL

from sipkit.sandbox.home import Credentials
from sipkit.sandbox.trace import Trace

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 5.0
"""Seconds; the Application API's defaults for connect_timeout and socket_timeout of an answer URL."""
MAX_REPLY = 256 * 1024
RETRIED = (429, 503, 504)
HTTP_OK = range(200, 300)

JsonObject = dict[str, Any]


class CallbackFailed(Exception):
    """A webhook gave no usable answer; the text says why, in the words of the platform's error event."""


@dataclass(frozen=True)
class Webhook:
    """Where a callback goes, and how many seconds it has to connect and to answer."""

    url: str
    method: str
    connect: float = CONNECT_TIMEOUT
    answer: float = ANSWER_TIMEOUT


class Callbacks:
    """The HTTP client of the voice side."""

    def __init__(self, credentials: Credentials, trace: Trace) -> None:
        self._credentials = credentials
        self._trace = trace
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def fetch(self, webhook: Webhook, fields: JsonObject, *, leg: str, fallback: Webhook | None = None) -> Any:
        """Ask a webhook for a call document, retrying once as documented, and after that its fallback.

        The fallback gets the same fields, the reason, and what was asked in vain.

        Returns:
            The JSON it answered, None for an empty body.

        Raises:
            CallbackFailed: refused, failed twice, or answered something that is not JSON.
        """
        try:
            return await self._fetch(webhook, fields, leg)
        except CallbackFailed as failure:
            if fallback is None:
                raise
            original = {"url": webhook.url, "type": webhook.method}
            return await self._fetch(fallback, {**fields, "reason": str(failure), "original_request": original}, leg)

    async def _fetch(self, webhook: Webhook, fields: JsonObject, leg: str) -> Any:
        for attempt in (1, 2):
            try:
                status, kind, body = await self._send(webhook, fields, leg, attempt)
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                failure = f"{webhook.url} cannot be reached: {type(error).__name__}"
                if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
                    break
                continue
            failure = f"{webhook.url} answered HTTP {status}"
            if status in HTTP_OK:
                return _document(webhook, kind, body)
            if status not in RETRIED:
                break
        raise CallbackFailed(failure)

    async def notify(self, webhook: Webhook, fields: JsonObject, *, leg: str) -> None:
        """Deliver an event; a failure is traced and otherwise without effect, as for a platform it must be."""
        try:
            await self._send(webhook, fields, leg, 1)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return

    async def _send(self, webhook: Webhook, fields: JsonObject, leg: str, attempt: int) -> tuple[int, str, bytes]:
        headers, body, query = {"Content-Type": "application/json"}, b"", ""
        if webhook.method == "GET":
            del headers["Content-Type"]
            flat = {name: _text(value) for name, value in fields.items() if value is not None}
            query, signed = urlencode(flat), compact(flat)
        else:
            body = signed = compact(fields)
        headers["Authorization"] = f"Bearer {self._signature(signed)}"
        target = webhook.url + (("&" if urlsplit(webhook.url).query else "?") + query if query else "")
        started = time.time()
        status: int | None = None
        failure = None
        try:
            async with self._client().request(
                webhook.method,
                URL(target, encoded=True),
                data=body or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=webhook.answer, sock_connect=webhook.connect),
                allow_redirects=False,
            ) as response:
                status = response.status
                reply = await response.content.read(MAX_REPLY)
                return status, response.content_type, reply
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            failure = type(error).__name__
            raise
        finally:
            self._trace.emit(
                "webhook",
                leg=leg,
                method=webhook.method,
                url=webhook.url,
                attempt=attempt,
                status=status,
                failure=failure,
                fields=fields,
                milliseconds=round((time.time() - started) * 1000, 1),
            )

    def _signature(self, payload: bytes) -> str:
        claims = {
            "iat": int(time.time()),
            "jti": str(uuid.uuid4()),
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(payload).hexdigest(),
            "api_key": self._credentials.voice_api_key,
            "application_id": self._credentials.application_id,
        }
        return jwt.encode(claims, self._credentials.signature_secret, algorithm="HS256")

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            # A platform opens a connection per tunnel, not per call; environment proxies are not for loopback.
            self._http = aiohttp.ClientSession(
                trust_env=False,
                connector=aiohttp.TCPConnector(limit=100),
                headers={"User-Agent": "sipkit-sandbox"},
            )
        return self._http


def compact(fields: JsonObject) -> bytes:
    """Print JSON without spaces, non-ASCII characters as they are: what the payload hash is made of."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _text(value: Any) -> str:
    """Print a value for a query: objects as JSON strings, as in recorded GET callbacks."""
    return value if isinstance(value, str) else compact(value).decode()


def _document(webhook: Webhook, kind: str, body: bytes) -> Any:
    if not body.strip():
        return None
    if "html" in kind:
        raise CallbackFailed(f"{webhook.url} answered {kind}, not JSON")
    try:
        return json.loads(body)
    except ValueError:
        raise CallbackFailed(f"{webhook.url} answered invalid JSON") from None


class EventQueue:
    """The events of one leg, delivered one after the other without holding up its call."""

    def __init__(self, callbacks: Callbacks, leg: str) -> None:
        self._callbacks = callbacks
        self._leg = leg
        self._queue: asyncio.Queue[tuple[Webhook, JsonObject] | None] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._deliver())

    def put(self, webhook: Webhook | None, fields: JsonObject) -> None:
        """Queue an event; None when the application has no event URL."""
        if webhook is not None:
            self._queue.put_nowait((webhook, fields))

    async def finish(self) -> None:
        """Deliver what is queued, then stop."""
        self._queue.put_nowait(None)
        await self._task

    async def _deliver(self) -> None:
        while (item := await self._queue.get()) is not None:
            await self._callbacks.notify(*item, leg=self._leg)
