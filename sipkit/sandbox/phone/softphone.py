"""A phone: a SIP user agent with an ear, a mouth and a keypad."""

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import Literal

from sipmessage import URI, Address

from sipkit.sandbox.media.g711 import FRAME_SECONDS
from sipkit.sandbox.media.leg import RtpLeg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.phone.line import Line
from sipkit.sandbox.phone.receiver import Receiver
from sipkit.sandbox.sip import sdp
from sipkit.sandbox.sip.agent import UserAgent
from sipkit.sandbox.sip.call import CallFailed, media_host
from sipkit.sandbox.sip.incoming import IncomingCall
from sipkit.sandbox.sip.outgoing import OutgoingCall
from sipkit.sandbox.sip.transport import LOOPBACK, Transport
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.webrtc.peer import Endpoint, MediaState

PhoneState = Literal["waiting", "calling", "ringing", "answered", "ended"]
BUSY = 486
RING_LIMIT = 60.0
"""Seconds a phone lets it ring."""
BEAT = 0.02


@dataclass(frozen=True)
class Manners:
    """How a phone that waits for a call takes it.

    Attributes:
        answer_after: seconds it rings.
        reject: SIP status it refuses with instead; 486 is busy. None: it answers.
    """

    answer_after: float = 0.0
    reject: int | None = None


class Softphone:
    """One phone and its one call.

    Attributes:
        state: waiting (for a call), calling, ringing, answered, ended.
        reason: why it ended.
    """

    def __init__(self, line: Line, agent: UserAgent, mixer: Mixer, trace: Trace, number: str, caller: str) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.state: PhoneState = "calling"
        self.reason: str | None = None
        self.ended_at: float | None = None
        self.number = number
        self.caller = caller
        self._line = line
        self._agent = agent
        self._mixer = mixer
        self._trace = trace
        self._call: OutgoingCall | IncomingCall | None = None
        self._changed = asyncio.Event()
        self._quiet_since = 0
        self.audio = RtpLeg(f"phone:{self.id}", record=True)
        self._receiver: Receiver | None = None
        self._task: asyncio.Task[None] | None = None

    def dial(self, transport: Transport) -> None:
        """Begin to call."""
        self._task = asyncio.get_running_loop().create_task(self._live(transport))

    def wait_for_call(self) -> None:
        """Wait for a call instead of making one."""
        self._enter("waiting")

    async def take(self, call: IncomingCall, manners: Manners) -> None:
        """Live through a call that came in: ring, then answer or refuse."""
        self._call = call
        self.caller = call.caller
        reason = "rejected"
        try:
            if manners.reject == BUSY:
                call.reject(BUSY)  # a busy phone does not ring
            else:
                await self.audio.open()
                call.ring()
                self._enter("ringing")
                await asyncio.wait([call.ended], timeout=manners.answer_after)
                if manners.reject is not None:
                    call.reject(manners.reject)
                elif not call.ended.done():
                    self._pick_up(call)
            reason = await asyncio.shield(call.ended)
        finally:
            await self._over(reason)

    def _pick_up(self, call: IncomingCall) -> None:
        assert call.remote_media is not None
        call.accept(sdp.answer(call.remote_media, LOOPBACK, self.audio.port))
        self._talk(call.remote_media)

    async def hold(self, on: bool) -> None:
        """Hold the far end, or resume. On hold the phone says nothing: it has no music.

        Raises:
            CallFailed: there is no call, or the far end refuses.
        """
        if self._call is None or self.state != "answered":
            raise CallFailed(481, "The phone is in no call")
        await self._call.turn("sendonly" if on else "sendrecv")
        self.audio.held = on

    async def hang_up(self) -> None:
        """Hang up, at any time."""
        if self.state == "waiting":
            await self._over("hung up")
        if self._call is not None:
            await self._call.hang_up()
        elif self._task is not None:
            self._task.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def keys(self, digits: str) -> None:
        """Press keys one after the other; what is heard after this is news to :meth:`listen`."""
        await self.audio.send_digits(digits)
        self._quiet_since = self._heard_frames()

    async def listen(self, silence: float, timeout: float) -> bool:
        """Wait until something was heard (since the last keys) and then nothing for ``silence`` seconds.

        Returns:
            False when ``timeout`` seconds passed first, or the call ended.
        """
        deadline = time.monotonic() + timeout
        hearing = self.audio.hearing
        assert hearing is not None
        while time.monotonic() < deadline and self.state != "ended":
            heard = hearing.loud is not None and hearing.loud >= self._quiet_since
            if heard and (hearing.frames - (hearing.loud or 0)) * FRAME_SECONDS >= silence:
                self._quiet_since = hearing.frames
                return True
            await asyncio.sleep(BEAT)
        return False

    def lift(self, endpoint: Endpoint, offer: object) -> str:
        """Let a browser be the receiver, instead of the one before; return the answer to its offer.

        Raises:
            OfferRefused: it cannot be answered.
        """

        def changed(state: MediaState) -> None:
            self._trace.emit("phone", phone=self.id, receiver=state)
            if state == "lost" and self._receiver is receiver:
                self.lay_down()

        receiver = Receiver(endpoint, self.audio, offer, changed)
        self.lay_down()
        self._receiver = receiver
        receiver.lift()
        return receiver.answer

    def lay_down(self) -> None:
        """Take the browser away from the phone; without one, nothing."""
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None

    def describe(self) -> dict[str, object]:
        """Describe the phone for the control API."""
        assert self.audio.hearing is not None
        heard = self.audio.hearing
        ended = heard.loud is not None and heard.loud >= self._quiet_since
        quiet = ended and (heard.frames - (heard.loud or 0)) * FRAME_SECONDS >= 0.5
        return {
            "id": self.id,
            "state": self.state,
            "from": self.caller,
            "reason": self.reason,
            "heard": {**heard.summary(), "prompt_ended": quiet},
        }

    def _heard_frames(self) -> int:
        assert self.audio.hearing is not None
        return self.audio.hearing.frames

    async def _live(self, transport: Transport) -> None:
        reason = "hung up"
        try:
            await self.audio.open()
            call = self._call = await self._agent.dial(
                URI(scheme="sip", user=self.number, host="sip.nexmo.com"),
                Address(URI(scheme="sip", user=self.caller, host="carrier.example")),
                sdp.offer(LOOPBACK, self.audio.port),
                transport=transport,
                port=self._line.ports[transport],
                tls=self._line.tls if transport == "tls" else None,
                credentials=self._line.credentials,
            )
            call.early.add_done_callback(self._rings)
            async with asyncio.timeout(RING_LIMIT):
                await call.place()
            assert call.remote_media is not None
            self._talk(call.remote_media)
            reason = await asyncio.shield(call.ended)
        except CallFailed as error:
            reason = str(error)
        except TimeoutError:
            reason = "no answer"
        except OSError as error:
            reason = f"no connection: {error.strerror or type(error).__name__}"
        finally:
            await self._over(reason)

    def _talk(self, remote: sdp.Audio) -> None:
        assert self._call is not None
        self.audio.connect(remote, media_host(remote))
        self._call.on_turn = self.audio.connect
        self._mixer.add(self.audio)
        self._enter("answered")

    async def _over(self, reason: str) -> None:
        self.lay_down()
        self._mixer.remove(self.audio)
        self.audio.close()
        if self._call is not None and not self._call.ended.done():
            await self._call.hang_up()
        self.reason = reason
        self.ended_at = time.monotonic()
        self._enter("ended")

    def _rings(self, early: "asyncio.Future[int]") -> None:
        if not early.cancelled() and self.state == "calling":
            self._enter("ringing")

    def _enter(self, state: PhoneState) -> None:
        self.state = state
        call_id = self._call.call_id if self._call is not None else None
        self._trace.emit("phone", phone=self.id, state=state, reason=self.reason, call_id=call_id)
