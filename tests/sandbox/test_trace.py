"""The trace: one ordered, bounded stream of events."""

import asyncio
import time

import pytest

from sipkit.sandbox.trace import Trace, TraceEvent

DEADLINE = 5.0


def test_events_are_numbered_and_carry_the_time_and_their_data() -> None:
    """Each event has the next number, the unix time, its kind and what the emitter says."""
    trace = Trace()
    before = time.time()
    first = trace.emit("leg", uuid="a", state="ringing")
    second = trace.emit("dtmf", key=1)
    assert (first["seq"], first["kind"], first["uuid"], first["state"]) == (1, "leg", "a", "ringing")
    assert second["seq"] == trace.last_seq == 2
    assert before <= first["t"] <= second["t"] <= time.time()


def test_since_gives_only_what_is_newer_in_order() -> None:
    """`since(n)` is every kept event after number n, oldest first."""
    trace = Trace()
    for number in range(5):
        trace.emit("media", number=number)
    assert [event["seq"] for event in trace.since(3)] == [4, 5]
    assert [event["seq"] for event in trace.since()] == [1, 2, 3, 4, 5]
    assert trace.since(5) == []


def test_the_ring_forgets_the_oldest_and_keeps_counting() -> None:
    """More events than the capacity push the oldest out; their numbers are not given again."""
    trace = Trace(capacity=3)
    for _ in range(10):
        trace.emit("sip")
    assert [event["seq"] for event in trace.since(0)] == [8, 9, 10]


def test_an_event_cannot_overwrite_its_own_number_or_time() -> None:
    """Data named like the three fields of every event is the emitter's mistake, told at once."""
    trace = Trace()
    for data in ({"seq": 7}, {"t": 1.0}, {"kind": "x"}):
        with pytest.raises(ValueError, match="its own seq, t or kind"):
            trace.emit("sip", **data)
    assert trace.since(0) == []


def test_followers_get_what_was_and_then_each_event_as_it_happens() -> None:
    """Two followers both see old and new events, none twice and none missed between."""

    async def read(trace: Trace, since: int, count: int) -> list[int]:
        seen: list[int] = []
        async for event in trace.follow(since):
            seen.append(event["seq"])
            if len(seen) == count:
                break
        return seen

    async def scene() -> tuple[list[int], list[int]]:
        trace = Trace()
        trace.emit("sip")
        trace.emit("sip")
        readers = asyncio.gather(read(trace, 0, 5), read(trace, 1, 4))
        for _ in range(3):
            await asyncio.sleep(0)  # lets the followers run in between
            trace.emit("sip")
        first, second = await asyncio.wait_for(readers, DEADLINE)
        return first, second

    assert asyncio.run(scene()) == ([1, 2, 3, 4, 5], [2, 3, 4, 5])


def test_a_follower_that_leaves_is_forgotten() -> None:
    """Closing the reader's stream leaves nothing behind in the trace."""

    async def scene() -> int:
        trace = Trace()
        trace.emit("sip")
        stream = trace.follow(0)
        event: TraceEvent = await anext(stream)
        assert event["seq"] == 1
        await stream.aclose()
        return len(trace._followers)

    assert asyncio.run(scene()) == 0


def test_a_slow_follower_sees_the_gap_in_the_numbers() -> None:
    """A reader slower than the ring goes on with the oldest event still kept."""

    async def scene() -> list[int]:
        trace = Trace(capacity=2)
        stream = trace.follow(0)
        trace.emit("sip")
        seen = [(await anext(stream))["seq"]]
        for _ in range(5):
            trace.emit("sip")
        seen.append((await asyncio.wait_for(anext(stream), DEADLINE))["seq"])
        await stream.aclose()
        return seen

    assert asyncio.run(scene()) == [1, 5]
