"""What a leg can play: tones, speech, recordings. A source gives 20 ms frames until it is used up."""

from typing import Protocol

import numpy as np

from sipkit.sandbox.media.g711 import FRAME, RATE, Samples

TONE_LEVEL = 0.25
"""Amplitude of generated tones, of full scale (-15 dBFS): eight of them mix without clipping much."""


class Source(Protocol):
    """Frames to play."""

    def next(self) -> Samples | None:
        """Return the next 160 samples, None at the end."""


class Tone:
    """A sine.

    Args:
        hz: frequency.
        seconds: length, None for endless.
        amplitude: of full scale.
    """

    def __init__(self, hz: float, seconds: float | None = None, amplitude: float = TONE_LEVEL) -> None:
        self._step = 2 * np.pi * hz / RATE
        self._position = 0
        self._end = None if seconds is None else round(seconds * RATE)
        self._amplitude = amplitude * 32767

    def next(self) -> Samples | None:
        """Return the next 160 samples of the sine, None at the end."""
        if self._end is not None and self._position >= self._end:
            return None
        steps = np.arange(self._position, self._position + FRAME)
        self._position += FRAME
        frame: Samples = (self._amplitude * np.sin(steps * self._step)).astype(np.int16)
        return frame


class Pcm:
    """Samples, played ``loop`` times (0 = for ever), ``gain`` as a factor."""

    def __init__(self, samples: Samples, loop: int = 1, gain: float = 1.0) -> None:
        padded = np.zeros(-(-len(samples) // FRAME) * FRAME, dtype=np.int16)
        padded[: len(samples)] = np.clip(samples * gain, -32768, 32767)
        self._frames = padded.reshape(-1, FRAME)
        self._left = loop or None
        self._index = 0

    def next(self) -> Samples | None:
        """Return the next frame, None when every loop is played."""
        if self._index == len(self._frames):
            self._index = 0
            if self._left is not None:
                self._left -= 1
        if self._left == 0 or not len(self._frames):
            return None
        self._index += 1
        frame: Samples = self._frames[self._index - 1]
        return frame
