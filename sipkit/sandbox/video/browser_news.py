"""What a page is told of an event in its session: the events of OpenTok.js, as JSON."""

from sipkit.sandbox.video.messages import JsonObject, shape_of_connection, shape_of_stream
from sipkit.sandbox.video.presence import (
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
    return event.reason != "clientDisconnected" and own_id in event.session.connections
