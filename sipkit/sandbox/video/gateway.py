"""The SIP gateway: gives a session a phone leg, by calling out as OpenTok's gateway does.

It only places calls, never takes any (opentok-node's SipInterconnect notes). The connection exists from the dial on; it
is destroyed when the call fails or ends, from either side, or after five minutes without media.
"""

import asyncio
import ssl
import time
from typing import Literal

from sipmessage import URI, Address, Parameters

from sipkit.sandbox.home import Home
from sipkit.sandbox.media.leg import RtpLeg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.agent import OnMessage, UserAgent
from sipkit.sandbox.sip.call import CallFailed, media_host
from sipkit.sandbox.sip.digest import DigestClient
from sipkit.sandbox.sip.outgoing import OutgoingCall
from sipkit.sandbox.sip.transport import LOOPBACK, Transport
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.conferences import Conferences
from sipkit.sandbox.video.presence import Connection, Session
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.video.sip_leg import SipLeg
from sipkit.sandbox.video.sip_target import SipTarget

SESSION_HEADER = "X-OpenTok-SessionId"
ANONYMOUS = "+00000000"
"""Shown as the caller when the dial names none."""
RING_LIMIT = 60.0
"""Seconds a far end may ring."""
MEDIA_LIMIT = 300.0
"""Seconds without media after which the call is ended (OpenTok SIP documents: five minutes)."""
CALL_LIMIT = 6 * 3600.0
"""Longest call, seconds (OpenTok SIP documents)."""


class SipGateway:
    """Places the calls of dialled connections."""

    def __init__(
        self,
        home: Home,
        sessions: Sessions,
        conferences: Conferences,
        mixer: Mixer,
        router: Router,
        trace: Trace,
        on_message: OnMessage,
    ) -> None:
        self._sessions = sessions
        self._conferences = conferences
        self._mixer = mixer
        self._router = router
        self._trace = trace
        self._agent = UserAgent("sipkit-gateway", on_message)
        self._ports: dict[str, int] = {}
        self._tls = ssl.create_default_context(cafile=str(home.ca_file))
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._calls: dict[str, OutgoingCall] = {}
        self._legs: dict[str, SipLeg] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def route(self, ports: dict[str, int]) -> None:
        """Tell where sip.nexmo.com and *.vonage.com are reached on this machine, by transport."""
        self._ports = ports

    async def close(self) -> None:
        """End every call."""
        for connection_id in list(self._tasks):
            await self.hang_up(connection_id)
        await self._agent.close()

    def dial(self, session: Session, connection: Connection, sip: SipTarget) -> None:
        """Begin to call; returns at once."""
        leg = SipLeg(self._sessions, session, connection, observes=sip.observe_force_mute, streams=sip.streams)
        self._legs[connection.id] = leg
        task = asyncio.get_running_loop().create_task(self._live(session, connection, sip, leg))
        self._tasks[connection.id] = task
        task.add_done_callback(lambda _: self._forget(connection.id))

    def play_digits(self, connection_id: str, digits: str) -> None:
        """Play digits to the far end of a call; returns at once. Of any other connection: nothing."""
        leg = self._legs.get(connection_id)
        if leg is not None:
            leg.play(digits)

    async def hang_up(self, connection_id: str) -> None:
        """End the call of a connection: BYE, or CANCEL while it rings."""
        call = self._calls.get(connection_id)
        task = self._tasks.get(connection_id)
        if call is not None:
            await call.hang_up()
        elif task is not None:
            task.cancel()
        if task is not None:
            await asyncio.wait([task])

    def _forget(self, connection_id: str) -> None:
        """The call is over, or was cancelled before its task began."""
        self._tasks.pop(connection_id, None)
        leg = self._legs.pop(connection_id, None)
        if leg is not None:
            leg.close()

    async def _live(self, session: Session, connection: Connection, sip: SipTarget, leg: SipLeg) -> None:
        """Live through one call, from the INVITE to the destroyed connection."""
        audio = leg.audio
        stream_id = connection.stream_id
        reason: Literal["clientDisconnected", "networkDisconnected"] = "networkDisconnected"
        try:
            await audio.open()
            call = await self._call(session, sip, audio)
            self._calls[connection.id] = call
            async with asyncio.timeout(RING_LIMIT):
                await call.place()
            assert call.remote_media is not None
            audio.connect(call.remote_media, media_host(call.remote_media))
            call.on_turn = audio.connect
            self._mixer.add(audio)
            audio.join(self._conferences.of(session.session_id))
            self._router.say(session.session_id, stream_id, audio)
            self._sessions.connected(connection.id)
            await self._until_over(call, audio)
            reason = "clientDisconnected"
        except (CallFailed, TimeoutError, OSError) as error:
            # The dial was answered 200 long ago: all its caller ever sees is a connection that goes away.
            self._trace.emit("connection", event="call failed", connectionId=connection.id, reason=str(error))
        finally:
            # Out of the conference before the session forgets the connection.
            self._router.unpublish(stream_id)
            self._mixer.remove(audio)
            leg.close()
            placed = self._calls.pop(connection.id, None)
            if placed is not None and not placed.ended.done():
                await placed.hang_up()
            self._sessions.remove(connection.id, reason)
            self._conferences.tidy(session.session_id)

    async def _call(self, session: Session, sip: SipTarget, audio: RtpLeg) -> OutgoingCall:
        if sip.secure:
            raise CallFailed(488, "SRTP (secure) is not in the sandbox yet")
        transport: Transport = "tls" if sip.transport == "tls" else "tcp" if sip.transport == "tcp" else "udp"
        user, _, host = (sip.from_ or f"{ANONYMOUS}@sip.tokbox.com").removeprefix("sip:").partition("@")
        caller = Address(URI(scheme="sip", user=user, host=host))
        parameters = Parameters(transport=transport) if transport != "udp" else Parameters()
        target = URI(scheme="sip", user=sip.user, host=sip.host, parameters=parameters)
        credentials = DigestClient(sip.username, sip.password or "") if sip.username else None
        return await self._agent.dial(
            target,
            caller,
            sdp.offer(LOOPBACK, audio.port),
            transport=transport,
            port=self._ports[transport],
            tls=self._tls if transport == "tls" else None,
            credentials=credentials,
            headers={**sip.headers, SESSION_HEADER: session.session_id},
        )

    @staticmethod
    async def _until_over(call: OutgoingCall, audio: RtpLeg) -> None:
        """Wait for the end of the call, or end it when its limits are reached."""
        started = time.monotonic()
        while not call.ended.done():
            await asyncio.wait([call.ended], timeout=1.0)
            now = time.monotonic()
            if now - audio.heard_at > MEDIA_LIMIT or now - started > CALL_LIMIT:
                await call.hang_up()
