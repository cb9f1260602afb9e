"""Sessions of the video side, and the one place where connections and streams come and go.

Sessions survive a restart of the sandbox, as they survive at Vonage; connections do not: their calls and pages died
with the process.
"""

import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from sipkit.sandbox.home import Home
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.presence import (
    Connection,
    ConnectionCreated,
    ConnectionDestroyed,
    ConnectionKind,
    Event,
    Listener,
    MuteForced,
    Reason,
    Session,
    Signalled,
    Stream,
    StreamChanged,
    StreamCreated,
    StreamDestroyed,
    StreamProperty,
    StreamReason,
    StreamWish,
    now_ms,
)
from sipkit.sandbox.video.session_id import new_session_id

log = logging.getLogger(__name__)


class Sessions:
    """Every session of this home, and what is alive in them. For one asyncio loop."""

    def __init__(self, home: Home, project_key: str, trace: Trace) -> None:
        """Load the sessions kept in `home`; new ones are of the project `project_key` unless told otherwise."""
        self.project_key = project_key
        self._trace = trace
        self._sessions: dict[str, Session] = {}
        self._connections: dict[str, Connection] = {}
        self._listeners: list[Listener] = []
        descriptor = os.open(home.sessions_file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "a+b", buffering=0)
        self._load()

    def __enter__(self) -> Self:
        """Use as a context manager to close the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file of sessions."""
        self._file.close()

    def create(self, routed: bool, *, project: str | None = None, **properties: Any) -> Session:
        """Make a session and write it down; `properties` (archiveMode, location, e2ee) are kept with it.

        It survives the death of this process at once, and that of the machine after `settle`.
        """
        session = Session(new_session_id(project or self.project_key), routed, now_ms())
        line = {
            "sessionId": session.session_id,
            "routed": routed,
            "createdAt": session.created_at,
            "properties": properties,
        }
        self._file.write(json.dumps(line).encode() + b"\n")
        self._sessions[session.session_id] = session
        return session

    def settle(self) -> None:
        """Wait for the disk (tens of ms: call it in a thread, never on the loop that carries audio)."""
        os.fsync(self._file.fileno())

    def get(self, session_id: str) -> Session | None:
        """The session of that id, if it was created here."""
        return self._sessions.get(session_id)

    def connection(self, connection_id: str) -> Connection | None:
        """The living connection of that id."""
        return self._connections.get(connection_id)

    def living(self) -> Iterator[Connection]:
        """Every connection alive now, over all sessions."""
        yield from tuple(self._connections.values())

    def listen(self, listener: Listener, session: Session | None = None) -> Callable[[], None]:
        """Tell `listener` each event of one session, or of all, as it happens; returns what ends that.

        Listeners are called on the loop, must return at once, and hear events in their order.
        """
        listeners = self._listeners if session is None else session.listeners
        listeners.append(listener)

        def stop() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return stop

    def add(self, session: Session, kind: ConnectionKind, data: str) -> Connection:
        """A client comes in: a browser is connected, any other is still connecting and has its stream already."""
        connection = Connection(str(uuid.uuid4()), session.session_id, kind, data, now_ms())
        if kind == "browser":
            connection.state = "connected"
        else:
            stream = Stream.new(connection.id, StreamWish())
            connection.streams[stream.id] = stream
        session.connections[connection.id] = connection
        self._connections[connection.id] = connection
        self._note("created", connection)
        self._tell(ConnectionCreated(session, connection))
        return connection

    def connected(self, connection_id: str) -> None:
        """The far end answered; unknown ids (it hung up meanwhile) change nothing."""
        connection = self._connections.get(connection_id)
        if connection is not None and connection.state != "connected":
            connection.state = "connected"
            self._note("connected", connection)
            self._go_live(connection, connection.streams[connection.stream_id])

    def remove(self, connection_id: str, reason: Reason) -> Connection | None:
        """A client leaves. Returns it, or None when it was gone already: the first reason counts."""
        connection = self._connections.pop(connection_id, None)
        if connection is not None:
            session = self._sessions[connection.session_id]
            del session.connections[connection_id]
            self._note("destroyed", connection, reason=reason)
            for stream in connection.streams.values():
                self._tell(StreamDestroyed(session, connection, stream, reason))
            self._tell(ConnectionDestroyed(session, connection, reason))
        return connection

    def publish(self, connection: Connection, wish: StreamWish) -> Stream:
        """A browser begins a stream; the others hear of it when it goes `live`."""
        stream = Stream.new(connection.id, wish)
        connection.streams[stream.id] = stream
        self._note("stream created", connection, streamId=stream.id)
        return stream

    def live(self, connection: Connection, stream_id: str) -> None:
        """A stream's media flows; one that ended meanwhile changes nothing."""
        stream = connection.streams.get(stream_id)
        if stream is not None and connection.id in self._connections:
            self._go_live(connection, stream)

    def unpublish(self, connection: Connection, stream_id: str, reason: StreamReason) -> Stream | None:
        """A browser's stream ends and the browser stays. Returns it, or None when it was gone already."""
        stream = connection.streams.pop(stream_id, None) if connection.id in self._connections else None
        if stream is not None:
            self._note("stream destroyed", connection, streamId=stream.id, reason=reason)
            self._tell(StreamDestroyed(self._sessions[connection.session_id], connection, stream, reason))
        return stream

    def change(self, connection: Connection, stream: Stream, name: StreamProperty, value: Any) -> None:
        """A publisher switches its audio or video, or its picture has another size (width, height)."""
        old: Any
        match name:
            case "hasAudio":
                old, stream.has_audio = stream.has_audio, value
            case "hasVideo":
                old, stream.has_video = stream.has_video, value
            case "videoDimensions":
                old = {"width": stream.width, "height": stream.height}
                stream.width, stream.height = value["width"], value["height"]
        if old != value and stream.live:
            self._tell(StreamChanged(self._sessions[connection.session_id], connection, stream, name, old, value))

    def signal(
        self, session: Session, type_: str | None, data: str | None, *, sender: str | None, to: str | None
    ) -> None:
        """Pass a signal on to one client, or to all with the sender among them."""
        self._tell(Signalled(session, type_, data, sender, to))

    def force_mute(self, session: Session, stream_id: str) -> None:
        """Tell the publisher of one stream to mute its audio; the session's mute state stays as it is."""
        found = session.stream(stream_id)
        if found is not None:
            self._tell(MuteForced(session, True, (stream_id,), to=found[0].id))

    def force_mute_all(self, session: Session, excluded: Iterable[str]) -> None:
        """Tell all publishers but those of `excluded` to mute; those to come are told by whoever lets them publish."""
        session.muted = True
        spared = set(excluded)
        muted = tuple(stream.id for _, stream in session.streams() if stream.id not in spared)
        self._tell(MuteForced(session, True, muted))

    def disable_force_mute(self, session: Session) -> None:
        """Whoever publishes from now on is not muted; those who are stay so."""
        session.muted = False
        self._tell(MuteForced(session, False, None))

    def _go_live(self, connection: Connection, stream: Stream) -> None:
        if not stream.live:
            stream.live = True
            self._tell(StreamCreated(self._sessions[connection.session_id], connection, stream))

    def _tell(self, event: Event) -> None:
        for listener in (*self._listeners, *event.session.listeners):
            try:
                listener(event)
            except Exception:  # one deaf listener must not keep the others from cleaning up
                log.exception("a listener failed at %s", type(event).__name__)

    def _note(self, event: str, connection: Connection, **more: str) -> None:
        """Trace the life of a connection or of a browser's stream; the stream of any other lives with it."""
        if connection.kind != "browser":
            more["streamId"] = connection.stream_id
        self._trace.emit(
            "connection",
            event=event,
            client=connection.kind,
            connectionId=connection.id,
            sessionId=connection.session_id,
            **more,
        )

    def _load(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        if content and not content.endswith(b"\n"):
            # Killed in mid-line: that session was never acknowledged. The next one gets a line of its own.
            self._file.write(b"\n")
        for line in content.splitlines():
            try:
                kept = json.loads(line)
                session = Session(kept["sessionId"], kept["routed"], kept["createdAt"])
            except (ValueError, KeyError, TypeError):
                continue
            self._sessions[session.session_id] = session
