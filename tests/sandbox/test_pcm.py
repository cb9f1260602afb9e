"""The way between the mixer's 8 kHz and the rates of a WebSocket."""

import numpy as np
import pytest

from sipkit.sandbox.media.pcm import Downsampler, Upsampler
from sipkit.sandbox.media.pcm_leg import BUFFERED, Message, PcmLeg
from tests.standins.ear import level

FRAMES = 50


def wave(hz: float, rate: int) -> np.ndarray:
    """Make a second of a tone, a row of 20 ms each."""
    samples = 0.5 * 32767 * np.sin(2 * np.pi * hz * np.arange(rate) / rate)
    return samples.astype(np.int16).reshape(FRAMES, -1)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_tone_survives_both_ways(factor: int) -> None:
    """Up and down again a tone has its level and its shape: no click between two frames."""
    up, down = Upsampler(factor), Downsampler(factor)
    frames = [down.next(up.next(frame)) for frame in wave(1000, 8000)]
    assert {len(each) for each in frames} == {160}
    heard = np.concatenate(frames[2:]) / 32768
    assert level(heard) == pytest.approx(level(wave(1000, 8000).reshape(-1) / 32768), abs=0.2)
    # A sampled sine obeys x[n-1] + x[n+1] = 2 cos(w) x[n]; a click would not.
    apart = heard[:-2] + heard[2:] - 2 * np.cos(2 * np.pi * 1000 / 8000) * heard[1:-1]
    assert np.max(np.abs(apart)) < 0.002


@pytest.mark.parametrize(("factor", "hz"), [(2, 7000), (3, 7000), (3, 11000)])
def test_what_a_telephone_cannot_carry_is_filtered_out(factor: int, hz: float) -> None:
    """A tone above 4 kHz does not come back as another one below."""
    down = Downsampler(factor)
    frames = [down.next(frame) for frame in wave(hz, 8000 * factor)]
    assert level(np.concatenate(frames[2:]) / 32768) < -50


def test_the_buffer_is_bounded_and_in_order() -> None:
    """Marks are told when the sound before them was taken, and count as messages; one too many is dropped."""
    told: list[Message] = []
    leg = PcmLeg("voice:1", 8000, told.append)
    leg.feed(b"\x10\x00" * 160)
    leg.notify({"n": 1})
    for _ in range(BUFFERED):
        leg.feed(b"\x00\x00" * 160)
    leg.notify({"n": 2})
    assert (leg.received, leg.lost) == (BUFFERED - 1, 3)
    leg.take()
    assert told == []
    leg.take()
    assert told == [{"event": "websocket:notify", "payload": {"n": 1}}]
