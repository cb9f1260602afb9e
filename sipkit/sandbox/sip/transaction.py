"""Client and server transactions (RFC 3261 section 17, with the Accepted state of RFC 6026).

They absorb what the network repeats or loses: a retransmitted INVITE reaches the user once, a lost response is sent
again, a silent peer becomes a timeout.
"""

import asyncio
from collections.abc import Callable
from enum import Enum

from sipmessage import Request, Response

from sipkit.sandbox.sip.message import branch_of, make_ack_for_failure, make_response
from sipkit.sandbox.sip.transport import Flow

T1 = 0.5
"""Round-trip estimate, seconds (RFC 3261 section 17.1.1.1)."""
T2 = 4.0
"""Longest retransmission interval, seconds."""
T4 = 5.0
"""How long a message can stay in the network, seconds."""
TIMEOUT = 64 * T1
"""Timers B, F, H, L and M: 32 seconds."""

Send = Callable[[Request | Response, Flow], None]
ServerKey = tuple[str, str, str]


class State(Enum):
    """The states of RFC 3261 figures 5 to 8 and RFC 6026."""

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    ACCEPTED = "Accepted"
    TERMINATED = "Terminated"


class _Timers:
    """Named timers of one transaction; all are cancelled when it terminates."""

    def __init__(self) -> None:
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def start(self, name: str, delay: float, expired: Callable[[], None]) -> None:
        self.stop(name)
        self._handles[name] = asyncio.get_running_loop().call_later(delay, expired)

    def stop(self, *names: str) -> None:
        for name in names or tuple(self._handles):
            handle = self._handles.pop(name, None)
            if handle is not None:
                handle.cancel()


class ClientTransaction:
    """A request we sent, until its final response (RFC 3261 section 17.1)."""

    def __init__(
        self,
        layer: "TransactionLayer",
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_timeout: Callable[[], None],
    ) -> None:
        self._layer = layer
        self.request = request
        self.flow = flow
        self._on_response = on_response
        self._on_timeout = on_timeout
        self._timers = _Timers()
        self._invite = request.method == "INVITE"
        self.state = State.CALLING if self._invite else State.TRYING
        layer.send(request, flow)
        # A connection that is gone already is known at once (RFC 3261 section 18.4).
        self._timers.start("B/F", 0 if flow.closed else TIMEOUT, self._timed_out)
        if not flow.reliable:
            self._retransmit_after(T1)

    def _retransmit_after(self, delay: float) -> None:
        """Timers A and E: INVITE doubles without bound, others up to T2."""

        def again() -> None:
            self._layer.send(self.request, self.flow)
            self._retransmit_after(2 * delay if self._invite else min(2 * delay, T2))

        self._timers.start("A/E", delay, again)

    def receive(self, response: Response) -> None:
        """Take a response that matches this transaction."""
        if response.code < 200:
            if self.state in (State.CALLING, State.TRYING, State.PROCEEDING):
                self.state = State.PROCEEDING
                if self._invite:
                    # A phone may ring as long as its caller likes: only the silent peer times out.
                    self._timers.stop("A/E", "B/F")
                self._on_response(response)
            return
        if self.state in (State.CALLING, State.TRYING, State.PROCEEDING):
            self._final(response)
        elif self.state is State.ACCEPTED and response.code < 300:
            self._on_response(response)  # a repeated 2xx: its ACK was lost, the call sends it again
        elif self.state is State.COMPLETED and self._invite and response.code >= 300:
            self._layer.send(make_ack_for_failure(self.request, response), self.flow)

    def _final(self, response: Response) -> None:
        self._timers.stop()
        if not self._invite:
            self.state = State.COMPLETED
            self._timers.start("K", 0 if self.flow.reliable else T4, self.terminate)
        elif response.code < 300:
            self.state = State.ACCEPTED
            self._timers.start("M", TIMEOUT, self.terminate)
        else:
            self.state = State.COMPLETED
            self._layer.send(make_ack_for_failure(self.request, response), self.flow)
            self._timers.start("D", 0 if self.flow.reliable else TIMEOUT, self.terminate)
        self._on_response(response)

    def _timed_out(self) -> None:
        self.terminate()
        self._on_timeout()

    def connection_lost(self) -> None:
        """The connection the request went out on is gone: nothing more will come."""
        if self.state in (State.CALLING, State.TRYING, State.PROCEEDING):
            self._timed_out()

    def terminate(self) -> None:
        """Stop all timers and forget the transaction."""
        self.state = State.TERMINATED
        self._timers.stop()
        self._layer.forget(self)


class ServerTransaction:
    """A request we received, until its final response is safely there (RFC 3261 section 17.2)."""

    def __init__(self, layer: "TransactionLayer", request: Request, flow: Flow) -> None:
        self._layer = layer
        self.request = request
        self.flow = flow
        self._timers = _Timers()
        self._invite = request.method == "INVITE"
        self._last: Response | None = None
        self.state = State.PROCEEDING if self._invite else State.TRYING
        self.on_unacknowledged: Callable[[], None] | None = None

    def respond(self, response: Response) -> None:
        """Send a response; finals are repeated as section 17.2.1 asks."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            return
        self._last = response
        self._layer.send(response, self.flow)
        if response.code < 200:
            self.state = State.PROCEEDING
        elif not self._invite:
            self.state = State.COMPLETED
            self._timers.start("J", 0 if self.flow.reliable else TIMEOUT, self.terminate)
        elif response.code < 300:
            # RFC 3261 section 13.3.1.4: 2xx is repeated by the user agent until the ACK, on any transport.
            self.state = State.ACCEPTED
            self._repeat_after(T1)
            self._timers.start("L", TIMEOUT, self._unacknowledged)
        else:
            self.state = State.COMPLETED
            if not self.flow.reliable:
                self._repeat_after(T1)
            self._timers.start("H", TIMEOUT, self.terminate)

    def _repeat_after(self, delay: float) -> None:
        """Timer G, and the same schedule for 2xx."""

        def again() -> None:
            self._repeat()
            self._repeat_after(min(2 * delay, T2))

        self._timers.start("G", delay, again)

    def _repeat(self) -> None:
        if self._last is not None:
            self._layer.send(self._last, self.flow)

    def receive(self, request: Request) -> None:
        """Take a retransmission of our request, or the ACK of a non-2xx final."""
        if request.method != "ACK":
            # Accepted repeats by its own timer, Confirmed only absorbs (RFC 6026 section 7.1, RFC 3261 figure 7).
            if self.state not in (State.ACCEPTED, State.CONFIRMED):
                self._repeat()
        elif self.state is State.COMPLETED:
            self.state = State.CONFIRMED
            self._timers.stop()
            self._timers.start("I", 0 if self.flow.reliable else T4, self.terminate)

    def acknowledged(self) -> None:
        """The ACK of our 2xx arrived: stop repeating it, but go on absorbing late retransmissions."""
        if self.state is State.ACCEPTED:
            self._timers.stop()
            self._timers.start("L", TIMEOUT, self.terminate)

    def _unacknowledged(self) -> None:
        self.terminate()
        if self.on_unacknowledged is not None:
            self.on_unacknowledged()

    def terminate(self) -> None:
        """Stop all timers and forget the transaction."""
        self.state = State.TERMINATED
        self._timers.stop()
        self._layer.forget(self)


class TransactionLayer:
    """Match messages to transactions (RFC 3261 sections 17.1.3 and 17.2.3)."""

    def __init__(
        self,
        send: Send,
        on_request: Callable[[ServerTransaction], None],
        on_ack: Callable[[Request], None],
    ) -> None:
        self.send = send
        self._on_request = on_request
        self._on_ack = on_ack
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[ServerKey, ServerTransaction] = {}

    def request(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_timeout: Callable[[], None],
    ) -> ClientTransaction:
        """Send a request in a new client transaction."""
        transaction = ClientTransaction(self, request, flow, on_response, on_timeout)
        self._clients[branch_of(request), request.method] = transaction
        return transaction

    def receive(self, message: Request | Response, flow: Flow) -> None:
        """Hand a received message to its transaction, or start one."""
        if isinstance(message, Response):
            client = self._clients.get((branch_of(message), message.cseq.method))
            if client is not None:
                client.receive(message)
            return
        server = self._servers.get(self._key(message))
        if server is not None:
            # An ACK with the INVITE's branch acknowledges a failure; the ACK of a 2xx is the call's.
            if message.method == "ACK" and server.state is State.ACCEPTED:
                self._on_ack(message)
            else:
                server.receive(message)
        elif message.method == "ACK":
            self._on_ack(message)
        else:
            server = ServerTransaction(self, message, flow)
            self._servers[self._key(message)] = server
            self._on_request(server)

    def invite_of(self, cancel: Request) -> ServerTransaction | None:
        """Find the INVITE transaction a CANCEL is about (RFC 3261 section 9.2)."""
        branch, sent_by, _ = self._key(cancel)
        return self._servers.get((branch, sent_by, "INVITE"))

    def refuse(self, transaction: ServerTransaction, code: int, **headers: str) -> None:
        """Answer with a final failure and optional headers (underscores become dashes)."""
        response = make_response(transaction.request, code)
        for name, value in headers.items():
            response.headers.set(name.replace("_", "-"), value)
        transaction.respond(response)

    def connection_lost(self, flow: Flow) -> None:
        """Fail the client transactions of a lost connection (RFC 3261 section 18.4)."""
        for client in [c for c in self._clients.values() if c.flow is flow]:
            client.connection_lost()

    def forget(self, transaction: ClientTransaction | ServerTransaction) -> None:
        """Drop a terminated transaction."""
        if isinstance(transaction, ClientTransaction):
            self._clients.pop((branch_of(transaction.request), transaction.request.method), None)
        else:
            self._servers.pop(self._key(transaction.request), None)

    def close(self) -> None:
        """Terminate everything."""
        for client in list(self._clients.values()):
            client.terminate()
        for server in list(self._servers.values()):
            server.terminate()

    @staticmethod
    def _key(request: Request) -> ServerKey:
        via = request.via[0]
        method = "INVITE" if request.method == "ACK" else request.method
        return branch_of(request), f"{via.host}:{via.port}", method
