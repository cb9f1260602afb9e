"""Opus to 8 kHz samples (RFC 6716), by the system's libopus: for browsers that send no G.711.

Every WebRTC browser must have PCMU (RFC 7874 section 3), and the sandbox asks for it, so this is for the rare page that
took it out of its offer. No wheel of the default install brings an Opus decoder; most systems have the library
(Debian and Ubuntu: libopus0, macOS: `brew install opus`). Without it such an offer is refused.
"""

import ctypes
import ctypes.util
from functools import cache

import numpy as np

from sipkit.sandbox.media.g711 import RATE, Samples

MAX_SAMPLES = RATE * 120 // 1000
"""The longest packet, 120 ms (RFC 6716 section 2.1.4)."""
_OK = 0


@cache
def _library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("opus")
    if name is None:
        return None
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return None
    library.opus_decoder_create.restype = ctypes.c_void_p
    library.opus_decoder_create.argtypes = [ctypes.c_int32, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    library.opus_decode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.POINTER(ctypes.c_int16),
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
    library.opus_decoder_destroy.restype = None
    return library


def available() -> bool:
    """Whether this system has libopus."""
    return _library() is not None


class OpusDecoder:
    """The decoder of one stream: mono, 8 kHz, whatever the sender made it from.

    Raises:
        OSError: this system has no libopus.
    """

    _decoder: int | None = None

    def __init__(self) -> None:
        library = _library()
        if library is None:
            raise OSError("libopus is not installed")
        self._library = library
        problem = ctypes.c_int()
        self._decoder = library.opus_decoder_create(RATE, 1, ctypes.byref(problem))
        if problem.value != _OK or not self._decoder:
            raise OSError(f"libopus made no decoder: {problem.value}")
        self._samples = (ctypes.c_int16 * MAX_SAMPLES)()

    def __del__(self) -> None:
        if self._decoder:
            self._library.opus_decoder_destroy(self._decoder)

    def decode(self, packet: bytes) -> Samples:
        """Decode one packet; a broken one gives no samples."""
        count = self._library.opus_decode(self._decoder, packet, len(packet), self._samples, MAX_SAMPLES, 0)
        return np.array(self._samples[: max(0, count)], dtype=np.int16)
