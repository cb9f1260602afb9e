"""A room's bridge: never two of them, and none left behind.

A bridge is the one SIP leg between a session and the phone side. It is billed while it lives, and every
request about it can be lost, doubled, or overtaken by another process of the same data folder. So the
store decides who dials: a unique constraint lets one claim win, and the row tells everybody else.

    dialing    claimed; the dial is on its way
    dialed     the platform gave the connection id, which is what hanging up takes
    answered   the phone side's webhook came
    ended

A dial whose answer was lost stays *dialing*, for its leg may exist. Its owner knows at once, everybody else
after `PATIENCE` seconds, also when the dialler was killed in the middle. Nobody dials again then; `hang_up`
looks for the leg at the platform (`sipkit.lost_dials`). The answer webhook settles it too: the dial's nonce, which is
on record before the request is sent, tells whose leg has answered.

A direct call of a number is such a bridge, too; a room has one for each number.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from sipkit.errors import (
    AuthenticationRefused,
    DialUncertain,
    PlatformError,
    PlatformUnreachable,
    SessionGone,
    SipkitError,
)
from sipkit.lost_dials import PATIENCE, LegHangUp, hang_up_lost
from sipkit.pace import take_turn
from sipkit.refusals import dial_uncertain
from sipkit.rooms import Bridge, HangUp, Room
from sipkit.store import Store
from sipkit.video import VideoPlatform

YOUNG = 60.0
"""A bridge younger than this counts as alive although its stream is not listed (yet)."""

UNKNOWN_YET = 5.0
"""For so long after the dial, "not connected" may mean "not connected yet"."""

HUNG_UP = "hung up"
"""Why a bridge ended that somebody hung up."""

POLL = 0.05
_ASK_AGAIN = 0.25  # seconds
_ATTEMPTS = 5


class Bridges:
    """Dials and hangs up for one owner.

    Args:
        store: What all processes agree on.
        video: Gives the video platform as it is now.
        owner: Whose bridges those dialled here are; with it they are hung up when it is gone.
        dialler: Who dials here; the owner itself unless given. Nobody else dials under this name: a bridge of
            it that is *dialing* while nothing is dialled here was left behind.
        hang_up_leg: Ends a leg of the phone side; nothing can unless given.

    Attributes:
        dialler: As given, or the owner.
    """

    def __init__(
        self,
        store: Store,
        video: Callable[[], VideoPlatform],
        owner: str,
        dialler: str | None = None,
        hang_up_leg: LegHangUp = lambda _leg_uuid: None,
    ) -> None:
        self._store = store
        self._video = video
        self._owner = owner
        self._hang_up_leg = hang_up_leg
        self.dialler = dialler or owner
        self._dialing: list[int] = []  # ids of rooms, one for each dial on its way here

    def renew(self, room: Room) -> Room:
        """Give a room a new session, because the platform does not know the old one, and say so.

        Its bridges, if any are on record, are disconnected before. One that cannot be, as its dial is on the way or
        its answer was lost, keeps the room in its session until `hang_up`: there it can still be found.

        Raises:
            AuthenticationRefused, PlatformUnreachable: The bridge may still be up; nothing is changed.
        """
        living = self.living(room)
        # Read after the bridges: if the session is still the old one then, they were dialled there.
        now = self._store.room(room.name)
        if now is not None and now.session_id != room.session_id:
            return replace(now, reopened=True)  # somebody else was quicker
        standing = [bridge for bridge in living if not self._ended_with_session(room, bridge)]
        if standing:
            self._store.record(
                "room",
                f"The platform says that it does not know the session of room {room.name!r}, but a bridge was "
                "dialled there. The room keeps its session until the bridge is hung up.",
                room.id,
            )
            return room
        fresh = self._video().create_session()
        renewed = self._store.renew_session(room.name, room.session_id, fresh)
        if renewed.session_id == fresh:
            self._store.record(
                "room",
                f"The platform no longer knew the session of room {room.name!r}. "
                "The room was opened anew: new session, same PIN.",
                renewed.id,
            )
        return renewed

    def dial(self, room: Room, number: str | None = None, caller_id: str | None = None) -> Bridge:
        """Return the room's living bridge, or its living call to a number; dial if there is none.

        Args:
            room: The room.
            number: Whom to call directly (E.164 digits); None: the conference number.
            caller_id: The number that a direct call shows; None: the conference number.

        Raises:
            DialUncertain: A dial's answer was lost, now or before; nothing more is dialled.
            PlatformError: The platform refused, and no leg exists.
        """
        for _ in range(_ATTEMPTS):
            self._dialing.append(room.id)
            try:
                bridge, ours = self._store.claim_bridge(room, self._owner, self.dialler, number, caller_id)
                if ours:
                    return self._place(room, bridge)
            except SessionGone:
                room = self.renew(room)
                continue
            finally:
                self._dialing.remove(room.id)
            settled = self._settled(bridge)
            if settled is not None and self._alive(room, settled):
                return settled
        raise PlatformError(
            "The room's bridge ends as fast as it is dialled.",
            "Look at board.events(): another notebook may be hanging up, or the platform ends the leg.",
        )

    def hang_up(self, room: Room, number: str | None = None) -> HangUp:
        """End the room's bridge, or its call to a number, if there is one.

        Raises:
            PlatformError: The platform could not be asked; the bridge stays on record.
        """
        calls = (call for call in self._store.living_calls(room) if call.number == number)
        bridge = self._store.living_bridge(room) if number is None else next(calls, None)
        if bridge is None:
            return HangUp(room.name, hung_up=False, reason="There is no bridge, so there is nothing to hang up.")
        return self.end(room, bridge)

    def living(self, room: Room) -> list[Bridge]:
        """Return the room's bridge and its direct calls, as far as they live."""
        return [bridge for bridge in self._store.living_bridges() if bridge.room_id == room.id]

    def end(self, room: Room, bridge: Bridge) -> HangUp:
        """End a living bridge of a room.

        Raises:
            PlatformError: The platform could not be asked; the bridge stays on record.
        """
        try:
            settled = self._settled(bridge)
        except DialUncertain:
            settled = bridge
        if bridge.number is None:
            self._clear_lobby(room)
        if settled is None:
            return HangUp(room.name, hung_up=False, reason="The bridge ended by itself in this moment.")
        if settled.connection_id is None:
            return hang_up_lost(self._store, self._video(), self._hang_up_leg, room, settled, PATIENCE)
        was_up = self._brought_down(room, settled)
        ended = self._store.end_bridge(settled.id, HUNG_UP)
        if was_up:
            self._store.record("hang-up", f"The bridge of room {room.name!r} was hung up.", room.id)
            return HangUp(room.name, hung_up=True, reason="The bridge was hung up.")
        if ended:
            self._store.record("hang-up", f"The bridge of room {room.name!r} was gone already.", room.id)
        return HangUp(room.name, hung_up=False, reason="The platform says that the bridge was gone already.")

    def _clear_lobby(self, room: Room) -> None:
        """Hang up the phones that wait to be let into a call that is over; each ends by itself in minutes anyway."""
        for leg_uuid in self._store.waiting(room.id):
            take_turn(self._store)
            with contextlib.suppress(SipkitError):
                if self._hang_up_leg(leg_uuid) is False:
                    # Its own news was lost; on record it would be asked for again at each hang-up.
                    self._store.caller_left(leg_uuid)

    def _place(self, room: Room, bridge: Bridge) -> Bridge:
        """Dial for a claim we won, and keep what the platform says."""
        try:
            dialed = self._video().dial(room.session_id, bridge.nonce)
        except DialUncertain as error:
            self._store.record("dial", f"Room {room.name!r}: {error.message}", room.id)
            raise
        except SipkitError as error:
            self._store.end_bridge(bridge.id, error.message)
            self._store.record("dial", f"Room {room.name!r}: {error.message} No call was placed.", room.id)
            raise
        # Anything else, the stop button above all, leaves the claim as it is: nobody knows what was sent.
        try:
            kept = self._store.bridge_dialed(bridge.id, dialed.connection_id, dialed.stream_id)
        except BaseException:
            self._video().force_disconnect(room.session_id, dialed.connection_id)
            raise
        if not kept.living:
            # Somebody ended it while we dialled, or the leg was quick to go. Either way it must be down. One that is
            # still coming up without having answered is turned away when it does (`webhooks.desk`).
            if not self._video().force_disconnect(room.session_id, dialed.connection_id):
                self._leg_hung_up(kept)
        else:
            whom = f"directly {bridge.masked_number}" if bridge.number else "the number"
            self._store.record("dial", f"The session of room {room.name!r} calls {whom}.", room.id)
        return kept

    def _settled(self, bridge: Bridge) -> Bridge | None:
        """Wait until a bridge's connection is known, or the leg that came of its dial; None if it ends before.

        Raises:
            DialUncertain: It never will be.
        """
        while bridge.connection_id is None:
            left_behind = bridge.dialler == self.dialler and bridge.room_id not in self._dialing
            lost = left_behind or self._store.age_of(bridge) > PATIENCE
            if not lost:
                time.sleep(POLL)
            # A dial tells the store first and leaves `_dialing` then: only what is read after that look is final.
            now = self._store.bridge(bridge.id)
            if now is None or not now.living:
                return None
            if lost and now.connection_id is None:
                if now.nonce and now.leg_uuid:
                    return now  # its answer was lost, but the phone side has answered
                raise dial_uncertain()
            bridge = now
        return bridge

    def _alive(self, room: Room, bridge: Bridge) -> bool:
        """Ask the platform whether a bridge is really there; if not, make sure, and keep that it ended."""
        if self._store.age_of(bridge) < YOUNG or not bridge.stream_id:
            return True
        if self._video().stream_alive(room.session_id, bridge.stream_id):
            return True
        # A list that lacks the stream is no proof, and a leg that is up but off the records is billed for hours.
        connected = self._video().force_disconnect(room.session_id, bridge.connection_id or "")
        was_up = connected or self._leg_hung_up(bridge)
        ended = self._store.end_bridge(bridge.id, "the platform no longer lists its stream")
        if was_up or ended:  # the phone side's webhook may have been quicker to say that it ended
            what = "was up without its stream, and was hung up" if was_up else "was gone without a word"
            self._store.record("bridge", f"The bridge of room {room.name!r} {what}.", room.id)
        return False

    def _ended_with_session(self, room: Room, bridge: Bridge) -> bool:
        """Bring down a bridge whose session the platform says it does not know; False if there is no way to."""
        if bridge.connection_id is None:
            return False
        try:
            self._brought_down(room, bridge)
        except (AuthenticationRefused, PlatformUnreachable):
            raise
        except PlatformError:
            # The ids are refused, as the session was before. Two such answers say that nothing is connected there.
            pass
        self._store.end_bridge(bridge.id, "its session is gone")
        return True

    def _brought_down(self, room: Room, bridge: Bridge) -> bool:
        """Bring a bridge down by its connection, or by its leg if the platform keeps saying "not connected".

        Raises:
            PlatformError: One of the two could not be asked; the leg may be up.
        """
        return self._disconnect(room, bridge) or self._leg_hung_up(bridge)

    def _disconnect(self, room: Room, bridge: Bridge) -> bool:
        """Disconnect; a leg dialled just now may be "not connected" *yet*, so ask again for a moment.

        Its answer webhook is no sign that it is connected: that comes first, and the leg joins by what it is told.
        """
        connection_id = bridge.connection_id or ""
        take_turn(self._store)
        while not self._video().force_disconnect(room.session_id, connection_id):
            now = self._store.bridge(bridge.id)
            if now is None or not now.living or self._store.age_of(now) > UNKNOWN_YET:
                return False
            time.sleep(_ASK_AGAIN)
            take_turn(self._store)
        return True

    def _leg_hung_up(self, bridge: Bridge) -> bool:
        """Hang up the leg that answered for our dial, as far as it is known; False if none is up, or none can be.

        Raises:
            PlatformError: The Voice API could not be asked.
        """
        now = self._store.bridge(bridge.id) or bridge
        if not now.leg_uuid or not now.nonce:
            return False
        take_turn(self._store)
        return bool(self._hang_up_leg(now.leg_uuid))
