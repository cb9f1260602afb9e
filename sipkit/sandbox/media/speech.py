"""Say texts: hibari-tts, a neural English voice that runs offline, off the media loop.

Its model and phonemiser ship inside the wheel. Where the wheel does not exist (Intel Macs), a text is a tone of its
reading length, and the trace says so: a call must never fail for want of a voice.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from sipkit.sandbox.media.g711 import FRAME, RATE, Samples
from sipkit.sandbox.media.hearing import resample
from sipkit.sandbox.media.source import Tone

CACHED = 64
"""Texts kept in memory: 5 s of speech are 80 kB."""
AUDIBLE = 100
"""Samples larger than this (-50 dBFS) are speech."""
CHARACTERS_A_SECOND = 15
"""Reading speed that gives the stand-in tone its length."""


_TURN = threading.Lock()
"""Who loads the voice, or speaks with it."""


class Speech:
    """A voice with a small cache.

    Args:
        notice: told in words when there is no voice on this machine.
    """

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice = notice
        self._missing = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speech")
        self._cache: OrderedDict[str, Samples] = OrderedDict()

    async def warm_up(self) -> None:
        """Load the model, half a second, before the first caller waits for it."""
        await self._in_thread(self._load)

    async def say(self, text: str) -> Samples:
        """Return the spoken text, 8 kHz."""
        if text in self._cache:
            self._cache.move_to_end(text)
            return self._cache[text]
        samples: Samples = await self._in_thread(self._synthesise, text)
        if self._missing:
            self._notice("hibari-tts is not installed for this machine: texts sound as a tone")
        self._cache[text] = samples
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return samples

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[..., Any], *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _load(self) -> None:
        with _TURN:
            self._missing = _voice() is None

    def _synthesise(self, text: str) -> Samples:
        with _TURN:
            voice = _voice()
            self._missing = voice is None
            if voice is None or not text.strip():
                return _tone_for(text)
            audio = np.asarray(voice(text), dtype=np.float64)
        return _without_lead(resample(audio * 32767 * 0.8, 24000))


@cache
def _voice() -> Any:
    """Load the voice, once a process: its model is the largest thing in memory. None where it is not installed."""
    try:
        from hibari import Hibari
    except ImportError:
        return None
    voice = Hibari()
    voice("Ready.")
    return voice


def _without_lead(samples: Samples) -> Samples:
    """Cut the silence the voice begins with (a third of a second), but for the last 20 ms."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    return samples[max(0, int(loud[0]) - FRAME) :] if len(loud) else samples


def _tone_for(text: str) -> Samples:
    tone = Tone(440, len(text) / CHARACTERS_A_SECOND)
    frames = list(iter(tone.next, None))
    return np.concatenate(frames) if frames else np.zeros(RATE // 50, dtype=np.int16)
