"""One ordered stream of everything that happened in the sandbox.

Every SIP message, REST request, webhook, NCCO step, DTMF digit, leg state and media figure is one event
with one clock, so that a learner can read a call from top to bottom and a benchmark can subtract two times.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from itertools import takewhile
from typing import Any, TypeAlias

TraceEvent: TypeAlias = dict[str, Any]

RESERVED = frozenset({"seq", "t", "kind"})


class Trace:
    """A bounded ring of events, for one asyncio loop (it takes no locks).

    Kinds: sip, rest, signalling, webhook, ncco, dtmf, leg, media, websocket, connection, speech, phone.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        """Keep the newest `capacity` events; older ones are forgotten."""
        self._ring: deque[TraceEvent] = deque(maxlen=capacity)
        self._followers: set[asyncio.Event] = set()
        self._seq = 0

    @property
    def last_seq(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._seq

    def emit(self, kind: str, /, **data: Any) -> TraceEvent:
        """Add one event and return it as it is kept: {"seq", "t" (unix seconds), "kind", **data}.

        Raises:
            ValueError: `data` uses one of the names every event has already.
        """
        if not RESERVED.isdisjoint(data):
            raise ValueError("a trace event cannot carry its own seq, t or kind")
        self._seq += 1
        event: TraceEvent = {"seq": self._seq, "t": time.time(), "kind": kind, **data}
        self._ring.append(event)
        for follower in self._followers:
            follower.set()
        return event

    def since(self, seq: int = 0) -> list[TraceEvent]:
        """Every kept event with a higher number than `seq`, oldest first."""
        # Readers mostly ask for the newest few: walk from the new end.
        newer = list(takewhile(lambda event: event["seq"] > seq, reversed(self._ring)))
        newer.reverse()
        return newer

    async def follow(self, seq: int = 0) -> AsyncGenerator[TraceEvent, None]:
        """Yield what `since(seq)` gives, then each new event as it happens, for ever.

        A reader slower than the ring loses the events that fell out of it; the gap shows in "seq".
        """
        news = asyncio.Event()
        self._followers.add(news)
        try:
            while True:
                news.clear()
                for event in self.since(seq):
                    seq = event["seq"]
                    yield event
                await news.wait()
        finally:
            self._followers.discard(news)
