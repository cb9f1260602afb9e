"""T1 session tokens: what OpenTok's servers made before session tokens were JWTs.

`T1==` and the base64 of `partner_id=KEY&sig=HEX:FIELDS`, where FIELDS is a form and HEX the HMAC-SHA1 of it under the
project's secret (opentok 3.15 `generate_token(use_jwt=False)`; OpenTok, "Creating a token"). The SDKs still make them
and the platform still takes them, so they are taken here, but only exactly so. What makes a field wrong is assumed
where the documents only say what a right one is.
"""

import base64
import hashlib
import hmac
import re
from typing import Any
from urllib.parse import parse_qsl

SENTINEL = "T1=="
DEFAULT_SECONDS = 86_400
"""Life of a token without `expire_time`: "the default is 24 hours"."""

_PAYLOAD = re.compile(r"partner_id=(?P<key>[^&:]+)&sig=(?P<signature>[0-9a-f]{40}):(?P<fields>.+)", re.DOTALL)
_REQUIRED = frozenset({"session_id", "create_time", "role", "nonce"})
_KNOWN = _REQUIRED | {"expire_time", "connection_data", "initial_layout_class_list"}
_TIME = re.compile(r"[0-9]{1,12}")


class T1Refused(ValueError):
    """The token opens nothing; the text says why and never repeats it."""


def read_t1(token: str, key: str, secret: str) -> dict[str, Any]:
    """Verify a token of the project `key`; returns its claims under the names that a JWT has for them.

    Raises:
        T1Refused: it is malformed, of another project, or not signed with `secret`.
    """
    try:
        payload = base64.b64decode(token.removeprefix(SENTINEL), validate=True).decode()
    except ValueError:
        raise T1Refused("Invalid token") from None
    match = _PAYLOAD.fullmatch(payload)
    if match is None:
        raise T1Refused("Invalid token")
    if match["key"] != key:
        raise T1Refused("Issuer not found")
    signature = hmac.new(secret.encode(), match["fields"].encode(), hashlib.sha1).hexdigest()
    if not hmac.compare_digest(signature, match["signature"]):
        raise T1Refused("Invalid signature")
    return _claims(match["fields"])


def _claims(fields: str) -> dict[str, Any]:
    """Read signed fields; each may stand there once."""
    try:
        pairs = parse_qsl(fields, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise T1Refused("Invalid token") from None
    form = dict(pairs)
    if len(form) < len(pairs) or form.keys() - _KNOWN:
        raise T1Refused("Invalid token")
    missing = sorted(_REQUIRED - form.keys())
    if missing:
        raise T1Refused(f"The token has no {missing[0]}")
    created = _time(form["create_time"])
    return {
        "session_id": form["session_id"],
        "role": form["role"],
        "iat": created,
        "exp": _time(form["expire_time"]) if "expire_time" in form else created + DEFAULT_SECONDS,
        "connection_data": form.get("connection_data", ""),
    }


def _time(text: str) -> int:
    if not _TIME.fullmatch(text):
        raise T1Refused("Invalid token")
    return int(text)
