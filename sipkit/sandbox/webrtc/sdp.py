"""The SDP of browsers (JSEP, RFC 8829): read an offer, write the answer.

Only what the sandbox needs: one bundle of audio and video, RTP and RTCP on one port, no data channels, no simulcast.
Header extensions, retransmission payloads and redundancy that an offer lists are left out of the answer, so they are
not used.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sipkit.sandbox.sip.transport import LOOPBACK

Kind = Literal["audio", "video"]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

MAX_OFFER = 64 * 1024
"""Characters of an offer; Chromium's of one audio and one video are about six thousand."""
MAX_SECTIONS = 8
CLOCKS = {"PCMU": 8000, "OPUS": 48000, "VP8": 90000}
"""The codecs the sandbox forwards, with their RTP clocks in Hz (RFC 3551, 7587, 7741)."""
_RTPMAPS = {"PCMU": "PCMU/8000", "OPUS": "opus/48000/2", "VP8": "VP8/90000"}
STATIC = {0: "PCMU"}
"""Payload types that need no a=rtpmap (RFC 3551 section 6)."""
HIGHEST_PAYLOAD_TYPE = 127
FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
"""What is answered for video: RFC 4585, RFC 5104, and the receiver's bit rate estimate."""
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:){19,63}[0-9A-Fa-f]{2}")
_OPUS_PARAMETERS = "minptime=10;useinbandfec=0;stereo=0"


class OfferRefused(Exception):
    """The offer cannot be answered; the text says why, without repeating it."""


@dataclass(frozen=True)
class Codec:
    """One codec of a section, under the payload type the offer gave it."""

    payload_type: int
    name: str


@dataclass
class Section:
    """One m-line.

    Attributes:
        kind: "audio" or "video"; other kinds are "other", and are always refused.
        codecs: those the sandbox knows, in the offer's order of preference.
        has_feedback: of the feedback wishes, those the offer has for each payload type.
    """

    kind: str
    protocol: str
    formats: list[str]
    mid: str = ""
    direction: Direction = "sendrecv"
    codecs: list[Codec] = field(default_factory=list)
    has_feedback: dict[int, set[str]] = field(default_factory=dict)


@dataclass
class Offer:
    """What the sandbox reads from an offer.

    Attributes:
        fingerprint: ``(algorithm, hex with colons)`` of the browser's certificate.
        bundle: the mids that share one transport.
    """

    ufrag: str
    fingerprint: tuple[str, str]
    sections: list[Section]
    bundle: list[str]

    def section(self, kind: Kind) -> Section | None:
        """Return the first section of a kind."""
        return next((each for each in self.sections if each.kind == kind), None)


@dataclass(frozen=True)
class Sent:
    """What the sandbox sends in a section (RFC 5576, RFC 8830).

    Attributes:
        ssrc: of its one RTP stream.
        stream: names the media stream; audio and video of one name are played in step.
    """

    ssrc: int
    stream: str


@dataclass(frozen=True)
class Plan:
    """How a section is answered: refused when no plan is given for its kind.

    Attributes:
        codec: the one codec of the answer.
        receive: whether the sandbox takes what the browser sends.
        sent: what the sandbox sends, if anything.
    """

    codec: Codec
    receive: bool
    sent: Sent | None = None

    @property
    def direction(self) -> Direction:
        """The answer's direction attribute."""
        if self.receive:
            return "sendrecv" if self.sent else "recvonly"
        return "sendonly" if self.sent else "inactive"


@dataclass(frozen=True)
class Local:
    """Our end of the transport, for the answer."""

    ufrag: str
    password: str = field(repr=False)
    fingerprint: str
    port: int


def read_offer(text: object) -> Offer:
    """Read a browser's offer.

    Raises:
        OfferRefused: it is no SDP offer of a browser, or asks for a transport other than a DTLS-SRTP bundle.
    """
    if not isinstance(text, str) or len(text) > MAX_OFFER or not text.startswith("v=0"):
        raise OfferRefused("the offer is no SDP")
    common: dict[str, str] = {}
    sections: list[Section] = []
    for line in text.splitlines():
        if line.startswith("m="):
            if len(sections) >= MAX_SECTIONS:
                raise OfferRefused(f"the offer has more than {MAX_SECTIONS} media sections")
            sections.append(_media(line[2:]))
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            if name in ("ice-ufrag", "fingerprint", "setup", "group", "ice-lite"):
                # A bundle has one transport: the values of its first section are those of all (RFC 9143).
                common.setdefault(name, value)
            elif sections:
                _attribute(sections[-1], name, value)
    return _offer(common, sections)


def _offer(common: Mapping[str, str], sections: list[Section]) -> Offer:
    algorithm, _, value = common.get("fingerprint", "").partition(" ")
    if not sections or "ice-ufrag" not in common or not _FINGERPRINT.fullmatch(value):
        raise OfferRefused("the offer has no media, or no ICE user fragment and fingerprint")
    if common.get("setup", "actpass") not in ("actpass", "active"):
        raise OfferRefused("the offer wants the sandbox to begin the DTLS handshake")
    if "ice-lite" in common:
        raise OfferRefused("the offer is of another ICE lite agent: nobody would send checks")
    group = common.get("group", "").split()
    bundle = group[1:] if group[:1] == ["BUNDLE"] else [sections[0].mid]
    return Offer(common["ice-ufrag"], (algorithm, value), sections, bundle)


def _media(line: str) -> Section:
    parts = line.split()
    if len(parts) < 4:
        raise OfferRefused("a media line of the offer is malformed")
    kind, _, protocol, *formats = parts
    known = kind in ("audio", "video") and protocol == "UDP/TLS/RTP/SAVPF"
    section = Section(kind if known else "other", protocol, formats)
    if known:
        numbers = (_payload_type(each) for each in formats)
        section.codecs = [Codec(number, STATIC[number]) for number in numbers if number in STATIC]
    return section


def _attribute(section: Section, name: str, value: str) -> None:
    if name == "mid" and re.fullmatch(r"[!-~]{1,32}", value):
        section.mid = value
    elif name in ("sendrecv", "sendonly", "recvonly", "inactive"):
        section.direction = name  # type: ignore[assignment]  # one of the four
    elif name == "rtpmap":
        _map(section, value)
    elif name == "rtcp-fb":
        wanted, _, wish = value.partition(" ")
        payload_type = _payload_type(wanted)
        if payload_type is not None:
            section.has_feedback.setdefault(payload_type, set()).add(wish)


def _map(section: Section, value: str) -> None:
    """Read what an a=rtpmap calls a payload type; codecs that are not known here change nothing."""
    wanted, _, encoding = value.partition(" ")
    name, _, clock = encoding.upper().partition("/")
    payload_type = _payload_type(wanted)
    if payload_type is None or wanted not in section.formats or clock.partition("/")[0] != str(CLOCKS.get(name)):
        return
    codec = Codec(payload_type, name)
    if codec not in section.codecs:
        section.codecs.append(codec)


def _payload_type(text: str) -> int | None:
    """Read a payload type: seven bits in an RTP header; None for anything else."""
    number = int(text) if re.fullmatch(r"[0-9]{1,3}", text) else None
    return number if number is not None and number <= HIGHEST_PAYLOAD_TYPE else None


def choose(section: Section | None, names: tuple[str, ...]) -> Codec | None:
    """Return the first codec of `names` that a section offers, None when it has none of them."""
    codecs = section.codecs if section is not None else []
    return next((codec for name in names for codec in codecs if codec.name == name), None)


def write_answer(offer: Offer, plans: Mapping[str, Plan], local: Local) -> str:
    """Write the answer; sections without a plan for their mid are refused (port 0).

    The answer holds the sandbox's only candidate, so nothing needs to trickle.
    """
    accepted = [section.mid for section in offer.sections if section.mid in plans and section.mid in offer.bundle]
    lines = [
        "v=0",
        f"o=- {secrets.randbits(62)} 1 IN IP4 {LOOPBACK}",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {' '.join(accepted)}",
        "a=msid-semantic: WMS *",
    ]
    for section in offer.sections:
        lines += _answered(section, plans[section.mid], local) if section.mid in accepted else _refused(section)
    return "\r\n".join([*lines, ""])


def _refused(section: Section) -> list[str]:
    kind = section.kind if section.kind != "other" else "application"
    return [
        f"m={kind} 0 {section.protocol} {' '.join(section.formats)}",
        f"c=IN IP4 {LOOPBACK}",
        f"a=mid:{section.mid}",
        "a=inactive",
    ]


def _answered(section: Section, plan: Plan, local: Local) -> list[str]:
    codec = plan.codec
    lines = [
        f"m={section.kind} {local.port} {section.protocol} {codec.payload_type}",
        f"c=IN IP4 {LOOPBACK}",
        f"a=mid:{section.mid}",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        f"a={plan.direction}",
        f"a=rtpmap:{codec.payload_type} {_RTPMAPS[codec.name]}",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        "a=setup:passive",
        f"a=candidate:1 1 udp 2130706431 {LOOPBACK} {local.port} typ host",
        "a=end-of-candidates",
    ]
    if section.kind == "audio":
        # The mixer's clock is 20 ms: a packet a tick.
        lines += ["a=ptime:20", "a=maxptime:20"]
    if codec.name == "OPUS":
        lines.append(f"a=fmtp:{codec.payload_type} {_OPUS_PARAMETERS}")
    offered = section.has_feedback.get(codec.payload_type, set())
    lines += [f"a=rtcp-fb:{codec.payload_type} {wish}" for wish in FEEDBACK if wish in offered]
    if plan.sent is not None:
        lines += [
            f"a=msid:{plan.sent.stream} {plan.sent.stream}-{section.kind}",
            f"a=ssrc:{plan.sent.ssrc} cname:{plan.sent.stream}",
        ]
    return lines
