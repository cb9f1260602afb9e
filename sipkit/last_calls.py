"""Hanging up at a server's end: all bridges at once, in bounded time, and what became of each is written down.

Nobody is left afterwards who could try again, so one bridge that cannot be hung up costs the others nothing,
and the timeline says of each whether it may still be up.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sipkit.errors import WaitTimeout
from sipkit.pace import PER_SECOND

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.rooms import Bridge, HangUp
    from sipkit.store import Store

HANG_UP_WITHIN = 10.0  # seconds, for all bridges together, besides those that `pace` makes them wait

_EVENTS_WITHIN = 2.0  # seconds

log = logging.getLogger("sipkit.server")


def hang_up_all(
    account: "Callable[[], Account]",
    store: "Store",
    bridges: "list[Bridge]",
    why: str,
    within: float = HANG_UP_WITHIN,
    *,
    hear_them: bool = True,
) -> int:
    """Hang up every one of these bridges.

    Args:
        account: Gives the platform account; asked only when there is something to hang up.
        store: Where bridges and the timeline are.
        bridges: Living ones.
        why: A sentence for the timeline.
        within: Seconds for all of it, besides what so many have to wait for each other's turns.
        hear_them: Wait until the phones' own news of it has come: nobody will take it after us.

    Returns:
        How many were dealt with in time.
    """
    deadline = time.monotonic() + within + len(bridges) / PER_SECOND
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(bridge: "Bridge") -> None:
        try:
            outcome = hang_up(account, store, bridge)
        except Exception as error:  # noqa: BLE001 - one bridge that cannot be hung up must not save the others
            log.warning("bridge %s could not be hung up: %s", bridge.id, error)
        else:
            store.record("hang-up", f"{why} {outcome.reason}", bridge.room_id)
            done.put(bridge.id)

    for bridge in bridges:
        threading.Thread(target=work, args=(bridge,), name="hang-up", daemon=True).start()
    left = {bridge.id: bridge for bridge in bridges}
    with contextlib.suppress(queue.Empty):
        while left:
            del left[done.get(timeout=max(0.0, deadline - time.monotonic()))]
    for bridge in left.values():
        store.record(
            "hang-up",
            f"{why} Its bridge could not be hung up in time: it may be up and billed. "
            "The Vonage dashboard shows whether it is.",
            bridge.room_id,
        )
    if hear_them:
        _hear_them_leave(store, [bridge for bridge in bridges if bridge.id not in left])
    return len(bridges) - len(left)


def _hear_them_leave(store: "Store", bridges: "Iterable[Bridge]") -> None:
    """Wait for the events of the phones that the bridges' end has cut off.

    Nobody would take them after us, and the callers would stay "joined" on record.
    """
    from sipkit.waiting import wait_for_callers

    deadline = time.monotonic() + _EVENTS_WITHIN
    for bridge in bridges:
        with contextlib.suppress(WaitTimeout):
            wait_for_callers(store, store.room_of(bridge), 0, deadline - time.monotonic())


def hang_up(account: "Callable[[], Account]", store: "Store", bridge: "Bridge") -> "HangUp":
    """Hang up one bridge for whoever dialled it.

    Raises:
        PlatformError: The platform could not be asked; the bridge stays on record.
    """
    from sipkit.bridges import Bridges
    from sipkit.video_platform import video_platform
    from sipkit.voice_calls import hanging_up

    bridges = Bridges(store, lambda: video_platform(account()), bridge.owner, hang_up_leg=hanging_up(account))
    return bridges.end(store.room_of(bridge), bridge)
