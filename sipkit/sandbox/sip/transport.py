"""Carry SIP messages over UDP, TCP and TLS (RFC 3261 section 18).

A :class:`Flow` is one way to reach one peer: a datagram source address, or a connection. Responses and in-dialog
requests use the flow the peer was heard on. Everything binds, and connects to, the loopback address only.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Literal, Protocol, cast

from sipmessage import Request, Response

from sipkit.sandbox.sip.message import parse, stamp_source

LOOPBACK = "127.0.0.1"
MAX_HEADER = 16 * 1024
MAX_BODY = 64 * 1024
MAX_CONNECTIONS = 1000

Transport = Literal["udp", "tcp", "tls"]
TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "tls")
SipMessage = Request | Response


class Flow(Protocol):
    """One way to reach one peer."""

    transport: Transport
    local: tuple[str, int]
    remote: tuple[str, int]

    @property
    def reliable(self) -> bool:
        """True for connections: no retransmission timers (RFC 3261 section 17.1.1.2)."""

    @property
    def closed(self) -> bool:
        """True when nothing can be sent any more."""

    def send(self, data: bytes) -> None:
        """Send one serialised message; silently nothing when closed."""


Receive = Callable[[SipMessage, Flow], None]
Lost = Callable[[Flow], None]


class UdpFlow:
    """A peer heard on, or reached from, our datagram socket."""

    transport: Transport = "udp"
    reliable = False

    def __init__(self, endpoint: "UdpEndpoint", remote: tuple[str, int]) -> None:
        self._endpoint = endpoint
        self.local = endpoint.local
        self.remote = remote

    @property
    def closed(self) -> bool:
        """True when our socket is closed."""
        return self._endpoint.socket is None

    def send(self, data: bytes) -> None:
        """Send one datagram."""
        if self._endpoint.socket is not None:
            self._endpoint.socket.sendto(data, self.remote)


class UdpEndpoint(asyncio.DatagramProtocol):
    """Our datagram socket. Garbage is dropped here and costs one failed parse."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.socket: asyncio.DatagramTransport | None = None
        self.local = (LOOPBACK, 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self.socket = cast("asyncio.DatagramTransport", transport)  # uvloop's is no subclass
        self.local = transport.get_extra_info("sockname")[:2]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the socket."""
        self.socket = None

    def error_received(self, exc: Exception) -> None:
        """ICMP errors of a vanished peer: its transaction times out by itself."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Parse one datagram."""
        try:
            message = parse(data)
            if isinstance(message, Request):
                stamp_source(message, addr[0], addr[1])
            # RFC 3261 section 18.3: over UDP Content-Length only trims; a body cut short is an error.
            length = message.content_length
            if length is not None:
                if length > len(message.body):
                    return
                message.body = message.body[:length]
        except ValueError:
            return
        self._receive(message, UdpFlow(self, addr[:2]))

    def close(self) -> None:
        """Close the socket."""
        if self.socket is not None:
            self.socket.close()


class StreamFlow(asyncio.Protocol):
    """A TCP or TLS connection, framed by Content-Length (RFC 3261 section 18.3)."""

    reliable = True

    def __init__(
        self,
        transport: Transport,
        receive: Receive,
        made: Callable[["StreamFlow"], bool],
        lost: Callable[["StreamFlow"], None],
    ) -> None:
        self.transport: Transport = transport
        self._receive = receive
        self._made = made
        self._lost = lost
        self._socket: asyncio.Transport | None = None
        self._buffer = bytearray()
        self.local = self.remote = (LOOPBACK, 0)

    @property
    def closed(self) -> bool:
        """True when the connection is gone."""
        return self._socket is None or self._socket.is_closing()

    def send(self, data: bytes) -> None:
        """Write one message."""
        if self._socket is not None and not self.closed:
            self._socket.write(data)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, unless there are too many."""
        self._socket = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.local = transport.get_extra_info("sockname")[:2]
        self.remote = transport.get_extra_info("peername")[:2]
        if not self._made(self):
            self._socket.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection is gone."""
        self._socket = None
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; hand over every message that is complete."""
        self._buffer += data
        try:
            for message in self._frames():
                if isinstance(message, Request):
                    stamp_source(message, *self.remote)
                self._receive(message, self)
        except ValueError:
            # A stream that lost its framing cannot be trusted again.
            self.close()

    def _frames(self) -> Iterator[SipMessage]:
        """Take every complete message off the buffer.

        Raises:
            ValueError: the bytes are not SIP, or a message is larger than we accept.
        """
        while self._buffer:
            if self._buffer.startswith(b"\r\n\r\n"):
                del self._buffer[:4]
                self.send(b"\r\n")  # keep-alive ping and pong, RFC 5626 section 4.4.1
                continue
            if self._buffer.startswith(b"\r\n") and self._buffer != b"\r\n":
                del self._buffer[:2]
                continue
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEADER:
                    raise ValueError("header too large")
                break
            length = _content_length(bytes(self._buffer[:end]))
            if length > MAX_BODY or end > MAX_HEADER:
                raise ValueError("message too large")
            whole = end + 4 + length
            if len(self._buffer) < whole:
                break
            data = bytes(self._buffer[:whole])
            del self._buffer[:whole]
            yield parse(data)


def _content_length(header: bytes) -> int:
    """Read Content-Length (or its compact form), mandatory on streams (RFC 3261 section 20.14).

    Raises:
        ValueError: it is missing or not a number.
    """
    for line in header.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"content-length", b"l"):
            length = int(value)
            if length < 0:
                raise ValueError("negative Content-Length")
            return length
    raise ValueError("no Content-Length")


class TransportLayer:
    """The sockets of one user agent."""

    def __init__(self, receive: Receive, lost: Lost) -> None:
        self._receive = receive
        self._lost = lost
        self._udp: UdpEndpoint | None = None
        self._servers: list[asyncio.Server] = []
        self._streams: set[StreamFlow] = set()

    async def listen_udp(self, port: int = 0) -> int:
        """Bind the datagram socket; returns its port."""
        loop = asyncio.get_running_loop()
        _, endpoint = await loop.create_datagram_endpoint(
            lambda: UdpEndpoint(self._receive), local_addr=(LOOPBACK, port)
        )
        self._udp = endpoint
        return endpoint.local[1]

    async def listen_stream(self, port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Listen for connections, TLS when a context is given; returns the port."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: self._stream("tls" if tls else "tcp"), LOOPBACK, port, ssl=tls, backlog=256
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def connect(
        self,
        transport: Transport,
        port: int,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> Flow:
        """Open, or take again, a flow to a port of this machine.

        Raises:
            OSError: nobody listens there, or its certificate does not verify (``ssl.SSLError``).
        """
        if transport == "udp":
            if self._udp is None:
                await self.listen_udp()
            assert self._udp is not None
            return UdpFlow(self._udp, (LOOPBACK, port))
        for flow in self._streams:
            if flow.transport == transport and flow.remote == (LOOPBACK, port) and not flow.closed:
                return flow
        loop = asyncio.get_running_loop()
        _, flow = await loop.create_connection(
            lambda: self._stream(transport),
            LOOPBACK,
            port,
            ssl=tls if transport == "tls" else None,
            server_hostname=server_name if transport == "tls" else None,
        )
        return flow

    def udp_flow(self, remote: tuple[str, int]) -> Flow:
        """Return the flow from our datagram socket to an address."""
        assert self._udp is not None
        return UdpFlow(self._udp, remote)

    def _stream(self, transport: Transport) -> StreamFlow:
        return StreamFlow(transport, self._receive, self._stream_made, self._stream_lost)

    def _stream_made(self, flow: StreamFlow) -> bool:
        if len(self._streams) >= MAX_CONNECTIONS:
            return False
        self._streams.add(flow)
        return True

    def _stream_lost(self, flow: StreamFlow) -> None:
        self._streams.discard(flow)
        self._lost(flow)

    async def close(self) -> None:
        """Close every socket."""
        for server in self._servers:
            server.close()
        for flow in list(self._streams):
            flow.close()
        if self._udp is not None:
            self._udp.close()
