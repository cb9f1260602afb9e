"""A call: one dialog with one INVITE usage (RFC 3261 sections 12 to 15).

An :class:`OutgoingCall` places it, an :class:`IncomingCall` answers it; both end by BYE from either side. A call knows
SDP but owns no media: its user passes descriptions in and reads the peer's.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from sipmessage import URI, Address, CSeq, MediaType, Parameters, Request, Response, Via

from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.digest import DigestClient
from sipkit.sandbox.sip.message import (
    ALLOW,
    MAX_FORWARDS,
    contact_uri,
    make_cancel,
    make_response,
    new_branch,
    tag_of,
    token,
)
from sipkit.sandbox.sip.transaction import ClientTransaction, ServerTransaction
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
        """Answer a re-INVITE with the description in force: it may move the peer's target, nothing else."""
        if self.state != "answered":
            self._agent.transactions.refuse(transaction, 491)
            return
        try:
            self._target = contact_uri(transaction.request) or self._target
        except ValueError:
            self._agent.transactions.refuse(transaction, 400)
            return
        response = make_response(transaction.request, 200)
        response.contact = [self._contact(self._agent.name)]
        response.content_type = SDP
        response.body = self._local_sdp
        transaction.respond(response)
        self._unacknowledged = transaction

    def acknowledged(self) -> None:
        """An ACK for a 2xx of ours arrived."""
        if self._unacknowledged is not None:
            self._unacknowledged.acknowledged()
            self._unacknowledged = None


class OutgoingCall(Call):
    """A call we place (UAC, RFC 3261 section 13.2)."""

    direction = "outbound"

    def __init__(
        self,
        agent: "UserAgent",
        flow: Flow,
        target: URI,
        caller: Address,
        media: sdp.Audio,
        *,
        credentials: DigestClient | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(agent, flow, token(11), token(5))
        self._target = target
        self._local = str(Address(caller.uri, caller.name, Parameters(tag=self.local_tag)))
        self._remote = str(Address(URI(scheme=target.scheme, host=target.host, user=target.user)))
        self._credentials = credentials
        self._headers = dict(headers or {})
        self._local_sdp = media.serialize()
        self._invite: ClientTransaction | None = None
        self._cancelled = False
        self._user = caller.uri.user or agent.name
        self.early: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def place(self) -> None:
        """Send the INVITE and wait until the call is answered.

        Raises:
            CallFailed: it was refused, timed out, or was cancelled.
        """
        self._send_invite(authorization=None)
        try:
            await asyncio.shield(self.answered)
        except asyncio.CancelledError:
            if self.answered.cancelled():
                raise CallFailed(487, "Request Terminated") from None
            raise

    def _send_invite(self, authorization: str | None) -> None:
        request = self._request("INVITE")
        request.contact = [self._contact(self._user)]
        request.headers.set("Allow", ALLOW)
        # The custom headers travel with the retry too: the platform reads them from the authenticated INVITE.
        for name, value in self._headers.items():
            request.headers.set(name, value)
        if authorization is not None:
            request.headers.set("Authorization", authorization)
        request.content_type = SDP
        request.body = self._local_sdp
        self._invite = self._agent.transactions.request(request, self._flow, self._responded, self._timed_out)

    def _responded(self, response: Response) -> None:
        if response.code < 200:
            if response.code > 100 and not self.early.done():
                self.early.set_result(response.code)
                if self.state == "calling":
                    self.state = "ringing"
            return
        if response.code < 300:
            self._accepted(response)
        elif response.code == 401 and self._retry_with_credentials(response):
            return
        else:
            self._failed(response.code, response.phrase)

    def _retry_with_credentials(self, response: Response) -> bool:
        assert self._invite is not None
        if self._credentials is None or self._cancelled or self._invite.request.authorization is not None:
            return False
        try:
            challenge = response.www_authenticate
        except ValueError:
            return False
        answer = challenge and self._credentials.answer(challenge, "INVITE", str(self._invite.request.uri))
        if not answer:
            return False
        self._send_invite(str(answer))
        return True

    def _accepted(self, response: Response) -> None:
        """Acknowledge a 2xx, every time it comes (RFC 3261 section 13.2.2.4)."""
        repeated = self.state in ("answered", "ended")
        if not repeated:
            self.remote_tag = tag_of(response, "To")
            self._remote = response.headers["To"]
            self._target = contact_uri(response) or self._target
            self._routes = list(reversed(response.headers.getlist("Record-Route")))
            self._agent.remember(self)
        acknowledgement = self._request("ACK")
        assert self._invite is not None
        acknowledgement.cseq = CSeq(sequence=self._invite.request.cseq.sequence, method="ACK")
        self._agent.send(acknowledgement, self._agent.reachable(self._flow, self._target))
        if repeated:
            return
        try:
            self.remote_media = sdp.parse(response.body)
        except sdp.UnsupportedMedia:
            self._cancelled = True
        self.state = "answered"
        if self._cancelled:
            # The answer crossed our CANCEL, or cannot be used: an answered call ends by BYE.
            self._agent.spawn(self._bye())
        else:
            self.answered.set_result(None)

    def _failed(self, code: int, phrase: str) -> None:
        if not self.answered.done():
            self.answered.set_exception(CallFailed(code, phrase))
            self.answered.exception()  # the caller may have stopped waiting
        self._end(f"{code} {phrase}")

    def _timed_out(self) -> None:
        if self._flow.closed:
            self._failed(503, "Connection Lost")
        else:
            self._failed(408, "Request Timeout")

    async def hang_up(self) -> None:
        """End the call: BYE when answered, CANCEL before."""
        if self.state == "answered":
            await self._bye()
        elif self.state != "ended" and not self._cancelled and self._invite is not None:
            self._cancelled = True
            cancel = make_cancel(self._invite.request)
            if self.state == "calling" and not self.early.done():
                # RFC 3261 section 9.1: CANCEL must not overtake the INVITE it cancels.
                await _first(self.early, self.ended, timeout=1.0)
            if self.state in ("calling", "ringing"):
                self._agent.transactions.request(cancel, self._flow, lambda _: None, lambda: None)
        await asyncio.wait([self.ended], timeout=END_DEADLINE)
        if self.state != "ended":
            self._failed(487, "Request Terminated")


class IncomingCall(Call):
    """A call we received (UAS, RFC 3261 section 13.3)."""

    direction = "inbound"

    def __init__(self, agent: "UserAgent", transaction: ServerTransaction, user: str | None) -> None:
        request = transaction.request
        super().__init__(agent, transaction.flow, request.call_id, token(5))
        self.invite = request
        self.user = user
        """The account that answered our challenge."""
        self._transaction = transaction
        self.remote_tag = tag_of(request, "From")
        self._remote_sequence = request.cseq.sequence
        self._target = contact_uri(request)
        self._routes = list(request.headers.getlist("Record-Route"))
        self._local = f"{request.headers['To']};tag={self.local_tag}"
        self._remote = request.headers["From"]
        transaction.on_unacknowledged = lambda: self._agent.spawn(self._bye())
        agent.remember(self)

    @property
    def dialled(self) -> str:
        """The user part of the Request-URI: the number that was called."""
        return self.invite.uri.user or ""

    @property
    def caller(self) -> str:
        """The user part of From."""
        return self.invite.from_address.uri.user or ""

    @property
    def custom_headers(self) -> dict[str, str]:
        """The X- headers of the INVITE, spelled as they came."""
        headers = self.invite.headers
        return {name: headers[name] for name in headers.keys() if name.upper().startswith("X-")}  # noqa: SIM118 - Headers is no mapping

    def ring(self) -> None:
        """Send 180 Ringing."""
        if self.state == "calling":
            self.state = "ringing"
            self._transaction.respond(self._response(180))

    def accept(self, media: sdp.Audio) -> None:
        """Send 200 OK with our description. ``answered`` completes when the peer acknowledges it."""
        if self.state in ("calling", "ringing"):
            self.state = "answered"
            self._local_sdp = media.serialize()
            response = self._response(200)
            response.content_type = SDP
            response.body = self._local_sdp
            self._unacknowledged = self._transaction
            self._transaction.respond(response)

    def reject(self, code: int) -> None:
        """Refuse the call."""
        if self.state in ("calling", "ringing"):
            self._transaction.respond(make_response(self.invite, code, to_tag=self.local_tag))
            self._end(f"rejected {code}")

    def cancelled(self) -> None:
        """The caller gave up while we rang: 487 for the INVITE (RFC 3261 section 9.2)."""
        if self.state in ("calling", "ringing"):
            self._transaction.respond(make_response(self.invite, 487, to_tag=self.local_tag))
            self._end("cancelled")

    def acknowledged(self) -> None:
        """The ACK arrived: the call stands."""
        super().acknowledged()
        if not self.answered.done():
            self.answered.set_result(None)

    async def hang_up(self) -> None:
        """End the call: BYE when answered, else a refusal."""
        if self.state == "answered":
            if not self.answered.done() and not self._flow.closed:
                # RFC 3261 section 15: the callee sends no BYE before the ACK, or the end of its 2xx repeats.
                await _first(self.answered, self.ended, timeout=END_DEADLINE)
            await self._bye()
        else:
            self.reject(480)

    def _response(self, code: int) -> Response:
        response = make_response(self.invite, code, to_tag=self.local_tag)
        response.contact = [self._contact(self.dialled)]
        response.headers.set("Allow", ALLOW)
        response.headers.set("Server", self._agent.name)
        return response


async def _first(*futures: "asyncio.Future[Any]", timeout: float) -> None:
    """Wait until one of the futures is done, or the time is up."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def media_host(audio: sdp.Audio) -> str:
    """Return where to send RTP: never off this machine, whatever the description says."""
    return audio.host if audio.host.startswith("127.") else LOOPBACK
