"""ICE lite (RFC 8445 section 2.5): one UDP port of 127.0.0.1 answers the checks of every browser.

A lite agent has one host candidate and sends no checks of its own. The browser, always the controlling side, checks
towards it; each check that carries the right password tells where that browser is, so its own candidates are not
needed. Its repeated checks are also its consent to be sent to (RFC 7675).
"""

import asyncio
import secrets
import struct
import time
from collections.abc import Callable
from typing import cast

from aioice import stun

from sipkit.sandbox.sip.transport import LOOPBACK

MAX_ADDRESSES = 16
"""Addresses one browser may check from; it has a few interfaces, and each costs a table entry."""
Address = tuple[str, int]
_LARGEST_STUN_BYTE = 3  # RFC 7983 section 7: the first byte tells STUN (0-3), DTLS (20-63) and RTP (128-191) apart


class IcePort(asyncio.DatagramProtocol):
    """The UDP port.

    Attributes:
        port: its number, known after `open`.
    """

    def __init__(self) -> None:
        self.port = 0
        self._socket: asyncio.DatagramTransport | None = None
        self._agents: dict[str, IceAgent] = {}
        self._by_address: dict[Address, IceAgent] = {}

    async def open(self) -> None:
        """Bind the port."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, 0))

    def close(self) -> None:
        """Close the port; every agent falls silent."""
        if self._socket is not None:
            self._socket.close()

    def agent(self, receive: Callable[[bytes], None]) -> "IceAgent":
        """Make the local end for one browser; `receive` gets its DTLS, RTP and RTCP packets."""
        agent = IceAgent(self, receive)
        self._agents[agent.ufrag] = agent
        return agent

    def send(self, data: bytes, address: Address) -> None:
        """Send one packet; after the port is closed, nothing."""
        if self._socket is not None:
            self._socket.sendto(data, address)

    def forget(self, agent: "IceAgent") -> None:
        """Drop what came to belong to an agent; `IceAgent.close` calls this."""
        self._agents.pop(agent.ufrag, None)
        for address in agent.addresses:
            if self._by_address.get(address) is agent:
                del self._by_address[address]

    # From the network

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._socket = cast("asyncio.DatagramTransport", transport)  # uvloop's is no subclass
        self.port = transport.get_extra_info("sockname")[1]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the socket."""
        self._socket = None

    def error_received(self, exc: Exception) -> None:
        """A browser's port is closed: its missing consent will tell."""

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer a check, or hand the packet to the browser's agent; a stranger's is dropped."""
        if not data:
            return
        if data[0] <= _LARGEST_STUN_BYTE:
            self._check(data, addr[:2])
            return
        agent = self._by_address.get(addr[:2])
        if agent is not None:
            agent.receive(data)

    def _check(self, data: bytes, address: Address) -> None:
        """Answer a connectivity check (RFC 8445 section 7.3); anything that does not know a password gets nothing."""
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):  # struct.error: an attribute shorter than its kind is
            return
        if (message.message_method, message.message_class) != (stun.Method.BINDING, stun.Class.REQUEST):
            return
        ufrag, _, peer_ufrag = str(message.attributes.get("USERNAME", "")).partition(":")
        agent = self._agents.get(ufrag)
        if agent is None or peer_ufrag != agent.peer_ufrag:
            return
        if not message.check_message_integrity(agent.password.encode()):
            return
        if not agent.take(address, nominated="USE-CANDIDATE" in message.attributes):
            return
        self._by_address[address] = agent
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, message.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = address
        answer.add_message_integrity(agent.password.encode())
        self.send(bytes(answer), address)


class IceAgent:
    """The local end for one browser.

    Attributes:
        ufrag, password: what the browser's checks must carry (RFC 8445 section 5.3).
        peer_ufrag: the browser's own fragment, from its offer.
        addresses: where valid checks came from.
        heard_at: ``time.monotonic()`` of the last valid check, the browser's consent; None before the first.
    """

    def __init__(self, port: IcePort, receive: Callable[[bytes], None]) -> None:
        self.ufrag = secrets.token_hex(4)
        self.password = secrets.token_hex(16)
        self.peer_ufrag = ""
        self.receive = receive
        self.addresses: set[Address] = set()
        self.heard_at: float | None = None
        self._port = port
        self._chosen: Address | None = None

    def __repr__(self) -> str:
        return f"<IceAgent {len(self.addresses)} addresses>"

    def take(self, address: Address, *, nominated: bool) -> bool:
        """Note a valid check; False when this browser checks from too many addresses."""
        if address not in self.addresses:
            if len(self.addresses) >= MAX_ADDRESSES:
                return False
            self.addresses.add(address)
        self.heard_at = time.monotonic()
        if nominated or self._chosen is None:
            self._chosen = address
        return True

    def send(self, data: bytes) -> None:
        """Send to where the browser nominated; before its first check, nothing."""
        if self._chosen is not None:
            self._port.send(data, self._chosen)

    def close(self) -> None:
        """Leave the port."""
        self._chosen = None
        self._port.forget(self)
