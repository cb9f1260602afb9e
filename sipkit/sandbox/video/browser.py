"""A browser in a session: its sockets, one after the other, what it is told, and whom it asks.

It outlives its socket: a page whose network broke has half a minute to come back, and its media flows on meanwhile.
"""

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import WSCloseCode

from sipkit.sandbox.video.allowance import Allowance
from sipkit.sandbox.video.browser_media import BrowserMedia
from sipkit.sandbox.video.browser_moderation import BrowserModeration, Disconnect
from sipkit.sandbox.video.browser_news import Mutes, news_of
from sipkit.sandbox.video.browser_socket import BrowserSocket
from sipkit.sandbox.video.messages import (
    JsonObject,
    Request,
    invalid,
    not_connected,
    shape_of_connection,
    shape_of_stream,
    too_many,
)
from sipkit.sandbox.video.presence import (
    Connection,
    ConnectionDestroyed,
    Event,
    Session,
    Signalled,
    StreamDestroyed,
)
from sipkit.sandbox.video.rights import Rights
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.video.sessions import Sessions

RESUME_SECONDS = 30.0
"""How long a connection lives without a socket."""

Handler = Callable[[Request], Awaitable[JsonObject]]


class Browser:
    """One connection of kind "browser".

    Args:
        forget: called with it once it has left the session, however it did.

    Attributes:
        connection: its place in the session.
    """

    def __init__(
        self,
        session: Session,
        connection: Connection,
        role: str,
        *,
        sessions: Sessions,
        router: Router,
        disconnect: Disconnect,
        forget: Callable[["Browser"], None],
    ) -> None:
        self.connection = connection
        self._session = session
        self._sessions = sessions
        self._forget = forget
        self._rights = Rights(role)
        self._media = BrowserMedia(session, connection, self._rights, sessions, router)
        self._mutes = Mutes(connection)
        self._allowance = Allowance()
        self._resume_key = secrets.token_urlsafe(24)
        self._socket: BrowserSocket | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._left = False
        self._stop_listening = sessions.listen(self._hear, session)
        moderation = BrowserModeration(session, connection, self._rights, sessions, disconnect)
        self._handlers: dict[str, Handler] = {
            "publish": self._media.publish,
            "unpublish": self._media.unpublish,
            "subscribe": self._media.subscribe,
            "unsubscribe": self._media.unsubscribe,
            "choose": self._media.choose,
            "update": self._media.update,
            "signal": moderation.signal,
            "force-disconnect": moderation.force_disconnect,
            "force-unpublish": moderation.force_unpublish,
            "force-mute": moderation.force_mute,
            "force-mute-all": moderation.force_mute_all,
            "disable-force-mute": moderation.disable_force_mute,
            "disconnect": self._disconnect,
        }

    def attach(self, socket: BrowserSocket) -> JsonObject:
        """Speak through this socket from now on; returns the session as it is now, for the reply."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        before, self._socket = self._socket, socket
        if before is not None:
            before.finish(WSCloseCode.GOING_AWAY)  # the page noticed the loss before us
        socket.connection_id, socket.session_id = self.connection.id, self._session.session_id
        return self._snapshot()

    def catch_up(self) -> None:
        """Tell a page that is back, and has read its snapshot, of the mutes it missed; signals it missed are lost."""
        for news in self._mutes.missed():
            self._send(news)

    def opens(self, resume_key: str) -> bool:
        """Is this the key of this connection?"""
        return hmac.compare_digest(resume_key.encode(errors="replace"), self._resume_key.encode())

    def lost(self, socket: BrowserSocket) -> None:
        """A socket ended without a goodbye; the page may come back on another."""
        if socket is self._socket and not self._left:
            self._socket = None
            self._expiry = asyncio.get_running_loop().call_later(RESUME_SECONDS, self.end)

    def end(self) -> None:
        """Out of the session, because nothing can reach it any more."""
        self._sessions.remove(self.connection.id, "networkDisconnected")

    def leave(self) -> None:
        """Out of the session, because the page said so: it knows, and only its socket is closed."""
        socket, self._socket = self._socket, None
        self._sessions.remove(self.connection.id, "clientDisconnected")
        if socket is not None:
            socket.finish()

    async def answer(self, request: Request) -> JsonObject:
        """Do what the page asks.

        Raises:
            VendorError: it is refused.
        """
        handler = self._handlers.get(request.do)
        if handler is None:
            raise invalid("There is no such request")
        if self._left:
            raise not_connected()
        if request.do != "disconnect" and not self._allowance.spend():
            raise too_many()
        return await handler(request)

    def _snapshot(self) -> JsonObject:
        others = [each for each in self._session.connections.values() if each is not self.connection]
        streams = [
            shape_of_stream(connection, stream)
            for connection, stream in self._session.streams()
            if stream.live or connection is self.connection
        ]
        return {
            "connection": shape_of_connection(self.connection),
            "resumeKey": self._resume_key,
            "capabilities": self._rights.capabilities(),
            "connections": [shape_of_connection(each) for each in others],
            "streams": streams,
        }

    # What happens in the session

    def _hear(self, event: Event) -> None:
        """Something happened in the session."""
        if isinstance(event, StreamDestroyed):
            self._media.stream_ended(event)
        self._mutes.hear(event, away=self._socket is None)
        news = news_of(event, self.connection.id)
        if news is not None:
            self._send(news, may_be_lost=isinstance(event, Signalled))
        if isinstance(event, ConnectionDestroyed) and event.connection is self.connection:
            self._over(event.reason)

    def _over(self, reason: str) -> None:
        self._left = True
        self._stop_listening()
        self._media.close()
        if self._expiry is not None:
            self._expiry.cancel()
        if self._socket is not None:
            self._send({"event": "sessionDisconnected", "reason": reason})
            self._socket.finish()
        self._forget(self)

    def _send(self, message: JsonObject, *, may_be_lost: bool = False) -> None:
        if self._socket is not None:
            self._socket.send(message, may_be_lost=may_be_lost)

    # What the page asks for

    async def _disconnect(self, _: Request) -> JsonObject:
        return {}  # whoever sends the reply calls `leave` after it
