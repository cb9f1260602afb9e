"""A browser's media: what it publishes and what it views, asked for over signalling and carried by the router."""

import asyncio
import uuid

from sipkit.sandbox.video.messages import (
    MAX_OFFER,
    JsonObject,
    Request,
    VendorError,
    dimensions,
    invalid,
    read_stream,
)
from sipkit.sandbox.video.presence import Connection, Session, Stream, StreamDestroyed, StreamReason
from sipkit.sandbox.video.rights import Rights
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.webrtc.peer import MediaState
from sipkit.sandbox.webrtc.sdp import OfferRefused

MAX_STREAMS = 20
MAX_SUBSCRIPTIONS = 100


class BrowserMedia:
    """The streams and views of one browser's connection. Each handler takes a request and returns the reply."""

    def __init__(
        self, session: Session, connection: Connection, rights: Rights, sessions: Sessions, router: Router
    ) -> None:
        self._session = session
        self._connection = connection
        self._rights = rights
        self._sessions = sessions
        self._router = router
        self._views: dict[str, str] = {}  # subscription ids to stream ids

    def stream_ended(self, event: StreamDestroyed) -> None:
        """A stream of the session is over: end the media that hang on it."""
        for subscription_id in [key for key, viewed in self._views.items() if viewed == event.stream.id]:
            self._end_view(subscription_id)
        if event.connection is self._connection:
            self._router.unpublish(event.stream.id)

    def close(self) -> None:
        """End every view; the streams end with the connection."""
        for subscription_id in list(self._views):
            self._end_view(subscription_id)

    async def publish(self, request: Request) -> JsonObject:
        """Offer a stream."""
        self._rights.demand("publish")
        offer = request.text("offer", MAX_OFFER)
        wish = read_stream(request)
        if len(self._connection.streams) >= MAX_STREAMS:
            raise VendorError(1605, "OT_STREAM_LIMIT_EXCEEDED", f"A client publishes at most {MAX_STREAMS} streams")
        stream = self._sessions.publish(self._connection, wish)

        def changed(state: MediaState) -> None:
            if state == "connected":
                self._sessions.live(self._connection, stream.id)
            else:
                self._sessions.unpublish(self._connection, stream.id, "networkDisconnected")

        try:
            answer = self._router.publish(self._session.session_id, stream.id, offer, changed)
        except Exception as error:
            self._sessions.unpublish(self._connection, stream.id, "clientDisconnected")
            if not isinstance(error, OfferRefused):
                raise
            raise VendorError(1601, "OT_STREAM_CREATE_FAILED", f"The offer is refused: {error}") from None  # assumed
        if self._session.muted:
            # After the reply, which tells the page its stream's id.
            asyncio.get_running_loop().call_soon(self._sessions.force_mute, self._session, stream.id)
        return {"streamId": stream.id, "creationTime": stream.created_at, "answer": answer}

    async def unpublish(self, request: Request) -> JsonObject:
        """End a stream of one's own; the page may say that its device stopped."""
        stream = self._own_stream(request)
        reason: StreamReason
        match request.fields.get("reason"):
            case None | "clientDisconnected":
                reason = "clientDisconnected"
            case "mediaStopped":
                reason = "mediaStopped"
            case _:
                raise invalid("reason must be clientDisconnected or mediaStopped")
        self._sessions.unpublish(self._connection, stream.id, reason)
        return {}

    async def subscribe(self, request: Request) -> JsonObject:
        """Offer to view a stream."""
        self._rights.demand("subscribe")
        offer = request.text("offer", MAX_OFFER)
        found = self._session.stream(request.text("streamId"))
        if found is None or not found[1].live:
            raise VendorError(1501, "OT_STREAM_NOT_FOUND", "There is no such stream in the session")  # code assumed
        if len(self._views) >= MAX_SUBSCRIPTIONS:
            text = f"A client subscribes to at most {MAX_SUBSCRIPTIONS} streams"
            raise VendorError(1605, "OT_STREAM_LIMIT_EXCEEDED", text)
        subscription_id, stream_id = str(uuid.uuid4()), found[1].id
        self._views[subscription_id] = stream_id

        def changed(state: MediaState) -> None:
            if state == "lost":
                self._end_view(subscription_id)

        try:
            answer = self._router.subscribe(self._session.session_id, stream_id, subscription_id, offer, changed)
        except Exception as error:
            self._end_view(subscription_id)
            if not isinstance(error, OfferRefused):
                raise
            name = "OT_SET_REMOTE_DESCRIPTION_FAILED"  # assumed; 1600 is "WebRTC subscriber error"
            raise VendorError(1600, name, f"The offer is refused: {error}") from None
        return {"subscriptionId": subscription_id, "answer": answer}

    async def unsubscribe(self, request: Request) -> JsonObject:
        """End a view."""
        self._end_view(request.text("subscriptionId"))  # one that ended already is what the page wants
        return {}

    async def choose(self, request: Request) -> JsonObject:
        """Receive audio, video, both or none of a view."""
        subscription_id = request.text("subscriptionId")
        audio, video = request.flag("audio"), request.flag("video")
        if subscription_id in self._views:
            self._router.choose(subscription_id, audio=audio, video=video)
        return {}

    async def update(self, request: Request) -> JsonObject:
        """Tell what is different in a stream of one's own."""
        stream = self._own_stream(request)
        flags = {name: request.flag(name) for name in ("hasAudio", "hasVideo") if name in request.fields}
        size = dimensions(request.fields["videoDimensions"]) if "videoDimensions" in request.fields else None
        if "hasAudio" in flags:
            self._sessions.change(self._connection, stream, "hasAudio", flags["hasAudio"])
        if "hasVideo" in flags:
            self._sessions.change(self._connection, stream, "hasVideo", flags["hasVideo"])
        if size is not None:
            self._sessions.change(self._connection, stream, "videoDimensions", size)
        return {}

    def _end_view(self, subscription_id: str) -> None:
        if self._views.pop(subscription_id, None) is not None:
            self._router.unsubscribe(subscription_id)

    def _own_stream(self, request: Request) -> Stream:
        stream = self._connection.streams.get(request.text("streamId"))
        if stream is None:
            raise VendorError(1500, "OT_STREAM_NOT_FOUND", "The client does not publish this stream")  # code assumed
        return stream
