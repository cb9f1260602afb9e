"""Session descriptions: offers read as RFC 4566 and RFC 3264 ask, answers that mirror them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit.sandbox.sip import sdp

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def _parse(media: str, head: str = HEAD) -> sdp.Audio:
    return sdp.parse((head + media).encode())


def test_own_offer_is_understood() -> None:
    """What we offer is read back as meant."""
    offer = sdp.offer("127.0.0.1", 4000)
    assert sdp.parse(offer.serialize()) == offer
    assert offer.laws == {0: "PCMU", 8: "PCMA"}
    assert offer.dtmf == 101


def test_static_types_need_no_rtpmap() -> None:
    """0 and 8 are PCMU and PCMA by RFC 3551; without telephone-event there is none."""
    audio = _parse("m=audio 4000 RTP/AVP 8 0\r\n")
    assert list(audio.laws.items()) == [(8, "PCMA"), (0, "PCMU")]
    assert audio.dtmf is None


def test_dynamic_numbers_are_followed() -> None:
    """A law and telephone-event may have any payload type; the answer uses the offer's numbers."""
    audio = _parse(
        "m=audio 4000 RTP/AVP 96 97 9\r\na=rtpmap:96 pcma/8000/1\r\n"
        "a=rtpmap:97 telephone-event/8000\r\na=rtpmap:9 G722/8000\r\n"
    )
    answer = sdp.answer(audio, "127.0.0.1", 5000)
    assert (answer.laws, answer.dtmf) == ({96: "PCMA"}, 97)
    text = answer.serialize().decode()
    assert "m=audio 5000 RTP/AVP 96 97\r\n" in text
    assert "a=rtpmap:97 telephone-event/8000" in text


def test_wideband_telephone_event_is_not_ours() -> None:
    """A telephone-event at another clock rate is passed over for the one at 8 kHz."""
    audio = _parse(
        "m=audio 1 RTP/AVP 0 100 101\r\na=rtpmap:100 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
    assert audio.dtmf == 101


def test_number_of_a_static_type_can_be_redefined() -> None:
    """An rtpmap overrides the static meaning: 0 as something else is not PCMU."""
    with pytest.raises(sdp.UnsupportedMedia):
        _parse("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 speex/8000\r\n")


@pytest.mark.parametrize(
    ("offered", "answered"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_direction_is_mirrored(offered: str, answered: str) -> None:
    """The answer's direction is the offer's seen from the other side (RFC 3264 section 6.1)."""
    audio = _parse(f"m=audio 4000 RTP/AVP 0\r\na={offered}\r\n")
    assert sdp.answer(audio, "127.0.0.1", 1).direction == answered


def test_session_level_direction_and_address() -> None:
    """Attributes of the session hold for the media unless it has its own (RFC 4566 section 5.7)."""
    audio = _parse("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.9/127\r\n", HEAD + "a=recvonly\r\n")
    assert (audio.direction, audio.host) == ("recvonly", "192.0.2.9")


def test_other_media_are_rejected_in_their_place() -> None:
    """Video, a second audio and fax get port 0 in the answer, at the same positions (RFC 3264 section 6)."""
    audio = _parse(
        "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        "m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 8\r\nm=image 6000 udptl t38\r\n"
    )
    answer = sdp.answer(audio, "127.0.0.1", 7000).serialize().decode()
    assert [line for line in answer.splitlines() if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 96",
        "m=audio 7000 RTP/AVP 0",
        "m=audio 0 RTP/AVP 8",
        "m=image 0 udptl t38",
    ]


@pytest.mark.parametrize(
    "media",
    [
        "",
        "m=audio 0 RTP/AVP 0\r\n",
        "m=audio 4000 RTP/SAVP 0\r\n",
        "m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n",
        "m=audio 4000 RTP/AVP 9 18\r\n",
        "m=audio 4000 RTP/AVP\r\n",
        "m=audio x RTP/AVP 0\r\n",
        "m=audio 4000 RTP/AVP zero\r\n",
        "m=audio\r\n",
        "m=\r\n",
        "m=video 4000 RTP/AVP 0\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::1\r\n",
        "m=audio 4000 RTP/AVP 0\r\na=rtpmap:x\r\n",
    ],
)
def test_offers_without_our_audio(media: str) -> None:
    """Nothing to speak: 488 is due."""
    with pytest.raises(sdp.UnsupportedMedia):
        _parse(media)


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff\xfe", b"v=1\r\n", b"m=audio 1 RTP/AVP 0\r\n"])
def test_what_is_no_description(body: bytes) -> None:
    """Bodies that are no SDP are refused the same way."""
    with pytest.raises(sdp.UnsupportedMedia):
        sdp.parse(body)


LINES = st.lists(
    st.sampled_from(
        ["v=0", "m=audio 4000 RTP/AVP 0 101", "m=audio 9 RTP/AVP 8", "m=video 1 RTP/AVP 96", "c=IN IP4 127.0.0.1",
         "a=rtpmap:101 telephone-event/8000", "a=sendonly", "a=rtpmap:", "m=x", "a", "=", "m=audio 1e3 RTP/AVP 0"]
    )
    | st.text(max_size=30),
    max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(LINES | st.just([]), st.binary(max_size=20))
def test_any_body_is_read_or_refused(lines: list[str], tail: bytes) -> None:
    """No body does anything but parse, into something that can be answered, or be refused."""
    try:
        audio = sdp.parse("\r\n".join(["v=0", *lines]).encode() + tail)
    except sdp.UnsupportedMedia:
        return
    again = sdp.parse(sdp.answer(audio, "127.0.0.1", 4000).serialize())
    assert list(again.laws.items()) == list(audio.laws.items())[:1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 8]), min_size=1, max_size=2, unique=True), st.none() | st.integers(96, 127))
def test_answers_keep_the_callers_order(numbers: list[int], dtmf: int | None) -> None:
    """The first law of the offer is the one that is spoken."""
    laws: dict[int, sdp.Law] = {number: sdp.STATIC[number] for number in numbers}
    answer = sdp.answer(sdp.Audio("127.0.0.1", 4, laws, dtmf), "127.0.0.1", 5)
    assert list(answer.laws) == numbers[:1]
    assert sdp.parse(answer.serialize()).dtmf == dtmf
