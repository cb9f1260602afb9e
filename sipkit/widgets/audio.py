"""What is in a recording, in words that do not vary: silence, speech, or a tone of so many hertz.

A lesson compares its outputs with the stored ones, and no two recordings of a call are alike: a player may therefore
say only what is true of all of them. The sound is cut into frames of a tenth of a second; a frame is *loud* above
-45 dBFS, and *tonal* when four fifths of its power sit around one frequency. Half a second of frames that agree on the
frequency is a tone. Half a second of anything else that is loud is called speech, as nothing else comes through
these phones.
"""

import io
import wave
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FRAME: Final = 0.1
"""Length of a frame in seconds; its spectrum has a line every 10 Hz."""
LOUD_DBFS: Final = -45.0
TONAL: Final = 0.8
"""Share of a frame's power around its strongest frequency that makes it tonal."""
SAME_HZ: Final = 15.0
"""Frequencies this close are one tone, in Hz."""
TONE_FRAMES: Final = 5
SPEECH_FRAMES: Final = 5

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A tenth of a second of sound."""

    level_dbfs: float
    hz: float
    tonal: bool

    @property
    def loud(self) -> bool:
        """Whether a person would notice it."""
        return self.level_dbfs > LOUD_DBFS


def read_wav(wav: bytes) -> tuple[Samples, int]:
    """Read 16 bit mono audio.

    Returns:
        The samples between -1 and 1, and the sampling rate in Hz.

    Raises:
        ValueError: This is not 16 bit mono WAV audio.
    """
    try:
        with wave.open(io.BytesIO(wav)) as file:
            rate, shape = file.getframerate(), (file.getnchannels(), file.getsampwidth())
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"not a WAV file: {error}") from error
    if shape != (1, 2):
        raise ValueError(f"expected 16 bit mono, got {shape[1] * 8} bit with {shape[0]} channels")
    return np.frombuffer(data, dtype="<i2").astype(np.float64) / 32768, rate


def frames(samples: Samples, rate: int) -> list[Frame]:
    """Measure each whole frame of `samples`."""
    size = int(FRAME * rate)
    window = np.hanning(size)
    return [_measure(samples[i : i + size], window, rate) for i in range(0, len(samples) - size + 1, size)]


def _measure(piece: Samples, window: Samples, rate: int) -> Frame:
    rms = float(np.sqrt(np.mean(piece**2)))
    power = np.abs(np.fft.rfft(piece * window)) ** 2
    power[:2] = 0  # a constant offset is no sound
    peak, total = int(np.argmax(power)), float(power.sum())
    near = slice(max(peak - 2, 0), peak + 3)
    share = float(power[near].sum()) / total if total else 0.0
    centre = float(np.average(np.arange(len(power))[near], weights=power[near])) if total else 0.0
    return Frame(20 * np.log10(max(rms, 1e-9)), centre * rate / len(piece), share >= TONAL)


def verdict(wav: bytes) -> str:
    """Say what is in a recording, in the order it is first heard: `silence`, `speech`, `speech, then tone 440 Hz`."""
    pieces = frames(*read_wav(wav))
    tones = _tones(pieces)
    # A frame that holds a tone's first or last moments is neither tonal nor speech.
    near_tone = {i for start, end, _ in tones for i in range(start - 1, end + 1)}
    spoken = [i for i, frame in enumerate(pieces) if frame.loud and i not in near_tone]
    found = {f"tone {round(hz, -1):.0f} Hz": start for start, _, hz in reversed(tones)}
    if len(spoken) >= SPEECH_FRAMES:
        found["speech"] = spoken[0]
    return ", then ".join(sorted(found, key=lambda name: found[name])) or "silence"


def _tones(pieces: list[Frame]) -> list[tuple[int, int, float]]:
    """Find the runs of frames that hold one steady tone, as (first frame, one past the last, Hz)."""
    runs: list[tuple[int, int, float]] = []
    start = 0
    for i in range(1, len(pieces) + 1):
        if i < len(pieces) and _continues(pieces[start], pieces[i]):
            continue
        if i - start >= TONE_FRAMES and pieces[start].loud and pieces[start].tonal:
            runs.append((start, i, float(np.median([frame.hz for frame in pieces[start:i]]))))
        start = i
    return runs


def _continues(first: Frame, frame: Frame) -> bool:
    return frame.loud and frame.tonal and first.tonal and first.loud and abs(frame.hz - first.hz) < SAME_HZ


def hears(wav: bytes, hz: float, share: float = 0.4) -> bool:
    """Tell whether some half second of a recording holds `hz`, alone or among other sounds.

    Args:
        wav: 16 bit mono WAV audio.
        hz: The frequency looked for, in Hz.
        share: How much of that half second's power has to be within 12 Hz of it.
    """
    samples, rate = read_wav(wav)
    size = rate // 2
    lines = np.fft.rfftfreq(size, 1 / rate)
    near = np.abs(lines - hz) <= 12  # noqa: PLR2004 - stated above
    window = np.hanning(size)
    for i in range(0, len(samples) - size + 1, size // 2):
        piece = samples[i : i + size]
        power = np.abs(np.fft.rfft(piece * window)) ** 2
        loud = 10 * np.log10(max(float(np.mean(piece**2)), 1e-18)) > LOUD_DBFS
        if loud and power[near].sum() >= share * power.sum():
            return True
    return False


def seconds(wav: bytes) -> float:
    """Length of a recording in seconds."""
    samples, rate = read_wav(wav)
    return len(samples) / rate
