"""One request as bytes, and the wire it goes over: what no HTTP library lets one say is said here."""

import http.client
import io
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Self

ANSWER_SECONDS = 120.0
"""A hang-up from a page waits until the platform shows that the leg is gone: on a machine that is busy, for long."""


@dataclass(frozen=True)
class Shot:
    """A request.

    Attributes:
        kind: What it tries, for the tally: a route, and what is odd about the request.
        method: As on the request line.
        target: As on the request line, already encoded.
        headers: As they are sent; `Host` and the body's length are added.
        body: Of the request.
        chunked: Whether the body is sent in chunks, without its length.
        allowed: Whether it is signed, or comes from a page that was invited, so that more than a refusal may come back.
    """

    kind: str
    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunked: bool = False
    allowed: bool = False

    def wire(self) -> bytes:
        """The whole request."""
        framing = "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {len(self.body)}"
        names = {name.lower() for name in self.headers}
        lines = [
            f"{self.method} {self.target} HTTP/1.1",
            *(["Host: 127.0.0.1"] if "host" not in names else []),
            framing,
        ]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
        if not self.chunked:
            return head + self.body
        parts = [self.body[at : at + 1000] for at in range(0, len(self.body), 1000)]
        return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Reply(NamedTuple):
    """What came back; status 0 is nothing at all."""

    status: int
    kind: str
    body: bytes


class Wire:
    """A connection to a server, made anew when it closes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._file: io.BufferedReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; the next request opens another one."""
        for each in (self._file, self._socket):
            if each is not None:
                each.close()
        self._socket = self._file = None

    def send(self, shot: Shot) -> Reply:
        """Send a request and read the answer."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), ANSWER_SECONDS)
        # A server that refuses in the middle of a long body closes; its answer is there to be read all the same.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(shot.wire())
        answer = http.client.HTTPResponse(self._socket, method=shot.method)
        try:
            answer.begin()
            reply = Reply(answer.status, answer.headers.get_content_type(), answer.read())
        except (http.client.HTTPException, OSError):
            self.close()
            return Reply(0, "", b"")
        if answer.will_close:
            self.close()
        return reply
