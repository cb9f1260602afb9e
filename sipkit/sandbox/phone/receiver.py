"""A browser as the receiver of a phone: its microphone is the phone's mouth, its loudspeaker the phone's ear."""

import secrets
from collections.abc import Callable

from sipkit.sandbox.media.leg import Leg
from sipkit.sandbox.media.microphone import Microphone
from sipkit.sandbox.webrtc import rtp
from sipkit.sandbox.webrtc.peer import Endpoint, MediaState, Peer
from sipkit.sandbox.webrtc.sdp import OfferRefused, Plan, Sent, choose, read_offer


class Receiver:
    """One browser at one phone's leg. G.711 all the way, so nothing is transcoded.

    Args:
        endpoint: where the browser is answered.
        leg: the phone's.
        offer: the browser's, with one audio section that sends and receives.
        changed: told "connected" and "lost".

    Raises:
        OfferRefused: the offer has no such section, or no PCMU.

    Attributes:
        answer: to the offer.
    """

    def __init__(self, endpoint: Endpoint, leg: Leg, offer: object, changed: Callable[[MediaState], None]) -> None:
        wish = read_offer(offer)
        section = wish.section("audio")
        codec = choose(section, ("PCMU",))
        if section is None or codec is None or section.direction != "sendrecv":
            raise OfferRefused("a receiver needs one audio section that sends and receives PCMU")
        self._type = codec.payload_type
        self._leg = leg
        self._microphone = Microphone()
        self._packets = rtp.Packetizer(secrets.randbits(32))
        self._peer = Peer(endpoint, wish, on_rtp=self._take, changed=changed)
        plan = Plan(codec, receive=True, sent=Sent(self._packets.ssrc, "phone"))
        self.answer = self._peer.answer({section.mid: plan})

    def lift(self) -> None:
        """Put it to the phone's mouth and ear."""
        self._leg.microphone = self._microphone
        self._leg.said = self._hear

    def _take(self, packet: bytes) -> None:
        if rtp.payload_type_of(packet) == self._type:
            self._microphone.push(rtp.sequence_of(packet), rtp.payload_of(packet))

    def _hear(self, frame: bytes) -> None:
        self._peer.send(self._packets.packet(frame))

    def close(self) -> None:
        """Lay the receiver down."""
        self._leg.microphone = self._leg.said = None
        self._peer.close()
