"""The session's end of a dialled call: its audio, the digits played into it, and force mute.

Documented: the digits 0-9, * and #, and p for a pause of half a second (SDKs' `play_dtmf`); digits travel as
RFC 4733 events; a dial with `observeForceMute` follows force mutes, and its far end switches its own mute with *6
(SIP Interconnect guide). Assumed: digits for a leg that still rings wait until it is answered; a mute
shows as `hasAudio` of the leg's stream; an end of the session's mute state unmutes nobody, as with browsers; of the
`streams` of a dial (opentok 3.15), those that do not exist are not heard, and none at all is as all.
"""

import asyncio
import re
from collections import deque

from sipkit.sandbox.media.leg import RtpLeg
from sipkit.sandbox.video.presence import Connection, Event, MuteForced, Session
from sipkit.sandbox.video.sessions import Sessions

PAUSE_SECONDS = 0.5
"""What each `p` waits (SDK documentation of play_dtmf)."""
_RUN = re.compile(r"p|[^p]+")


class SipLeg:
    """One dialled connection's place in its session.

    Args:
        observes: follow force mutes (`observeForceMute` of the dial).
        streams: the ids of the streams that the far end hears; empty is all.

    Attributes:
        audio: the RTP to and from the far end; `open` binds it.
    """

    def __init__(
        self,
        sessions: Sessions,
        session: Session,
        connection: Connection,
        *,
        observes: bool = False,
        streams: tuple[str, ...] = (),
    ) -> None:
        self.audio = RtpLeg(f"gateway:{connection.id}", on_digit=self._pressed)
        self._sessions = sessions
        self._connection = connection
        self._stream = connection.streams[connection.stream_id]
        self._observes = observes
        self._last_key = ""
        self._waiting: deque[str] = deque()
        self._playing: asyncio.Task[None] | None = None
        self._stop_listening = sessions.listen(self._hear, session)
        if streams:
            found = [(each, session.stream(each)) for each in streams]
            heard = frozenset(_leg_name(stream_id, place[0]) for stream_id, place in found if place is not None)
            self.audio.limit(None, heard)
        if observes and session.muted:
            self._mute(True)

    def play(self, digits: str) -> None:
        """Play digits to the far end, after those asked for before; returns at once."""
        self._waiting.append(digits)
        if self._playing is None or self._playing.done():
            self._playing = asyncio.get_running_loop().create_task(self._play())

    def close(self) -> None:
        """Let go of the audio; digits that wait are lost, as the far end is."""
        self._stop_listening()
        if self._playing is not None:
            self._playing.cancel()
        self.audio.close()

    async def _play(self) -> None:
        while self._waiting:
            for part in _RUN.findall(self._waiting.popleft()):
                if part == "p":
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    await self.audio.send_digits(part)

    def _pressed(self, digit: str) -> None:
        if self._observes and self._last_key + digit == "*6":
            self._mute(not self.audio.muted)
        self._last_key = digit

    def _hear(self, event: Event) -> None:
        muted = isinstance(event, MuteForced) and event.active and self._stream.id in (event.stream_ids or ())
        if self._observes and muted:
            self._mute(True)

    def _mute(self, on: bool) -> None:
        self.audio.muted = on
        # A leg whose connection was just ended has no stream left to tell of.
        if self._sessions.connection(self._connection.id) is not None:
            self._sessions.change(self._connection, self._stream, "hasAudio", not on)


def _leg_name(stream_id: str, connection: Connection) -> str:
    """The name under which a stream speaks in the session's conference."""
    match connection.kind:
        case "browser":
            return f"browser:{stream_id}"
        case "synthetic":
            return f"participant:{connection.id}"
        case "sip":
            return f"gateway:{connection.id}"
