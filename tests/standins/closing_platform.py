"""A platform over TLS that reads each request whole, counts it, and answers with given bytes or not at all."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class ClosingPlatform(socketserver.ThreadingTCPServer):
    """Closes every connection after one request.

    Attributes:
        answer: What it says before; nothing if empty.
        requests: The requests that came, whole.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, answer: bytes, tls: ssl.SSLContext) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._tls = tls
        super().__init__(("127.0.0.1", 0), _ReadThenLeave)

    @property
    def url(self) -> str:
        """Its address, which its certificate names."""
        return f"https://localhost:{self.server_address[1]}"

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection, and let TLS begin in the thread that serves it."""
        connection, address = super().get_request()
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address


class _ReadThenLeave(socketserver.BaseRequestHandler):
    server: ClosingPlatform

    def handle(self) -> None:
        with suppress(ssl.SSLError, OSError):  # a client that does not trust the certificate has left
            self.request.do_handshake()
            said = b""
            while b"\r\n\r\n" not in said:
                said += self.request.recv(65536)
            head, _, body = said.partition(b"\r\n\r\n")
            names = [line.lower().split(b":") for line in head.splitlines()[1:]]
            length = sum(int(line[1]) for line in names if line[0] == b"content-length")
            while len(body) < length:
                body += self.request.recv(65536)
            self.server.requests.append(head + b"\r\n\r\n" + body)
            self.request.sendall(self.server.answer)


@contextmanager
def closing_platform(sandbox_home: Path, answer: bytes = b"") -> Iterator[ClosingPlatform]:
    """Run one with the sandbox's certificate, so that whoever trusts the sandbox trusts it."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sandbox_home / "server-cert.pem", sandbox_home / "server-key.pem")
    with ClosingPlatform(answer, tls) as platform:
        thread = threading.Thread(target=platform.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield platform
        platform.shutdown()
        thread.join()
