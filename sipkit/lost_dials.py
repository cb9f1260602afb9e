"""A dial whose answer was lost: find out whether a leg came of it, and end exactly that one.

Nobody dials again meanwhile. Two sources know the leg:

* its answer webhook, by the nonce that the dial carried; then the Voice API hangs it up (`sipkit.voice_calls`), or
  says that it is not up, and the list of the session's connections confirms it;
* that list alone, by the time of the dial, where no webhook came, or no application key is there to ask with. Never
  after an answer of the Voice API: the leg is gone or going, and whoever came with it would be hit instead.
"""

import time
from collections.abc import Callable
from datetime import timedelta

from sipkit.errors import SipkitError
from sipkit.pace import take_turn
from sipkit.rooms import Bridge, HangUp, Room
from sipkit.store import Store
from sipkit.video import SessionConnection, VideoPlatform

PATIENCE = 15.0
"""Seconds after which a dial has been answered or its answer is lost; `refusals.TIMEOUT` ends before."""

LONGEST_CALL = 6 * 3600.0
"""The platform ends a SIP call after six hours (Video API, SIP interconnect)."""

GONE_WITHIN = 5.0
"""Seconds within which a leg that the Voice API has hung up leaves the session."""

NOT_YET = "The platform lists no leg yet. Try again in a few seconds."

_TOO_LONG = "No SIP call lasts as long as that."
_ASK_AGAIN = 0.25  # seconds
_CLOCKS_DIFFER = timedelta(seconds=5)

LegHangUp = Callable[[str], bool | None]
"""Hangs up a leg of the phone side by its uuid; False if no such leg is up, None if there is no way to tell it."""


def hang_up_lost(
    store: Store, video: VideoPlatform, hang_up_leg: LegHangUp, room: Room, bridge: Bridge, patience: float
) -> HangUp:
    """Hang up a leg whose connection id was lost.

    Args:
        store: Where the bridge is on record; it stays there unless its leg is surely gone.
        video: Lists the session's connections.
        hang_up_leg: Ends a leg by its uuid.
        room: The bridge's room.
        bridge: The bridge.
        patience: Seconds after which a dial that arrived has a connection.
    """
    bridge = store.bridge(bridge.id) or bridge
    if bridge.leg_uuid is not None and bridge.nonce:
        take_turn(store)
        try:
            told = hang_up_leg(bridge.leg_uuid)
        except SipkitError as error:
            # The leg is known and may be up: a guess by time could only hit somebody else.
            return _not_found(room, f"Its leg is known, but could not be hung up: {error.message}")
        if told is not None:
            return _told(store, video, room, bridge, was_up=told)
    return _by_time(store, video, room, bridge, patience)


def _told(store: Store, video: VideoPlatform, room: Room, bridge: Bridge, *, was_up: bool) -> HangUp:
    """Believe the Voice API's answer once the video side shows the same."""
    if _seen_gone(store, video, room, bridge):
        how = "was found by its answer and hung up" if was_up else "that answered is gone already"
        return _over(store, room, bridge, f"The leg {how}.", was_up=was_up)
    if store.age_of(bridge) > LONGEST_CALL:
        return _over(store, room, bridge, _TOO_LONG, was_up=was_up)
    what = "was told to end" if was_up else "is not up, says the Voice API"
    return _not_found(room, f"Its leg {what}, but the platform does not show yet that it is gone.")


def _seen_gone(store: Store, video: VideoPlatform, room: Room, bridge: Bridge) -> bool:
    """Wait until a leg that was told to end has left; False if it is not seen to."""
    deadline = time.monotonic() + GONE_WITHIN
    while time.monotonic() < deadline:
        now = store.bridge(bridge.id)
        if now is None or not now.living:
            return True  # its own last event came
        take_turn(store)
        connections = video.connections(room.session_id)
        if connections is not None and not any(
            _began_with(bridge, each) for each in _not_of_others(store, bridge, connections)
        ):
            return True
        time.sleep(_ASK_AGAIN)
    return False


def _by_time(store: Store, video: VideoPlatform, room: Room, bridge: Bridge, patience: float) -> HangUp:
    """Find the leg among the session's connections by its time.

    The platform lists when a connection began, not whose it is. Exactly one that began with the dial is
    the leg. With several, one may be a person, and nobody is thrown out by guess. With none among others,
    this machine's clock may be wrong. Only an empty list says that no leg came of the dial. Connections that are on
    record as other bridges' are not looked at.
    """
    take_turn(store)
    listed = video.connections(room.session_id)
    connections = None if listed is None else _not_of_others(store, bridge, listed)
    found = [each for each in connections or [] if _began_with(bridge, each)]
    was_up = False
    if len(found) == 1:
        take_turn(store)
        was_up = video.force_disconnect(room.session_id, found[0].connection_id)
        reason = "The leg was found and hung up." if was_up else "The leg that was listed is gone already."
    elif connections == []:
        reason = "The platform lists no leg: none came of the dial."
    elif store.age_of(bridge) > LONGEST_CALL:
        reason = _TOO_LONG
    elif connections is None:
        return _not_found(room, "The platform does not list the session's connections.")
    elif found:
        return _not_found(room, f"{len(found)} connections began with the dial, so it is not clear which.")
    elif store.age_of(bridge) < patience:
        return _not_found(room, NOT_YET)
    else:
        why = f"Of {len(connections)} listed connections none began with the dial; is this machine's clock right?"
        return _not_found(room, why)
    if not was_up and store.age_of(bridge) < patience:
        return _not_found(room, NOT_YET)
    return _over(store, room, bridge, reason, was_up=was_up)


def _over(store: Store, room: Room, bridge: Bridge, reason: str, *, was_up: bool) -> HangUp:
    store.end_bridge(bridge.id, reason)
    store.record("hang-up", f"The dial of room {room.name!r} whose answer was lost: {reason}", room.id)
    return HangUp(room.name, hung_up=was_up, reason=reason)


def _not_found(room: Room, why: str) -> HangUp:
    advice = "It stays on record; the Vonage dashboard shows whether a call is up."
    return HangUp(room.name, hung_up=False, reason=f"The answer to the dial was lost. {why} {advice}")


def _not_of_others(store: Store, bridge: Bridge, connections: list[SessionConnection]) -> list[SessionConnection]:
    """Leave out the connections that are on record as other bridges'."""
    others = {other.connection_id for other in store.living_bridges() if other.id != bridge.id}
    return [each for each in connections if each.connection_id not in others]


def _began_with(bridge: Bridge, connection: SessionConnection) -> bool:
    earliest = bridge.dialed_at - _CLOCKS_DIFFER
    return earliest <= connection.created_at <= earliest + 2 * _CLOCKS_DIFFER + timedelta(seconds=PATIENCE)
