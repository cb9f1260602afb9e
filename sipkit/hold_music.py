"""What a phone hears while it waits: a quiet figure of a few notes, made here, so that it is nobody's property."""

import io
import math
import wave
from array import array
from functools import cache
from typing import Final

RATE: Final = 8000  # Hz, as a phone's sound
SECONDS: Final = 12
NOTES: Final = (261.63, 329.63, 392.0, 523.25, 392.0, 329.63, 220.0, 261.63, 329.63, 440.0, 329.63, 261.63)
"""Hz, one a second: a C major and an A minor chord, up and down."""

_LOUD: Final = 3000  # of 32767: about -21 dBFS, beneath a voice


@cache
def hold_music() -> bytes:
    """Return the music as a WAV file: 12 s, 8 kHz, mono, 16 bits; its end leads into its beginning."""
    samples = array("h")
    for note in NOTES:
        step = 2 * math.pi * note / RATE
        for n in range(RATE):
            fade = math.exp(-3.0 * n / RATE) * min(1.0, n / 80)
            samples.append(round(_LOUD * fade * (math.sin(step * n) + 0.3 * math.sin(2 * step * n))))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()
