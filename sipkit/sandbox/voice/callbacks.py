"""Call the application's webhooks as Vonage does: signed, with its deadlines, its retries and its bad habits.

Signature: "Signed webhooks" of the Vonage developer documents: an HS256 JWT in the Authorization header, made with the
account's signature secret, whose ``payload_hash`` is the SHA-256 of the body, or of the query's compact JSON for GET.
Retry: "Voice API webhooks retry" (support article 115016024247): the answer URL is tried a second time on connection
trouble, a timeout, 429, 503 and 504, and on nothing else. After that comes the fallback URL, whatever the failure was.
How often, and what else a platform does to its callbacks, is set by `callback_habits`.
"""

import asyncio
import contextlib
import hashlib
import json
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
import jwt
from yarl import URL

from sipkit.sandbox.home import Credentials
from sipkit.sandbox.masking import masked
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice.callback_habits import HabitsDesk
from sipkit.sandbox.voice.webhook_fields import kind_of, unlisted

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 5.0
"""Seconds; the Application API's defaults for connect_timeout and socket_timeout of an answer URL."""
MAX_REPLY = 256 * 1024
RETRIED = (429, 503, 504)
HTTP_OK = range(200, 300)
OVERTAKEN_WITHIN = 0.5
"""Seconds that a shuffled event waits for the one that shall overtake it."""

JsonObject = dict[str, Any]


class CallbackFailed(Exception):
    """A webhook gave no usable answer; the text says why, in the words of the platform's error event."""


@dataclass(frozen=True)
class Webhook:
    """Where a callback goes.

    Attributes:
        connect: Seconds to connect.
        answer: Seconds to answer.
        application: Whose webhook it is, for the token; empty: the application the sandbox began with.
        signed: False if that application has switched signed callbacks off.
    """

    url: str
    method: str
    connect: float = CONNECT_TIMEOUT
    answer: float = ANSWER_TIMEOUT
    application: str = ""
    signed: bool = True


class Callbacks:
    """The HTTP client of the voice side.

    Args:
        credentials: Sign the callbacks.
        trace: Is told of each of them.
        desk: The habits of the whole platform; new ones unless given.
    """

    def __init__(self, credentials: Credentials, trace: Trace, desk: HabitsDesk | None = None) -> None:
        self._credentials = credentials
        self._trace = trace
        self._http: aiohttp.ClientSession | None = None
        self.desk = desk or HabitsDesk()

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def fetch(self, webhook: Webhook, fields: JsonObject, *, leg: str, fallback: Webhook | None = None) -> Any:
        """Ask a webhook for a call document, retrying as documented, and after that its fallback.

        The fallback gets the same fields, the reason, and what was asked in vain: its address, and whether it is the
        answer URL or an event URL ("Webhook reference", fallback URL; it shows "event", "answer" is assumed).

        Returns:
            The JSON it answered, None for an empty body.

        Raises:
            CallbackFailed: refused, failed too often, or answered something that is not JSON.
        """
        habits = self.desk.habits
        try:
            return await self._fetch(webhook, fields, leg, habits.attempts)
        except CallbackFailed as failure:
            if fallback is None:
                raise
            original = {"url": webhook.url, "type": "answer" if kind_of(fields) == "answer" else "event"}
            more = {**fields, "reason": str(failure), "original_request": original}
            return await self._fetch(fallback, more, leg, habits.fallback_attempts)

    async def notify(self, webhook: Webhook, fields: JsonObject, *, leg: str) -> None:
        """Deliver an event; a failure is traced and otherwise without effect, as for a platform it must be."""
        if self.desk.habits.events_as_post:
            webhook = replace(webhook, method="POST")
        with contextlib.suppress(CallbackFailed):
            await self._try(webhook, fields, leg, self.desk.habits.event_attempts)

    async def _fetch(self, webhook: Webhook, fields: JsonObject, leg: str, attempts: int) -> Any:
        kind, body = await self._try(webhook, fields, leg, attempts)
        return _document(webhook, kind, body)

    async def _try(self, webhook: Webhook, fields: JsonObject, leg: str, attempts: int) -> tuple[str, bytes]:
        """Send until it is taken, refused, or tried often enough; returns content type and body."""
        failure, habits = "", self.desk.habits
        token = self.token(webhook, fields)
        for attempt in range(1, attempts + 1):
            if attempt > 1 and not habits.retry_keeps_token:
                token = self.token(webhook, fields)
            try:
                status, kind, body = await self._send_as_often(webhook, fields, leg, attempt, token)
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                failure = f"{webhook.url} cannot be reached: {type(error).__name__}"
                if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
                    break
                continue
            failure = f"{webhook.url} answered HTTP {status}"
            if status in HTTP_OK:
                return kind, body
            if status not in RETRIED:
                break
        raise CallbackFailed(failure)

    async def _send_as_often(
        self, webhook: Webhook, fields: JsonObject, leg: str, attempt: int, token: str
    ) -> tuple[int, str, bytes]:
        """Send once, or twice at once when duplicates are wanted; the first copy's answer counts."""
        copies = 2 if self.desk.habits.duplicate else 1
        sent = [self._send(webhook, fields, leg, attempt, token) for _ in range(copies)]
        first, *_ = await asyncio.gather(*sent, return_exceptions=True)
        if isinstance(first, BaseException):
            raise first
        return first

    async def _send(
        self, webhook: Webhook, fields: JsonObject, leg: str, attempt: int, token: str
    ) -> tuple[int, str, bytes]:
        habits = self.desk.habits
        headers, target, body = {}, webhook.url, b""
        if webhook.method == "GET":
            query = urlencode(_flat(fields))
            target += ("&" if urlsplit(webhook.url).query else "?") + query if query else ""
        else:
            headers["Content-Type"], body = "application/json", compact(fields)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        started = time.time()
        status: int | None = None
        failure = None
        try:
            async with self._client().request(
                webhook.method,
                URL(target, encoded=True),
                data=body or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(
                    total=habits.answer_timeout or webhook.answer,
                    sock_connect=habits.connect_timeout or webhook.connect,
                ),
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
                fields=masked(fields),
                milliseconds=round((time.time() - started) * 1000, 1),
                **({"unlisted": names} if (names := unlisted(fields)) else {}),
            )

    def token(self, webhook: Webhook, fields: JsonObject) -> str:
        """Sign a request; empty for an application that wants none signed."""
        if not webhook.signed:
            return ""
        claims = {
            "iat": int(time.time()),
            "jti": str(uuid.uuid4()),
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(_payload(webhook, fields)).hexdigest(),
            "api_key": self._credentials.voice_api_key,
            "application_id": webhook.application or self._credentials.application_id,
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


def _flat(fields: JsonObject) -> dict[str, str]:
    return {name: _text(value) for name, value in fields.items() if value is not None}


def _payload(webhook: Webhook, fields: JsonObject) -> bytes:
    """Return what is signed: the body of a POST; all parameters of a GET as compact JSON, those of its URL too."""
    if webhook.method != "GET":
        return compact(fields)
    own = dict(parse_qsl(urlsplit(webhook.url).query, keep_blank_values=True))
    return compact({**own, **_flat(fields)})


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
            following = await self._overtaking() if self._callbacks.desk.habits.shuffle else None
            if following is not None:
                await self._callbacks.notify(*following, leg=self._leg)
            await self._callbacks.notify(*item, leg=self._leg)

    async def _overtaking(self) -> tuple[Webhook, JsonObject] | None:
        """Return the next event, if it comes soon and is not the end of the queue."""
        try:
            following = await asyncio.wait_for(self._queue.get(), OVERTAKEN_WITHIN)
        except TimeoutError:
            return None
        if following is None:
            self._queue.put_nowait(None)
        return following
