"""G.711 by table: 256 codes to samples, 65 536 samples to codes (ITU-T G.711, both laws).

The decoders are computed from the recommendation's segments; each encoder is the inverse: the code whose value lies
nearest to the sample.
"""

import numpy as np
from numpy.typing import NDArray

from sipkit.sandbox.sip.sdp import Law

RATE = 8000
"""Samples a second."""
FRAME = 160
"""Samples in 20 ms."""
FRAME_SECONDS = FRAME / RATE

Samples = NDArray[np.int16]


def _mu_decode() -> Samples:
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((codes & 0x0F) << 3) + 0x84 << ((codes & 0x70) >> 4)) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_decode() -> Samples:
    codes = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (codes & 0x70) >> 4
    step = ((codes & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, step, (step + 0x100) << np.maximum(segment - 1, 0))
    return np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16)


def _encoder(decode: Samples) -> NDArray[np.uint8]:
    """Invert a decoder for every 16-bit sample, indexed by the sample as an unsigned number."""
    order = np.argsort(decode, kind="stable")
    values = decode[order].astype(np.int32)
    samples = np.arange(-32768, 32768, dtype=np.int32)
    right = np.clip(np.searchsorted(values, samples), 1, 255)
    nearest = np.where(samples - values[right - 1] <= values[right] - samples, right - 1, right)
    table = np.empty(65536, dtype=np.uint8)
    table[samples & 0xFFFF] = order[nearest].astype(np.uint8)
    return table


LAWS: tuple[Law, ...] = ("PCMU", "PCMA")
DECODE = np.stack([_mu_decode(), _a_decode()])
ENCODE = np.stack([_encoder(DECODE[0]), _encoder(DECODE[1])])
SILENCE: dict[Law, bytes] = {"PCMU": b"\xff" * FRAME, "PCMA": b"\xd5" * FRAME}


def encode(samples: Samples, law: Law) -> bytes:
    """Encode samples."""
    codes: NDArray[np.uint8] = ENCODE[LAWS.index(law)][samples.astype(np.uint16)]
    return codes.tobytes()


def decode(payload: bytes, law: Law) -> Samples:
    """Decode a payload."""
    samples: Samples = DECODE[LAWS.index(law)][np.frombuffer(payload, dtype=np.uint8)]
    return samples
