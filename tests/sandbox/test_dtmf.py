"""Keys as telephone-events (RFC 4733 section 2): paced out, and each counted once on the way in."""

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit.sandbox.media.dtmf import DIGITS, DtmfReceiver, DtmfSender
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for
from tests.standins.raw_phone import RawPhone


def _packets(digits: str) -> Iterator[tuple[bytes, int]]:
    """Send digits; yields each tick's payload with an RTP timestamp, as a leg would make it."""
    sender = DtmfSender()
    sender.queue(digits)
    began = 0
    for tick in range(1, 100_000):
        if not sender.busy:
            return
        event = sender.next()
        if event is not None:
            payload, step = event
            began = tick * 160 if step == 0 else began
            yield payload, began


def test_packets_of_one_digit() -> None:
    """Growing durations, then the end bit three times with the final duration: 80 ms of tone."""
    fields = [struct.unpack("!BBH", payload) for payload, _ in _packets("5")]
    assert [event for event, _, _ in fields] == [5] * 6
    assert [bool(flags & 0x80) for _, flags, _ in fields] == [False] * 3 + [True] * 3
    assert [duration for _, _, duration in fields] == [160, 320, 480, 640, 640, 640]
    assert {flags & 0x3F for _, flags, _ in fields} == {10}, "-10 dBm0"


@settings(max_examples=30, deadline=None)
@given(st.text(DIGITS, max_size=12))
def test_what_is_sent_is_received(digits: str) -> None:
    """Any keys arrive as pressed, the same key twice as two."""
    receiver = DtmfReceiver()
    assert "".join(receiver.receive(*packet) or "" for packet in _packets(digits)) == digits


@settings(max_examples=40, deadline=None)
@given(st.text(DIGITS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_lost_and_repeated_packets_do_not_change_the_keys(digits: str, dice: object) -> None:
    """As long as one packet of a key comes through, the key counts, and counts once."""
    assert isinstance(dice, random.Random)
    receiver = DtmfReceiver()
    heard = ""
    packets = list(_packets(digits))
    for start in range(0, len(packets), 6):
        kept = dice.sample(packets[start : start + 6], dice.randint(1, 6))
        for packet in sorted(kept + kept[:2], key=packets.index):
            heard += receiver.receive(*packet) or ""
    assert heard == digits


def test_stragglers_of_an_earlier_key_are_ignored() -> None:
    """A packet of the last key that comes after the next key began is no third key; time stamps may wrap."""
    receiver = DtmfReceiver()
    packet = struct.pack("!BBH", 1, 10, 160)
    other = struct.pack("!BBH", 2, 10, 160)
    assert receiver.receive(packet, 0xFFFFFF00) == "1"
    assert receiver.receive(other, 0x00000400) == "2"
    assert receiver.receive(packet, 0xFFFFFF00) is None


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x0a\x00", b"\x10\x0a\x00\xa0", b"\xff\x0a\x00\xa0"])
def test_what_is_no_key(payload: bytes) -> None:
    """Short packets and events that are no DTMF (hook flash, tones) are no digits."""
    assert DtmfReceiver().receive(payload, 1) is None


@pytest.mark.parametrize("digits", ["x", "12 3", "\n", "é"])
def test_only_keys_can_be_sent(digits: str) -> None:
    """Other characters are refused before anything is sent."""
    sender = DtmfSender()
    with pytest.raises(ValueError, match="not DTMF"):
        sender.queue(digits)
    assert not sender.busy


def test_burst_of_a_foreign_phone_over_the_wire(lab: Lab, app: AnsweringApp) -> None:
    """A phone that sends each event in one burst, the same key twice among them, is understood."""
    action = {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 6, "timeOut": 5}}
    app.on("/answer", [{**action, "eventUrl": [f"{app.url}/input"]}])
    app.on("/input", [{"action": "conversation", "name": "burst"}])
    with RawPhone(lab.info) as phone:
        phone.call()
        for code in (1, 1, 2, 10, 11, 0):
            phone.rtp.digit(code)
        wait_for(lambda: app.asked("/input"), what="the input callback")
        assert app.asked("/input")[0].fields["dtmf"]["digits"] == "112*#0"
        phone.hang_up()


def test_keys_of_another_source_are_ignored(lab: Lab, app: AnsweringApp) -> None:
    """Nobody else can press keys in a call."""
    action = {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 2, "timeOut": 3}}
    app.on("/answer", [{**action, "eventUrl": [f"{app.url}/input"]}])
    app.on("/input", [{"action": "conversation", "name": "keys"}])
    with RawPhone(lab.info) as phone, RawPhone(lab.info) as thief:
        phone.call()
        phone.rtp.digit(1)
        wait_for(lambda: [e for e in lab.trace(kind="dtmf") if e["key"] == 1], what="the first key")
        thief.rtp.peer = phone.rtp.peer
        for code in (9, 9, 9):
            thief.rtp.digit(code)
        phone.rtp.digit(2)
        wait_for(lambda: app.asked("/input"), what="the input callback")
        assert app.asked("/input")[0].fields["dtmf"]["digits"] == "12"
        phone.hang_up()
