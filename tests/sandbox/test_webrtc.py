"""The WebRTC transport through real UDP, DTLS and SRTP: what a hostile or odd browser meets."""

import asyncio
from collections.abc import Callable

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from sipkit.sandbox.media import opus
from sipkit.sandbox.webrtc import peer as peers
from sipkit.sandbox.webrtc import rtp
from sipkit.sandbox.webrtc.ice import IcePort
from sipkit.sandbox.webrtc.sdp import MAX_OFFER, OfferRefused, read_offer
from tests.standins.raw_browser import RawBrowser
from tests.standins.stage import SESSION, Told, stage, until


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
