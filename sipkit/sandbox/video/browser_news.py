"""What a page is told of an event in its session: the events of OpenTok.js, as JSON."""

from sipkit.sandbox.video.messages import JsonObject, shape_of_connection, shape_of_stream
from sipkit.sandbox.video.presence import (
    Connection,
    ConnectionCreated,
    ConnectionDestroyed,
    Event,
    MuteForced,
    Signalled,
    StreamChanged,
    StreamCreated,
    StreamDestroyed,
)


def news_of(event: Event, own_id: str) -> JsonObject | None:
    """Write an event for the page whose connection is `own_id`; None when it is not for it."""
    match event:
        case ConnectionCreated(connection=connection) if connection.id != own_id:
            return {"event": "connectionCreated", "connection": shape_of_connection(connection)}
        case ConnectionDestroyed(connection=connection, reason=reason) if connection.id != own_id:
            return {"event": "connectionDestroyed", "connectionId": connection.id, "reason": reason}
        case StreamCreated(connection=connection, stream=stream) if connection.id != own_id:
            return {"event": "streamCreated", "stream": shape_of_stream(connection, stream)}
        case StreamDestroyed() if _hears_the_end(event, own_id):
            return {"event": "streamDestroyed", "streamId": event.stream.id, "reason": event.reason}
        case StreamChanged():
            changed = {"property": event.property, "oldValue": event.old, "newValue": event.new}
            return {"event": "streamPropertyChanged", "streamId": event.stream.id, **changed}
        case Signalled() if event.to in (None, own_id):
            given = {"type": event.type, "data": event.data}
            told = {name: value for name, value in given.items() if value is not None}
            return {"event": "signal", **told, "from": event.sender}
        case MuteForced() if event.to in (None, own_id):
            ids = None if event.stream_ids is None else list(event.stream_ids)
            return {"event": "muteForced", "active": event.active, "streamIds": ids}
        case _:
            return None


def _hears_the_end(event: StreamDestroyed, own_id: str) -> bool:
    """Others hear of streams they knew; the publisher, of an end it did not ask for while it stays."""
    if event.connection.id != own_id:
        return event.stream.live
    return event.reason not in ("clientDisconnected", "mediaStopped") and own_id in event.session.connections


class Mutes:
    """The force-mutes that a page may have missed: what they come to, however many they were.

    A mute of a stream is on this list until the page's answer to it, a changed hasAudio: a socket can be dead for a
    while before anybody notices, and what was sent into it is lost too.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._streams: set[str] = set()
        self._active: bool | None = None

    def hear(self, event: Event, *, away: bool) -> None:
        """Something happened; `away`: the page has no socket to hear of it."""
        match event:
            case StreamChanged(property="hasAudio", stream=stream):
                self._streams.discard(stream.id)
            case MuteForced(to=to) if to in (None, self._connection.id):
                self._streams.update(event.stream_ids or ())
                self._streams &= self._connection.streams.keys()
                if away:
                    self._active = event.active

    def missed(self) -> list[JsonObject]:
        """What to tell a page that is back; it is told once."""
        active, self._active = self._active, None
        told = []
        if self._streams or active:
            told.append({"event": "muteForced", "active": True, "streamIds": sorted(self._streams)})
        if active is False:
            told.append({"event": "muteForced", "active": False, "streamIds": None})
        return told
