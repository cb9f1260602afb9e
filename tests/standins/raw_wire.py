"""Sockets that carry hand-written SIP and RTP, and the reading of what comes back. No code of the sandbox."""

import random
import re
import socket
import ssl
import struct
import time

from sipkit.sandbox.launcher import SandboxInfo

CRLF = "\r\n"
PATIENCE = 5.0
_NUMBER = struct.Struct("!BBHII")


class SipText:
    """One received message."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.start, *lines = head.decode().split(CRLF)
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in (li.partition(":") for li in lines)]

    @property
    def status(self) -> int:
        """The status of a response, 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The method: of a request, or of the request a response answers."""
        return self["cseq"].split()[1]

    def __getitem__(self, name: str) -> str:
        return next(value for key, value in self.headers if key == name)

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key == name]

    @property
    def contact(self) -> str:
        """The URI in the Contact header."""
        match = re.search(r"<([^>]+)>", self["contact"])
        assert match is not None
        return match[1]

    def __repr__(self) -> str:
        return f"<{self.start}>"


class Wire:
    """A socket that carries SIP: UDP, TCP or TLS, to one of the sandbox's ports."""

    def __init__(self, info: SandboxInfo, transport: str = "udp") -> None:
        self.transport = transport
        host, _, port = getattr(info, f"sip_{transport}").partition(":")
        self.peer = (host, int(port))
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        raw = socket.socket(socket.AF_INET, kind)
        if transport == "udp":
            raw.bind(("127.0.0.1", 0))
        else:
            raw.connect(self.peer)
        if transport == "tls":
            raw = ssl.create_default_context(cafile=info.ca_file).wrap_socket(raw, server_hostname="sip.nexmo.com")
        self.socket = raw
        self.host, self.port = raw.getsockname()[:2]
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send bytes, as one datagram or as one write."""
        if self.transport == "udp":
            self.socket.sendto(data, self.peer)
        else:
            self.socket.sendall(data)

    def receive(self, timeout: float = PATIENCE) -> SipText | None:
        """Return the next message, None when none comes in time or the connection closed."""
        deadline = time.monotonic() + timeout
        while True:
            if self.transport != "udp" and (message := self._framed()) is not None:
                return message
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            if self.transport == "udp":
                return SipText(data)
            if not data:
                return None
            self._buffer += data

    def _framed(self) -> SipText | None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        match = re.search(rb"(?im)^Content-Length\s*:\s*(\d+)", head)
        assert match is not None, "a message on a stream without Content-Length"
        length = int(match[1])
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return SipText(head + found + rest[:length])

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class RawRtp:
    """An RTP socket."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        self.peer = ("127.0.0.1", 0)
        self.sequence = random.randrange(0x8000)
        self.timestamp = random.randrange(0x80000000)
        self.ssrc = random.getrandbits(32)

    def packet(self, payload: bytes, kind: int = 8, *, step: int = 1) -> bytes:
        """Make the next packet (``step`` frames after the last one)."""
        self.sequence = self.sequence + step & 0xFFFF
        self.timestamp = self.timestamp + 160 * step & 0xFFFFFFFF
        return _NUMBER.pack(0x80, kind, self.sequence, self.timestamp, self.ssrc) + payload

    def send(self, packet: bytes) -> None:
        """Send a packet."""
        self.socket.sendto(packet, self.peer)

    def digit(self, code: int) -> None:
        """Send one RFC 4733 event, its packets in one burst."""
        self.timestamp = self.timestamp + 1600 & 0xFFFFFFFF
        for end, duration in ((0, 160), (0, 320), (0x80, 480), (0x80, 480), (0x80, 480)):
            self.sequence = self.sequence + 1 & 0xFFFF
            head = _NUMBER.pack(0x80, 101, self.sequence, self.timestamp, self.ssrc)
            self.send(head + struct.pack("!BBH", code, end | 10, duration))

    def receive(self, timeout: float = PATIENCE) -> bytes | None:
        """Return the next packet, None when none comes in time."""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(2048)
        except TimeoutError:
            return None

    def drain(self) -> None:
        """Throw away what has come so far."""
        while self.receive(0.001) is not None:
            pass

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
