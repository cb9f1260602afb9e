"""The lines between the carrier and the platform, both ways: where each is, and the account that opens it."""

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


@dataclass(frozen=True)
class Carrier:
    """How the platform reaches the carrier's phones, and verifies SIP endpoints.

    Attributes:
        port: UDP port of the phones.
        credentials: the account the carrier knows the platform by.
        tls: verifies an endpoint's certificate.
    """

    port: int
    credentials: DigestClient
    tls: ssl.SSLContext
