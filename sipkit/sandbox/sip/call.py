"""A call: one dialog with one INVITE usage (RFC 3261 sections 12 to 15).

``outgoing`` places calls, ``incoming`` answers them; this module is what both share. A call ends by BYE from either
side. It knows SDP but owns no media: its user passes descriptions in and reads the peer's.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from sipmessage import URI, Address, CSeq, MediaType, Parameters, Request, Via

from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.message import (
    ALLOW,
    MAX_FORWARDS,
    contact_uri,
    make_response,
    new_branch,
)
from sipkit.sandbox.sip.transaction import ServerTransaction
from sipkit.sandbox.sip.transport import LOOPBACK, Flow

if TYPE_CHECKING:
    from sipkit.sandbox.sip.agent import UserAgent

SDP = MediaType.parse("application/sdp")
END_DEADLINE = 5.0
"""Seconds a BYE may wait for its answer before the call counts as ended anyway."""

CallState = Literal["calling", "ringing", "answered", "ended"]


class CallFailed(Exception):
    """The call was not answered.

    Attributes:
        code: SIP status; 408 when nobody answered the INVITE, 503 when nobody could be reached, 487 when cancelled.
        phrase: its reason phrase.
    """

    def __init__(self, code: int, phrase: str) -> None:
        super().__init__(f"{code} {phrase}")
        self.code = code
        self.phrase = phrase


class Call:
    """What both directions share: the dialog's identifiers, BYE, and the end."""

    direction: Literal["inbound", "outbound"]

    def __init__(self, agent: "UserAgent", flow: Flow, call_id: str, local_tag: str) -> None:
        self._agent = agent
        self._flow = flow
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag: str | None = None
        self.state: CallState = "calling"
        self.remote_media: sdp.Audio | None = None
        self.held = False
        self.on_hold: Callable[[bool], None] | None = None
        """Told when the peer holds the call, and when it resumes."""
        self._remote_direction: sdp.Direction = "sendrecv"
        self._local_sdp = b""
        self._local = self._remote = ""  # From and To values of requests we send, as they travel
        self._target: URI | None = None
        self._routes: list[str] = []
        self._sequence = 0
        self._remote_sequence = 0
        self._unacknowledged: ServerTransaction | None = None
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()

    async def hang_up(self) -> None:
        """End the call: BYE, and wait for its answer. Safe at any time, and twice."""
        raise NotImplementedError

    async def _bye(self) -> None:
        if self.state == "ended":
            return
        self.state = "ended"
        answered = asyncio.get_running_loop().create_future()

        def settle(_: object = None) -> None:
            if not answered.done():
                answered.set_result(None)

        self._agent.transactions.request(
            self._request("BYE"), self._agent.reachable(self._flow, self._target), settle, settle
        )
        await asyncio.wait([answered], timeout=END_DEADLINE)
        self._end("local BYE")

    def _end(self, reason: str) -> None:
        """Reach the end once; a call nobody waits for must not leave an unread exception."""
        self.state = "ended"
        # The ACK of an answer nobody wants any more is not waited for: stop repeating it.
        Call.acknowledged(self)
        if not self.ended.done():
            self.ended.set_result(reason)
        if not self.answered.done():
            self.answered.cancel()
        self._agent.forget_later(self)

    def _request(self, method: str) -> Request:
        """Make a request inside the dialog (RFC 3261 section 12.2.1.1)."""
        assert self._target is not None
        request = Request(method, self._target)
        transport = self._flow.transport.upper()
        host, port = self._flow.local
        request.via = [Via(transport, host, port, Parameters(branch=new_branch(), rport=None))]
        request.max_forwards = MAX_FORWARDS
        request.headers.set("From", self._local)
        request.headers.set("To", self._remote)
        request.headers.set("Call-ID", self.call_id)
        if method != "ACK":
            self._sequence += 1
        request.cseq = CSeq(sequence=self._sequence, method=method)
        for route in self._routes:
            request.headers.add("Route", route)
        request.headers.set("User-Agent", self._agent.name)
        return request

    def _contact(self, user: str) -> Address:
        transport = None if self._flow.transport == "udp" else self._flow.transport
        parameters = Parameters(transport=transport) if transport else Parameters()
        host, port = self._agent.contact_address(self._flow)
        return Address(URI(scheme="sip", user=user, host=host, port=port, parameters=parameters))

    # Requests inside the dialog -------------------------------------------------------------------------------

    def receive(self, transaction: ServerTransaction) -> None:
        """Answer a request the peer sent inside this call."""
        request = transaction.request
        if request.cseq.sequence < self._remote_sequence:
            self._agent.transactions.refuse(transaction, 500)
            return
        self._remote_sequence = request.cseq.sequence
        if request.method == "BYE":
            transaction.respond(make_response(request, 200))
            if self.state != "ended":
                self._end("remote BYE")
        elif request.method == "INVITE":
            self._reinvited(transaction)
        elif request.method == "OPTIONS":
            self._agent.answer_options(transaction)
        else:
            self._agent.transactions.refuse(transaction, 405, Allow=ALLOW)

    def _reinvited(self, transaction: ServerTransaction) -> None:
        """Answer a re-INVITE with the description in force: it may move the peer's target, hold, and resume."""
        if self.state != "answered":
            self._agent.transactions.refuse(transaction, 491)
            return
        try:
            target = contact_uri(transaction.request) or self._target
        except ValueError:
            self._agent.transactions.refuse(transaction, 400)
            return
        body = transaction.request.body
        try:
            offer = sdp.parse(body) if body else None
        except sdp.UnsupportedMedia:
            self._agent.transactions.refuse(transaction, 488)
            return
        self._target = target
        if offer is not None:
            self._turn(offer)
        response = make_response(transaction.request, 200)
        response.contact = [self._contact(self._agent.name)]
        response.content_type = SDP
        response.body = self._local_sdp
        transaction.respond(response)
        self._unacknowledged = transaction

    def _turn(self, offer: sdp.Audio) -> None:
        """Follow the direction of a new offer (RFC 3264 section 8.4); the same direction changes nothing."""
        if offer.direction != self._remote_direction:
            self._remote_direction = offer.direction
            self._local_sdp = sdp.redirect(self._local_sdp, offer.direction)
        if offer.holds != self.held:
            self.held = offer.holds
            if self.on_hold is not None:
                self.on_hold(self.held)

    def acknowledged(self) -> None:
        """An ACK for a 2xx of ours arrived."""
        if self._unacknowledged is not None:
            self._unacknowledged.acknowledged()
            self._unacknowledged = None


async def first_of(*futures: "asyncio.Future[Any]", timeout: float) -> None:
    """Wait until one of the futures is done, or the time is up."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def media_host(audio: sdp.Audio) -> str:
    """Return where to send RTP: never off this machine, whatever the description says."""
    return audio.host if audio.host.startswith("127.") else LOOPBACK
