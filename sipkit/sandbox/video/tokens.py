"""Are the callers who they say? The JWTs of the video side, really verified.

A project's server signs each REST request; it also makes the session tokens with which clients, the SIP leg among
them, come into a session. There are two environments with one way each:

* OpenTok: HS256 with the project's secret; requests carry X-OPENTOK-AUTH (OpenTok REST reference, "Authentication";
  opentok 3.15 `generate_token`). Session tokens may also be T1 (see `t1`).
* Unified: RS256 with the application's private key; requests carry Authorization: Bearer (Vonage, "Authentication",
  JWT; vonage-jwt 1.1 and vonage-video 1.6 `generate_client_token`; opentok's "Vonage mode").
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import jwt

from sipkit.sandbox.home import Home
from sipkit.sandbox.rest import Refusal
from sipkit.sandbox.video.session_id import project_of
from sipkit.sandbox.video.t1 import SENTINEL, T1Refused, read_t1

MAX_REQUEST_SECONDS = 300
"""From `iat` to `exp` of X-OPENTOK-AUTH: "the maximum allowed expiration time range is 5 minutes"."""
DEFAULT_BEARER_SECONDS = 900
MAX_BEARER_SECONDS = 86_400
"""Life of an application's JWT: 15 minutes when it has no `exp`, at most a day (Vonage, "Authentication", JWT)."""

MAX_TOKEN_SECONDS = 30 * 86_400
MAX_DATA_CHARACTERS = 1000
CLOCK_LEEWAY_SECONDS = 5  # assumed; clocks on one machine agree, and Vonage documents none

ROLES = frozenset({"subscriber", "publisher", "publisheronly", "moderator"})
DIALLING_ROLES = frozenset({"publisher", "moderator"})
"""Assumed: the SIP leg both publishes and subscribes, which of the roles only these two may."""
SESSION_PATHS = "/session/**"
"""The one path that the access list of a unified session token names (vonage-video's TokenOptions)."""


@dataclass(frozen=True)
class SessionToken:
    """What a verified session token says."""

    session_id: str
    role: str
    data: str


@dataclass(frozen=True)
class _Issuer:
    """Who signs JWTs of one environment, and how.

    Attributes:
        project: the project key or application id.
        claim: where a JWT names it.
    """

    project: str
    claim: str
    algorithm: str
    key: str = field(repr=False)


class Tokens:
    """Verifies every JWT that this home's project and application may sign."""

    def __init__(self, home: Home) -> None:
        known = home.credentials
        self._project = _Issuer(known.video_api_key, "iss", "HS256", known.video_api_secret)
        self._application = _Issuer(known.application_id, "application_id", "RS256", home.public_key())

    def verify_request(self, headers: Mapping[str, str]) -> str:
        """Let only requests of the project's server pass; returns for which project or application it speaks.

        Raises:
            Refusal: 403, or 401 for an application's JWT (assumed): it is missing, forged or not fresh.
        """
        token = headers.get("X-OPENTOK-AUTH")
        if token:
            return self._verify_project(token)
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return self._verify_application(token.strip())
        raise _forbidden("Missing X-OPENTOK-AUTH header")

    def verify_session_token(self, token: str, session_id: str) -> SessionToken:
        """Read a session token that is to open `session_id`.

        Raises:
            Refusal: 403, it is forged, expired, of another project or session, or neither a JWT nor a T1 token.
        """
        unified = project_of(session_id) == self._application.project
        if token.startswith(SENTINEL) and not unified:
            claims = self._read_t1(token)
        else:
            issuer = self._application if unified else self._project
            claims = _decode(token, issuer, required=("iat", "exp", "session_id", "role", "scope"))
            opens = _opens_unified(claims) if unified else _opens_opentok(claims)
            if claims["scope"] != "session.connect" or not opens:
                raise _forbidden("The token does not open sessions")
        if claims["session_id"] != session_id:
            raise _forbidden("The token is for another session")
        if claims["exp"] - claims["iat"] > MAX_TOKEN_SECONDS:
            raise _forbidden("The token lives longer than 30 days")
        if not isinstance(claims["role"], str) or claims["role"] not in ROLES:
            raise _forbidden("The token's role is unknown")
        data = claims.get("connection_data", "")
        if not isinstance(data, str) or len(data) > MAX_DATA_CHARACTERS:
            raise _forbidden("The token's connection data is longer than 1000 characters")
        return SessionToken(session_id, claims["role"], data)

    def _read_t1(self, token: str) -> dict[str, Any]:
        try:
            claims = read_t1(token, self._project.project, self._project.key)
        except T1Refused as error:
            raise _forbidden(str(error)) from None
        now = time.time()
        if claims["exp"] < now - CLOCK_LEEWAY_SECONDS:
            raise _forbidden("Token expired")
        if claims["iat"] > now + CLOCK_LEEWAY_SECONDS:
            raise _forbidden("The token's issue time is in the future")
        return claims

    def _verify_project(self, token: str) -> str:
        claims = _decode(token, self._project, required=("ist", "iat", "exp"))
        if claims["ist"] != "project":
            raise _forbidden("Invalid ist claim: this API takes project tokens")
        if claims["exp"] - claims["iat"] > MAX_REQUEST_SECONDS:
            raise _forbidden("Expiration is more than 5 minutes after the issue time")
        return self._project.project

    def _verify_application(self, token: str) -> str:
        claims = _decode(token, self._application, required=("iat", "jti"), status=HTTPStatus.UNAUTHORIZED)
        if "scope" in claims or "session_id" in claims:
            # Signed with the same key, and every page holds one: it must not open the server's API.
            raise _unauthorized("A session token does not open the API")
        if not isinstance(claims["jti"], str) or not claims["jti"] or claims.get("ist", "project") != "project":
            raise _unauthorized("Invalid token")
        if claims["exp"] - claims["iat"] > MAX_BEARER_SECONDS:
            raise _unauthorized("Expiration is more than 24 hours after the issue time")
        return self._application.project


def _opens_opentok(claims: dict[str, Any]) -> bool:
    return bool(claims.get("ist") == "project")


def _opens_unified(claims: dict[str, Any]) -> bool:
    """Has it what the SDKs' tokens have: an access list, an id, a subject (`sub` in Node's, `subject` in Python's)?"""
    acl = claims.get("acl")
    paths = acl.get("paths") if isinstance(acl, dict) else None
    named = isinstance(claims.get("jti"), str) and bool(claims["jti"])
    subject = claims.get("subject", claims.get("sub"))
    return named and subject == "video" and isinstance(paths, dict) and SESSION_PATHS in paths


def _decode(
    token: str, issuer: _Issuer, required: tuple[str, ...], status: HTTPStatus = HTTPStatus.FORBIDDEN
) -> dict[str, Any]:
    """Check what all kinds share: algorithm, signature, issuer, times.

    The texts are those seen from OpenTok where one was recorded ("Invalid signature", "Issuer not found"),
    the rest are assumed. No text repeats the token.

    Raises:
        Refusal: with `status`.
    """

    def refused(text: str) -> Refusal:
        return Refusal(status, text)

    if not token.isascii():  # PyJWT would fail on a lone surrogate with another error than its own
        raise refused("Invalid token")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            issuer.key,
            algorithms=[issuer.algorithm],
            options={"require": [issuer.claim, *required]},
            leeway=CLOCK_LEEWAY_SECONDS,
        )
    except jwt.ExpiredSignatureError:
        raise refused("Token expired") from None
    except jwt.InvalidSignatureError:
        # A JWT of another project has another secret: its issuer is the truer reason.
        ours = jwt.decode(token, options={"verify_signature": False}).get(issuer.claim) == issuer.project
        raise refused("Invalid signature" if ours else "Issuer not found") from None
    except jwt.ImmatureSignatureError:
        raise refused("The token's issue time is in the future") from None
    except jwt.MissingRequiredClaimError as error:
        raise refused(f"The token has no {error.claim} claim") from None
    except (jwt.InvalidTokenError, OverflowError):  # the latter: a time of infinity
        raise refused("Invalid token") from None
    if claims[issuer.claim] != issuer.project:
        raise refused("Issuer not found")
    if not _is_time(claims["iat"]) or not _is_time(claims.setdefault("exp", claims["iat"] + DEFAULT_BEARER_SECONDS)):
        raise refused("Invalid token")
    if claims["exp"] < time.time() - CLOCK_LEEWAY_SECONDS:
        raise refused("Token expired")
    return claims


def _is_time(value: Any) -> bool:
    return type(value) in {int, float}


def _forbidden(text: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, text)


def _unauthorized(text: str) -> Refusal:
    return Refusal(HTTPStatus.UNAUTHORIZED, text)
