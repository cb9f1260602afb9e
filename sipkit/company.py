"""Who is in a call, and what becomes of a phone that has no company there.

The guard's watch asks here in each of its rounds (`sipkit.watch`); its rules are about calls that have a bridge. Here:

    alone       a phone in the conversation, no other phone, no browser    -> told so, once, after ALONE_SECONDS
    nobody came a phone in a room whose bridge is not up, so that no browser hears it, for as long as the guard lets a
                call be without a browser (GUARD_NO_BROWSER)               -> told so, and hung up
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from sipkit import pace, voice_calls
from sipkit.errors import SipkitError

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.phrases import Phrase
    from sipkit.rooms import Caller, Room
    from sipkit.settings import Settings
    from sipkit.store import Store

_ALONE: Final = "alone:"

log = logging.getLogger("sipkit.watch")


def connected(account: "Account", store: "Store", room: "Room") -> set[str] | None:
    """Return the connections of a room's session, the kit's own legs among them; None where the platform does not tell.

    Who is there is kept, for the cost meter.

    Raises:
        PlatformError: The platform could not be asked.
    """
    from sipkit.video_platform import video_platform

    connections = video_platform(account).connections(room.session_id)
    if connections is None:
        return None
    there = {each.connection_id for each in connections}
    store.participants_seen(room.id, there)
    return there


def browsers_in(account: "Account", store: "Store", room: "Room") -> int | None:
    """Return how many are in a room's session besides the kit's own legs; None and raises as `connected`."""
    there = connected(account, store, room)
    return None if there is None else len(there - {each.connection_id for each in store.living_bridges()})


def see_off(
    account: "Callable[[], Account]",
    store: "Store",
    settings: "Settings",
    room: "Room",
    phrase: "Phrase",
    *,
    everybody: bool = False,
) -> int:
    """Say goodbye to the phones that wait in a room, for a host or for somebody to talk to, and hang them up.

    Args:
        account: Gives the platform account; asked only when there is somebody to say goodbye to.
        store: Where the phones are.
        settings: Languages.
        room: Whose phones.
        phrase: What they are told.
        everybody: Say it to those of a call with a bridge, too, as far as the platform takes it: they leave with it.

    Returns:
        How many were told; none without the application's key, which it takes.

    Raises:
        PlatformError: One of them may still be there; all others were seen to.
    """
    bridge = store.living_bridge(room)
    bridged = bridge is not None and bridge.leg_uuid is not None
    states = {"waiting", "joined"} if everybody or bridge is None else {"waiting"}
    phones = [caller for caller in store.callers(room) if caller.state in states]
    # Those first who would stay; a host's phone, which may end the conversation when it leaves it, last.
    phones.sort(key=lambda phone: (phone.state == "joined", phone.host))
    if not phones or not voice_calls.can_call(account()):
        return 0
    from sipkit import ncco  # its models take a moment, and most rooms end without anybody who waits

    document = ncco.goodbye(phrase, settings.speaker(room.language))
    problem: SipkitError | None = None
    told = 0
    for phone in phones:
        pace.take_turn(store)
        try:
            voice_calls.transfer_leg(account(), phone.leg_uuid, document)
        except SipkitError as error:
            if bridged and phone.state == "joined":
                break  # the call costs money while we try, and all that are left end with it
            problem = problem or error
        else:
            told += 1
            store.caller_left(phone.leg_uuid)  # it ends with that; where there was none any more, its news was lost
    if problem is not None:
        raise problem
    return told


def hears_music(room: "Room", callers: "Iterable[Caller]", *, bridged: bool) -> bool:
    """Tell whether the phones of a room hear music, as nobody who starts its conversation has come yet."""
    return room.waits_for_host and not bridged and not any(each.host for each in callers if each.state == "joined")


class Company:
    """Looks after phones without company.

    Args:
        settings: After how long what is done.
        store: Rooms, bridges, callers, and since when a phone is alone.
        account: Gives the platform account as it is now.
    """

    def __init__(self, settings: "Settings", store: "Store", account: "Callable[[], Account]") -> None:
        self._settings = settings
        self._store = store
        self._account = account

    def round(self, browsers: Mapping[int, bool]) -> None:
        """Look at every room that has phones, once.

        Args:
            browsers: What this round has seen: whether there are browsers, by the ids of the rooms that have a bridge.
        """
        for room in self._store.rooms():
            try:
                self._look(room, browsers.get(room.id, True))
            except SipkitError as error:
                log.warning("the phones of a room could not be looked after: %s", error.message)

    def _look(self, room: "Room", browser: bool) -> None:
        joined = [caller for caller in self._store.callers(room) if caller.state == "joined"]
        bridged = self._store.living_bridge(room) is not None
        lonely = len(joined) == 1 and not (bridged and browser) and not hears_music(room, joined, bridged=bridged)
        self._tell_if_alone(room, joined[0].leg_uuid if lonely else "")
        times = [caller.joined_at.timestamp() for caller in joined if caller.joined_at is not None]
        if times and not bridged:
            self._end_if_nobody_came(room, min(times))

    def _tell_if_alone(self, room: "Room", leg_uuid: str) -> None:
        """Keep since when a phone is alone; empty: none is."""
        limit, now, key = self._settings.alone_seconds, self._store.time(), f"{_ALONE}{room.id}"
        kept = json.loads(self._store.fact(key) or "null") or {"leg": "", "since": 0.0, "told": True}
        if kept["leg"] != leg_uuid:
            self._store.set_fact(key, json.dumps({"leg": leg_uuid, "since": now, "told": not leg_uuid}))
        elif limit and not kept["told"] and now - kept["since"] >= limit:
            self._store.set_fact(key, json.dumps({**kept, "told": True}))
            if not voice_calls.can_call(self._account()):
                return
            speaker = self._settings.speaker(room.language)
            pace.take_turn(self._store)
            text = speaker.text("alone")
            voice_calls.speak_to_leg(self._account(), leg_uuid, text, speaker.language, speaker.style)

    def _end_if_nobody_came(self, room: "Room", since: float) -> None:
        limit = 60 * self._settings.guard_no_browser
        if not limit or self._store.time() - since < limit:
            return
        count = see_off(self._account, self._store, self._settings, room, "goodbye_no_host")
        if count:
            self._store.record("guard", f"Nobody came to room {room.name!r}: phones hung up, {count}.", room.id)
