"""The words of the signalling: requests read strictly, errors with OpenTok's names and codes, and JSON shapes.

Codes are those of OpenTok.js ("Exception handling", "Error"); the names are those its errors carry. Where the documents
give a code without a name, or none for a case the sandbox meets, the nearest one is taken (marked "assumed").
"""

import json
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

from sipkit.sandbox.video.presence import Connection, Stream, StreamWish

JsonObject: TypeAlias = dict[str, Any]

MAX_MESSAGE = 256 * 1024
"""Characters of one message."""
MAX_OFFER = 64 * 1024
MAX_NAME = 1000
FRAME_RATE = 30
"""Pictures a second that a stream with video is said to have: the sandbox asks no page (assumed)."""
_MAX_ID = 2**53
_MAX_PIXELS = 16_384
_TRACED_MESSAGE = 2048
"""Characters of JSON that the trace keeps of a message: it holds 20 000 events."""
_TRACED_TEXTS = (1000, 250, 60)
"""How much of each text in it: the first that fits."""
_TRACED_ITEMS = 20
_TRACED_DEPTH = 6
_ID = re.compile(r'\{\s*"id"\s*:\s*(\d{1,15})\s*[,}]')
_SDP_SECRETS = re.compile(r"^(a=(?:ice-pwd|ice-ufrag|crypto):)[^\r\n]*", re.MULTILINE)
_HIDDEN = "•••"


class VendorError(Exception):
    """A request is refused.

    Attributes:
        code, name: as OpenTok.js gives them to a page.
    """

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.name = name


def authentication(text: str) -> VendorError:
    """1004: the token, or the project it is used with, does not open the session."""
    return VendorError(1004, "OT_AUTHENTICATION_ERROR", text)


def not_connected(text: str = "The client is not connected to the session") -> VendorError:
    """1010."""
    return VendorError(1010, "OT_NOT_CONNECTED", text)


def invalid(text: str) -> VendorError:
    """1011: a parameter is missing, of the wrong kind, or too large."""
    return VendorError(1011, "OT_INVALID_PARAMETER", text)


def denied(code: int, text: str) -> VendorError:
    """The token's role does not allow it: 1500 publish, 1501 subscribe, 1510 signal, 1520, 1530, 1540 moderate."""
    return VendorError(code, "OT_PERMISSION_DENIED", text)


def too_many() -> VendorError:
    """429, as HTTP has it: Vonage limits signals but documents neither the rate nor the error (assumed)."""
    return VendorError(429, "OT_RATE_LIMIT_EXCEEDED", "Too many requests: wait a moment")


def internal() -> VendorError:
    """2001: our own fault; no reason is told outside."""
    return VendorError(2001, "OT_UNEXPECTED_SERVER_RESPONSE", "Internal error")


@dataclass(frozen=True)
class Request:
    """One request of a page.

    Attributes:
        id: what the reply carries; None when it cannot be read.
        do: what is asked for.
        fields: the whole message.
    """

    id: int | None
    do: str
    fields: JsonObject = field(repr=False)

    def text(self, name: str, longest: int = 2000) -> str:
        """A field that must be text.

        Raises:
            VendorError: it is missing, no string, or longer than `longest` characters.
        """
        value = self.fields.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            raise invalid(f"{name} must be a text of at most {longest} characters")
        return value

    def flag(self, name: str) -> bool:
        """A field that must be true or false.

        Raises:
            VendorError: it is neither.
        """
        return flag(self.fields, name)


def flag(fields: JsonObject, name: str) -> bool:
    """A field of an object that must be true or false.

    Raises:
        VendorError: it is neither.
    """
    value = fields.get(name)
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false")
    return value


def dimensions(value: Any) -> dict[str, int]:
    """The size of a picture, `{"width", "height"}` in pixels.

    Raises:
        VendorError: it is no such object.
    """
    if not isinstance(value, dict):
        raise invalid("videoDimensions must be an object")
    size = {name: value.get(name) for name in ("width", "height")}
    if not all(type(each) is int and 0 <= each <= _MAX_PIXELS for each in size.values()):
        raise invalid(f"width and height must be 0 to {_MAX_PIXELS}")
    return {name: int(each or 0) for name, each in size.items()}


def read_stream(request: Request) -> StreamWish:
    """What a page says of the stream it publishes: the `stream` of the request.

    Raises:
        VendorError: something in it is missing or of the wrong kind.
    """
    told = request.fields.get("stream")
    if not isinstance(told, dict):
        raise invalid("stream must be an object")
    name, video_type = told.get("name", ""), told.get("videoType")
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise invalid(f"The name of a stream is a text of at most {MAX_NAME} characters")
    if video_type not in ("camera", "screen", "custom", None):
        raise invalid("videoType must be camera, screen or custom, or null without a picture")
    size = dimensions(told.get("videoDimensions", {"width": 0, "height": 0}))
    has_audio, has_video = flag(told, "hasAudio"), flag(told, "hasVideo")
    return StreamWish(name, has_audio, has_video, video_type or ("camera" if has_video else None), **size)


def id_in(text: str) -> int | None:
    """The id of a message that is not read further: `{"id": 5, ...`."""
    match = _ID.match(text[:64])
    return int(match[1]) if match else None


def read_request(text: str) -> Request:
    """Read a message.

    Raises:
        VendorError: it is too long or no JSON object with `id` and `do`. `id_in` may still tell the id.
    """
    if len(text) > MAX_MESSAGE:
        raise invalid(f"A message has at most {MAX_MESSAGE} characters")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("The message is not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise invalid("The message must be a JSON object that says what to do")
    if type(message.get("id")) is not int or not 0 <= message["id"] < _MAX_ID:
        raise invalid("The message needs a number as its id")
    return Request(message["id"], message["do"], message)


def shape_of_connection(connection: Connection) -> JsonObject:
    """A connection as pages see it."""
    return {
        "connectionId": connection.id,
        "creationTime": connection.created_at,
        "data": connection.data,
    }


def shape_of_stream(connection: Connection, stream: Stream) -> JsonObject:
    """A stream as pages see it; `videoType` is null in one without a picture ("undefined when voice-only")."""
    return {
        "streamId": stream.id,
        "connection": shape_of_connection(connection),
        "name": stream.name,
        "hasAudio": stream.has_audio,
        "hasVideo": stream.has_video,
        "videoType": stream.video_type,
        "videoDimensions": {"width": stream.width, "height": stream.height},
        "frameRate": FRAME_RATE if stream.video_type else 0,
        "creationTime": stream.created_at,
    }


def traceable(message: JsonObject) -> JsonObject:
    """A copy for the trace: tokens, resume keys and the secret lines of SDP are dots, and the size has a limit.

    Texts that do not fit are cut, with their length told.
    """
    for longest in _TRACED_TEXTS:
        shown: JsonObject = _shown("", message, longest)
        if len(json.dumps(shown)) <= _TRACED_MESSAGE:
            return shown
    # Known for what it is, and no more.
    plain = {name: shown[name] for name in ("id", "do", "reply", "event") if name in shown}
    return {name: value if isinstance(value, int) else _clipped(str(value), 100) for name, value in plain.items()}


def _shown(name: str, value: Any, longest: int, depth: int = 0) -> Any:
    if "token" in name.lower() or "resumekey" in name.lower():
        return _HIDDEN
    if isinstance(value, dict | list) and depth > _TRACED_DEPTH:
        return "…"
    if isinstance(value, dict):
        inside = islice(value.items(), _TRACED_ITEMS)
        return {_clipped(inner, 60): _shown(inner, each, longest, depth + 1) for inner, each in inside}
    if isinstance(value, list):
        items = [_shown("", each, longest, depth + 1) for each in value[:_TRACED_ITEMS]]
        return items + [f"… ({len(value)} items)"] * (len(value) > _TRACED_ITEMS)
    if isinstance(value, str):
        return _SDP_SECRETS.sub(rf"\1{_HIDDEN}", _clipped(value, longest))
    return value


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
