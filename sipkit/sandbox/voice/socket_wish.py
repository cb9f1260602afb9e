"""Read a WebSocket endpoint of a created call or of `connect`.

Source: Voice OpenAPI 1.10.0, EndpointWebsocket; "NCCO reference", connect; Voice API guide "WebSockets".
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

JsonObject = dict[str, Any]

CONTENT_TYPES = {f"audio/l16;rate={rate}": rate for rate in (8000, 16000, 24000)}
DEFAULT_CONTENT_TYPE = "audio/l16;rate=16000"
"""When an NCCO names none: the default of vonage_voice's Websocket (the OpenAPI requires one of a created call)."""
MOST_HEADERS = 512
"""Bytes of ``headers`` (documented)."""
_VALUE = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,4095}")


@dataclass(frozen=True)
class SocketWish:
    """Which WebSocket to open, and how.

    Attributes:
        headers: told in the first message, and in the events of the leg.
        authorization: "" for none, "vonage" for a signed token, "custom" for ``secret``.
        secret: the Authorization header as the application wrote it.
    """

    uri: str
    content_type: str
    headers: JsonObject
    authorization: str = ""
    secret: str = field(default="", repr=False)

    @property
    def rate(self) -> int:
        """Samples a second."""
        return CONTENT_TYPES[self.content_type]

    @property
    def shown(self) -> JsonObject:
        """As the REST API shows it."""
        return {"type": "websocket", "uri": self.uri, "content-type": self.content_type}


def read_socket(wish: JsonObject) -> SocketWish:
    """Read the endpoint.

    Assumed: ``ws:`` is taken beside ``wss:``; a user in the URI is refused; headers cannot replace the two fields
    of the first message.

    Raises:
        ValueError: it is malformed; the text says which field.
    """
    content_type = wish.get("content-type", DEFAULT_CONTENT_TYPE)
    if not isinstance(content_type, str) or content_type not in CONTENT_TYPES:
        raise ValueError(f"content-type must be one of {', '.join(CONTENT_TYPES)}")
    headers = wish.get("headers")
    headers = {} if headers is None else headers
    if not isinstance(headers, dict) or headers.keys() & {"event", "content-type"}:
        raise ValueError("headers must be an object without event and content-type")
    if len(json.dumps(headers, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")) > MOST_HEADERS:
        raise ValueError(f"headers must be {MOST_HEADERS} bytes at most")
    return SocketWish(_uri(wish.get("uri")), content_type, headers, *_authorization(wish.get("authorization")))


def _uri(uri: Any) -> str:
    try:
        parts = urlsplit(uri) if isinstance(uri, str) else None
        good = parts is not None and parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts is None or parts.username is not None or not re.fullmatch(r"[\x21-\x7e]{1,2048}", uri):
        raise ValueError("uri must be a ws or wss URI without a user")
    return str(uri)


def _authorization(wish: Any) -> tuple[str, str]:
    if wish is None:
        return "", ""
    kind = wish.get("type", "vonage") if isinstance(wish, dict) else None
    if kind not in ("vonage", "custom"):
        raise ValueError("authorization must be an object of type vonage or custom")
    if kind == "vonage":
        return kind, ""
    value = wish.get("value")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise ValueError("authorization of type custom needs value, one line of text")
    return kind, value
