"""One browser's RTCPeerConnection, seen from the sandbox: ICE, DTLS and SRTP, and the packets that come out of them."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal

from sipkit.sandbox.webrtc import rtp
from sipkit.sandbox.webrtc.dtls import Certificate, DtlsSrtp, DtlsState
from sipkit.sandbox.webrtc.ice import IcePort
from sipkit.sandbox.webrtc.sdp import Local, Offer, Plan, write_answer

CONNECT_LIMIT = 30.0
"""Seconds a browser has from its offer to the end of the handshake."""
CONSENT_LIMIT = 30.0
"""Seconds without a check after which a browser is lost (RFC 7675 section 5.1)."""
_BEAT = 1.0

MediaState = Literal["connected", "lost"]
_FIRST_RTP_BYTE = 128  # RFC 7983 section 7


class Endpoint:
    """What all peers share: the UDP port and the certificate."""

    def __init__(self) -> None:
        self.ice = IcePort()
        self.certificate = Certificate()

    async def open(self) -> None:
        """Bind the port."""
        await self.ice.open()

    def close(self) -> None:
        """Close the port."""
        self.ice.close()


class Peer:
    """A peer connection, from its offer on.

    Args:
        endpoint: where it is reached.
        offer: the browser's.
        on_rtp: gets each RTP packet, decrypted, with its payload type known to the answer.
        on_rtcp: gets each RTCP packet of a compound.
        changed: told "connected" and "lost", each at most once.

    Attributes:
        state: "connecting" until the handshake is over; "lost" is its end.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        offer: Offer,
        *,
        on_rtp: Callable[[bytes], None] | None = None,
        on_rtcp: Callable[[rtp.Rtcp], None] | None = None,
        changed: Callable[[MediaState], None] | None = None,
    ) -> None:
        self.state: Literal["connecting", "connected", "lost"] = "connecting"
        self._offer = offer
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._changed = changed
        self._local_fingerprint = endpoint.certificate.fingerprint
        self._port = endpoint.ice.port
        self._ice = endpoint.ice.agent(self._receive)
        self._ice.peer_ufrag = offer.ufrag
        self._dtls = DtlsSrtp(endpoint.certificate, offer.fingerprint, self._ice.send, self._secured)
        self._begun = time.monotonic()
        self._watch: asyncio.TimerHandle | None = None
        self._beat()

    def __repr__(self) -> str:
        return f"<Peer {self.state}>"

    def answer(self, plans: Mapping[str, Plan]) -> str:
        """Write the answer, with a plan for each accepted mid."""
        local = Local(self._ice.ufrag, self._ice.password, self._local_fingerprint, self._port)
        return write_answer(self._offer, plans, local)

    def send(self, packet: bytes) -> None:
        """Send an RTP packet; before the handshake, nothing."""
        data = self._dtls.protect(packet)
        if data is not None:
            self._ice.send(data)

    def send_rtcp(self, packet: bytes) -> None:
        """Send an RTCP packet; before the handshake, nothing."""
        data = self._dtls.protect_rtcp(packet)
        if data is not None:
            self._ice.send(data)

    def close(self) -> None:
        """End the connection; `changed` is not told."""
        self._changed = None
        self._end()

    def _end(self) -> None:
        self.state = "lost"
        if self._watch is not None:
            self._watch.cancel()
        self._dtls.close()
        self._ice.close()

    def _receive(self, data: bytes) -> None:
        if data[0] < _FIRST_RTP_BYTE:
            self._dtls.receive(data)
        elif rtp.is_rtcp(data):
            compound = self._dtls.unprotect_rtcp(data)
            if compound is not None and self._on_rtcp is not None:
                for packet in rtp.read_rtcp(compound):
                    self._on_rtcp(packet)
        elif rtp.is_rtp(data):
            plain = self._dtls.unprotect(data)
            if plain is not None and self._on_rtp is not None:
                self._on_rtp(plain)

    def _secured(self, state: DtlsState) -> None:
        if state == "connected":
            self.state = "connected"
            if self._changed is not None:
                self._changed("connected")
        elif state in ("failed", "closed"):
            # Not inside the handler of the very packet that ended it.
            asyncio.get_running_loop().call_soon(self._lose)

    def _beat(self) -> None:
        """Look once a second whether the browser still wants to be sent to."""
        now = time.monotonic()
        heard = self._ice.heard_at
        silent = heard is not None and now - heard > CONSENT_LIMIT
        late = self.state == "connecting" and now - self._begun > CONNECT_LIMIT
        if silent or late:
            self._lose()
        else:
            self._watch = asyncio.get_running_loop().call_later(_BEAT, self._beat)

    def _lose(self) -> None:
        if self.state == "lost":
            return
        changed, self._changed = self._changed, None
        self._end()
        if changed is not None:
            changed("lost")
