"""Streams on their way through the router: what a browser or a leg sends, and the viewers it goes to."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sipkit.sandbox.media.g711 import SILENCE, Samples
from sipkit.sandbox.media.leg import Conference, Leg
from sipkit.sandbox.media.microphone import Microphone
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.opus import OpusDecoder
from sipkit.sandbox.webrtc import rtp
from sipkit.sandbox.webrtc.peer import Peer
from sipkit.sandbox.webrtc.sdp import CLOCKS, Codec, Kind

KEY_FRAME_PAUSE = 0.3
"""Seconds between two requests for a key frame to one publisher: viewers ask together, one answer serves them all."""
KEPT_PACKETS = 512
"""Video packets kept to be sent again: about two seconds at 640x480."""
RESENT_AT_ONCE, RESENT_A_SECOND = 64, 512
"""Packets one viewer is sent again for one request, and in a second."""
VIDEO_BITS = 2_500_000
"""Bits a second that a publisher is told it may send; on one machine nothing limits it but this."""
OUR_SSRC = 1
"""The source of our own reports; RFC 8834 lets a receiver use any."""


@dataclass
class Track:
    """One kind of a stream.

    Attributes:
        codec_name: "PCMU", "OPUS" or "VP8".
        payload_type: the publisher's.
        ssrc: under which viewers get it.
        reception: what came of the publisher's own source, None before the first packet.
    """

    codec_name: str
    payload_type: int
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    reception: rtp.Reception | None = None
    octets: int = 0


class Stream(Protocol):
    """What the router knows of a stream."""

    id: str
    session_id: str
    tracks: dict[Kind, Track]

    def show(self, viewer: "Viewer") -> None:
        """Begin to forward to a viewer."""

    def hide(self, viewer: "Viewer") -> None:
        """Stop to forward to a viewer."""

    def want_key_frame(self) -> None:
        """Have the publisher send a picture that needs no earlier one."""

    def resend(self, numbers: list[int], viewer: "Viewer") -> None:
        """Send lost video packets to a viewer again."""

    def report(self, now: float) -> dict[str, int] | None:
        """Report to the publisher, and return the figures of the last second."""

    def close(self) -> None:
        """End it."""


class Viewer:
    """One subscription: a browser's peer connection that receives one stream.

    Attributes:
        payload_types: under which the browser takes each kind.
        peer: the connection, once it is answered.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.payload_types: dict[Kind, int] = {}
        self.peer: Peer | None = None
        self._wanted: set[Kind] = {"audio", "video"}
        self._numbers: dict[Kind, rtp.Numbering] = {"audio": rtp.Numbering(), "video": rtp.Numbering()}
        self._resent = 0
        self._resent_since = 0.0

    def forward(self, kind: Kind, packet: bytes) -> None:
        """Send one packet of the stream, already under the stream's source."""
        payload_type = self.payload_types.get(kind)
        if payload_type is None or kind not in self._wanted or self.peer is None:
            return
        number = self._numbers[kind].out(rtp.sequence_of(packet))
        if number is not None:
            self.peer.send(rtp.renumbered(packet, payload_type, number))

    def restart(self, kind: Kind) -> None:
        """The publisher numbers its packets anew."""
        self._numbers[kind].hold()

    def tell(self, packet: bytes) -> None:
        """Send an RTCP packet."""
        if self.peer is not None:
            self.peer.send_rtcp(packet)

    def choose(self, wanted: set[Kind]) -> None:
        """Forward only these kinds; a picture that comes back begins with a key frame."""
        back = wanted - self._wanted
        for kind in self._wanted - wanted:
            self._numbers[kind].hold()
        self._wanted = wanted
        if "video" in back:
            self.stream.want_key_frame()

    def feedback(self, packet: rtp.Rtcp) -> None:
        """Serve what the browser asks for."""
        if rtp.wants_key_frame(packet):
            self.stream.want_key_frame()
            return
        numbers = [self._numbers["video"].original(number) for number in self._affordable(rtp.missing(packet))]
        if numbers:
            self.stream.resend(numbers, self)

    def _affordable(self, numbers: list[int]) -> list[int]:
        """Cut a wish for lost packets to what a second has left: a browser must not make the audio's clock wait."""
        now = time.monotonic()
        if now - self._resent_since > 1:
            self._resent_since, self._resent = now, 0
        allowed = numbers[: max(0, min(RESENT_AT_ONCE, RESENT_A_SECOND - self._resent))]
        self._resent += len(allowed)
        return allowed

    def close(self) -> None:
        """End the peer connection."""
        self.stream.hide(self)
        if self.peer is not None:
            self.peer.close()


class VoiceStream:
    """What a leg says, as PCMU packets: the phone side of a session, or a synthetic participant."""

    def __init__(self, stream_id: str, session_id: str, leg: Leg) -> None:
        self.id = stream_id
        self.session_id = session_id
        self.tracks: dict[Kind, Track] = {"audio": Track("PCMU", 0)}
        self._packets = rtp.Packetizer(self.tracks["audio"].ssrc)
        self._viewers: set[Viewer] = set()
        self._leg = leg
        leg.said = self._say

    def _say(self, frame: bytes) -> None:
        # Muted, it is silent rather than gone: its viewers' media goes on.
        packet = self._packets.packet(SILENCE["PCMU"] if self._leg.muted else frame)
        for viewer in self._viewers:
            viewer.forward("audio", packet)

    def show(self, viewer: Viewer) -> None:
        """Begin to forward to a viewer."""
        self._viewers.add(viewer)

    def hide(self, viewer: Viewer) -> None:
        """Stop to forward to a viewer."""
        self._viewers.discard(viewer)

    def want_key_frame(self) -> None:
        """There is no picture."""

    def resend(self, numbers: list[int], viewer: Viewer) -> None:
        """Audio is not sent again."""

    def report(self, now: float) -> dict[str, int] | None:
        """There is no publisher to report to; the leg's own figures are in the trace."""
        return None

    def close(self) -> None:
        """Let go of the leg."""
        self._leg.said = None


class BrowserStream:
    """What one browser sends: its packets go to the viewers as they are, its voice to the conference too."""

    def __init__(self, stream_id: str, session_id: str) -> None:
        self.id = stream_id
        self.session_id = session_id
        self.tracks: dict[Kind, Track] = {}
        self._kinds: dict[int, Kind] = {}
        self._viewers: set[Viewer] = set()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._microphone: Microphone | None = None
        self._peer: Peer | None = None
        self._leave: Callable[[], None] | None = None
        self._asked_at = 0.0

    def carry(self, kind: Kind, codec: Codec) -> None:
        """Expect a kind, in the codec of the answer."""
        self.tracks[kind] = Track(codec.name, codec.payload_type)
        self._kinds[codec.payload_type] = kind
        if kind == "audio":
            self._microphone = Microphone(_decoder(codec))

    def open(self, peer: Peer, mixer: Mixer, conference: Conference) -> None:
        """Let the browser's voice into the conference."""
        self._peer = peer
        if self._microphone is None:
            return
        leg = Leg(f"browser:{self.id}")
        leg.microphone = self._microphone
        mixer.add(leg)
        leg.join(conference)
        self._leave = lambda: mixer.remove(leg)

    def take(self, packet: bytes) -> None:
        """Take an RTP packet of the browser."""
        kind = self._kinds.get(rtp.payload_type_of(packet))
        if kind is None:
            return
        track = self.tracks[kind]
        source = rtp.ssrc_of(packet)
        if track.reception is None or track.reception.ssrc != source:
            track.reception = rtp.Reception(source, CLOCKS[track.codec_name])
            for viewer in self._viewers:
                viewer.restart(kind)
        track.reception.take(packet, time.monotonic())
        track.octets += len(packet)
        if kind == "audio":
            assert self._microphone is not None
            self._microphone.push(rtp.sequence_of(packet), rtp.payload_of(packet))
        ours = rtp.relabelled(packet, track.payload_type, track.ssrc)
        if kind == "video":
            self._keep(ours)
        for viewer in self._viewers:
            viewer.forward(kind, ours)

    def feedback(self, packet: rtp.Rtcp) -> None:
        """Take an RTCP packet of the browser: its sender reports go on to the viewers."""
        source = int.from_bytes(packet.body[:4])
        for track in self.tracks.values():
            if track.reception is None or track.reception.ssrc != source:
                continue
            track.reception.note(packet, time.monotonic())
            report = rtp.sender_report(packet, track.ssrc)
            if report is not None:
                for viewer in self._viewers:
                    viewer.tell(report)

    def show(self, viewer: Viewer) -> None:
        """Begin to forward to a viewer, whose first picture must be a whole one."""
        self._viewers.add(viewer)
        self.want_key_frame()

    def hide(self, viewer: Viewer) -> None:
        """Stop to forward to a viewer."""
        self._viewers.discard(viewer)

    def want_key_frame(self) -> None:
        """Send the browser a picture loss indication, not more often than `KEY_FRAME_PAUSE`.

        A viewer that needs a later one asks again by itself.
        """
        now = time.monotonic()
        source = self._source("video")
        if self._peer is not None and source is not None and now - self._asked_at > KEY_FRAME_PAUSE:
            self._asked_at = now
            self._peer.send_rtcp(rtp.pli(OUR_SSRC, source))

    def resend(self, numbers: list[int], viewer: Viewer) -> None:
        """Send lost video packets to a viewer again; those never seen here are asked of the browser."""
        unknown = []
        for number in numbers:
            packet = self._kept.get(number)
            if packet is not None:
                viewer.forward("video", packet)
            else:
                unknown.append(number)
        source = self._source("video")
        if unknown and source is not None and self._peer is not None:
            self._peer.send_rtcp(rtp.nack(OUR_SSRC, source, unknown))

    def report(self, now: float) -> dict[str, int] | None:
        """Send receiver reports and the bit rate we take; return ``{"packets", "lost", "kbps", "viewers"}``."""
        receptions = [track.reception for track in self.tracks.values() if track.reception is not None]
        if self._peer is None or not receptions:
            return None
        for reception in receptions:
            self._peer.send_rtcp(reception.report(OUR_SSRC))
        video = self._source("video")
        if video is not None:
            self._peer.send_rtcp(rtp.remb(OUR_SSRC, [video], VIDEO_BITS))
        octets = sum(track.octets for track in self.tracks.values())
        for track in self.tracks.values():
            track.octets = 0
        return {
            "packets": sum(reception.received for reception in receptions),
            "lost": sum(reception.lost for reception in receptions),
            "kbps": octets * 8 // 1000,
            "viewers": len(self._viewers),
        }

    def close(self) -> None:
        """Take the browser's voice out of the conference and end its connection."""
        if self._leave is not None:
            self._leave()
        if self._peer is not None:
            self._peer.close()

    def _source(self, kind: Kind) -> int | None:
        track = self.tracks.get(kind)
        return track.reception.ssrc if track is not None and track.reception is not None else None

    def _keep(self, packet: bytes) -> None:
        self._kept[rtp.sequence_of(packet)] = packet
        while len(self._kept) > KEPT_PACKETS:
            self._kept.popitem(last=False)


def _decoder(codec: Codec) -> Callable[[bytes], Samples] | None:
    return OpusDecoder().decode if codec.name == "OPUS" else None
