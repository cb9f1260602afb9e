"""Calls the platform places: to the carrier's phones, and to SIP and WebSocket endpoints on this machine.

A phone's INVITE goes to the sandbox's carrier with digest credentials; a ``sip:`` endpoint is called at the port of
its URI, over UDP, TCP or TLS (Voice API, "Endpoints"). The sandbox calls nobody outside this machine: such an
endpoint fails with ``cannot_route``.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sipmessage import URI, Address, Parameters

from sipkit.sandbox.phone.line import Carrier
from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip import transport as wire
from sipkit.sandbox.sip.agent import UserAgent
from sipkit.sandbox.sip.call import CallFailed
from sipkit.sandbox.sip.outgoing import OutgoingCall
from sipkit.sandbox.voice.socket_wish import SocketWish, read_socket

JsonObject = dict[str, Any]

CARRIER = "carrier.example"
USER_TO_USER = "User-to-User"
LONGEST_URI = 50
"""Characters of a SIP URI (Voice OpenAPI 1.10.0, AddressSip)."""
_NUMBER = re.compile(r"[0-9]{7,15}")
_HERE = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}")
_URI = re.compile(
    r"(?P<scheme>sips?):(?:(?P<user>[A-Za-z0-9\-_.!~*'()&=+$,%]+)@)?(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<parameters>(?:;[A-Za-z0-9\-_.=]+)*)",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_LINE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,512}")


class InvalidEndpoint(ValueError):
    """The endpoint cannot be called; the text says which field is wrong."""


@dataclass(frozen=True)
class Endpoint:
    """Whom to call.

    Attributes:
        shown: as the REST API shows it.
        number: of a phone; empty for any other endpoint.
        uri: of a SIP endpoint; empty for any other.
        socket: the WebSocket to open; None for any other endpoint.
        headers: custom headers of the INVITE, with their X-.
        dtmf_answer: digits sent once a phone answers; "p" is a pause of half a second.
        on_answer: URL of the document executed on the called leg before it is connected.
        ringback: URL of what the caller hears until then.
    """

    shown: JsonObject
    number: str = ""
    uri: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    dtmf_answer: str = ""
    on_answer: str | None = None
    ringback: str | None = None
    socket: SocketWish | None = None


def read_endpoint(wish: Any) -> Endpoint:
    """Read an endpoint of a created call or of `connect`.

    Raises:
        InvalidEndpoint: it is malformed, or of a kind that is not in the sandbox.
    """
    if not isinstance(wish, dict):
        raise InvalidEndpoint("the endpoint must be an object")
    match wish.get("type"):
        case "phone":
            return _phone(wish)
        case "sip":
            return _sip(wish)
        case "websocket":
            try:
                socket = read_socket(wish)
            except ValueError as error:
                raise InvalidEndpoint(str(error)) from None
            return Endpoint(socket.shown, socket=socket)
        case "app" | "vbc" as kind:
            raise InvalidEndpoint(f"type {kind} is not in the sandbox")
    raise InvalidEndpoint("type must be phone, sip, app, websocket or vbc")


def _phone(wish: JsonObject) -> Endpoint:
    number, digits, on_answer = wish.get("number"), wish.get("dtmfAnswer", ""), wish.get("onAnswer")
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        raise InvalidEndpoint("number must be 7 to 15 digits")
    if not isinstance(digits, str) or set(digits) - set("0123456789*#p"):
        raise InvalidEndpoint("dtmfAnswer must be of 0-9 * # p")
    given = {} if on_answer is None else on_answer
    url = given.get("url") if isinstance(given, dict) else None
    if on_answer is not None and not _is_url(url):
        raise InvalidEndpoint("onAnswer needs url, an http or https URL")
    ringback = given.get("ringbackTone", given.get("ringback"))  # the option's old name is still documented
    if ringback is not None and not _is_url(ringback):
        raise InvalidEndpoint("ringbackTone of onAnswer must be an http or https URL")
    shown = {"type": "phone", "number": number}
    return Endpoint(shown, number=number, dtmf_answer=digits, on_answer=url, ringback=ringback)


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _sip(wish: JsonObject) -> Endpoint:
    uri, headers = wish.get("uri"), wish.get("headers") or {}
    # The REST API spells it standard_headers, the NCCO standardHeaders.
    standard = wish.get("standard_headers", wish.get("standardHeaders")) or {}
    if not isinstance(uri, str) or len(uri) > LONGEST_URI or not _URI.fullmatch(uri):
        raise InvalidEndpoint(f"uri must be a SIP URI of at most {LONGEST_URI} characters")
    if not isinstance(headers, dict) or not isinstance(standard, dict) or standard.keys() - {USER_TO_USER}:
        raise InvalidEndpoint(f"headers must be an object, and standard_headers one with {USER_TO_USER}")
    sent = {f"X-{name}": value for name, value in headers.items()} | standard
    for name, value in sent.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or not _LINE.fullmatch(value):
            raise InvalidEndpoint(f"the header {name[:40]!r} must be a name and one line of text")
    return Endpoint({"type": "sip", "uri": uri}, uri=uri, headers=sent)


class Dial:
    """A call to be placed: what `VoiceLeg` wants of an outgoing call.

    Args:
        agent: places it.
        carrier: where phones are; None as long as nobody told.
        endpoint: whom.
        caller: number or name shown as the caller.
    """

    direction: Literal["outbound"] = "outbound"

    def __init__(self, agent: UserAgent, carrier: Carrier | None, endpoint: Endpoint, caller: str, shown: str) -> None:
        self._agent = agent
        self._carrier = carrier
        self._endpoint = endpoint
        self.caller = caller
        self._shown = shown
        self.call_id = ""
        self.remote_media: sdp.Audio | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.on_turn: Callable[[sdp.Audio, str], None] | None = None
        self._call: OutgoingCall | None = None

    @property
    def dialled(self) -> str:
        """The number, or the URI."""
        return self._endpoint.number or self._endpoint.uri

    @property
    def custom_headers(self) -> dict[str, str]:
        """The X- headers of the INVITE."""
        return {name: value for name, value in self._endpoint.headers.items() if name.startswith("X-")}

    async def place(self, offer: sdp.Audio, ringing: Callable[[], None]) -> None:
        """Send the INVITE and wait for the answer; tell once when it rings.

        Raises:
            CallFailed: refused, or nobody can be reached (503).
        """
        try:
            call = self._call = await self._dial(offer)
        except OSError as error:
            self._over("503 cannot be reached")
            raise CallFailed(503, error.strerror or "Service Unavailable") from None
        except CallFailed as error:
            self._over(str(error))
            raise
        self.call_id = call.call_id
        call.on_turn = self.on_turn
        call.ended.add_done_callback(lambda over: self._over(over.result()))
        call.early.add_done_callback(lambda early: None if early.cancelled() else ringing())
        if self.ended.done():
            raise CallFailed(487, "Request Terminated")
        await call.place()
        self.remote_media = call.remote_media

    async def hang_up(self) -> None:
        """End it: BYE, or CANCEL while it rings."""
        if self._call is None:
            self._over("local BYE")
        else:
            await self._call.hang_up()

    def _over(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def _dial(self, offer: sdp.Audio) -> OutgoingCall:
        if self._carrier is None:
            raise CallFailed(503, "Service Unavailable")
        caller = Address(URI(scheme="sip", user=self._shown, host="sip.nexmo.com"))
        if self._endpoint.number:
            target = URI(scheme="sip", user=self._endpoint.number, host=CARRIER)
            credentials = self._carrier.credentials
            return await self._agent.dial(
                target, caller, offer, transport="udp", port=self._carrier.port, credentials=credentials
            )
        match = _URI.fullmatch(self._endpoint.uri)
        assert match is not None
        if not _HERE.fullmatch(match["host"].lower()):
            raise CallFailed(503, "the sandbox never calls out")
        parameters = dict(each.partition("=")[::2] for each in match["parameters"].lower().split(";")[1:])
        wished = parameters.get("transport", "tls" if match["scheme"].lower() == "sips" else "udp")
        transport = next((each for each in get_args(wire.Transport) if each == wished), None)
        port = int(match["port"] or (5061 if wished == "tls" else 5060))
        if transport is None or not 0 < port <= 65535:
            raise CallFailed(503, "no such transport or port")
        suffix = Parameters(transport=transport) if transport != "udp" else Parameters()
        return await self._agent.dial(
            URI(scheme="sip", user=match["user"], host=match["host"], port=port, parameters=suffix),
            caller,
            offer,
            transport=transport,
            port=port,
            tls=self._carrier.tls if transport == "tls" else None,
            headers=self._endpoint.headers,
        )
