"""Hear tones in recordings: a small ear for tests, made of numpy alone."""

import io
import wave

import numpy as np
from numpy.typing import NDArray

RATE = 8000

Sound = NDArray[np.float64]


def read_wav(data: bytes) -> Sound:
    """Read an 8 kHz mono 16-bit WAV file as samples from -1 to 1."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        raw = file.readframes(file.getnframes())
    return np.frombuffer(raw, dtype="<i2").astype(np.float64) / 32768


def make_wav(sound: Sound) -> bytes:
    """Write samples from -1 to 1 as an 8 kHz mono 16-bit WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def tone(hz: float, seconds: float, amplitude: float = 0.25) -> Sound:
    """Make a sine."""
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def last(sound: Sound, seconds: float) -> Sound:
    """Return the end of a recording."""
    return sound[-round(seconds * RATE) :]


def level(sound: Sound) -> float:
    """Return the RMS level in dB of full scale, -120 at the least."""
    return _db(float(np.mean(sound**2)) if len(sound) else 0.0)


def strength(sound: Sound, hz: float) -> float:
    """Return the level of one tone in dB of full scale, from the power within 8 Hz of it."""
    if len(sound) == 0:
        return _db(0.0)
    window = np.hanning(len(sound))
    power = np.abs(np.fft.rfft(sound * window)) ** 2
    near = np.abs(np.fft.rfftfreq(len(sound), 1 / RATE) - hz) <= 8
    return _db(2 * float(power[near].sum()) / (len(sound) * float((window**2).sum())))


def _db(power: float) -> float:
    return 10 * float(np.log10(max(power, 1e-12)))
