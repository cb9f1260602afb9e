"""A video platform that answers a dial only when it is let: what waits for it meanwhile can be looked at."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 30.0  # seconds; a test that forgets to let a dial go must not hang


class SlowPlatform(ThreadingHTTPServer):
    """Answers dials and disconnects, in this process.

    Attributes:
        asked: Set once a dial has come in.
        let: Set it to let dials be answered; they are at once unless it is cleared.
        disconnected: The paths of the disconnects that were asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let = threading.Event()
        self.let.set()
        self.disconnected: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: SlowPlatform

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.set()
        self.server.let.wait(PATIENCE)
        self._answer(200, {"id": "call-1", "connectionId": "connection-1", "streamId": "stream-1"})

    def do_DELETE(self) -> None:
        self.server.disconnected.append(self.path)
        self._answer(204, None)

    def _answer(self, status: int, value: object) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Say nothing."""


@contextmanager
def slow_platform() -> Iterator[SlowPlatform]:
    """A platform that runs until the end of the block."""
    with SlowPlatform() as platform:
        thread = threading.Thread(target=platform.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield platform
        finally:
            platform.let.set()
            platform.shutdown()
            thread.join()
