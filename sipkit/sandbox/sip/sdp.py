"""Offer and answer one G.711 audio stream with telephone-event (RFC 4566, RFC 3264, RFC 3551, RFC 4733)."""

import re
import time
from dataclasses import dataclass, field, replace
from typing import Literal

Law = Literal["PCMU", "PCMA"]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]

STATIC: dict[int, Law] = {0: "PCMU", 8: "PCMA"}
PAYLOAD_TYPES: dict[Law, int] = {"PCMU": 0, "PCMA": 8}
TELEPHONE_EVENT = 101
ZEROS = "0.0.0.0"  # noqa: S104 - read, not bound
"""Where a description of RFC 2543 sends audio that it does not want."""
_MIRROR: dict[str, Direction] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


class UnsupportedMedia(ValueError):
    """The offer holds nothing we can speak: answer 488."""


@dataclass(frozen=True)
class Audio:
    """One side's audio description.

    Attributes:
        host: IPv4 address of the RTP socket.
        port: its UDP port.
        laws: G.711 payload types this side takes, best first: ``{0: "PCMU", 8: "PCMA"}``.
        dtmf: payload type of telephone-event, None when not offered.
        direction: RFC 3264 section 5.1.
        others: media lines besides the audio we use, rejected with port 0 in an answer.
    """

    host: str
    port: int
    laws: dict[int, Law]
    dtmf: int | None
    direction: Direction = "sendrecv"
    others: tuple[str, ...] = field(default=())
    audio_index: int = 0

    @property
    def holds(self) -> bool:
        """Does this side want to hear nothing (RFC 3264 section 8.4, with RFC 2543's address of zeros)?"""
        return self.direction in ("sendonly", "inactive") or self.host == ZEROS

    def serialize(self, session_id: int | None = None, version: int | None = None) -> bytes:
        """Print the session description; without numbers it is the first of a new session."""
        number = session_id if session_id is not None else int(time.time() * 1000)
        media = list(self.others)
        media.insert(self.audio_index, self._audio_lines())
        origin = f"o=- {number} {number if version is None else version} IN IP4 {self.host}"
        head = f"v=0\r\n{origin}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
        return (head + "".join(media)).encode()

    def _audio_lines(self) -> str:
        types = [*self.laws, *([self.dtmf] if self.dtmf is not None else [])]
        lines = [f"m=audio {self.port} RTP/AVP {' '.join(map(str, types))}"]
        lines += [f"a=rtpmap:{number} {law}/8000" for number, law in self.laws.items()]
        if self.dtmf is not None:
            lines += [f"a=rtpmap:{self.dtmf} telephone-event/8000", f"a=fmtp:{self.dtmf} 0-15"]
        lines += ["a=ptime:20", f"a={self.direction}"]
        return "\r\n".join(lines) + "\r\n"


def offer(host: str, port: int, laws: tuple[Law, ...] = ("PCMU", "PCMA")) -> Audio:
    """Describe our socket in an offer."""
    return Audio(host, port, {PAYLOAD_TYPES[law]: law for law in laws}, TELEPHONE_EVENT)


def answer(remote: Audio, host: str, port: int) -> Audio:
    """Answer an offer with its first G.711 law, its telephone-event number and the mirrored direction."""
    number, law = next(iter(remote.laws.items()))
    return replace(remote, host=host, port=port, laws={number: law}, direction=_MIRROR[remote.direction])


def revise(body: bytes, media: Audio) -> bytes:
    """Return our description as it shall be now: in its next version if that changes it (RFC 3264 section 8)."""
    origin = re.search(rb"(?m)^o=\S+ (\d+) (\d+)", body)
    assert origin is not None  # we wrote it
    number, version = int(origin[1]), int(origin[2])
    same = media.serialize(number, version)
    return body if same == body else media.serialize(number, version + 1)


def parse(body: bytes) -> Audio:
    """Read a session description.

    Raises:
        UnsupportedMedia: it is not SDP, or has no RTP/AVP audio in G.711 at an IPv4 address.
    """
    try:
        lines = [line.partition("=")[::2] for line in body.decode().splitlines() if line]
    except UnicodeDecodeError as error:
        raise UnsupportedMedia("not text") from error
    if not lines or lines[0] != ("v", "0"):
        raise UnsupportedMedia("not a session description")
    session: list[tuple[str, str]] = []
    media: list[list[tuple[str, str]]] = []
    for line in lines:
        if line[0] == "m":
            media.append([])
        (media[-1] if media else session).append(line)
    rejected: list[str] = []
    found: Audio | None = None
    index = 0
    for section in media:
        if found is None:
            try:
                found, index = _audio(section, session), len(rejected)
                continue
            except (ValueError, IndexError):
                pass
        kind, _, rest = section[0][1].partition(" ")
        rejected.append(f"m={kind} 0 {rest.partition(' ')[2]}\r\n")
    if found is None:
        raise UnsupportedMedia("no G.711 audio over RTP/AVP")
    return replace(found, others=tuple(rejected), audio_index=index)


def _audio(section: list[tuple[str, str]], session: list[tuple[str, str]]) -> Audio:
    """Read one media section, raising ValueError when it is not audio we can speak."""
    kind, port, profile, *types = section[0][1].split()
    if kind != "audio" or profile != "RTP/AVP" or int(port) == 0:
        raise ValueError("not RTP/AVP audio")
    names: dict[int, str] = {}
    direction: Direction = "sendrecv"
    for name, value in [*session, *section]:
        if name == "a" and value.startswith("rtpmap:"):
            number, encoding = value.removeprefix("rtpmap:").split()[:2]
            names[int(number)] = encoding.upper()
        elif name == "a" and value in _MIRROR:
            direction = value  # type: ignore[assignment]  # _MIRROR's keys are the directions
    host = next((value for name, value in [*section, *session] if name == "c"), "")
    if not host.startswith("IN IP4 "):
        raise ValueError("no IPv4 connection address")
    laws: dict[int, Law] = {}
    dtmf: int | None = None
    for payload_type in map(int, types):
        encoding = names.get(payload_type) or (f"{STATIC[payload_type]}/8000" if payload_type in STATIC else "")
        if encoding in ("PCMU/8000", "PCMU/8000/1"):
            laws.setdefault(payload_type, "PCMU")
        elif encoding in ("PCMA/8000", "PCMA/8000/1"):
            laws.setdefault(payload_type, "PCMA")
        elif encoding == "TELEPHONE-EVENT/8000" and dtmf is None:
            dtmf = payload_type
    if not laws:
        raise ValueError("no G.711")
    return Audio(host.removeprefix("IN IP4 ").split("/")[0], int(port), laws, dtmf, direction)
