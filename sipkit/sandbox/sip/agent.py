"""A user agent: sockets, transactions and the calls in progress."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from sipmessage import URI, Address, Request, Response

from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.call import Call
from sipkit.sandbox.sip.digest import DigestClient, DigestServer
from sipkit.sandbox.sip.incoming import IncomingCall
from sipkit.sandbox.sip.message import ALLOW, make_response, tag_of
from sipkit.sandbox.sip.outgoing import OutgoingCall
from sipkit.sandbox.sip.transaction import ServerTransaction, TransactionLayer
from sipkit.sandbox.sip.transport import LOOPBACK, Flow, SipMessage, Transport, TransportLayer

CLOSE_DEADLINE = 2.0
"""Seconds that what follows the end of calls may take when the agent closes."""
LINGER = 5.0
"""Seconds an ended call is remembered, so that a crossing BYE still gets its 200."""

OnMessage = Callable[[str, SipMessage, Flow], None]
OnCall = Callable[[IncomingCall], Awaitable[None]]


class UserAgent:
    """Places calls, and answers them when it has ``on_call`` and a digest server.

    Args:
        name: shown in User-Agent and Server headers.
        on_message: told "sent" or "received", the message, and its flow; for the trace.
        on_call: a coroutine function run for every authenticated new call.
        digest: challenges every new INVITE (required with ``on_call``).
    """

    def __init__(
        self,
        name: str,
        on_message: OnMessage,
        *,
        on_call: OnCall | None = None,
        digest: DigestServer | None = None,
    ) -> None:
        self.name = name
        self._on_message = on_message
        self._on_call = on_call
        self._digest = digest
        self._transport = TransportLayer(self._receive, self._lost)
        self.transactions = TransactionLayer(self.send, self._requested, self._acknowledged)
        self._calls: dict[tuple[str, str], Call] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ports: dict[Transport, int] = {}

    async def listen(self, transport: Transport, port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Listen on the loopback address; returns the port."""
        if transport == "udp":
            self._ports["udp"] = await self._transport.listen_udp(port)
        else:
            self._ports[transport] = await self._transport.listen_stream(port, tls)
        return self._ports[transport]

    async def dial(
        self,
        target: URI,
        caller: Address,
        media: sdp.Audio,
        *,
        transport: Transport,
        port: int,
        tls: ssl.SSLContext | None = None,
        credentials: DigestClient | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> OutgoingCall:
        """Make a call towards a port of this machine, ready for :meth:`OutgoingCall.place`.

        Raises:
            OSError: nobody listens there, or the TLS certificate does not verify.
        """
        flow = await self._transport.connect(transport, port, tls, target.host)
        return OutgoingCall(self, flow, target, caller, media, credentials=credentials, headers=headers)

    async def close(self) -> None:
        """Hang up every call and close the sockets."""
        await asyncio.gather(*(call.hang_up() for call in self.calls), return_exceptions=True)
        if self._tasks:
            # Calls have last words: their events are still being delivered.
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_DEADLINE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self.transactions.close()
        await self._transport.close()

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended."""
        return [call for call in self._calls.values() if call.state != "ended"]

    # What calls need of their agent -----------------------------------------------------------------------------

    def send(self, message: SipMessage, flow: Flow) -> None:
        """Serialise and send."""
        message.content_length = len(message.body)
        self._on_message("sent", message, flow)
        flow.send(bytes(message))

    def reachable(self, flow: Flow, target: URI | None) -> Flow:
        """Return the flow for an in-dialog request: to the peer's Contact (RFC 3261 section 12.2.1.1).

        A connection is used as long as it lives. A datagram goes to the Contact's port when that is on this machine;
        elsewhere, as for a phone behind an address translator, to where the peer was heard.
        """
        if flow.transport == "udp" and target is not None and target.host.startswith("127."):
            return self._transport.udp_flow((target.host, target.port or 5060))
        return flow

    def contact_address(self, flow: Flow) -> tuple[str, int]:
        """Return the address peers reach us at: our listener, or the connection we opened."""
        return LOOPBACK, self._ports.get(flow.transport, flow.local[1])

    def remember(self, call: Call) -> None:
        """Route the dialog's requests to this call."""
        self._calls[call.call_id, call.local_tag] = call

    def forget_later(self, call: Call) -> None:
        """Forget an ended call after a moment."""
        asyncio.get_running_loop().call_later(LINGER, self._calls.pop, (call.call_id, call.local_tag), None)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run work of a call in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answer_options(self, transaction: ServerTransaction) -> None:
        """Answer OPTIONS: yes, we are here (RFC 3261 section 11.2)."""
        response = make_response(transaction.request, 200)
        response.headers.set("Allow", ALLOW)
        response.headers.set("Accept", "application/sdp")
        transaction.respond(response)

    # What arrives -----------------------------------------------------------------------------------------------

    def _receive(self, message: SipMessage, flow: Flow) -> None:
        self._on_message("received", message, flow)
        self.transactions.receive(message, flow)

    def _lost(self, flow: Flow) -> None:
        self.transactions.connection_lost(flow)

    def _acknowledged(self, request: Request) -> None:
        call = self._call_of(request)
        if call is not None:
            call.acknowledged(request.body)

    def _call_of(self, request: Request) -> Call | None:
        tag = tag_of(request, "To")
        return self._calls.get((request.call_id, tag)) if tag else None

    def _requested(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.method == "CANCEL":
            self._cancel(transaction)
        elif tag_of(request, "To") is not None:
            call = self._call_of(request)
            if call is None:
                self.transactions.refuse(transaction, 481)
            else:
                call.receive(transaction)
        elif request.method == "OPTIONS":
            self.answer_options(transaction)
        elif request.method == "INVITE" and self._on_call is not None:
            self._invited(transaction)
        elif request.method in ("INVITE", "BYE"):
            self.transactions.refuse(transaction, 481 if request.method == "BYE" else 480)
        else:
            self.transactions.refuse(transaction, 405, Allow=ALLOW)

    def _cancel(self, transaction: ServerTransaction) -> None:
        invite = self.transactions.invite_of(transaction.request)
        if invite is None:
            self.transactions.refuse(transaction, 481)
            return
        transaction.respond(make_response(transaction.request, 200))
        for call in self.calls:
            if isinstance(call, IncomingCall) and call.call_id == transaction.request.call_id:
                call.cancelled()

    def _invited(self, transaction: ServerTransaction) -> None:
        """Challenge a new INVITE, then check what RFC 3261 section 8.2 asks before the user sees it."""
        assert self._digest is not None
        assert self._on_call is not None
        request = transaction.request
        try:
            verdict, user = self._digest.verify(request.authorization, "INVITE")
        except ValueError:
            verdict, user = "missing", None
        if verdict in ("missing", "stale"):
            challenge = self._digest.challenge(stale=verdict == "stale")
            self.transactions.refuse(transaction, 401, WWW_Authenticate=str(challenge))
            return
        if verdict == "wrong":
            self.transactions.refuse(transaction, 403)
            return
        try:
            required, contact = request.require, request.contact
        except ValueError:
            self.transactions.refuse(transaction, 400)
            return
        if required:
            self.transactions.refuse(transaction, 420, Unsupported=", ".join(required))
            return
        if not contact or not request.uri.user:
            self.transactions.refuse(transaction, 400)
            return
        try:
            media = sdp.parse(request.body)
        except sdp.UnsupportedMedia:
            self.transactions.refuse(transaction, 488)
            return
        transaction.respond(make_response(request, 100))
        call = IncomingCall(self, transaction, user)
        call.remote_media = media
        self.spawn(self._run(call))

    async def _run(self, call: IncomingCall) -> None:
        assert self._on_call is not None
        try:
            await self._on_call(call)
        finally:
            if call.state in ("calling", "ringing"):
                call.reject(500)


def first_line(message: SipMessage) -> str:
    """Return the start line, for logs."""
    if isinstance(message, Response):
        return f"{message.code} {message.phrase}"
    return f"{message.method} {message.uri}"
