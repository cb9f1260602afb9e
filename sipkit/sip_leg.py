"""What a dial says, in either video environment: where the SIP leg goes, as whom, and by which headers it is known.

Both environments take the same JSON for it (OpenTok REST, "SIP Interconnect"; Video OpenAPI 0.3.2, /dial).
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sipkit.errors import DialRefused

if TYPE_CHECKING:
    from sipkit.cloud import Account

SIP_HOST = "sip.nexmo.com"
"""Where the Voice API takes calls for its numbers (Vonage, Programmable SIP: "SIP connect")."""

DIAL_HEADER = "X-Sipkit-Dial"
"""Carries a dial's nonce. The Voice API hands each X- header of a SIP leg to the answer webhook as SipHeader_X-...
(Voice API, webhook reference), so the leg can be told from any other leg into the same session."""


def dial_headers(nonce: str) -> dict[str, str]:
    """Return the headers that a dial with this nonce carries; none without one."""
    return {DIAL_HEADER: nonce} if nonce else {}


class SipLeg:
    """Builds what is dialled for one account.

    Args:
        account: Conference number, and the Voice API's key and secret, which are the SIP user and password.
    """

    def __init__(self, account: "Account") -> None:
        self._account = account

    @property
    def sip_uri(self) -> str:
        """The address the platform dials: the conference number at the Voice API, signalling over TLS."""
        return f"sip:{self._account.conference_number}@{SIP_HOST};transport=tls"

    def sip_token(self, session_id: str) -> str:
        """Make the token the SIP leg enters the session with: a publisher whose data says that it is SIP.

        The data is the tutorial's, as valid JSON, so that web clients can tell the bridge from people.
        """
        number = self._account.conference_number
        return self.token(session_id, data=json.dumps({"sip": True, "role": "client", "name": number}))

    def token(self, session_id: str, role: str = "publisher", data: str = "", expires_in: float = 3600.0) -> str:
        """Make a token for one client of a session; each environment has its own kind."""
        raise NotImplementedError

    def sip_options(self, *, secure: bool = False, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Build the options of a dial, as the platform takes them.

        Args:
            secure: Encrypt the audio too (SRTP). `transport=tls` in the address protects signalling only.
            headers: Extra SIP headers; names start with X- and not with X-Nexmo, which the Voice API keeps.

        Raises:
            DialRefused: A header the Voice API would not hand on.
        """
        for name in headers or {}:
            if not re.fullmatch(r"X-(?!Nexmo)[A-Za-z0-9-]+", name, re.IGNORECASE):
                raise DialRefused(
                    f"The SIP header {name!r} would not reach the webhooks.",
                    "Use names that start with X- and not with X-Nexmo.",
                )
        return {
            "from": f"{self._account.conference_number}@{SIP_HOST}",
            "headers": dict(headers or {}),
            "auth": {
                "username": self._account.voice_api_key,
                "password": self._account.voice_api_secret.get_secret_value(),
            },
            "secure": secure,
        }
