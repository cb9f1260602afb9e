"""The media router, through real UDP, DTLS and SRTP: who gets which packets, and when a key frame is asked for."""

import asyncio
from functools import partial

import numpy as np
import pytest

from sipkit.sandbox.media.hearing import tones
from sipkit.sandbox.media.source import Tone
from sipkit.sandbox.video import streams
from sipkit.sandbox.webrtc import rtp
from tests.standins.raw_browser import RawBrowser
from tests.standins.stage import SESSION, Told, audio, got, picture, stage, until


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
            await publisher.whistle(600, seconds=1.2)
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


def test_each_new_viewer_makes_the_publisher_send_a_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key frame a viewer who comes later would look at black until the next one."""
    monkeypatch.setattr(streams, "KEY_FRAME_PAUSE", 0.0)

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
