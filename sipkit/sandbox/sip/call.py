"""A call: one dialog with one INVITE usage (RFC 3261 sections 12 to 15).

``outgoing`` places calls, ``incoming`` answers them; this module is what both share. A call ends by BYE from either
side. It knows SDP but owns no media: its user passes descriptions in and reads the peer's.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sipmessage import URI, Address, CSeq, MediaType, Parameters, Request, Response, Via

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
        self.on_turn: Callable[[sdp.Audio, str], None] | None = None
        """Told each later description of the peer's, and where it wants its audio: it holds, resumes or moves."""
        self._offered = False
        """Our last 200 made an offer, whose answer comes with the ACK."""
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
        """Answer a re-INVITE (RFC 3261 section 14.2): the peer moves its target or its audio, holds, or resumes."""
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
        Call.acknowledged(self)  # who goes on has had our last answer; its ACK was lost
        self._target = target
        ours = sdp.parse(self._local_sdp)
        self._offered = offer is None
        if offer is None:
            # Whoever asks without an offer may want to resume: a direction that was held is offered anew.
            self._local_sdp = sdp.revise(self._local_sdp, replace(ours, direction="sendrecv"))
        else:
            self._local_sdp = sdp.revise(self._local_sdp, sdp.answer(offer, ours.host, ours.port))
            self._turned(offer)
        response = make_response(transaction.request, 200)
        response.contact = [self._contact(self._agent.name)]
        response.content_type = SDP
        response.body = self._local_sdp
        transaction.on_unacknowledged = lambda: self._agent.spawn(self._bye())
        transaction.respond(response)
        self._unacknowledged = transaction

    def _turned(self, remote: sdp.Audio) -> None:
        self.remote_media = remote
        if self.on_turn is not None:
            self.on_turn(remote, media_host(remote))

    def acknowledged(self, body: bytes = b"") -> None:
        """An ACK for a 2xx of ours arrived; where that 2xx made the offer, ``body`` is its answer."""
        if self._unacknowledged is not None:
            self._unacknowledged.acknowledged()
            self._unacknowledged = None
        if self._offered and body:
            self._offered = False
            with contextlib.suppress(sdp.UnsupportedMedia):  # then all stays as it was
                self._turned(sdp.parse(body))

    # Re-INVITEs of ours -----------------------------------------------------------------------------------------

    async def turn(self, direction: sdp.Direction) -> None:
        """Offer another direction: ``sendonly`` holds the peer, ``sendrecv`` resumes (RFC 3264 section 8.4).

        Raises:
            CallFailed: it was refused, and all stays as it was; after 408 and 481 the call is over (RFC 3261
                section 14.1).
        """
        body = sdp.revise(self._local_sdp, replace(sdp.parse(self._local_sdp), direction=direction))
        response = await self._reinvite(body)
        if response is None or response.code in (408, 481):
            await self._bye()
            raise CallFailed(408, "Request Timeout")
        if response.code >= 300:
            raise CallFailed(response.code, response.phrase)
        self._local_sdp = body
        self._turned(sdp.parse(response.body))

    async def _reinvite(self, body: bytes) -> Response | None:
        """Send a re-INVITE; returns its final answer, acknowledged, or None when none came."""
        request = self._request("INVITE")
        request.contact = [self._contact(self._agent.name)]
        request.headers.set("Allow", ALLOW)
        request.content_type = SDP
        request.body = body
        answered: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()

        def responded(response: Response) -> None:
            if 200 <= response.code < 300:
                acknowledgement = self._request("ACK")
                acknowledgement.cseq = CSeq(sequence=request.cseq.sequence, method="ACK")
                self._agent.send(acknowledgement, self._agent.reachable(self._flow, self._target))
            if response.code >= 200 and not answered.done():
                answered.set_result(response)

        def timed_out() -> None:
            if not answered.done():
                answered.set_result(None)

        where = self._agent.reachable(self._flow, self._target)
        self._agent.transactions.request(request, where, responded, timed_out)
        over: set[asyncio.Future[Any]] = {answered, self.ended}
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        return answered.result() if answered.done() else None


async def first_of(*futures: "asyncio.Future[Any]", timeout: float) -> None:
    """Wait until one of the futures is done, or the time is up."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def media_host(audio: sdp.Audio) -> str:
    """Return where to send RTP: never off this machine, whatever the description says."""
    return audio.host if audio.host.startswith("127.") else LOOPBACK
