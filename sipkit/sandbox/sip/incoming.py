"""Calls we receive: ring, accept, refuse (UAS, RFC 3261 section 13.3)."""

from typing import TYPE_CHECKING

from sipmessage import Response

from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.call import END_DEADLINE, SDP, Call, first_of
from sipkit.sandbox.sip.message import (
    ALLOW,
    contact_uri,
    make_response,
    tag_of,
    token,
)
from sipkit.sandbox.sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipkit.sandbox.sip.agent import UserAgent


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

    def acknowledged(self, body: bytes = b"") -> None:
        """The ACK arrived: the call stands."""
        super().acknowledged(body)
        if not self.answered.done():
            self.answered.set_result(None)

    async def hang_up(self) -> None:
        """End the call: BYE when answered, else a refusal."""
        if self.state == "answered":
            if not self.answered.done() and not self._flow.closed:
                # RFC 3261 section 15: the callee sends no BYE before the ACK, or the end of its 2xx repeats.
                await first_of(self.answered, self.ended, timeout=END_DEADLINE)
            await self._bye()
        else:
            self.reject(480)

    def _response(self, code: int) -> Response:
        response = make_response(self.invite, code, to_tag=self.local_tag)
        response.contact = [self._contact(self.dialled)]
        response.headers.set("Allow", ALLOW)
        response.headers.set("Server", self._agent.name)
        return response
