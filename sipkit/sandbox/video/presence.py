"""Who and what is in a session: connections, their streams, and the events of their lives.

The names are those of OpenTok's client documents, where each event here is one that a page can listen to.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from sipkit.sandbox.video.session_id import project_of

ConnectionKind = Literal["sip", "synthetic", "browser"]
Reason = Literal["clientDisconnected", "forceDisconnected", "networkDisconnected"]
StreamReason = Reason | Literal["forceUnpublished", "mediaStopped"]
VideoType = Literal["camera", "screen", "custom"]
StreamProperty = Literal["hasAudio", "hasVideo", "videoDimensions"]


def now_ms() -> int:
    """The time as OpenTok writes it: milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class StreamWish:
    """What a page says of a stream it publishes.

    Attributes:
        video_type: None in a stream that never has a picture.
        width, height: of the video, pixels; 0 while unknown.
    """

    name: str = ""
    has_audio: bool = True
    has_video: bool = False
    video_type: VideoType | None = None
    width: int = 0
    height: int = 0


@dataclass
class Stream:
    """What a connection sends into the session.

    Attributes:
        name, has_audio, has_video, video_type, width, height: as in `StreamWish`, as they are now.
        created_at: milliseconds since the epoch.
        live: its media flows, so the others know of it.
    """

    id: str
    connection_id: str
    name: str
    has_audio: bool
    has_video: bool
    video_type: VideoType | None
    width: int
    height: int
    created_at: int
    live: bool = False

    @classmethod
    def new(cls, connection_id: str, wish: StreamWish) -> "Stream":
        """Begin a stream; it is not live yet."""
        return cls(str(uuid.uuid4()), connection_id, **asdict(wish), created_at=now_ms())


@dataclass
class Connection:
    """One client in a session.

    Attributes:
        kind: "sip" (dialled), "synthetic" (a participant made over the control API) or "browser".
        data: the connection data of the token.
        created_at: milliseconds since the epoch.
        streams: what it sends, by id: exactly one, from the start, for all but browsers.
        state: "connecting" until the far end answered.
    """

    id: str
    session_id: str
    kind: ConnectionKind
    data: str
    created_at: int
    streams: dict[str, Stream] = field(default_factory=dict)
    state: Literal["connecting", "connected"] = "connecting"

    @property
    def stream_id(self) -> str:
        """The only stream of a SIP or synthetic connection.

        Raises:
            StopIteration: a browser's connection that publishes nothing.
        """
        return next(iter(self.streams))


@dataclass
class Session:
    """A video session.

    Attributes:
        routed: through the Media Router; only routed sessions can dial.
        created_at: milliseconds since the epoch.
        connections: those alive now, by id.
        muted: the mute state that force-mute-all switches on: whoever publishes from then on is muted.
        listeners: who is told what happens here.
    """

    session_id: str
    routed: bool
    created_at: int
    connections: dict[str, Connection] = field(default_factory=dict)
    muted: bool = False
    listeners: list["Listener"] = field(default_factory=list, repr=False)

    @property
    def project(self) -> str:
        """The project (OpenTok) or application (unified environment) it belongs to."""
        return project_of(self.session_id) or ""

    def streams(self) -> Iterator[tuple[Connection, Stream]]:
        """Every stream, with the connection it comes from."""
        for connection in tuple(self.connections.values()):
            for stream in tuple(connection.streams.values()):
                yield connection, stream

    def stream(self, stream_id: str) -> tuple[Connection, Stream] | None:
        """The stream of that id, with the connection it comes from."""
        return next((each for each in self.streams() if each[1].id == stream_id), None)


@dataclass(frozen=True)
class ConnectionCreated:
    """A client came."""

    session: Session
    connection: Connection


@dataclass(frozen=True)
class ConnectionDestroyed:
    """A client left; its streams were told before."""

    session: Session
    connection: Connection
    reason: Reason


@dataclass(frozen=True)
class StreamCreated:
    """A stream's media began to flow."""

    session: Session
    connection: Connection
    stream: Stream


@dataclass(frozen=True)
class StreamDestroyed:
    """A stream ended. Nobody but its publisher knew of one that was never live."""

    session: Session
    connection: Connection
    stream: Stream
    reason: StreamReason


@dataclass(frozen=True)
class StreamChanged:
    """A stream's property has a new value."""

    session: Session
    connection: Connection
    stream: Stream
    property: StreamProperty
    old: Any
    new: Any


@dataclass(frozen=True)
class Signalled:
    """A signal of a client, or of the project's server (`sender` None), to one client or to all (`to` None)."""

    session: Session
    type: str | None
    data: str | None
    sender: str | None
    to: str | None


@dataclass(frozen=True)
class MuteForced:
    """Publishers are told to mute (`active`, and which streams), or that the session's mute state ended (None).

    All clients hear of it, or only the one it is for (`to`).
    """

    session: Session
    active: bool
    stream_ids: tuple[str, ...] | None
    to: str | None = None


Event: TypeAlias = (
    ConnectionCreated | ConnectionDestroyed | StreamCreated | StreamDestroyed | StreamChanged | Signalled | MuteForced
)
Listener: TypeAlias = Callable[[Event], None]
