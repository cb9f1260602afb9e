"""The media router: who publishes, who views, and each RTP packet from the one to the others.

Nothing is re-encoded. A browser's packets are decrypted, given the stream's own source number, and encrypted for each
viewer; its audio also goes, decoded, into the session's conference, where the SIP leg hears it. The SIP leg and
synthetic participants are streams too: PCMU packets of what they say.

A browser joins in with one peer connection for what it publishes and one for each stream it views. It makes each
offer, and the answer here takes one audio codec (PCMU, else Opus) and VP8.
"""

import asyncio
import time
from collections.abc import Callable

from sipkit.sandbox.media import opus
from sipkit.sandbox.media.leg import Leg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.conferences import Conferences
from sipkit.sandbox.video.streams import BrowserStream, Stream, Viewer, VoiceStream
from sipkit.sandbox.webrtc.peer import Endpoint, MediaState, Peer
from sipkit.sandbox.webrtc.sdp import Kind, OfferRefused, Plan, Sent, choose, read_offer

Changed = Callable[[MediaState], None]

CODECS: dict[Kind, tuple[str, ...]] = {
    # In the order of preference: PCMU is what the phone legs speak, so nothing is transcoded.
    "audio": ("PCMU", "OPUS") if opus.available() else ("PCMU",),
    "video": ("VP8",),
}
REPORT_SECONDS = 1.0


class Router:
    """The media of every session. For one asyncio loop."""

    def __init__(self, conferences: Conferences, mixer: Mixer, trace: Trace) -> None:
        self._conferences = conferences
        self._mixer = mixer
        self._trace = trace
        self._endpoint = Endpoint()
        self._streams: dict[str, Stream] = {}
        self._viewers: dict[str, Viewer] = {}
        self._reporting: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where browsers are answered."""
        return self._endpoint

    async def open(self) -> None:
        """Bind the UDP port."""
        await self._endpoint.open()
        self._reporting = asyncio.get_running_loop().create_task(self._report())

    async def close(self) -> None:
        """End all media."""
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        for stream_id in list(self._streams):
            self.unpublish(stream_id)
        self._endpoint.close()

    def publish(self, session_id: str, stream_id: str, offer: str, changed: Changed) -> str:
        """Take a browser's offer to send a stream; return the answer.

        Raises:
            OfferRefused: it cannot be answered.
        """
        wish = read_offer(offer)
        stream = BrowserStream(stream_id, session_id)
        plans: dict[str, Plan] = {}
        for kind, codecs in CODECS.items():
            section = wish.section(kind)
            codec = choose(section, codecs)
            if section is not None and codec is not None and section.direction in ("sendonly", "sendrecv"):
                plans[section.mid] = Plan(codec, receive=True)
                stream.carry(kind, codec)
        if not plans:
            raise OfferRefused("the offer sends nothing the sandbox takes: PCMU, Opus (with libopus) or VP8")
        peer = Peer(self._endpoint, wish, on_rtp=stream.take, on_rtcp=stream.feedback, changed=changed)
        stream.open(peer, self._mixer, self._conferences.of(session_id))
        self._streams[stream_id] = stream
        return peer.answer(plans)

    def subscribe(self, session_id: str, stream_id: str, subscription_id: str, offer: str, changed: Changed) -> str:
        """Take a browser's offer to receive a stream; return the answer.

        Raises:
            OfferRefused: it cannot be answered, or there is no such stream in the session.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.session_id != session_id:
            raise OfferRefused("the stream has no media")
        wish = read_offer(offer)
        viewer = Viewer(stream)
        plans: dict[str, Plan] = {}
        for kind, track in stream.tracks.items():
            section = wish.section(kind)
            codec = choose(section, (track.codec_name,))
            if section is not None and codec is not None and section.direction in ("recvonly", "sendrecv"):
                plans[section.mid] = Plan(codec, receive=False, sent=Sent(track.ssrc, stream_id))
                viewer.payload_types[kind] = codec.payload_type
        if not plans:
            names = " and ".join(track.codec_name for track in stream.tracks.values())
            raise OfferRefused(f"the offer takes nothing of the stream, which is {names}")

        def follow(state: MediaState) -> None:
            if state == "connected":
                stream.show(viewer)
            else:
                self.unsubscribe(subscription_id)
            changed(state)

        peer = Peer(self._endpoint, wish, on_rtcp=viewer.feedback, changed=follow)
        viewer.peer = peer
        self._viewers[subscription_id] = viewer
        return peer.answer(plans)

    def choose(self, subscription_id: str, *, audio: bool, video: bool) -> None:
        """Forward only the kinds wanted to one viewer; unknown subscriptions change nothing."""
        viewer = self._viewers.get(subscription_id)
        if viewer is not None:
            wanted: set[Kind] = {*(("audio",) if audio else ()), *(("video",) if video else ())}
            viewer.choose(wanted)

    def say(self, session_id: str, stream_id: str, leg: Leg) -> None:
        """Make what a leg of the session's conference says a stream; `unpublish` ends it."""
        self._streams[stream_id] = VoiceStream(stream_id, session_id, leg)

    def unpublish(self, stream_id: str) -> None:
        """End a stream and its subscriptions; unknown ids change nothing."""
        stream = self._streams.pop(stream_id, None)
        if stream is None:
            return
        for subscription_id in [key for key, viewer in self._viewers.items() if viewer.stream is stream]:
            self.unsubscribe(subscription_id)
        stream.close()
        self._conferences.tidy(stream.session_id)

    def unsubscribe(self, subscription_id: str) -> None:
        """End a subscription; unknown ids change nothing."""
        viewer = self._viewers.pop(subscription_id, None)
        if viewer is not None:
            viewer.close()

    async def _report(self) -> None:
        """Once a second: receiver reports to the publishers, figures to the trace."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            now = time.monotonic()
            for stream in list(self._streams.values()):
                figures = stream.report(now)
                if figures is not None:
                    self._trace.emit("media", side="browser", stream=stream.id, **figures)
