"""What the webhook server does besides answering: a queue, and one thread that goes through it.

A webhook is answered at once; a request to the platform that follows from it (mute, speak, a tone) takes as long as the
platform takes, and a turn of its own (`sipkit.pace`). So a webhook leaves an errand here once what it wrote is kept,
and the thread does them, those that somebody waits for first. What does not fit into the queue is dropped: the phone
keys again. The thread starts with the first errand, in the process that has it, whichever server that is: one that
was started before a server forks would be in none of its workers.
"""

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

MOST: Final = 200
"""Errands that wait. At seven requests a second that is half a minute, and nobody waits longer for a spoken word."""

Deed = Literal["mute", "hand", "count", "help", "join-tone", "leave-tone"]

log = logging.getLogger("sipkit.webhooks")


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done for a phone, or for the others of its room.

    Attributes:
        deed: What.
        leg_uuid: The phone it is about.
        room_id: Its room.
        base_url: The address by which the platform reaches this server.
        legs: Of a tone: who has still to hear it; None: that is not known yet.
    """

    deed: Deed
    leg_uuid: str
    room_id: int
    base_url: str = ""
    legs: tuple[str, ...] | None = None

    @property
    def urgent(self) -> bool:
        """Whether somebody has pressed a key and waits for the answer."""
        return not self.deed.endswith("-tone")


class Errands:
    """The queue of one process.

    Args:
        do: Does one errand; returns what has to follow.
    """

    def __init__(self, do: Callable[[Errand], Iterable[Errand]]) -> None:
        self._do = do
        self._queue: queue.PriorityQueue[tuple[bool, int, Errand | None]] = queue.PriorityQueue(MOST)
        self._count = itertools.count()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, errands: Iterable[Errand]) -> None:
        """Leave errands; returns at once."""
        for errand in errands:
            try:
                self._queue.put_nowait((not errand.urgent, next(self._count), errand))
            except queue.Full:
                log.warning("too much to do: an errand (%s) is dropped", errand.deed)
                continue
            self._start()

    def close(self, within: float = 2.0) -> None:
        """Do nothing more, and wait for the errand under way, some seconds at most. Safe to call twice."""
        with self._turn:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._queue.put((False, -1, None))
            thread.join(within)

    def _start(self) -> None:
        with self._turn:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._work, name="errands", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._closed:
            errand = self._queue.get()[2]
            if errand is None:
                return
            try:
                self.put(self._do(errand))
            except Exception as error:  # noqa: BLE001 - one errand that fails must not cost the next ones
                log.warning("an errand (%s) failed: %s", errand.deed, type(error).__name__)
