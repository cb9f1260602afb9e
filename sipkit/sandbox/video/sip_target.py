"""Whom a dial calls: the `sip` object of the request, read and checked."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from sipkit.sandbox.home import MAX_PORT
from sipkit.sandbox.rest import Refusal

_SIP_URI = re.compile(
    r"(?P<scheme>sips?):(?P<user>[A-Za-z0-9\-_.!~*'()&=+$,;?/%]+)@"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>\d{1,5}))?"
    r"(?P<parameters>(?:;[A-Za-z0-9\-_.!~*'()+%]+(?:=[A-Za-z0-9\-_.!~*'()+%:/&$\[\]]+)?)*)",
    re.IGNORECASE,
)
_VOICE_HOST = re.compile(r"sip\.nexmo\.com|sip-[a-z0-9-]+\.nexmo\.com|(?:[a-z0-9-]+\.)+vonage\.com")
# A header's name (RFC 3261 section 25.1, token), and text without line ends, control characters or the lone
# surrogates that JSON can hold and UTF-8 cannot.
_HEADER_NAME = re.compile(r"X-[A-Za-z0-9\-.!%*_+`'~]+", re.IGNORECASE)
_LINE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")
_FROM = re.compile(r"(?:sip:)?[A-Za-z0-9\-_.!~*'()&=+$,%]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class SipTarget:
    """Whom `/dial` calls, and how.

    Attributes:
        from_: the caller shown, `user@host`; None = the gateway's default.
        headers: custom `X-` headers of the INVITE.
        secure: SRTP asked for.
        observe_force_mute: the leg follows the session's force mutes.
        streams: ids of the streams that the far end hears; empty is all.
        user, host, port, transport: read from `uri`; transport is "udp", "tcp" or "tls".
    """

    uri: str
    from_: str | None
    headers: dict[str, str]
    username: str | None
    password: str | None = field(repr=False)
    secure: bool
    observe_force_mute: bool = False
    streams: tuple[str, ...] = ()
    user: str = field(init=False)
    host: str = field(init=False)
    port: int | None = field(init=False)
    transport: str = field(init=False)

    def __post_init__(self) -> None:
        """Read the URI (RFC 3261 section 19.1; IPv6 hosts and embedded headers are not taken).

        Raises:
            ValueError: it is not a SIP URI with a user, or asks for an unknown transport.
        """
        match = _SIP_URI.fullmatch(self.uri)
        if match is None:
            raise ValueError("the SIP URI must look like sip:user@host;transport=tls")
        parameters = dict(part.partition("=")[::2] for part in match["parameters"].lower().split(";")[1:])
        transport = parameters.get("transport", "tls" if match["scheme"].lower() == "sips" else "udp")
        if transport not in {"udp", "tcp", "tls"}:
            raise ValueError("the transport of the SIP URI must be udp, tcp or tls")
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port <= MAX_PORT:
            raise ValueError("the port of the SIP URI is out of range")
        for name, value in (
            ("user", match["user"]),
            ("host", match["host"].lower()),
            ("port", port),
            ("transport", transport),
        ):
            object.__setattr__(self, name, value)  # frozen: computed once, from the URI

    @property
    def inside(self) -> bool:
        """Does the host belong to Vonage's voice side? The sandbox answers for those and calls no other."""
        return _VOICE_HOST.fullmatch(self.host) is not None


def read_sip(sip: Any) -> SipTarget:
    """Read the `sip` object of a dial (SDK README and REST reference).

    Raises:
        Refusal: 400, something in it is missing or malformed, or leads out of the sandbox.
    """
    if not isinstance(sip, dict) or not isinstance(sip.get("uri"), str):
        raise _bad("sip.uri must be a string")
    from_, headers, auth = sip.get("from"), sip.get("headers") or {}, sip.get("auth") or {}
    if from_ is not None and not (isinstance(from_, str) and _FROM.fullmatch(from_)):
        raise _bad("sip.from must look like 12025550123@example.com")
    _check_headers(headers)
    if not isinstance(auth, dict):
        raise _bad("sip.auth must be an object of username and password")
    for name in ("username", "password"):
        value = auth.get(name)
        if value is not None and not (isinstance(value, str) and _LINE.fullmatch(value)):
            raise _bad(f"sip.auth.{name} must be one line of text")
    for name in ("secure", "video", "observeForceMute"):
        if not isinstance(sip.get(name, False), bool):
            raise _bad(f"sip.{name} must be true or false")
    streams = sip.get("streams", [])
    if not isinstance(streams, list) or not all(isinstance(each, str) for each in streams):
        raise _bad("sip.streams must be a list of stream ids")
    try:
        target = SipTarget(
            sip["uri"],
            from_,
            headers,
            auth.get("username"),
            auth.get("password"),
            sip.get("secure", False),
            sip.get("observeForceMute", False),
            tuple(streams),
        )
    except ValueError as error:
        raise _bad(str(error)) from None
    if not target.inside:
        # Vonage calls any host; this is the sandbox's own promise, so it is told plainly.
        raise _bad(f"{target.host} is not in the sandbox, which never calls out: use sip.nexmo.com or *.vonage.com")
    return target


def _check_headers(headers: Any) -> None:
    if not isinstance(headers, dict):
        raise _bad("sip.headers must be an object")
    for name, value in headers.items():
        # Without X- in front it is a 400 (SDK documentation of dial).
        if not _HEADER_NAME.fullmatch(name):
            raise _bad("the names of sip.headers must be SIP header names that start with X-")
        if name.lower() == "x-opentok-sessionid":
            raise _bad("X-OpenTok-SessionId is set by the platform")  # assumed
        if not isinstance(value, str) or not _LINE.fullmatch(value):
            raise _bad(f"the value of sip.headers {name} must be one line of text")


def _bad(why: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, f"Invalid request: {why}")
