"""What a page asks of the others in its session: signals to them, and a moderator's powers over them."""

import asyncio
from typing import Protocol

from sipkit.sandbox.video.messages import JsonObject, Request, VendorError, invalid
from sipkit.sandbox.video.moderation import SignalRefused, read_signal
from sipkit.sandbox.video.presence import Connection, Session, Stream
from sipkit.sandbox.video.rights import Rights
from sipkit.sandbox.video.sessions import Sessions


class Disconnect(Protocol):
    """Ends anybody's connection, with the call behind it if it is a SIP one."""

    def __call__(self, connection_id: str) -> None:
        """Begin to; returns at once."""


class BrowserModeration:
    """The handlers of one browser's connection. Each takes a request and returns the reply."""

    def __init__(
        self, session: Session, connection: Connection, rights: Rights, sessions: Sessions, disconnect: Disconnect
    ) -> None:
        self._session = session
        self._connection = connection
        self._rights = rights
        self._sessions = sessions
        self._disconnect = disconnect

    async def signal(self, request: Request) -> JsonObject:
        """Send a signal to all, or to one."""
        self._rights.demand("signal")
        try:
            type_, data = read_signal(request.fields)
        except SignalRefused as error:
            raise VendorError(1510, "OT_INVALID_PARAMETER", str(error)) from None
        to = request.text("to") if request.fields.get("to") is not None else None
        if to is not None and to not in self._session.connections:
            raise VendorError(1510, "OT_NOT_FOUND", "The client that the signal is for is not connected")  # assumed
        self._sessions.signal(self._session, type_, data, sender=self._connection.id, to=to)
        return {}

    async def force_disconnect(self, request: Request) -> JsonObject:
        """End somebody's connection."""
        self._rights.demand("forceDisconnect")
        connection_id = request.text("connectionId")
        if connection_id not in self._session.connections:
            raise VendorError(1520, "OT_NOT_FOUND", "The client is not connected to the session")  # name assumed
        # After the reply: it may be ourselves.
        asyncio.get_running_loop().call_soon(self._disconnect, connection_id)
        return {}

    async def force_unpublish(self, request: Request) -> JsonObject:
        """End somebody's stream; of one that is no browser, its connection (assumed)."""
        self._rights.demand("forceUnpublish")
        connection, stream = self._any_stream(request, 1535)
        if connection.kind == "browser":
            self._sessions.unpublish(connection, stream.id, "forceUnpublished")
        else:
            self._disconnect(connection.id)
        return {}

    async def force_mute(self, request: Request) -> JsonObject:
        """Tell the publisher of a stream to mute."""
        self._rights.demand("forceMute")
        self._sessions.force_mute(self._session, self._any_stream(request, 1540)[1].id)
        return {}

    async def force_mute_all(self, request: Request) -> JsonObject:
        """Tell all publishers to mute, and those to come."""
        self._rights.demand("forceMute")
        excluded = request.fields.get("excludedStreamIds") or []
        if not isinstance(excluded, list) or not all(isinstance(each, str) for each in excluded):
            raise invalid("excludedStreamIds must be a list of stream ids")
        self._sessions.force_mute_all(self._session, excluded)
        return {}

    async def disable_force_mute(self, _: Request) -> JsonObject:
        """End the session's mute state."""
        self._rights.demand("forceMute")
        self._sessions.disable_force_mute(self._session)
        return {}

    def _any_stream(self, request: Request, code: int) -> tuple[Connection, Stream]:
        found = self._session.stream(request.text("streamId"))
        if found is None:
            raise VendorError(code, "OT_STREAM_NOT_FOUND", "The stream is not in the session")
        return found
