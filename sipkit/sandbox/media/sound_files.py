"""Sound files: what recordings are written as, and the MP3 files that are played.

MP3 and Ogg come from libsndfile (LGPL, a library of its own inside the wheel of soundfile, with LAME and mpg123 in
it). Writing ten minutes takes seconds of one core: call :func:`encode` and :func:`from_mp3` on a worker thread.

Source: Voice API guide to recording, "File formats": 16 bit at 16 kHz, MP3 with a constant 32 kbit/s. That Ogg holds
Vorbis is assumed.
"""

import io
from typing import Literal

import numpy as np

from sipkit.sandbox.media.g711 import FRAME, RATE, Samples
from sipkit.sandbox.media.hearing import MAX_SECONDS, resample

FileFormat = Literal["mp3", "wav", "ogg"]
CONTENT_TYPES: dict[FileFormat, str] = {"mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg"}
FILE_RATE = 2 * RATE
MP3_CHANNELS = 2
"""Most channels an MP3 file holds."""

_KINDS = {"mp3": ("MP3", "MPEG_LAYER_III"), "wav": ("WAV", "PCM_16"), "ogg": ("OGG", "VORBIS")}
_BITRATE_32K = 0.85
"""libsndfile's compression level, 0 to 1, that gives 32 kbit/s at 16 kHz."""
_TAPS = 32


def encode(tracks: np.ndarray, form: FileFormat) -> bytes:
    """Write 8 kHz samples, a column per channel, as a file of 16 kHz.

    Raises:
        RuntimeError: libsndfile cannot write it.
    """
    import soundfile

    kind, coding = _KINDS[form]
    if not len(tracks):  # an MP3 file without a frame would be no file at all
        tracks = np.zeros((FRAME, tracks.shape[1]), dtype=np.int16)
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer,
        "w",
        FILE_RATE,
        tracks.shape[1],
        coding,
        format=kind,
        **({"bitrate_mode": "CONSTANT", "compression_level": _BITRATE_32K} if form == "mp3" else {}),
    ) as file:
        doubled = np.zeros((2 * len(tracks), tracks.shape[1]), dtype=np.int16)
        for channel in range(tracks.shape[1]):
            doubled[:, channel] = _double(tracks[:, channel])
        # A second at a time: libsndfile's Vorbis keeps a whole write on the stack.
        for at in range(0, len(doubled), FILE_RATE):
            block = doubled[at : at + FILE_RATE]
            # libsndfile 1.2 halves and distorts 16-bit samples it writes as stereo MP3; floats it writes well.
            file.write(block.astype(np.float32) / 32768 if form == "mp3" else block)
    return buffer.getvalue()


def is_mp3(data: bytes) -> bool:
    """Do the bytes begin as MP3 does: an ID3 tag, or eleven set bits and layer III (ISO 11172-3, 2.4.1.3)?"""
    return data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2)


def from_mp3(data: bytes) -> Samples:
    """Read an MP3 file of any rate as 8 kHz mono samples, ten minutes at the most.

    Raises:
        ValueError: it is no MP3 file.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format != "MP3":
                raise ValueError("not an MP3 file")
            rate = file.samplerate
            blocks = file.blocks(blocksize=rate, frames=round(MAX_SECONDS * rate), dtype="float32", always_2d=True)
            mono = [block.mean(axis=1) * 32768 for block in blocks]
    except RuntimeError:
        raise ValueError("not an MP3 file") from None
    return resample(np.concatenate(mono) if mono else np.zeros(0), rate)


def _double(samples: np.ndarray) -> np.ndarray:
    """Put a sample between each two: what a windowed sinc of 32 taps says was there."""
    if not len(samples):
        return samples
    kernel = np.sinc(np.arange(_TAPS) - (_TAPS - 1) / 2) * np.hamming(_TAPS)
    between = np.convolve(samples, kernel / kernel.sum())[_TAPS // 2 :][: len(samples)]
    doubled = np.empty(2 * len(samples), dtype=np.int16)
    doubled[0::2] = samples
    doubled[1::2] = np.clip(np.round(between), -32768, 32767)
    return doubled
