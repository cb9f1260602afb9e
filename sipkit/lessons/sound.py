"""Sounds for the lessons: make a note, recognise a note."""

import io
import wave
from collections.abc import Callable
from typing import Final

import numpy as np

from sipkit.phones import Heard
from sipkit.widgets.audio import LOUD_DBFS, hears

__all__ = ["hears", "note", "quiet", "tone", "voice"]

RATE: Final = 8000
"""The telephone's sampling rate in Hz (ITU-T G.711)."""
NEAR_HZ: Final = 15.0
SOFT: Final = 0.3
"""Amplitude of a made tone; full scale is 1."""


def tone(hz: float, seconds: float = 1.0) -> bytes:
    """Make a steady tone.

    Args:
        hz: Its frequency in Hz.
        seconds: Its length.

    Returns:
        A WAV file: 8 kHz, mono, 16 bit.
    """
    times = np.arange(int(seconds * RATE)) / RATE
    samples = (SOFT * 32767 * np.sin(2 * np.pi * hz * times)).astype("<i2")
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return memory.getvalue()


def note(hz: float) -> Callable[[Heard], bool]:
    """Make a question for `wait_until_heard`: is `hz` among the strongest tones of the last second?"""
    return lambda heard: any(abs(found - hz) < NEAR_HZ for found in heard.tones_hz)


def voice(heard: Heard) -> bool:
    """A question for `wait_until_heard`: is there anything to be heard?"""
    return heard.level_dbfs > LOUD_DBFS


def quiet(heard: Heard) -> bool:
    """A question for `wait_until_heard`: is it quiet (again)?"""
    return not voice(heard)
