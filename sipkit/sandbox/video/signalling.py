"""The signalling: one WebSocket a browser, over which it connects, offers its media and hears of the others.

OpenTok's own wire protocol is not public, so this one is the sandbox's: JSON text frames between its browser script
and here. `{"id": 1, "do": "connect", ...}` is answered by `{"reply": 1, "ok": {...}}`, or `"error"` in the place of
`"ok"`, and `{"event": "streamCreated", ...}` tells what happened. Any origin may connect, as at the vendor: the token
decides.
"""

import asyncio
import logging

from aiohttp import WSCloseCode, WSMsgType, web

from sipkit.sandbox.rest import Refusal
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.browser import Browser
from sipkit.sandbox.video.browser_socket import BrowserSocket
from sipkit.sandbox.video.messages import (
    JsonObject,
    Request,
    VendorError,
    authentication,
    id_in,
    internal,
    invalid,
    not_connected,
    read_request,
)
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.video.sip_side import Gateway
from sipkit.sandbox.video.tokens import Tokens

PATH = "/v2/signalling"
MAX_SOCKETS = 200
MAX_BROWSERS = 200
"""The lost ones among them."""
CONNECT_SECONDS = 10.0
"""What a socket has to become somebody's."""
MAX_ATTEMPTS = 5
"""Requests it may get wrong until then."""
MAX_TOKEN = 8192
CLOSE_SECONDS = 4.0
"""How long all pages together have to take leave when the sandbox closes."""

log = logging.getLogger(__name__)


class Signalling:
    """Every browser and every socket."""

    def __init__(self, sessions: Sessions, tokens: Tokens, router: Router, gateway: Gateway, trace: Trace) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._router = router
        self._gateway = gateway
        self._trace = trace
        self._browsers: dict[str, Browser] = {}
        self._serving: dict[BrowserSocket, asyncio.Task[object]] = {}
        self._hanging_up: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def busy(self) -> bool:
        """Is a browser in any session, or on its way there or back?"""
        return bool(self._browsers or self._serving)

    def routes(self) -> list[web.RouteDef]:
        """Return the WebSocket's route."""
        return [web.get(PATH, self._serve)]

    async def close(self) -> None:
        """Take leave of every page, and wait until nothing is left of it."""
        self._closing = True
        for browser in list(self._browsers.values()):
            browser.end()
        for socket in self._serving:
            socket.finish(WSCloseCode.GOING_AWAY)
        tasks = [*self._serving.values(), *self._hanging_up]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        if self._closing or len(self._serving) >= MAX_SOCKETS:
            raise web.HTTPServiceUnavailable
        socket = BrowserSocket(self._trace)
        task = asyncio.current_task()
        assert task is not None
        self._serving[socket] = task
        browser: Browser | None = None
        try:
            await socket.open(request)
            browser = await self._admit(socket)
            if browser is not None:
                await self._converse(socket, browser)
        except TimeoutError:
            socket.finish(WSCloseCode.POLICY_VIOLATION)  # it never said who it is
        finally:
            if browser is not None:
                browser.lost(socket)
            await socket.wind_up()
            del self._serving[socket]
        return socket.ws

    async def _admit(self, socket: BrowserSocket) -> Browser | None:
        """Wait for a good `connect` or `resume`; None when the page went away or was wrong too often.

        Raises:
            TimeoutError: neither came in time.
        """
        async with asyncio.timeout(CONNECT_SECONDS):
            for _ in range(MAX_ATTEMPTS):
                text = await _next_text(socket)
                if text is None:
                    return None
                request = None
                try:
                    request = _read(socket, text)
                    browser = self._who(request)
                except VendorError as error:
                    socket.refuse(id_in(text) if request is None else request.id, error)
                else:
                    socket.reply(request.id, browser.attach(socket))
                    browser.catch_up()
                    return browser
        socket.finish(WSCloseCode.POLICY_VIOLATION)
        return None

    async def _converse(self, socket: BrowserSocket, browser: Browser) -> None:
        """Answer requests, one after the other, until the page or we end it."""
        while (text := await _next_text(socket)) is not None:
            request = None
            try:
                request = _read(socket, text)
                reply = await self._answer(browser, request)
            except VendorError as error:
                socket.refuse(id_in(text) if request is None else request.id, error)
            else:
                socket.reply(request.id, reply)
                if request.do == "disconnect":
                    browser.leave()
            await socket.ready()

    @staticmethod
    async def _answer(browser: Browser, request: Request) -> JsonObject:
        try:
            return await browser.answer(request)
        except VendorError:
            raise
        except Exception:
            log.exception("the signalling request %s failed", request.do)
            raise internal() from None

    def _who(self, request: Request) -> Browser:
        """Whose socket this is.

        Raises:
            VendorError: nobody's: the request is no good `connect` or `resume`.
        """
        match request.do:
            case "connect":
                return self._connect(request)
            case "resume":
                return self._resume(request)
            case _:
                raise not_connected()

    def _connect(self, request: Request) -> Browser:
        session_id, project = request.text("sessionId"), request.text("project")
        token = request.text("token", MAX_TOKEN)
        session = self._sessions.get(session_id)
        if session is None:
            raise VendorError(1005, "OT_INVALID_SESSION_ID", "Invalid session ID: there is no such session")
        if session.project != project:
            raise authentication("The session is not of this API key or application")
        try:
            granted = self._tokens.verify_session_token(token, session_id)
        except Refusal as refusal:
            raise authentication(refusal.text) from None
        if len(self._browsers) >= MAX_BROWSERS:
            raise VendorError(1027, "OT_CONNECTION_LIMIT_EXCEEDED", f"There are {MAX_BROWSERS} browsers already")
        connection = self._sessions.add(session, "browser", granted.data)
        browser = Browser(
            session,
            connection,
            granted.role,
            sessions=self._sessions,
            router=self._router,
            disconnect=self._disconnect,
            forget=self._forget,
        )
        self._browsers[connection.id] = browser
        return browser

    def _forget(self, browser: Browser) -> None:
        del self._browsers[browser.connection.id]

    def _resume(self, request: Request) -> Browser:
        key = request.text("resumeKey")
        browser = self._browsers.get(request.text("connectionId"))
        if browser is None or not browser.opens(key):
            # One name for both, and another than that of a request that was merely lost on the way.
            raise VendorError(1010, "OT_DISCONNECTED", "The connection is over: connect anew")
        return browser

    def _disconnect(self, connection_id: str) -> None:
        """End anybody's connection, and the call behind it if it is a dialled one."""
        left = self._sessions.remove(connection_id, "forceDisconnected")
        if left is not None and left.kind == "sip":
            task = asyncio.get_running_loop().create_task(self._gateway.hang_up(connection_id))
            self._hanging_up.add(task)
            task.add_done_callback(self._hanging_up.discard)


async def _next_text(socket: BrowserSocket) -> str | None:
    """The next message; None when the socket is over. Binary frames are refused and passed over."""
    while True:
        message = await socket.ws.receive()
        if message.type == WSMsgType.TEXT:
            return str(message.data)
        if message.type != WSMsgType.BINARY:
            return None
        socket.refuse(None, invalid("Messages are text"))


def _read(socket: BrowserSocket, text: str) -> Request:
    try:
        request = read_request(text)
    except VendorError as error:
        socket.note("in", {"unreadable": str(error), "characters": len(text)})
        raise
    socket.note("in", request.fields)
    return request
