"""Session monitoring: each coming and going of a session, connection or stream is POSTed to the project's server.

Payloads as in "Session Monitoring" of OpenTok's and Vonage's video guides. The registration stands for the form on the
vendor's account page: `/sandbox/session-monitoring`. A session is created with its first connection and destroyed with
its last, as the guides say; it can be used again, and is then created again. That it is destroyed at once is assumed.

The vendor can sign its callbacks ("Secure callbacks": a JWT made with a signature secret of the account). The sandbox
has no such secret and does not: a server that verifies them is to be tried with the vendor's own.

A failed callback is tried again after 5 s, doubling, as Vonage documents (support article 6646236108700); where Vonage
goes on for 24 hours, the sandbox stops after 4 retries, the number of the older service. Callbacks of one session
arrive in order (assumed), so its later ones wait.
"""

import asyncio
import json
import time
from collections import deque
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from sipkit.sandbox.control import read_object
from sipkit.sandbox.files import write_private
from sipkit.sandbox.home import Home
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.presence import (
    Connection,
    ConnectionCreated,
    ConnectionDestroyed,
    Event,
    StreamCreated,
    StreamDestroyed,
    now_ms,
)
from sipkit.sandbox.video.sessions import Sessions

PATH = "/sandbox/session-monitoring"
RETRIES = 4
FIRST_BACK_OFF = 5.0
TIME_LIMIT = 5.0
"""Seconds for one callback (assumed)."""
MAX_QUEUED = 500
"""Callbacks that wait for one session; the newest are lost beyond that, and the trace says so."""
MAX_QUEUES = 200
MAX_URL = 2000
CLOSE_SECONDS = 1.0
"""What the last callbacks have when the sandbox leaves."""

JsonObject = dict[str, Any]


class Monitoring:
    """The registered URL, and one queue for each session that has something to tell."""

    def __init__(self, home: Home, sessions: Sessions, trace: Trace) -> None:
        """Load the registration kept in `home`."""
        self._file = home.path / "session-monitoring.json"
        self._url = _load(self._file)
        self._trace = trace
        self._queues: dict[str, deque[JsonObject]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._stop_listening = sessions.listen(self._hear)

    def routes(self) -> list[web.RouteDef]:
        """Return the control API's routes."""
        return [web.get(PATH, self._show), web.put(PATH, self._register), web.delete(PATH, self._forget)]

    async def close(self) -> None:
        """Give the last callbacks a moment, then drop what is left."""
        self._stop_listening()
        workers = list(self._workers.values())
        if workers:
            _, late = await asyncio.wait(workers, timeout=CLOSE_SECONDS)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({"url": self._url})

    async def _register(self, request: web.Request) -> web.Response:
        url = (await read_object(request)).get("url")
        why = _unfit(url)
        if why is not None:
            raise web.HTTPBadRequest(reason=why)
        return await self._keep(str(url))

    async def _forget(self, request: web.Request) -> web.Response:
        return await self._keep(None)

    async def _keep(self, url: str | None) -> web.Response:
        await asyncio.to_thread(write_private, self._file, json.dumps({"url": url}))
        self._url = url
        return web.json_response({"url": url})

    def _hear(self, event: Event) -> None:
        if self._url is not None:
            for payload in payloads_of(event):
                self._enqueue(event.session.session_id, payload)

    def _enqueue(self, session_id: str, payload: JsonObject) -> None:
        queue = self._queues.get(session_id)
        if queue is None and len(self._queues) < MAX_QUEUES:
            queue = self._queues[session_id] = deque()
            self._workers[session_id] = asyncio.get_running_loop().create_task(self._deliver(session_id, queue))
        if queue is None or len(queue) >= MAX_QUEUED:
            self._tell(payload, failure="too many callbacks wait: this one is lost")
        else:
            queue.append(payload)

    async def _deliver(self, session_id: str, queue: deque[JsonObject]) -> None:
        """Send what is queued, one after the other, and end when there is no more."""
        try:
            while queue:
                await self._send(queue[0])
                queue.popleft()
        finally:
            del self._queues[session_id], self._workers[session_id]

    async def _send(self, payload: JsonObject) -> None:
        pause = FIRST_BACK_OFF
        for attempt in range(1, RETRIES + 2):
            url = self._url
            if url is None:
                return  # the registration was withdrawn meanwhile
            if await self._post(url, payload, attempt):
                return
            if attempt <= RETRIES:
                await asyncio.sleep(pause)
                pause *= 2

    async def _post(self, url: str, payload: JsonObject, attempt: int) -> bool:
        started = time.monotonic()
        status: int | None = None
        failure: str | None = None
        try:
            async with self._client().post(url, json=payload, allow_redirects=False) as response:
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            failure = type(error).__name__
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        self._tell(payload, url=url, attempt=attempt, status=status, failure=failure, milliseconds=milliseconds)
        return status is not None and 200 <= status < 300

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=TIME_LIMIT),
                connector=aiohttp.TCPConnector(limit=20),
                headers={"User-Agent": "sipkit-sandbox"},
            )
        return self._http

    def _tell(self, payload: JsonObject, **more: Any) -> None:
        self._trace.emit("webhook", method="POST", fields=payload, **more)


def payloads_of(event: Event) -> list[JsonObject]:
    """What the project's server is told of an event, in order; nothing of most."""
    session = event.session

    def told(name: str, **more: Any) -> JsonObject:
        head = {"sessionId": session.session_id, "projectId": session.project, "event": name, "timestamp": now_ms()}
        return {**head, **more}

    match event:
        case ConnectionCreated(connection=connection):
            came = told("connectionCreated", connection=_connection(connection))
            return [told("sessionCreated"), came] if len(session.connections) == 1 else [came]
        case ConnectionDestroyed(connection=connection, reason=reason):
            left = told("connectionDestroyed", reason=reason, connection=_connection(connection))
            return [left] if session.connections else [left, told("sessionDestroyed")]
        case StreamCreated():
            return [told("streamCreated", stream=_stream(event))]
        case StreamDestroyed() if event.stream.live:
            return [told("streamDestroyed", reason=event.reason, stream=_stream(event))]
        case _:
            return []


def _connection(connection: Connection) -> JsonObject:
    return {"id": connection.id, "createdAt": connection.created_at, "data": connection.data}


def _stream(event: StreamCreated | StreamDestroyed) -> JsonObject:
    stream = event.stream
    told = {"id": stream.id, "connection": _connection(event.connection), "createdAt": stream.created_at}
    # "undefined for an audio-only stream": left out.
    return {**told, "name": stream.name, **({"videoType": stream.video_type} if stream.video_type else {})}


def _unfit(url: Any) -> str | None:
    """Why this is no URL that the sandbox calls: it never leaves this machine."""
    wanted = "url must be http(s)://127.0.0.1:PORT/..., on this machine"
    if not isinstance(url, str) or len(url) > MAX_URL or not url.isprintable() or " " in url:
        return wanted
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return wanted
    if parts.scheme not in ("http", "https") or parts.username is not None:
        return wanted
    if host == "localhost":
        return None
    try:
        return None if ip_address(host).is_loopback else wanted
    except ValueError:
        return wanted


def _load(path: Path) -> str | None:
    try:
        kept = json.loads(path.read_text())
        url = kept.get("url")
    except (OSError, ValueError, AttributeError):
        return None  # nothing was registered, or the file was not written by us
    return url if _unfit(url) is None else None
