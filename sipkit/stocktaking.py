"""Taking stock: the platform's calls are compared with the store, and what does not fit is put right.

Whoever is killed in the middle of a call leaves records that nobody corrects.

    up, and on record as over                    hung up: a leg whose bridge has ended or whose room is closed, a phone
                                                 that has left, one that has been at the door for too long
    on record, and the platform has it no more   ended on record: a bridge, a phone
    up, and not on record at all                 told in the timeline, once, and left alone (`sipkit.orphans` says why)

A single look proves nothing: a leg that was hung up a moment ago is still listed. What two looks in a row say counts.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from sipkit import meter, voice_calls
from sipkit.lost_dials import LONGEST_CALL
from sipkit.orphans import strangers_among, why_lost
from sipkit.pace import take_turn

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.orphans import Call
    from sipkit.rooms import Bridge
    from sipkit.settings import Settings
    from sipkit.store import Store
    from sipkit.webhooks.callbacks import Event

MOST_AT_ONCE: Final = 20
"""Records that are checked one by one in a look; the next look goes on."""

_NEWS: Final = ("status", "duration", "price", "direction")  # what a call's description has in common with its event


class Stocktaking:
    """Compares the platform with the store, look by look.

    Args:
        settings: Have the prices.
        store: The store.
        account: Gives the account as it is now.
    """

    def __init__(self, settings: "Settings", store: "Store", account: "Callable[[], Account]") -> None:
        self._settings = settings
        self._store = store
        self._account = account
        self._turn = partial(take_turn, store)
        self._first = True
        self._up_since: dict[str, float] = {}
        self._lost: frozenset[str] = frozenset()
        self._strange: frozenset[str] = frozenset()

    def look(self) -> None:
        """Look once.

        Raises:
            PlatformError: The platform could not be asked; the next look begins anew.
        """
        account = self._account()
        if self._first:
            self._end_lost_connections(account)
            self._first = False
        if not voice_calls.can_call(account):
            return
        # The store first: what is on record before the platform is asked, and then is not there, has gone.
        bridges, phones = self._store.living_bridges(), self._store.phones_there()
        calls = voice_calls.calls_up(account, self._turn)
        self._hang_up_lost(account, calls)
        up = {call.uuid for call in calls}
        for bridge in bridges[:MOST_AT_ONCE]:
            if bridge.leg_uuid and bridge.leg_uuid not in up and (news := self._news_of(account, bridge.leg_uuid)):
                self._end_bridge(bridge, news)
        for leg_uuid in [each for each in phones if each not in up][:MOST_AT_ONCE]:
            if news := self._news_of(account, leg_uuid):
                self._end_phone(leg_uuid, news)

    def _hang_up_lost(self, account: "Account", calls: "list[Call]") -> None:
        """Hang up legs that should not be up, and tell of those that nobody here knows; both at the second sight."""
        records, now = self._store.legs_on_record([call.uuid for call in calls]), self._store.time()
        self._up_since = {call.uuid: self._up_since.get(call.uuid, now) for call in calls}
        lost = {
            leg_uuid: why for leg_uuid, leg in records.items() if (why := why_lost(leg, now - self._up_since[leg_uuid]))
        }
        strange = frozenset(call.uuid for call in strangers_among(calls, records, account.conference_number))
        again, self._lost = self._lost & lost.keys(), frozenset(lost)
        known, self._strange = self._strange & strange, strange
        self._tell_of_strangers(known)
        for leg_uuid in again:
            self._turn()
            if voice_calls.hang_up_leg(account, leg_uuid):
                text = f"A leg that was left connected was hung up: {lost[leg_uuid]}."
                self._store.record("guard", text, records[leg_uuid].room_id)

    def _tell_of_strangers(self, strange: frozenset[str]) -> None:
        until = self._store.time() + LONGEST_CALL
        new = [leg_uuid for leg_uuid in strange if self._store.use_ticket(f"stranger:{leg_uuid}", until)]
        if new:
            self._store.record(
                "guard",
                f"{len(new)} of the number's calls are up that are not on record here, and they are left alone: they "
                "may be somebody else's. If they are yours, board.hang_up_everything(strangers=True) ends them.",
                data={"legs": sorted(new)},
            )

    def _end_lost_connections(self, account: "Account") -> None:
        """Disconnect SIP legs of bridges that have ended on record, which needs no application's key."""
        from sipkit.video_platform import video_platform

        video, since = video_platform(account), self._store.time() - LONGEST_CALL
        for bridge in self._store.ended_bridges(since, MOST_AT_ONCE):
            room = self._store.room_of(bridge)
            self._turn()
            listed = video.connections(room.session_id) or []
            if bridge.connection_id not in {each.connection_id for each in listed}:
                continue
            self._turn()
            if video.force_disconnect(room.session_id, bridge.connection_id or ""):
                text = f"A bridge of room {room.name!r} that had ended on record was still connected, and was hung up."
                self._store.record("guard", text, room.id)

    def _news_of(self, account: "Account", leg_uuid: str) -> "Event | None":
        """Ask for the news that did not come: how a leg ended; None if it is up."""
        from sipkit.webhooks.callbacks import read_event

        self._turn()
        told = voice_calls.call_over(account, leg_uuid)
        return None if told is None else read_event({name: told[name] for name in _NEWS if name in told})

    def _end_bridge(self, bridge: "Bridge", news: "Event") -> None:
        """End a bridge whose leg is gone; its connection goes with it, should it be there."""
        from sipkit.last_calls import hang_up

        outcome = hang_up(self._account, self._store, bridge)
        text = f"The platform says that the bridge's leg has ended. {outcome.reason}"
        self._store.record("guard", text, bridge.room_id)
        self._store.leg_gone(bridge.leg_uuid or "", "inbound", bridge.room_id, int(news.seconds or 0), news.price)
        meter.tell(self._store, self._settings, bridge)

    def _end_phone(self, leg_uuid: str, news: "Event") -> None:
        caller, before = self._store.caller_left(leg_uuid)
        self._store.leg_gone(leg_uuid, "inbound", caller.room_id, int(news.seconds or 0), news.price)
        if before != "left":
            text = f"Phone {caller.masked_number} is gone, says the platform; its own news of that did not come."
            self._store.record("guard", text, caller.room_id)
