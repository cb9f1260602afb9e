"""Calls we place: INVITE, digest, ACK, CANCEL (UAC, RFC 3261 sections 9 and 13.2)."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sipmessage import URI, Address, CSeq, Parameters, Response

from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.call import END_DEADLINE, SDP, Call, CallFailed, first_of
from sipkit.sandbox.sip.digest import DigestClient
from sipkit.sandbox.sip.message import (
    ALLOW,
    contact_uri,
    make_cancel,
    tag_of,
    token,
)
from sipkit.sandbox.sip.transaction import ClientTransaction
from sipkit.sandbox.sip.transport import Flow

if TYPE_CHECKING:
    from sipkit.sandbox.sip.agent import UserAgent


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
                await first_of(self.early, self.ended, timeout=1.0)
            if self.state in ("calling", "ringing"):
                self._agent.transactions.request(cancel, self._flow, lambda _: None, lambda: None)
        await asyncio.wait([self.ended], timeout=END_DEADLINE)
        if self.state != "ended":
            self._failed(487, "Request Terminated")
