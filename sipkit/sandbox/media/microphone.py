"""A browser's microphone as a source: RTP payloads in whenever they come, a frame out every tick."""

from collections.abc import Callable

from sipkit.sandbox.media.g711 import FRAME, Samples, decode
from sipkit.sandbox.media.jitter import JitterBuffer


class Microphone:
    """What somebody says into a browser.

    Args:
        decoder: turns a payload of 20 ms into 160 samples; PCMU unless given.
    """

    def __init__(self, decoder: Callable[[bytes], Samples] | None = None) -> None:
        self._decode = decoder or _decode_pcmu
        self._buffer = JitterBuffer()

    def push(self, sequence: int, payload: bytes) -> None:
        """Take a payload with its 16-bit sequence number."""
        if payload:
            self._buffer.push(sequence, payload)

    def next(self) -> Samples | None:
        """Return this tick's frame; None is silence, and never the end."""
        payload = self._buffer.take()
        samples = self._decode(payload) if payload is not None else None
        # The answer asked for packets of 20 ms; others cannot be mixed tick by tick.
        return samples if samples is not None and len(samples) == FRAME else None


def _decode_pcmu(payload: bytes) -> Samples:
    return decode(payload, "PCMU")
