"""The jitter buffer: order out of disorder, silence for what is lost, and no more delay than it takes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit.sandbox.media.jitter import MAX_FRAMES, PATIENCE, JitterBuffer


def _frame(number: int) -> bytes:
    return number.to_bytes(4)


def _numbers(frames: list[bytes | None]) -> list[int | None]:
    return [None if frame is None else int.from_bytes(frame) for frame in frames]


def test_regular_stream_is_played_at_once() -> None:
    """A frame that is there at its tick is played in it: no delay of its own."""
    buffer = JitterBuffer()
    played = []
    for number in range(100):
        buffer.push(number, _frame(number))
        played.append(buffer.take())
    assert _numbers(played) == list(range(100))
    assert (buffer.received, buffer.lost, buffer.duplicates) == (100, 0, 0)


def test_nothing_before_the_first_frame() -> None:
    """Silence until somebody speaks."""
    assert JitterBuffer().take() is None


def test_sequence_numbers_wrap() -> None:
    """65535 is followed by 0."""
    buffer = JitterBuffer()
    played = []
    for number in range(65530, 65546):
        buffer.push(number & 0xFFFF, _frame(number))
        played.append(buffer.take())
    assert _numbers(played) == list(range(65530, 65546))


def test_swapped_neighbours_are_put_right() -> None:
    """After one stumble that teaches it to wait, swapped frames come out in order."""
    buffer = JitterBuffer()
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 11, 12]
    played = []
    for number in order:
        buffer.push(number, _frame(number))
        played.append(buffer.take())
    heard = [number for number in _numbers(played) if number is not None]
    assert heard == sorted(heard)
    assert set(range(3, 11)) <= set(heard)


def test_duplicates_are_counted_and_dropped() -> None:
    """The same frame three times is played once."""
    buffer = JitterBuffer()
    for number in (0, 0, 0, 1, 1):
        buffer.push(number, _frame(number))
    assert _numbers([buffer.take() for _ in range(4)]) == [0, 1, None, None]
    assert (buffer.received, buffer.duplicates) == (2, 3)


def test_lost_frame_is_counted_once_and_passed_over() -> None:
    """A hole costs a tick of silence and the stream goes on."""
    buffer = JitterBuffer()
    played = []
    for number in (0, 1, 2, 4, 5, 6, 7):
        buffer.push(number, _frame(number))
        played.append(buffer.take())
    played += [buffer.take() for _ in range(3)]
    heard = [number for number in _numbers(played) if number is not None]
    assert heard == [0, 1, 2, 4, 5, 6, 7]
    assert buffer.lost == 1


def test_stream_that_starts_over_is_followed() -> None:
    """A jump of more than a second is a new stream: it is played at once, in either direction."""
    buffer = JitterBuffer()
    for start in (0, 30_000, 100, 65_000):
        buffer.push(start, _frame(start))
        assert buffer.take() == _frame(start)


def test_pause_is_not_loss() -> None:
    """A sender that falls silent and goes on with the next number lost nothing."""
    buffer = JitterBuffer()
    buffer.push(0, _frame(0))
    assert [buffer.take() for _ in range(300)][1:] == [None] * 299
    buffer.push(1, _frame(1))
    assert buffer.take() == _frame(1)
    assert buffer.lost == 0


def test_delay_shrinks_when_the_network_calms_down() -> None:
    """A spare frame that nobody needed for seconds is dropped, so that delay does not stay for ever."""
    buffer = JitterBuffer()
    for number in range(5):
        buffer.push(number, _frame(number))
    played = []
    for number in range(5, 5 + 12 * PATIENCE):
        buffer.push(number, _frame(number))
        played.append(buffer.take())
    last = _numbers(played)[-1]
    assert last is not None
    assert 5 + 12 * PATIENCE - 1 - last <= 1, "a burst of five frames is worked off"


def test_memory_is_bounded() -> None:
    """A sender that is not played from does not fill the memory."""
    buffer = JitterBuffer()
    for number in range(10_000):
        buffer.push(number & 0xFFFF, _frame(number))
    assert len(buffer._frames) <= MAX_FRAMES + 1


@pytest.mark.parametrize("late", [1, 2, 3])
def test_steady_jitter_costs_delay_and_not_frames(late: int) -> None:
    """Frames up to some ticks late in turn: after a second of learning hardly one is missed."""
    dice = random.Random(late)
    buffer = JitterBuffer()
    arrivals: dict[int, list[int]] = {}
    for number in range(1000):
        arrivals.setdefault(number + dice.randrange(late + 1), []).append(number)
    heard = []
    for tick in range(1000):
        for number in arrivals.get(tick, []):
            buffer.push(number, _frame(number))
        heard.append(buffer.take())
    played = [number for number in _numbers(heard[100:]) if number is not None]
    assert played == sorted(played)
    assert len(played) > 0.95 * 900


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 0xFFFF) | st.none(), max_size=200))
def test_any_stream_is_survived(steps: list[int | None]) -> None:
    """Whatever numbers come in between ticks, each frame is played at most once per push and nothing breaks."""
    buffer = JitterBuffer()
    played = 0
    for step in steps:
        if step is None:
            played += buffer.take() is not None
        else:
            buffer.push(step, _frame(step))
    assert played <= buffer.received
    assert buffer.received + buffer.duplicates == sum(step is not None for step in steps)
    assert len(buffer._frames) <= 2 * MAX_FRAMES + 1
