"""What a phone or participant heard: the recording, and what can be said about its last second."""

import io
import wave

import numpy as np

from sipkit.sandbox.media.g711 import FRAME, FRAME_SECONDS, RATE, Samples

MAX_SECONDS = 600.0
"""A recording stops growing after ten minutes (9.6 MB)."""
LOUD = 33.0
"""RMS above which a frame counts as sound: -60 dBFS, far over the idle noise of G.711."""
SILENT = -96.0
"""The level of 16-bit silence, dBFS."""
TONE_SHARE = 0.08
"""A spectral peak is called a tone when it holds this share of the second's power."""


def dbfs(power: float) -> float:
    """Return the level of a mean square in dB of full scale, -96 at the least."""
    return max(SILENT, 10 * float(np.log10(power / 32768**2))) if power > 0 else SILENT


class Hearing:
    """A growing recording.

    Attributes:
        frames: 20 ms frames heard so far (the recording keeps the first ten minutes).
        loud: index of the last frame with sound, None before any.
    """

    def __init__(self) -> None:
        self._frames: list[Samples] = []
        self.frames = 0
        self.loud: int | None = None

    def hear(self, frame: Samples, power: float) -> None:
        """Take one frame and its mean square."""
        if self.frames * FRAME_SECONDS < MAX_SECONDS:
            self._frames.append(frame)
        if power > LOUD**2:
            self.loud = self.frames
        self.frames += 1

    @property
    def seconds(self) -> float:
        """How long the leg has been listening."""
        return self.frames * FRAME_SECONDS

    def samples(self, last: float | None = None) -> Samples:
        """Return the recording, or its last seconds."""
        frames = self._frames if last is None else self._frames[-round(last / FRAME_SECONDS) :]
        return np.concatenate(frames) if frames else np.zeros(0, dtype=np.int16)

    def summary(self) -> dict[str, object]:
        """Describe the last second: ``{"seconds", "level_dbfs", "tones_hz"}``, tones strongest first, at most three."""
        samples = self.samples(last=1.0).astype(np.float64)
        level = dbfs(float(np.mean(samples**2))) if len(samples) else SILENT
        return {"seconds": round(self.seconds, 2), "level_dbfs": round(level, 1), "tones_hz": tones(samples)}

    def wav(self) -> bytes:
        """Return the recording as WAV."""
        return to_wav(self.samples())


def tones(samples: np.ndarray, most: int = 3) -> list[int]:
    """Return the frequencies, in whole Hz, of the pure tones in the samples, strongest first."""
    if len(samples) < RATE // 4:
        return []
    windowed = np.asarray(samples, dtype=np.float64) * np.hanning(len(samples))
    power = np.abs(np.fft.rfft(windowed)) ** 2
    total = float(power.sum())
    if total / len(samples) ** 2 < LOUD**2 / 16:
        return []
    bin_hz = RATE / len(samples)
    width = max(2, round(6 / bin_hz))
    found: list[int] = []
    for _ in range(most):
        peak = int(np.argmax(power))
        low, high = max(0, peak - width), peak + width + 1
        if float(power[low:high].sum()) < TONE_SHARE * total:
            break
        found.append(round(peak * bin_hz))
        power[low:high] = 0
    return found


def to_wav(samples: Samples) -> bytes:
    """Wrap samples as an 8 kHz mono WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def from_wav(data: bytes) -> Samples:
    """Read a WAV file as 8 kHz mono samples.

    Raises:
        ValueError: not a 16-bit PCM WAV file.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            raw = file.readframes(min(file.getnframes(), round(MAX_SECONDS * rate)))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"not a WAV file: {error}") from error
    if width != 2:
        raise ValueError("the WAV file must hold 16-bit samples")
    samples = np.frombuffer(raw, dtype="<i2").reshape(-1, channels).mean(axis=1)
    return resample(samples, rate)


def resample(samples: np.ndarray, rate: int) -> Samples:
    """Bring samples to 8 kHz: a windowed-sinc low-pass at 3.6 kHz, then linear interpolation."""
    if rate > RATE:
        taps = np.arange(-63, 64)
        cutoff = 3600 / rate
        kernel = 2 * cutoff * np.sinc(2 * cutoff * taps) * np.hamming(len(taps))
        samples = np.convolve(samples, kernel / kernel.sum(), mode="same")
    if rate != RATE and len(samples):
        wanted = np.arange(0, len(samples), rate / RATE)
        samples = np.interp(wanted, np.arange(len(samples)), samples)
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)


__all__ = ["FRAME", "Hearing", "dbfs", "from_wav", "resample", "to_wav", "tones"]
