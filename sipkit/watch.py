"""The watch: looks at every living bridge, again and again, and hangs up what the guard's rules say.

It runs in each webhook server and in a small process of its own (`sipkit.guard_process`), so that it depends on no
kernel. Of all that watch one store, one acts: it holds a role for `ROLE_SECONDS`, and if it dies another one takes over
after that. Now and then it takes stock of what the platform has (`sipkit.stocktaking`).

Each bridge is looked at on a thread of its own: a platform that gives no answer about one of them keeps none of the
others waiting. What could not be done is tried again in the next round; the timeline says so once in `TELL_AGAIN`.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from sipkit import guard, meter
from sipkit.company import Company, connected
from sipkit.errors import SipkitError
from sipkit.pace import take_turn
from sipkit.stocktaking import Stocktaking

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.rooms import Bridge, Room
    from sipkit.settings import Settings
    from sipkit.store import Store

PERIOD: Final = 5.0
"""Seconds between two rounds."""

ROUND: Final = 4.0
"""Seconds that a round waits for what it began; what takes longer goes on, and is not begun again meanwhile."""

STOCKTAKING_EVERY: Final = 20.0
"""Seconds between two looks for orphans: two looks are within the first minute."""

ROLE: Final = "watch"
ROLE_SECONDS: Final = 12.0

MISSING_AFTER: Final = 30.0
"""Seconds after the dial from when on a bridge is gone whose connection the platform does not list, two looks long."""

TELL_AGAIN: Final = 300.0
"""Seconds after which the timeline says again that something does not work."""

log = logging.getLogger("sipkit.watch")


@dataclass(frozen=True, slots=True)
class _Look:
    """Something that a round sees to: by which name it is under way, what it is in words, and how it is done."""

    key: str
    what: str
    room_id: int | None
    do: Callable[[], None]


class Watch:
    """Watches the bridges of a store.

    Args:
        settings: Have the limits.
        store: Where the bridges are.
        account: Gives the platform account as it is now.
        holder: Names this watcher among all that watch the store.
    """

    def __init__(self, settings: "Settings", store: "Store", account: "Callable[[], Account]", holder: str) -> None:
        minutes = (settings.guard_no_browser, settings.guard_nobody, settings.guard_longest)
        self._settings = settings
        self._limits = guard.Limits(*(60 * each for each in minutes))
        self._store = store
        self._account = account
        self._holder = holder
        self._company = Company(settings, store, account)
        self._stocktaking = Stocktaking(settings, store, account)
        self._next_stocktaking = 0.0
        self._under_way: set[str] = set()
        self._browsers: dict[int, bool] = {}  # of this round, by the ids of the rooms
        self._missing: set[int] = set()
        self._stop = threading.Event()

    def start(self) -> None:
        """Watch on a thread of this process, until `stop` or its end."""
        threading.Thread(target=self.go_on, name="watch", daemon=True).start()

    def go_on(self, idle_rounds: int = 0) -> None:
        """Watch until `stop`, or until so many rounds in a row saw no living bridge."""
        idle = 0
        while not self._stop.wait(PERIOD):
            try:
                idle = 0 if self.round() else idle + 1
            except Exception as error:  # noqa: BLE001 - a watch that ends watches nothing
                log.warning("a round of the watch failed: %s", getattr(error, "message", type(error).__name__))
            if idle_rounds and idle >= idle_rounds:
                return

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()

    def round(self) -> int:
        """Look at each living bridge once and do what is due; return how many there were."""
        bridges = self._store.living_bridges()
        self._store.keep_owners({bridge.owner for bridge in bridges})
        take_stock = time.monotonic() >= self._next_stocktaking
        anything = bridges or take_stock or self._store.phones_there()
        if not anything or not self._store.leads(ROLE, self._holder, ROLE_SECONDS):
            return len(bridges)
        self._browsers = {}
        end = time.monotonic() + ROUND
        looks = [self._look_at(bridge) for bridge in bridges]
        if take_stock:
            self._next_stocktaking = time.monotonic() + STOCKTAKING_EVERY
            looks.append(_Look("orphans", "What may be left connected", None, self._stocktaking.look))
        self._do_all(looks, end)
        phones = partial(self._company.round, self._browsers)
        self._do_all([_Look("phones", "Phones without company", None, phones)], end)
        return len(bridges)

    def _look_at(self, bridge: "Bridge") -> _Look:
        room = self._store.room_of(bridge)
        what = f"The bridge of room {room.name!r}"
        return _Look(f"bridge:{bridge.id}", what, room.id, partial(self._look, bridge, room))

    def _do_all(self, looks: list[_Look], end: float) -> None:
        """Do all of it at once, and wait for it until a time (monotonic)."""
        threads = []
        for look in looks:
            if look.key not in self._under_way:
                self._under_way.add(look.key)
                threads.append(threading.Thread(target=self._do, args=(look,), name="watch-look", daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _do(self, look: _Look) -> None:
        try:
            look.do()
        except SipkitError as error:
            log.warning("%s could not be seen to: %s", look.key, error.message)
            text = f"{look.what} could not be seen to, and is tried again every few seconds: {error.message}"
            self._tell(f"{look.key}:{type(error).__name__}", text, look.room_id)
        except Exception as error:  # noqa: BLE001 - a thread's exception would be seen by nobody
            log.warning("%s could not be seen to: %s", look.key, type(error).__name__)
        finally:
            self._under_way.discard(look.key)

    def _tell(self, key: str, text: str, room_id: int | None) -> None:
        """Write into the timeline, now and then, what every round would say anew."""
        try:
            if not self._store.allow(f"told:{key}", 1, TELL_AGAIN):
                self._store.record("guard", text, room_id)
        except SipkitError as error:
            log.warning("the timeline could not be told: %s", error.message)

    def _look(self, bridge: "Bridge", room: "Room") -> None:
        problem: SipkitError | None = None
        try:
            browser, gone = self._seen(bridge, room)
        except SipkitError as error:  # a limit is a limit, whoever may be there
            browser, gone, problem = None, False, error
        if gone:
            self._hang_up(bridge, "The platform does not list the bridge any more.")
            return
        self._browsers[room.id] = browser is not False
        lease = self._store.bridge_seen(bridge, browser=browser, phone=self._phones(room) > 0)
        verdict = guard.decide(
            lease,
            self._store.time(),
            self._limits,
            kernel_gone=self._store.owner_gone(bridge.owner),
            budget_left=meter.budget_left(self._store, self._settings, room),
        )
        match verdict:
            case guard.HangUpFor(rule):
                self._hang_up(bridge, f"The guard hangs up: {guard.WORDS[rule]}.")
            case guard.WarnOf(rule, seconds):
                self._warn(room, bridge, rule, seconds)
        if problem is not None:
            raise problem

    def _seen(self, bridge: "Bridge", room: "Room") -> tuple[bool | None, bool]:
        """Ask the platform whether anybody but our own legs is in the session, and whether the bridge is gone.

        The first is None where the platform does not tell. A bridge is gone when two looks in a row do not find it.
        """
        take_turn(self._store)
        there = connected(self._account(), self._store, room)
        if there is None:
            return None, False
        ours = {each.connection_id for each in self._store.living_bridges()}
        young = self._store.age_of(bridge) < MISSING_AFTER
        if young or bridge.connection_id is None or bridge.connection_id in there:
            self._missing.discard(bridge.id)
            return bool(there - ours), False
        gone = bridge.id in self._missing
        self._missing.add(bridge.id)
        return bool(there - ours), gone

    def _phones(self, room: "Room") -> int:
        return sum(caller.state == "joined" for caller in self._store.callers(room))

    def _hang_up(self, bridge: "Bridge", why: str) -> None:
        from sipkit.last_calls import hang_up

        outcome = hang_up(self._account, self._store, bridge)
        now = self._store.bridge(bridge.id)
        if now is None or not now.living:
            self._store.record("hang-up", f"{why} {outcome.reason}", bridge.room_id)
        else:
            self._tell(f"bridge:{bridge.id}:{why}", f"{why} {outcome.reason}", bridge.room_id)
        meter.tell(self._store, self._settings, bridge)

    def _warn(self, room: "Room", bridge: "Bridge", rule: guard.Rule, seconds: float) -> None:
        from sipkit import voice_calls

        self._store.bridge_warned(bridge, rule)
        text = f"The call of room {room.name!r} will be hung up in {seconds:.0f} s: {guard.WORDS[rule]}."
        self._store.record("guard", text, room.id)
        for caller in self._store.callers(room):
            if caller.state == "joined":
                words = f"This call will end in less than a minute, because {guard.WORDS[rule]}."
                take_turn(self._store)
                with contextlib.suppress(SipkitError):  # whom it cannot be said to must not keep it from the others
                    voice_calls.speak_to_leg(self._account(), caller.leg_uuid, words)
