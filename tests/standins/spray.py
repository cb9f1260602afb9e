"""A careless load balancer: hands each request to one of several servers, whichever, and says to which."""

import http.client
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Spray(ThreadingHTTPServer):
    """Stands before the servers.

    Attributes:
        ports: Where they listen on 127.0.0.1.
        handed: How many requests each of them got.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.ports: Sequence[int] = ()
        self.handed: Counter[int] = Counter()
        self._random = random.Random(7)
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """The address that the platform is told."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def choose(self) -> int:
        """Return the port of one of the servers."""
        with self._lock:
            port = self._random.choice(self.ports)
            self.handed[port] += 1
        return port


class _Handler(BaseHTTPRequestHandler):
    server: Spray
    protocol_version = "HTTP/1.1"

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.choose(), timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            said = answer.read()
        finally:
            upstream.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = _hand_on  # noqa: N815 - the names that the base class asks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Say nothing."""


@contextmanager
def spray() -> Iterator[Spray]:
    """A load balancer that runs until the end of the block; give it its `ports`."""
    with Spray() as balancer:
        thread = threading.Thread(target=balancer.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield balancer
        finally:
            balancer.shutdown()
            thread.join()
