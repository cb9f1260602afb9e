"""Are the callers who they say? The two kinds of JWT of the video side, really verified.

A project's server signs each REST request (header X-OPENTOK-AUTH); it also makes the session tokens with
which clients, the SIP leg among them, come into a session. Both are HS256 with the project's secret
(OpenTok REST reference, "Authentication"; opentok 3.15 `generate_token`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import jwt

from sipkit.sandbox.home import Credentials
from sipkit.sandbox.rest import Refusal

MAX_REQUEST_SECONDS = 300
"""From `iat` to `exp` of X-OPENTOK-AUTH: "the maximum allowed expiration time range is 5 minutes"."""

MAX_TOKEN_SECONDS = 30 * 86_400
MAX_DATA_CHARACTERS = 1000
CLOCK_LEEWAY_SECONDS = 5  # assumed; clocks on one machine agree, and Vonage documents none

ROLES = frozenset({"subscriber", "publisher", "publisheronly", "moderator"})
DIALLING_ROLES = frozenset({"publisher", "moderator"})
"""Assumed: the SIP leg both publishes and subscribes, which of the roles only these two may."""


@dataclass(frozen=True)
class SessionToken:
    """What a verified session token says."""

    session_id: str
    role: str
    data: str


def verify_request(headers: Mapping[str, str], credentials: Credentials) -> None:
    """Let only requests of the project's server pass.

    Raises:
        Refusal: 403, X-OPENTOK-AUTH is missing or is not a fresh JWT of this project.
    """
    token = headers.get("X-OPENTOK-AUTH")
    if not token:
        raise _forbidden("Missing X-OPENTOK-AUTH header")
    claims = _decode(token, credentials, required=("iss", "ist", "iat", "exp"))
    if claims["ist"] != "project":
        raise _forbidden("Invalid ist claim: this API takes project tokens")
    if claims["exp"] - claims["iat"] > MAX_REQUEST_SECONDS:
        raise _forbidden("Expiration is more than 5 minutes after the issue time")


def verify_session_token(token: str, session_id: str, credentials: Credentials) -> SessionToken:
    """Read a session token that is to open `session_id`.

    Raises:
        Refusal: 403, it is forged, expired, of another project or session, or not a JWT.
    """
    if token.startswith("T1=="):
        raise _forbidden("T1 tokens are not in the sandbox yet: make a JWT (generate_token's default)")
    claims = _decode(token, credentials, required=("iss", "ist", "iat", "exp", "session_id", "role", "scope"))
    if claims["ist"] != "project" or claims["scope"] != "session.connect":
        raise _forbidden("The token does not open sessions")
    if claims["session_id"] != session_id:
        raise _forbidden("The token is for another session")
    if claims["exp"] - claims["iat"] > MAX_TOKEN_SECONDS:
        raise _forbidden("The token lives longer than 30 days")
    if claims["role"] not in ROLES:
        raise _forbidden("The token's role is unknown")
    data = claims.get("connection_data", "")
    if not isinstance(data, str) or len(data) > MAX_DATA_CHARACTERS:
        raise _forbidden("The token's connection data is longer than 1000 characters")
    return SessionToken(session_id, claims["role"], data)


def _decode(token: str, credentials: Credentials, required: tuple[str, ...]) -> dict[str, Any]:
    """Check what both kinds share: algorithm, signature, issuer, times.

    The texts are those seen from OpenTok where one was recorded ("Invalid signature", "Issuer not found"),
    the rest are assumed. No text repeats the token.
    """
    if not token.isascii():  # PyJWT would fail on a lone surrogate with another error than its own
        raise _forbidden("Invalid token")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            credentials.video_api_secret,
            algorithms=["HS256"],
            issuer=credentials.video_api_key,
            options={"require": list(required)},
            leeway=CLOCK_LEEWAY_SECONDS,
        )
    except jwt.ExpiredSignatureError:
        raise _forbidden("Token expired") from None
    except jwt.InvalidIssuerError:
        raise _forbidden("Issuer not found") from None
    except jwt.InvalidSignatureError:
        # A JWT of another project has another secret: its issuer is the truer reason.
        ours = _issuer(token) == credentials.video_api_key
        raise _forbidden("Invalid signature" if ours else "Issuer not found") from None
    except jwt.ImmatureSignatureError:
        raise _forbidden("The token's issue time is in the future") from None
    except jwt.MissingRequiredClaimError as error:
        raise _forbidden(f"The token has no {error.claim} claim") from None
    except jwt.InvalidTokenError:
        raise _forbidden("Invalid token") from None
    if type(claims["iat"]) not in {int, float} or type(claims["exp"]) not in {int, float}:
        raise _forbidden("Invalid token")
    return claims


def _issuer(token: str) -> Any:
    return jwt.decode(token, options={"verify_signature": False}).get("iss")


def _forbidden(text: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, text)
