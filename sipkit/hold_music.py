"""What a phone hears while it waits: a quiet figure of a few notes, made here, so that it is nobody's property."""

import io
import math
import wave
from array import array
from functools import cache
from typing import Final

RATE: Final = 8000  # Hz, as a phone's sound
MP3_RATE: Final = 16000
SECONDS: Final = 12
NOTES: Final = (261.63, 329.63, 392.0, 523.25, 392.0, 329.63, 220.0, 261.63, 329.63, 440.0, 329.63, 261.63)
"""Hz, one a second: a C major and an A minor chord, up and down."""

_LOUD: Final = 3000  # of 32767: about -21 dBFS, beneath a voice


@cache
def hold_music() -> bytes:
    """Return the music as a WAV file: 12 s; its end leads into its beginning."""
    return wav(_samples(RATE))


@cache
def hold_music_mp3() -> bytes:
    """Return the same as MP3, which the NCCO reference asks for while a conversation has not started."""
    import soundfile

    file = io.BytesIO()
    # MPEG-2 has 16 kHz; 8 kHz is an extension of it (MPEG-2.5) that not everybody reads.
    with soundfile.SoundFile(file, "w", MP3_RATE, 1, format="MP3") as sound:
        sound.buffer_write(_samples(MP3_RATE).tobytes(), dtype="int16")
    return file.getvalue()


def wav(samples: "array[int]") -> bytes:
    """Return samples as a WAV file: 8 kHz, mono, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _samples(rate: int) -> "array[int]":
    samples = array("h")
    for note in NOTES:
        step = 2 * math.pi * note / rate
        for n in range(rate):
            fade = math.exp(-3.0 * n / rate) * min(1.0, 100 * n / rate)
            samples.append(round(_LOUD * fade * (math.sin(step * n) + 0.3 * math.sin(2 * step * n))))
    return samples
