"""The WebRTC transport and the media router, through real UDP, DTLS and SRTP: what a hostile or odd browser meets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from sipkit.sandbox.media import opus
from sipkit.sandbox.media.g711 import encode
from sipkit.sandbox.media.hearing import tones
from sipkit.sandbox.media.leg import Leg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.source import Tone
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video import streams
from sipkit.sandbox.video.conferences import Conferences
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.webrtc import peer as peers
from sipkit.sandbox.webrtc import rtp
from sipkit.sandbox.webrtc.ice import IcePort
from sipkit.sandbox.webrtc.sdp import MAX_OFFER, OfferRefused, read_offer
from tests.standins.raw_browser import RawBrowser

SESSION = "the session"
Told = list[str]


async def until(predicate: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Wait until a predicate is true."""
    try:
        async with asyncio.timeout(timeout):
            while not predicate():  # noqa: ASYNC110 - what is waited for is bytes, which set no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited {timeout:g} s for {what}")


def got(browser: RawBrowser, count: int) -> bool:
    """Whether that many packets came."""
    return len(browser.received) >= count


@dataclass
class Stage:
    """A router with its mixer, and the conference of one session."""

    router: Router
    mixer: Mixer
    conferences: Conferences

    def listener(self) -> Leg:
        """A leg in the conference that records, as the SIP leg's party would hear it."""
        leg = Leg("listener", record=True)
        self.mixer.add(leg)
        leg.join(self.conferences.of(SESSION))
        return leg

    async def publish(self, stream_id: str, told: Told | None = None, **offer: str | None) -> RawBrowser:
        """A browser that publishes, connected."""
        browser = RawBrowser(direction="sendonly", **offer)
        told = told if told is not None else []
        await browser.connect(self.router.publish(SESSION, stream_id, browser.offer, told.append))
        await until(lambda: "connected" in told or not told, "the publisher to be connected")
        return browser

    async def view(
        self, stream_id: str, subscription_id: str, told: Told | None = None, **offer: str | None
    ) -> RawBrowser:
        """A browser that views a stream, connected."""
        browser = RawBrowser(direction="recvonly", **offer)
        told = told if told is not None else []
        answer = self.router.subscribe(SESSION, stream_id, subscription_id, browser.offer, told.append)
        await browser.connect(answer)
        return browser


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A running router."""
    mixer = Mixer()
    conferences = Conferences(mixer)
    router = Router(conferences, mixer, Trace())
    await router.open()
    mixer.start()
    try:
        yield Stage(router, mixer, conferences)
    finally:
        await router.close()
        await mixer.stop()


def audio(sequence: int, payload: bytes = b"\xff" * 160, ssrc: int = 77, payload_type: int = 0) -> bytes:
    """An RTP packet."""
    return rtp.HEADER.pack(0x80, payload_type, sequence & 0xFFFF, sequence * 160, ssrc) + payload


def picture(sequence: int) -> bytes:
    """A video packet."""
    return audio(sequence, b"\x10" + bytes(200), ssrc=88, payload_type=96)


def test_a_check_without_the_password_gets_no_answer_and_opens_nothing() -> None:
    """Only who knows the answer's password is answered; a guesser cannot even tell that something listens."""

    async def run() -> None:
        async with stage() as s:
            browser = RawBrowser(direction="sendonly")
            await browser.open(s.router.publish(SESSION, "a", browser.offer, lambda _: None))
            browser.check(password="wrong")
            browser.check(ufrag="nobody")
            browser.send_raw(b"\x00")
            browser.send_raw(b"\x00\x01\x00\x08" + bytes(20))
            browser.check()
            await until(lambda: browser.answers, "the answer to the right check")
            assert len(browser.answers) == 1
            browser.close()

    asyncio.run(run())


def test_a_browser_with_another_certificate_than_its_offer_told_is_refused() -> None:
    """Whoever can see the answer but is not the browser that made the offer gets no keys (RFC 8122)."""

    async def run() -> None:
        async with stage() as s:
            honest, other = RawBrowser(direction="sendonly"), RawBrowser(direction="sendonly")
            told: Told = []
            fingerprint = next(line for line in honest.offer.splitlines() if "fingerprint" in line)
            forged = other.offer.replace(
                next(line for line in other.offer.splitlines() if "fingerprint" in line), fingerprint
            )
            answer = s.router.publish(SESSION, "a", forged, told.append)
            connecting = asyncio.ensure_future(other.connect(answer))
            await until(lambda: told, "the refusal")
            connecting.cancel()
            assert told == ["lost"]
            other.close()

    asyncio.run(run())


def test_packets_reach_each_viewer_under_the_streams_own_source() -> None:
    """Two viewers get every packet, payload unchanged, all under one new source number; the publisher gets none."""

    async def run() -> None:
        async with stage() as s:
            told: Told = []
            publisher = await s.publish("a", told)
            viewers = [await s.view("a", name) for name in ("one", "two")]
            payloads = [bytes([index]) * 160 for index in range(20)]
            for index, payload in enumerate(payloads):
                publisher.send(audio(1000 + index, payload))
            for viewer in viewers:
                await until(partial(got, viewer, 20), "the packets")
                assert [rtp.payload_of(packet) for packet in viewer.received] == payloads
                assert len({rtp.ssrc_of(packet) for packet in viewer.received} - {77}) == 1
            assert not publisher.received
            for each in (publisher, *viewers):
                each.close()

    asyncio.run(run())


def test_a_browsers_voice_is_heard_in_the_conference_and_the_conferences_in_the_browser() -> None:
    """The SIP leg hears the browser's 600 Hz; the browser hears what a leg says, 900 Hz, as PCMU every 20 ms."""

    async def run() -> None:
        async with stage() as s:
            listener = s.listener()
            listener.play(Tone(900))
            s.router.say(SESSION, "phone", listener)
            publisher = await s.publish("a")
            viewer = await s.view("phone", "v")
            voice = Tone(600)
            for index in range(60):
                frame = voice.next()
                assert frame is not None
                publisher.send(audio(index, encode(frame, "PCMU")))
                await asyncio.sleep(0.02)
            assert listener.hearing is not None
            assert tones(listener.hearing.samples(0.5).astype(float))[:1] == [600]
            heard = np.concatenate([_decoded(packet) for packet in viewer.received[-50:]])
            assert tones(heard)[:1] == [900]
            numbers = [rtp.sequence_of(packet) for packet in viewer.received]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            publisher.close()
            viewer.close()

    asyncio.run(run())


def _decoded(packet: bytes) -> np.ndarray:
    from sipkit.sandbox.media.g711 import decode

    return decode(rtp.payload_of(packet), "PCMU").astype(float)


def test_each_new_viewer_makes_the_publisher_send_a_key_frame() -> None:
    """Without a key frame a viewer who comes later would look at black until the next one."""

    async def run() -> None:
        async with stage() as s:
            publisher = await s.publish("a", video="VP8")
            publisher.send(picture(1))
            for number, name in enumerate(("one", "two"), 2):
                publisher.feedback.clear()
                viewer = await s.view("a", name, video="VP8")
                await until(lambda: any(rtp.wants_key_frame(p) for p in publisher.feedback), "a key frame request")
                publisher.send(picture(number))
                await until(partial(got, viewer, 1), "the picture")
                await asyncio.sleep(0.31)  # the pause between two requests is over
                viewer.close()
            publisher.close()

    asyncio.run(run())


def test_a_lost_video_packet_is_sent_again_or_asked_of_the_publisher() -> None:
    """A NACK is served from what is kept; what never came is asked of the browser that sent it."""

    async def run() -> None:
        async with stage() as s:
            publisher = await s.publish("a", video="VP8")
            viewer = await s.view("a", "v", video="VP8")
            other = await s.view("a", "w", video="VP8")
            publisher.send(picture(1))
            await until(lambda: viewer.received, "a packet")
            viewer.deaf = True
            publisher.send(picture(2))
            await until(lambda: len(other.received) == 2, "the packet at somebody else")
            viewer.deaf = False
            publisher.send(picture(4))
            await until(lambda: len(viewer.received) == 2, "the packet after the gap")
            viewer.send_rtcp(rtp.nack(5, rtp.ssrc_of(viewer.received[0]), [2, 3]))
            await until(lambda: len(viewer.received) == 3, "the packet again")
            assert [rtp.sequence_of(packet) for packet in viewer.received] == [1, 4, 2]
            await until(lambda: _asked(publisher), "the question")
            assert _asked(publisher) == [[3]]
            for each in (publisher, viewer, other):
                each.close()

    asyncio.run(run())


def test_a_flood_of_wishes_for_lost_packets_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """One packet can ask for thousands; a viewer gets a few, and the loop that carries everybody's audio goes on."""
    monkeypatch.setattr(streams, "RESENT_A_SECOND", 100)

    async def run() -> None:
        async with stage() as s:
            publisher = await s.publish("a", video="VP8")
            viewer = await s.view("a", "v", video="VP8")
            publisher.send(picture(1))
            await until(partial(got, viewer, 1), "the packet")
            never_sent = [*range(1000, 1150)] * 2
            for _ in range(3):
                viewer.send_rtcp(rtp.nack(5, rtp.ssrc_of(viewer.received[0]), never_sent))
            await until(lambda: len(_asked(publisher)) >= 2, "two questions to the publisher")
            publisher.send(picture(2))
            await until(partial(got, viewer, 2), "the next packet")
            assert [len(numbers) for numbers in _asked(publisher)] == [64, 36]
            publisher.close()
            viewer.close()

    asyncio.run(run())


def _asked(publisher: RawBrowser) -> list[list[int]]:
    """The lost packets that a publisher was asked for, question by question."""
    return [numbers for packet in publisher.feedback if (numbers := rtp.missing(packet))]


def test_after_a_long_pause_a_view_goes_on() -> None:
    """The publisher's numbers went far ahead meanwhile, which SRTP would take for old packets; ours have no gap."""

    async def run() -> None:
        async with stage() as s:
            publisher = await s.publish("a")
            viewer, other = await s.view("a", "v"), await s.view("a", "w")
            publisher.send(audio(10))
            await until(partial(got, viewer, 1), "the first packet")
            s.router.choose("v", audio=False, video=False)
            publisher.send(audio(30_000))
            await until(partial(got, other, 2), "the packet at somebody else")
            publisher.send(audio(60_000))
            await until(partial(got, other, 3), "the packet at somebody else")
            s.router.choose("v", audio=True, video=True)
            publisher.send(audio(60_001))
            await until(partial(got, viewer, 2), "the packet after the pause")
            assert [rtp.sequence_of(packet) for packet in viewer.received] == [10, 11]
            for each in (publisher, viewer, other):
                each.close()

    asyncio.run(run())


@pytest.mark.parametrize("number", ["300", "128", "\u00b2", "0" * 5000])
def test_a_payload_type_that_no_packet_can_have_is_refused(number: str) -> None:
    """Only seven bits are there; a viewer that asks for more is refused, and everybody's audio goes on."""

    async def run() -> None:
        async with stage() as s:
            s.router.say(SESSION, "phone", s.listener())
            offer = RawBrowser(direction="recvonly").offer
            offer = offer.replace("SAVPF 0", f"SAVPF {number}").replace("rtpmap:0 ", f"rtpmap:{number} ")
            with pytest.raises(OfferRefused, match="nothing"):
                s.router.subscribe(SESSION, "phone", "v", offer, lambda _: None)

    asyncio.run(run())


def test_a_viewer_chooses_what_it_gets() -> None:
    """Audio that is turned off is not sent; turned on again it is."""

    async def run() -> None:
        async with stage() as s:
            publisher = await s.publish("a")
            viewer = await s.view("a", "v")
            s.router.choose("v", audio=False, video=True)
            publisher.send(audio(1, b"\x01" * 160))
            other = await s.view("a", "w")
            s.router.choose("v", audio=True, video=True)
            publisher.send(audio(2, b"\x02" * 160))
            await until(lambda: viewer.received and other.received, "the second packet")
            assert [rtp.payload_of(packet)[:1] for packet in viewer.received] == [b"\x02"]
            for each in (publisher, viewer, other):
                each.close()

    asyncio.run(run())


def test_the_publisher_is_told_what_arrived() -> None:
    """Receiver reports with the loss, so that the browser adapts (RFC 3550)."""

    async def run() -> None:
        async with stage() as s:
            publisher = await s.publish("a")
            for index in (1, 2, 3, 5, 6, 7, 8, 9):
                publisher.send(audio(index))
            await until(lambda: any(p.kind == rtp.RECEIVER_REPORT for p in publisher.feedback), "a report")
            report = next(p for p in publisher.feedback if p.kind == rtp.RECEIVER_REPORT)
            assert int.from_bytes(report.body[4:8]) == 77
            assert int.from_bytes(report.body[9:12]) == 1, "one packet lost"
            publisher.close()

    asyncio.run(run())


def test_ending_a_stream_ends_its_viewers_connections() -> None:
    """A viewer's connection is closed by us with the stream, and no voice stays in the conference."""

    async def run() -> None:
        async with stage() as s:
            publisher = await s.publish("a")
            viewer = await s.view("a", "v")
            s.router.unpublish("a")
            await asyncio.wait_for(viewer.closed.wait(), 5)
            await asyncio.wait_for(publisher.closed.wait(), 5)
            assert not s.conferences.of(SESSION).legs
            s.router.unpublish("a")
            s.router.unsubscribe("v")
            publisher.close()
            viewer.close()

    asyncio.run(run())


def test_a_browser_that_says_goodbye_is_lost_at_once_and_a_silent_one_after_its_consent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`RTCPeerConnection.close` is noticed at once; a killed tab when its checks stay away (RFC 7675)."""
    monkeypatch.setattr(peers, "CONSENT_LIMIT", 0.5)

    async def run() -> None:
        async with stage() as s:
            told: Told = []
            polite = await s.publish("a", told)
            polite.goodbye()
            await until(lambda: told == ["connected", "lost"], "the loss", 0.4)
            told = []
            killed = await s.publish("b", told)
            killed.close()
            await until(lambda: told == ["connected", "lost"], "the loss", 5)
            polite.close()

    asyncio.run(run())


@pytest.mark.skipif(not opus.available(), reason="libopus is not installed (Debian package: libopus0)")
def test_opus_is_taken_when_an_offer_has_no_pcmu() -> None:
    """The answer takes Opus, and a viewer that offers only PCMU is told why it gets nothing."""

    async def run() -> None:
        async with stage() as s:
            browser = RawBrowser(direction="sendonly", audio="OPUS")
            answer = s.router.publish(SESSION, "a", browser.offer, lambda _: None)
            assert "a=rtpmap:111 opus/48000/2" in answer
            with pytest.raises(OfferRefused, match="OPUS"):
                s.router.subscribe(SESSION, "a", "v", RawBrowser(direction="recvonly").offer, lambda _: None)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda offer: offer.replace("PCMU", "G722").replace("AVPF 0", "AVPF 9").replace(":0 ", ":9 "), "nothing"),
        (lambda offer: offer.replace("sendonly", "recvonly"), "nothing"),
        (lambda offer: offer.replace("actpass", "passive"), "handshake"),
        (lambda offer: "v=0\r\na=ice-lite\r\n" + offer[5:], "lite"),
        (lambda offer: offer.replace("a=fingerprint", "a=nothing"), "fingerprint"),
        (lambda offer: offer.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "nothing"),
        (lambda offer: offer + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 8, "sections"),
        (lambda _: "", "no SDP"),
        (lambda offer: offer + "a=x\r\n" * MAX_OFFER, "no SDP"),
    ],
)
def test_an_offer_that_cannot_be_answered_is_refused_in_words(change: Callable[[str], str], why: str) -> None:
    """No codec in common, wrong direction, a transport WebRTC has not, or no SDP: a reason, and nothing is kept."""

    async def run() -> None:
        async with stage() as s:
            offer = change(RawBrowser(direction="sendonly").offer)
            with pytest.raises(OfferRefused, match=why):
                s.router.publish(SESSION, "a", offer, lambda _: None)
            with pytest.raises(OfferRefused, match="no media"):
                s.router.subscribe(SESSION, "a", "v", offer, lambda _: None)

    asyncio.run(run())


@given(
    st.one_of(
        st.text(),
        st.text().map(lambda tail: f"v=0\r\n{tail}"),
        st.lists(
            st.sampled_from(
                [
                    "v=0",
                    "m=audio 9 UDP/TLS/RTP/SAVPF 0 x",
                    "m=video",
                    "a=mid:é",
                    "a=rtpmap:999 PCMU/8000",
                    "a=rtpmap:0 PCMU/8000",
                    "a=ice-ufrag:x",
                    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
                    "a=group:BUNDLE",
                    "a=sendonly",
                    "a=rtcp-fb:a b",
                    "m=audio 9 UDP/TLS/RTP/SAVPF \u00b2 300 " + "9" * 5000,
                    "a=rtcp-fb:\u00b2 nack",
                    "a=rtpmap:300 PCMU/8000",
                    "a=rtpmap:0 PCMU/" + "8" * 5000,
                ]
            )
        ).map("\r\n".join),
    )
)
def test_no_offer_breaks_the_reader(text: str) -> None:
    """Whatever a page sends is read or refused, and never anything else."""
    try:
        read_offer(text)
    except OfferRefused:
        return


@given(data=st.binary(max_size=120), changes=st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), max_size=6))
def test_no_datagram_breaks_the_port(data: bytes, changes: list[tuple[int, int]]) -> None:
    """Whatever a local program throws at the UDP port, checks with a few bytes changed among it, is dropped."""
    check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    check.attributes["USERNAME"] = "somebody:else"
    check.attributes["PRIORITY"] = 1
    check.add_message_integrity(b"guess")
    mutated = bytearray(bytes(check))
    for position, value in changes:
        mutated[position % len(mutated)] = value
    port = IcePort()
    for datagram in (data, bytes(mutated)):
        port.datagram_received(datagram, ("127.0.0.1", 9))


@given(st.binary(max_size=200))
def test_no_packet_breaks_the_rtp_and_rtcp_readers(data: bytes) -> None:
    """Decrypted or not, bytes are bytes: each reader gives something or nothing."""
    if rtp.is_rtp(data):
        rtp.payload_of(data)
        assert rtp.payload_of(rtp.relabelled(data, 5, 6)) == rtp.payload_of(data)
    for packet in rtp.read_rtcp(data):
        rtp.missing(packet)
        rtp.wants_key_frame(packet)
        rtp.sender_report(packet, 1)
