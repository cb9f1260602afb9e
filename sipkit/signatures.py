r"""Is this webhook really from Vonage, fresh, and for this very request?

Vonage signs each webhook with the account's signature secret: `Authorization: Bearer <JWT>`, HS256,
with the claims iat, jti, iss ("Vonage"), payload_hash, api_key and application_id
(developer.vonage.com, "Signed webhooks"). The library checks the signature; all that makes the
signature mean something is checked here. A token stays good for five minutes and only for the
same body; that the same request sent twice has one effect is the business of `sipkit.replays`.

The payload hash, hex SHA-256:
    POST  of the body as received, byte by byte;
    GET   of the query parameters as compact JSON, in the order of the URL, as JavaScript's
          `JSON.stringify` writes the object: no space after comma and colon, and letters outside ASCII as
          themselves (UTF-8), not as \uXXXX. In Python `json.dumps(dict(parameters),
          separators=(",", ":"), ensure_ascii=False)`. All values are strings.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jwt.algorithms import HMACAlgorithm
from jwt.api_jws import PyJWS

from sipkit.errors import SignatureRefused

ISSUER: Final = "Vonage"
MAX_AGE: Final = 300.0
"""Seconds after which a signature is too old."""

CLOCK_LEEWAY: Final = 30.0
"""Seconds the platform's clock may be ahead of ours."""

MAX_HEADER_LENGTH: Final = 8192
_ID: Final = re.compile(r"[!-~]{1,100}")  # a UUID at Vonage; what is longer or unprintable is no database's key
REQUIRED_CLAIMS: Final = ("iat", "jti", "iss", "payload_hash", "api_key", "application_id")


class _Hs256(HMACAlgorithm):
    """HMAC-SHA-256 that does not warn about short secrets: the dashboard chose it, not we."""

    def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002 - the library's signature
        return None


_jws = PyJWS(algorithms=[])
_jws.register_algorithm("HS256", _Hs256(_Hs256.SHA256))


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
    text = json.dumps(parameters, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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
    try:
        decoded = _jws.decode_complete(token.strip(), secret, algorithms=["HS256"])
        claims = json.loads(decoded["payload"])
    except Exception:  # noqa: BLE001 - whatever a forged token makes the parsers raise, it is refused
        raise SignatureRefused("The token is malformed or signed with another secret.") from None
    if not isinstance(claims, Mapping):
        raise SignatureRefused("The token holds no claims.")
    return dict(claims)


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    """Refuse tokens that are stale, expired, or from a clock far ahead (RFC 7519, 4.1.4 to 4.1.6)."""
    times = {name: claims[name] for name in ("iat", "nbf", "exp") if name in claims}
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in times.values()):
        raise SignatureRefused("The token's times are not numbers.")
    # Written so that NaN, which JSON parsers let through, is refused too.
    if not times["iat"] >= now - MAX_AGE or not times.get("exp", now) >= now - CLOCK_LEEWAY:
        raise SignatureRefused("The token is too old.")
    if not times["iat"] <= now + CLOCK_LEEWAY or not times.get("nbf", now) <= now + CLOCK_LEEWAY:
        raise SignatureRefused("The token is from the future; is this machine's clock right?")


def _same(claimed: Any, wanted: str) -> bool:
    """Compare in constant time; what is no text is never the same."""
    return isinstance(claimed, str) and hmac.compare_digest(
        claimed.encode("utf-8", "replace"), wanted.encode("utf-8", "replace")
    )
