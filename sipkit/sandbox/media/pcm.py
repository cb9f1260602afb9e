"""16-bit samples at another rate than the mixer's 8 kHz, 20 ms at a time, without clicks between the frames."""

import numpy as np

from sipkit.sandbox.media.g711 import FRAME, RATE, Samples

_TAPS = 24
"""Taps of the low-pass for each sample at 8 kHz: 1.5 ms either way."""
_CUTOFF = 3600.0
"""Hz: what a telephone carries, as :func:`~sipkit.sandbox.media.hearing.resample` has it."""


def _low_pass(factor: int) -> np.ndarray:
    """Make the windowed sinc for samples at ``factor`` times 8 kHz."""
    taps = np.arange(_TAPS * factor + 1) - _TAPS * factor / 2
    cutoff = _CUTOFF / (RATE * factor)
    kernel = np.sinc(2 * cutoff * taps) * np.hamming(len(taps))
    return np.asarray(kernel / kernel.sum())


def _whole(samples: np.ndarray) -> Samples:
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)


class Upsampler:
    """Brings 8 kHz to ``factor`` times as much: zeros between the samples, then a low-pass."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._kernel = _low_pass(factor) * factor
        self._past: np.ndarray = np.zeros(len(self._kernel) - 1)

    def next(self, frame: Samples) -> Samples:
        """Take 160 samples; returns ``factor`` times 160."""
        if self._factor == 1:
            return frame
        spread = np.zeros(FRAME * self._factor)
        spread[:: self._factor] = frame
        known = np.concatenate((self._past, spread))
        self._past = known[-len(self._past) :]
        return _whole(np.convolve(known, self._kernel, mode="valid"))


class Downsampler:
    """Brings ``factor`` times 8 kHz to 8 kHz: a low-pass, then every ``factor``-th sample."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._kernel = _low_pass(factor)
        self._past: np.ndarray = np.zeros(len(self._kernel) - 1)

    def next(self, frame: Samples) -> Samples:
        """Take ``factor`` times 160 samples; returns 160."""
        if self._factor == 1:
            return frame
        known = np.concatenate((self._past, frame))
        self._past = known[-len(self._past) :]
        return _whole(np.convolve(known, self._kernel, mode="valid")[:: self._factor])
