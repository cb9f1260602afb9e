"""RTP on real sockets: who is believed, what a bad network may do, and who is given up; and the tables under it."""

import asyncio
import random
import time
from itertools import pairwise

import numpy as np
import psutil
import pytest

from sipkit.sandbox.launcher import SandboxInfo
from sipkit.sandbox.media import g711, hearing
from sipkit.sandbox.media.leg import Leg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.source import Pcm, Tone
from sipkit.sandbox.sip.sdp import Law
from sipkit.sandbox.voice import platform
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, Phone, wait_for
from tests.standins.raw_phone import RawPhone
from tests.standins.raw_wire import RawRtp

ROOM = [{"action": "conversation", "name": "media"}]


@pytest.fixture
def listener(lab: Lab, app: AnsweringApp) -> Phone:
    """A phone in the room, silent, recording."""
    app.on("/answer", ROOM)
    phone = lab.dial()
    phone.wait("answered")
    lab.wait_joined(1)
    return phone


def _frames(hz: float, seconds: float, kind: int = 8) -> list[bytes]:
    """Encode a tone in A-law or mu-law frames."""
    law: Law = "PCMA" if kind == 8 else "PCMU"
    samples = (ear.tone(hz, seconds) * 32767).astype(np.int16)
    return [g711.encode(frame, law) for frame in samples.reshape(-1, 160)]


def _play(rtp: RawRtp, packets: list[list[bytes]]) -> None:
    """Send each list of packets in a tick of its own; the packets that come back are the clock."""
    for tick in packets:
        for packet in tick:
            rtp.send(packet)
        assert rtp.receive(2) is not None


def _heard(phone: Phone, hz: float, seconds: float = 0.5) -> float:
    return ear.strength(ear.last(phone.recording(), seconds), hz)


@pytest.mark.parametrize("kind", [0, 8])
def test_both_laws(lab: Lab, listener: Phone, kind: int) -> None:
    """A call that offers only one law gets that law, and its tone comes through in full strength."""
    with RawPhone(lab.info) as phone:
        phone.call(phone.offer(f"{kind} 101"))
        packet = phone.rtp.receive()
        assert packet is not None
        assert (packet[0], packet[1] & 0x7F, len(packet)) == (0x80, kind, 172)
        _play(phone.rtp, [[phone.rtp.packet(frame, kind)] for frame in _frames(700, 1.5, kind)])
        assert -16.5 < _heard(listener, 700) < -14
        phone.hang_up()


def test_stream_cannot_be_hijacked(lab: Lab, listener: Phone) -> None:
    """Packets from another source in mid-call are counted and thrown away, and nothing is sent to their sender."""
    with RawPhone(lab.info) as phone:
        phone.call()
        thief = RawRtp()
        thief.peer, thief.ssrc = phone.rtp.peer, phone.rtp.ssrc
        good, bad = _frames(700, 2), _frames(1500, 2)
        _play(phone.rtp, [[phone.rtp.packet(frame)] for frame in good[:10]])
        thief.sequence, thief.timestamp = phone.rtp.sequence, phone.rtp.timestamp
        for own, foreign in zip(good[10:], bad, strict=False):
            thief.send(thief.packet(foreign))
            _play(phone.rtp, [[phone.rtp.packet(own)]])
        assert _heard(listener, 700) > -17
        assert _heard(listener, 1500, 2) < -55
        assert thief.receive(0.1) is None
        thief.close()
        wait_for(
            lambda: any(e["foreign"] > 50 for e in lab.trace(kind="media")), what="the foreign packets in the trace"
        )
        phone.hang_up()


def test_phone_behind_a_translator_is_followed(lab: Lab, listener: Phone) -> None:
    """When the described address stays silent, the first source that speaks is the phone (RFC 4961)."""
    with RawPhone(lab.info) as phone:
        phone.call()
        real = RawRtp()
        real.peer = phone.rtp.peer
        real.send(real.packet(g711.SILENCE["PCMA"]))
        assert real.receive(2) is not None, "the answer goes where the phone really is"
        _play(real, [[real.packet(frame)] for frame in _frames(700, 1.2)])
        assert _heard(listener, 700) > -17
        real.close()
        phone.hang_up()


def test_bad_network_is_tolerated(lab: Lab, listener: Phone) -> None:
    """With 3 % loss, neighbours swapped and every fifth packet twice, the tone is hardly weaker and stays one tone."""
    dice = random.Random(7)
    with RawPhone(lab.info) as phone:
        phone.call()
        packets = [phone.rtp.packet(frame) for frame in _frames(700, 3)]
        ticks: list[list[bytes]] = []
        for number, packet in enumerate(packets):
            if dice.random() < 0.03:
                ticks.append([])
            elif dice.random() < 0.1 and number and ticks[-1]:
                ticks.append([ticks[-1].pop(), packet][::-1])
            else:
                ticks.append([packet] * (2 if number % 5 == 0 else 1))
        _play(phone.rtp, ticks)
        sound = ear.last(listener.recording(), 2)
        assert ear.strength(sound, 700) > -18
        assert ear.strength(sound, 1400) < -45
        phone.hang_up()


def test_garbage_on_the_audio_port(lab: Lab, listener: Phone) -> None:
    """Noise, short packets, wrong versions, unknown payload types and odd lengths do not disturb the audio."""
    dice = random.Random(3)
    with RawPhone(lab.info) as phone:
        phone.call()
        rubbish = [b"", b"\x80", b"\x00" * 12, dice.randbytes(40), dice.randbytes(1400), b"\x8f\x08" + bytes(20)]
        rubbish += [b"\x90\x08" + bytes(14), b"\xa0\x08" + bytes(10) + b"\xff" * 20, phone.rtp.packet(b"x" * 33)]
        rubbish += [phone.rtp.packet(b"\xd5" * 160, 96), phone.rtp.packet(b"\x63\x0a", 101)]
        frames = _frames(700, 1.5)
        _play(phone.rtp, [[rubbish[n % len(rubbish)], phone.rtp.packet(frame)] for n, frame in enumerate(frames)])
        assert _heard(listener, 700) > -18
        phone.hang_up()


def test_header_extension_and_padding(lab: Lab, listener: Phone) -> None:
    """RTP header extensions, contributing sources and padding are stepped over (RFC 3550 section 5)."""

    def dressed(packet: bytes) -> bytes:
        extension = b"\xbe\xde\x00\x01abcd"
        return bytes([0xB2]) + packet[1:12] + b"\x00" * 8 + extension + packet[12:] + b"\x00\x00\x00\x04"

    with RawPhone(lab.info) as phone:
        phone.call()
        _play(phone.rtp, [[dressed(phone.rtp.packet(frame))] for frame in _frames(700, 1.5)])
        assert _heard(listener, 700) > -17
        phone.hang_up()


def test_silent_phone_is_hung_up(own_lab: Lab, session_app: AnsweringApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone that sends no RTP for the limit gets BYE: nobody is billed for a phone that vanished."""
    monkeypatch.setattr(platform, "SILENT_LEG", 1.0)
    session_app.on("/answer", ROOM)
    with RawPhone(own_lab.info) as phone:
        phone.call()
        phone.hung_up()
    own_lab.wait_legs(0)
    ended = [e for e in own_lab.trace(kind="leg") if e["state"] == "completed"]
    assert [e["reason"] for e in ended] == ["no media"]


def test_everything_binds_loopback(lab: Lab, app: AnsweringApp) -> None:
    """In the middle of calls over every transport no socket of the sandbox is bound to, or reaches, another address."""
    app.on("/answer", ROOM)
    session = lab.session()
    lab.sip_dial(session)
    for transport in ("udp", "tcp", "tls"):
        lab.dial(transport).wait("answered")
    lab.wait_joined(4)
    sockets = psutil.Process(lab.info.pid).net_connections("inet")
    assert len(sockets) > 12
    assert {each.laddr.ip for each in sockets} == {"127.0.0.1"}
    assert {each.raddr.ip for each in sockets if each.raddr} <= {"127.0.0.1"}


def test_media_is_never_sent_off_this_machine(lab: Lab, app: AnsweringApp) -> None:
    """An offer that names a foreign address is answered, and its audio goes to the loopback address instead."""
    app.on("/answer", ROOM)
    with RawPhone(lab.info) as phone:
        phone.call(phone.offer().replace("IN IP4 127.0.0.1", "IN IP4 192.0.2.7"))
        assert phone.rtp.receive() is not None
        phone.hang_up()


def test_sender_keeps_its_beat(lab: Lab, sandbox: SandboxInfo, listener: Phone) -> None:
    """Packets follow each other in number and time stamp, 50 a second."""
    with RawPhone(lab.info) as phone:
        phone.call()
        phone.rtp.receive()
        began = time.monotonic()
        packets = [phone.rtp.receive() or b"" for _ in range(100)]
        seconds = time.monotonic() - began
        numbers = [int.from_bytes(packet[2:4]) for packet in packets]
        stamps = [int.from_bytes(packet[4:8]) for packet in packets]
        assert {(b - a) % 2**16 for a, b in pairwise(numbers)} == {1}
        assert {(b - a) % 2**32 for a, b in pairwise(stamps)} == {160}
        assert 1.8 < seconds < 3
        phone.hang_up()


def test_g711_tables() -> None:
    """Known codes of both laws, and the quantising error of a full-scale sine (ITU-T G.711)."""
    assert g711.DECODE[0][[0xFF, 0x7F, 0x80, 0x00]].tolist() == [0, 0, 32124, -32124]
    assert g711.DECODE[1][[0xD5, 0x55, 0xAA, 0x2A]].tolist() == [8, -8, 32256, -32256]
    sine = (ear.tone(1000, 1, 0.9) * 32767).astype(np.int16)
    for law in g711.LAWS:
        error = g711.decode(g711.encode(sine, law), law).astype(float) - sine
        ratio = 10 * np.log10(np.mean(sine.astype(float) ** 2) / np.mean(error**2))
        assert ratio > 36
        codes = np.arange(256, dtype=np.uint8)
        again = g711.DECODE[g711.LAWS.index(law)][
            np.frombuffer(g711.encode(g711.decode(codes.tobytes(), law), law), dtype=np.uint8)
        ]
        assert np.array_equal(again, g711.decode(codes.tobytes(), law)), "every value is a fixed point"


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
def test_wav_of_any_rate_is_read(rate: int) -> None:
    """A tone in a WAV file keeps its pitch and level; what 8 kHz cannot carry is filtered out."""
    times = np.arange(rate) / rate
    sound = 0.25 * np.sin(2 * np.pi * 700 * times) + (0.25 * np.sin(2 * np.pi * 6000 * times) if rate > 12000 else 0)
    heard = hearing.resample(sound * 32767, rate).astype(float) / 32768
    assert abs(len(heard) - 8000) <= 1
    assert -16 < ear.strength(heard, 700) < -14.5
    assert ear.strength(heard, 2000) < -50


def test_what_is_no_wav_is_refused() -> None:
    """Not WAV, cut short, or 8 bits wide: ValueError."""
    good = ear.make_wav(ear.tone(400, 0.1))
    assert len(hearing.from_wav(good)) == 800
    for bad in (b"", b"RIFF", good[:20], b"x" * 100):
        with pytest.raises(ValueError, match="not a WAV"):
            hearing.from_wav(bad)


def test_mixing_clips_instead_of_wrapping() -> None:
    """Three full-scale voices make a loud mix, not noise of overflowing integers."""
    mixer = Mixer()
    conference = mixer.conference()
    legs = [Leg(str(number), record=True) for number in range(4)]
    for leg in legs:
        mixer.add(leg)
        leg.join(conference)

    async def run() -> None:
        for leg in legs[:3]:
            leg.play(Pcm(np.full(160, 30000, dtype=np.int16)))
        mixer.tick()

    asyncio.run(run())
    assert legs[3].hearing is not None
    assert set(legs[3].hearing.samples().tolist()) == {32767}
    assert legs[0].hearing is not None
    assert set(legs[0].hearing.samples().tolist()) == {32767}


def test_muted_leg_reaches_nobody_and_hears_all() -> None:
    """Mute takes a voice out of the mix and leaves its ear alone."""
    mixer = Mixer()
    conference = mixer.conference()
    loud, muted = Leg("loud", record=True), Leg("muted", record=True)
    for leg in (loud, muted):
        mixer.add(leg)
        leg.join(conference)
    muted.muted = True

    async def run() -> None:
        loud.play(Tone(500))
        muted.play(Tone(900))
        for _ in range(50):
            mixer.tick()

    asyncio.run(run())
    assert loud.hearing is not None
    assert muted.hearing is not None
    assert ear.level(loud.hearing.samples() / 32768) < -90
    assert ear.strength(muted.hearing.samples() / 32768, 500) > -16


def test_tones_are_named() -> None:
    """The ear of phones names the pure tones of a mix, strongest first, and none in silence or noise."""
    mix = (ear.tone(440, 1, 0.2) + ear.tone(1000, 1, 0.1)) * 32767
    assert hearing.tones(mix) == [440, 1000]
    assert hearing.tones(np.zeros(8000)) == []
    assert hearing.tones(np.random.default_rng(1).normal(0, 3000, 8000)) == []
