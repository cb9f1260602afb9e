"""The carrier's line to the platform: where it is, and the account that phones call with."""

import ssl
from dataclasses import dataclass

from sipkit.sandbox.sip.digest import DigestClient


@dataclass(frozen=True)
class Line:
    """What a phone needs to call.

    Attributes:
        ports: the platform's SIP ports on this machine, by transport.
        tls: verifies the platform's certificate.
        credentials: the carrier's digest account.
    """

    ports: dict[str, int]
    tls: ssl.SSLContext
    credentials: DigestClient
