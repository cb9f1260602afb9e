"""The tones that tell who is in a call that somebody has come or gone: two notes up, two notes down; made here."""

import math
from array import array
from functools import cache
from typing import Final, Literal

from sipkit.hold_music import RATE, wav

Tone = Literal["joined", "left"]

NOTES: Final[dict[Tone, tuple[float, ...]]] = {"joined": (523.25, 783.99), "left": (783.99, 523.25)}
"""Hz: a fifth."""

_NOTE_SECONDS: Final = 0.12
_LOUD: Final = 5000  # of 32767: about -16 dBFS, to be noticed and not to startle


@cache
def tone(name: Tone) -> bytes:
    """Return a tone as a WAV file: 0.24 s, 8 kHz, mono, 16 bits."""
    samples = array("h")
    length = round(_NOTE_SECONDS * RATE)
    for note in NOTES[name]:
        for n in range(length):
            fade = math.sin(math.pi * n / length)  # no click at either end
            samples.append(round(_LOUD * fade * math.sin(2 * math.pi * note * n / RATE)))
    return wav(samples)
