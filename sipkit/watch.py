"""The watch: looks at every living bridge, again and again, and hangs up what the guard's rules say.

It runs in each webhook server and in a small process of its own (`sipkit.guard_process`), so that it depends on no
kernel. Of all that watch one store, one acts: it holds a role for `ROLE_SECONDS`, which each look renews. If it dies
another one takes over, at the latest after `ROLE_SECONDS` and a `PERIOD`.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sipkit import guard, meter
from sipkit.company import Company, browsers_in
from sipkit.errors import SipkitError

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.rooms import Bridge, Room
    from sipkit.settings import Settings
    from sipkit.store import Store

PERIOD: Final = 5.0
"""Seconds between two rounds."""

ROLE: Final = "watch"
ROLE_SECONDS: Final = 9.0

REQUESTS_APART: Final = 0.1
"""Seconds between two requests of a round: the platform takes 15 a second from all of an account."""

log = logging.getLogger("sipkit.watch")


class Watch:
    """Watches the bridges of a store.

    Args:
        settings: Have the limits.
        store: Where the bridges are.
        account: Gives the platform account; asked only while a bridge lives.
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
        if not (bridges or self._store.phones_there()) or not self._store.leads(ROLE, self._holder, ROLE_SECONDS):
            return len(bridges)
        browsers: dict[int, bool] = {}
        for bridge in bridges:
            if not self._store.leads(ROLE, self._holder, ROLE_SECONDS):
                return len(bridges)  # the look before took so long that another one leads now
            try:
                browsers[bridge.room_id] = self._look(bridge)
            except SipkitError as error:
                log.warning("bridge %s could not be watched: %s", bridge.id, error.message)
            time.sleep(REQUESTS_APART)
        self._company.round(browsers)
        return len(bridges)

    def _look(self, bridge: "Bridge") -> bool:
        """Do what is due about a bridge; return whether somebody is in its session with a browser."""
        room = self._store.room_of(bridge)
        browser = self._browser_there(room)
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
                self._hang_up(bridge, rule)
            case guard.WarnOf(rule, seconds):
                self._warn(room, bridge, rule, seconds)
        return browser

    def _browser_there(self, room: "Room") -> bool:
        """Whether anybody but our own legs is in the session; True where the platform does not tell."""
        return browsers_in(self._account(), self._store, room) != 0

    def _phones(self, room: "Room") -> int:
        return sum(caller.state == "joined" for caller in self._store.callers(room))

    def _hang_up(self, bridge: "Bridge", rule: guard.Rule) -> None:
        from sipkit.last_calls import hang_up_all

        why = f"The guard hangs up: {guard.WORDS[rule]}."
        hang_up_all(self._account, self._store, [bridge], why, hear_them=False)
        meter.tell(self._store, self._settings, bridge)

    def _warn(self, room: "Room", bridge: "Bridge", rule: guard.Rule, seconds: float) -> None:
        from sipkit import voice_calls

        self._store.bridge_warned(bridge, rule)
        text = f"The call of room {room.name!r} will be hung up in {seconds:.0f} s: {guard.WORDS[rule]}."
        self._store.record("guard", text, room.id)
        for caller in self._store.callers(room):
            if caller.state == "joined":
                words = f"This call will end in less than a minute, because {guard.WORDS[rule]}."
                voice_calls.speak_to_leg(self._account(), caller.leg_uuid, words)
                time.sleep(REQUESTS_APART)
