"""A voice application for tests of the sandbox alone: it stands where the kit's webhook server would be.

A real HTTP server on a free port. A test says what its paths answer; everything it was asked is kept. It shares no code
with the kit or the sandbox, so what it records is what a stranger's application would see.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

DELAY_LIMIT = 20.0
"""Seconds after which a delayed reply goes out even when the test forgot to release it."""


@dataclass(frozen=True)
class Asked:
    """One request as it came.

    Attributes:
        fields: the JSON body of a POST, the query of a GET.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    fields: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What to answer.

    Attributes:
        document: sent as JSON; None sends ``body`` as it is.
        gate: the answer waits until this is set.
    """

    document: Any = None
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    gate: threading.Event | None = None


Answer = Reply | list[dict[str, Any]] | Callable[[Asked], Reply | list[dict[str, Any]]]


@dataclass
class _State:
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)


class AnsweringApp:
    """The application; ``with AnsweringApp() as app`` serves it.

    ``/answer`` and paths below ``/input`` answer what :meth:`on` was told, ``/event`` answers 200 with nothing.
    """

    def __init__(self) -> None:
        self._state = _State()
        self._lock = threading.Lock()
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self) -> None:
                app._handle(self, b"")

            def do_POST(self) -> None:
                app._handle(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A platform that hangs up on us in mid-answer is part of some tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def reset(self) -> None:
        """Forget answers and requests."""
        self._state = _State()

    def on(self, path: str, answer: Answer) -> None:
        """Answer a path: a reply, a call document, or a function that makes either from the request."""
        self._state.answers[path] = answer

    def asked(self, path: str = "") -> list[Asked]:
        """Return the requests so far whose path starts so, in the order they came."""
        with self._lock:
            return [each for each in self._state.asked if each.path.startswith(path)]

    def events(self, leg: str | None = None) -> list[dict[str, Any]]:
        """Return the bodies the event URL got, of one leg or of all."""
        bodies = [each.fields for each in self.asked("/event")]
        return [each for each in bodies if leg is None or each.get("uuid") == leg]

    def statuses(self, leg: str | None = None) -> list[str]:
        """Return the statuses the event URL was told, in order."""
        return [each["status"] for each in self.events(leg) if "status" in each]

    def errors(self) -> list[str]:
        """Return the reasons of the error events."""
        return [each["reason"] for each in self.events() if "reason" in each]

    def _handle(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        parts = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        fields = json.loads(body) if body else dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = Asked(handler.command, parts.path, parts.query, headers, body, fields)
        state = self._state
        with self._lock:
            state.asked.append(asked)
        answer = state.answers.get(parts.path, Reply() if parts.path == "/event" else Reply(status=404))
        made = answer(asked) if callable(answer) else answer
        reply = Reply(made) if isinstance(made, list) else made
        if reply.gate is not None:
            reply.gate.wait(DELAY_LIMIT)
        content = reply.body if reply.document is None else json.dumps(reply.document).encode()
        handler.send_response(reply.status)
        handler.send_header("Content-Type", reply.content_type)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
