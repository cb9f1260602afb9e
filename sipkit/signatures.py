r"""Is this webhook really from Vonage, fresh, and for this very request?

Vonage signs each webhook with the account's signature secret: `Authorization: Bearer <JWT>`, HS256,
with the claims iat, jti, iss ("Vonage"), payload_hash, api_key and application_id
(developer.vonage.com, "Signed webhooks"). The one algorithm that is accepted is HMAC-SHA-256, whatever a token says of
itself, so there is nothing in it for a library of many algorithms to choose from (tests compare with PyJWT). A token
stays good for five minutes and only for the same body; that the same request sent twice has one effect is the business
of `sipkit.replays`.

The payload hash, hex SHA-256:
    POST  of the body as received, byte by byte;
    GET   of the query parameters as compact JSON, in the order of the URL, as JavaScript's
          `JSON.stringify` writes the object: no space after comma and colon, and letters outside ASCII as
          themselves (UTF-8), not as \uXXXX. In Python `json.dumps(dict(parameters),
          separators=(",", ":"), ensure_ascii=False)`. All values are strings.
"""

import base64
import functools
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sipkit.errors import SignatureRefused

ISSUER: Final = "Vonage"
MAX_AGE: Final = 300.0
"""Seconds after which a signature is too old."""

CLOCK_LEEWAY: Final = 30.0
"""Seconds the platform's clock may be ahead of ours."""

MAX_HEADER_LENGTH: Final = 8192
_ID: Final = re.compile(r"[!-~]{1,100}")  # a UUID at Vonage; what is longer or unprintable is no database's key
REQUIRED_CLAIMS: Final = ("iat", "jti", "iss", "payload_hash", "api_key", "application_id")

_NUMBERS: Final = (int, float)  # and not bool, which is an int of a kind

_compact_json: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

_COMPACT: Final = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
"""Header, payload and signature, each in base64url without padding (RFC 7515, 7.1 and section 2)."""


def verify(
    authorization: str | None,
    *,
    secret: str,
    method: str,
    body: bytes,
    query: Sequence[tuple[str, str]],
    api_key: str,
    application_id: str | None,
    now: float,
) -> dict[str, Any]:
    """Check the signature of a webhook request.

    Args:
        authorization: The header of that name, or None.
        secret: The account's signature secret.
        method: ``GET`` or ``POST``.
        body: As received. Not looked at for GET.
        query: The decoded query parameters in their order. Not looked at for POST.
        api_key: The account's API key, which the token must name.
        application_id: The application the token must name, or None or "" if it is not known.
        now: Seconds since 1970.

    Returns:
        The claims.

    Raises:
        SignatureRefused: With the reason, which never holds the token.
    """
    claims = _signed_claims(authorization, secret)
    missing = [name for name in REQUIRED_CLAIMS if name not in claims]
    if missing:
        raise SignatureRefused(f"The token lacks {', '.join(missing)}.")
    _check_time(claims, now)
    if claims["iss"] != ISSUER:
        raise SignatureRefused("The token was not issued by Vonage.")
    if not isinstance(claims["jti"], str) or not _ID.fullmatch(claims["jti"]):
        raise SignatureRefused("The token has no proper id.")
    if "aud" in claims:  # Vonage's have none; one meant for somebody is not for us (RFC 7519, 4.1.3)
        raise SignatureRefused("The token is meant for somebody else.")
    if not _same(claims["api_key"], api_key):
        raise SignatureRefused("The token is for another account.")
    if application_id and not _same(claims["application_id"], application_id):
        raise SignatureRefused("The token is for another application.")
    if not _same(claims["payload_hash"], payload_hash(method, body, query)):
        raise SignatureRefused("The token is for another body or query.")
    return claims


def payload_hash(method: str, body: bytes, query: Sequence[tuple[str, str]]) -> str:
    """Return the hash that the token of such a request must carry; see the module's text.

    Raises:
        SignatureRefused: If a query parameter is there twice: which of them was signed?
    """
    if method == "POST":
        return hashlib.sha256(body).hexdigest()
    parameters = dict(query)
    if len(parameters) != len(query):
        raise SignatureRefused("A query parameter is there twice.")
    return hashlib.sha256(_compact_json.encode(parameters).encode("utf-8", "surrogatepass")).hexdigest()


def _signed_claims(authorization: str | None, secret: str) -> dict[str, Any]:
    """Return what the token says, once its signature is known to be right."""
    if not secret:
        # An empty key would verify what anybody signs with an empty key.
        raise SignatureRefused("There is no signature secret to check with.")
    scheme, _, token = (authorization or "").strip().partition(" ")
    if not token or scheme.lower() != "bearer":
        raise SignatureRefused("The request is not signed.")
    if len(token) > MAX_HEADER_LENGTH:
        raise SignatureRefused("The token is too long.")
    parts = _COMPACT.fullmatch(token.strip())
    if parts is None or not _signed(*parts.groups(), secret=secret):
        raise SignatureRefused("The token is malformed or signed with another secret.")
    header, payload, _signature = parts.groups()
    try:
        accepted, claims = _accepted(header), json.loads(_decoded(payload))
    except (ValueError, RecursionError):
        raise SignatureRefused("The token is malformed or signed with another secret.") from None
    if not accepted:
        raise SignatureRefused("The token is of a kind that is not accepted.")
    if not isinstance(claims, dict):
        raise SignatureRefused("The token holds no claims.")
    return claims


@functools.lru_cache(maxsize=16)  # the platform writes the same one each time; a stranger's never comes here
def _accepted(header: str) -> bool:
    """Tell whether a token of this header is of the one kind that is accepted.

    What is critical to whoever made the token would have to be understood (RFC 7515, 4.1.11), and nothing is; nor is
    a payload that is signed without base64 (RFC 7797).

    Raises:
        ValueError, RecursionError: If it is no JSON.
    """
    about = json.loads(_decoded(header))
    kind = isinstance(about, dict) and about.get("alg") == "HS256"
    return kind and "crit" not in about and about.get("b64") is not False


def _signed(header: str, payload: str, signature: str, *, secret: str) -> bool:
    """Tell, in constant time, whether this is the signature of header and payload (RFC 7515, 5.2).

    Compared as text, so that there is one way only to write it: the last letter's spare bits have to be 0.
    """
    mac = hmac.digest(secret.encode(), f"{header}.{payload}".encode("ascii"), "sha256")
    return hmac.compare_digest(base64.urlsafe_b64encode(mac).rstrip(b"="), signature.encode("ascii"))


def _decoded(part: str) -> str:
    """Decode base64url to UTF-8 text.

    Raises:
        ValueError: If it is neither.
    """
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    """Refuse tokens that are stale, expired, or from a clock far ahead (RFC 7519, 4.1.4 to 4.1.6)."""
    signed, begins, ends = claims["iat"], claims.get("nbf", now), claims.get("exp", now)
    if not all(type(value) in _NUMBERS for value in (signed, begins, ends)):
        raise SignatureRefused("The token's times are not numbers.")
    # Written so that NaN, which JSON parsers let through, is refused too.
    if not signed >= now - MAX_AGE or not ends >= now - CLOCK_LEEWAY:
        raise SignatureRefused("The token is too old.")
    if not signed <= now + CLOCK_LEEWAY or not begins <= now + CLOCK_LEEWAY:
        raise SignatureRefused("The token is from the future; is this machine's clock right?")


def _same(claimed: Any, wanted: str) -> bool:
    """Compare in constant time; what is no text is never the same."""
    return isinstance(claimed, str) and hmac.compare_digest(
        claimed.encode("utf-8", "replace"), wanted.encode("utf-8", "replace")
    )
