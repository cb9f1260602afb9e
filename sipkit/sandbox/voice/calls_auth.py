"""Whose request it is: the application JWT of the Voice API ("Authentication" of the developer documents)."""

import jwt
from aiohttp import web

from sipkit.sandbox.rest import Refusal
from sipkit.sandbox.voice.application import Applications

LEEWAY = 60
"""Seconds a client's clock may be ahead (assumed)."""


def application_of(request: web.Request, applications: Applications) -> str:
    """Verify the request's JWT; returns the id of its application.

    Raises:
        Refusal: 401, there is none, or it is not signed by an application of the account.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise jwt.InvalidTokenError("no bearer token")
        named = jwt.decode(token, options={"verify_signature": False}).get("application_id")
        owner = applications.find(named) if isinstance(named, str) else None
        if owner is None:
            raise jwt.InvalidTokenError("no such application")
        required = ["iat", "jti", "application_id"]
        jwt.decode(token, owner.public_key, algorithms=["RS256"], options={"require": required}, leeway=LEEWAY)
    except (jwt.PyJWTError, ValueError):
        raise Refusal(401, "The request needs a valid JWT of an application.") from None
    return owner.id
