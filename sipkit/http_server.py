"""Waitress, set up to take webhooks: one listener that is ours alone, JSON refusals, an access log.

Waitress and not a faster server, because of how it dies: it is one process with one plain socket. A server
of several processes can leave one behind that goes on answering, and one that sets SO_REUSEPORT can share
its port, silently, with the server that was to replace it.
"""

import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
THREADS = 4
"""A call out that blocks one thread for a second must not delay a webhook."""

_BODY_LIMIT = 1 << 20  # bytes; above the app's own 64 KiB, so that its words are what a client usually sees
_PROBE_PATIENCE = 2.0  # seconds
_PATH_SHOWN = 200  # characters


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1 that shares its port with nobody.

    Raises:
        OSError: The port is taken.
    """
    # macOS lets 127.0.0.1:P be bound beside a listener on 0.0.0.0:P, and would give us its visitors.
    if sys.platform == "darwin" and port and _answers(port):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # Not SO_REUSEPORT: this one only lets us follow a server that has just left.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def _answers(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_PATIENCE)
        return probe.connect_ex((HOST, port)) == 0


def http_server(sock: socket.socket, app: "WSGIApplication") -> Any:
    """A waitress server on a listening socket; its `run` blocks."""
    from waitress.channel import HTTPChannel
    from waitress.parser import HTTPRequestParser, ParsingError
    from waitress.server import create_server
    from waitress.task import ErrorTask

    class JsonRefusal(ErrorTask):  # type: ignore[misc]  # waitress ships no types
        """What waitress refuses by itself (no HTTP, too large) is said in the app's own way."""

        def execute(self) -> None:
            refusal = self.request.error
            # A 5xx (an unknown Transfer-Encoding) would make the platform repeat what can only fail again.
            code = refusal.code if refusal.code < HTTPStatus.INTERNAL_SERVER_ERROR else HTTPStatus.BAD_REQUEST
            body = json.dumps({"error": refusal.reason}).encode() + b"\n"
            self.status = f"{code:d} {HTTPStatus(code).phrase}"
            self.response_headers.append(("Content-Type", "application/json"))
            self.set_close_on_finish()
            self.content_length = len(body)
            self.write(body)

    class Parser(HTTPRequestParser):  # type: ignore[misc]  # as above
        """Refuses what makes waitress's own parser stumble, `http://[::1/` for one."""

        def parse_header(self, header_plus: bytes) -> None:
            try:
                super().parse_header(header_plus)
            except ValueError:
                # Waitress would close without an answer, and log a stack with the paths of this machine.
                raise ParsingError("Malformed request") from None
            if not self.chunked and not self.content_length:
                # It may not be said without a body (RFC 9110, 10.1.1), and waitress would wait for one.
                self.expect_continue = False

    class Channel(HTTPChannel):  # type: ignore[misc]  # as above
        parser_class = Parser
        error_task_class = JsonRefusal

    server: Any = create_server(
        app,
        sockets=[sock],
        threads=THREADS,
        ident=None,
        max_request_body_size=_BODY_LIMIT,
        channel_timeout=30,
        cleanup_interval=10,
        # A tunnel's agent runs on this machine and says who is behind it; nobody else is believed.
        trusted_proxy=HOST,
        trusted_proxy_count=1,
        trusted_proxy_headers={"x-forwarded-for"},
        clear_untrusted_proxy_headers=True,
    )
    server.channel_class = Channel
    return server


def with_access_log(app: "WSGIApplication", log: logging.Logger) -> "WSGIApplication":
    """Write one line per request: method, path, status and milliseconds; never the query string."""

    def logged(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        began = time.perf_counter()

        def noting(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            took = (time.perf_counter() - began) * 1000
            path = quote(str(environ.get("PATH_INFO", "")).encode("latin-1"))[:_PATH_SHOWN]
            log.info("%s %s %s %.0f ms", environ.get("REQUEST_METHOD", "")[:10], path, status[:3], took)
            return start_response(status, headers, *error)

        return app(environ, noting)

    return logged
