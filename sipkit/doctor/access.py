"""Checks of the way in: the clock, and whether each API really accepts its credentials.

Nothing here costs money: a session without connections is not billed, and everything else only reads.
"""

import time
from typing import Any, Final
from uuid import uuid4

from sipkit.doctor.finding import Finding, failure, ok, skipped, warning
from sipkit.doctor.patient import Patient
from sipkit.errors import AuthenticationRefused, SipkitError

CLOCK_WARNING: Final = 5.0
"""Seconds; a `Date` header counts whole seconds and travels a while, so less means nothing."""

CLOCK_FAILURE: Final = 30.0
"""Seconds; our own leeway for webhooks, and Vonage refuses tokens from the future."""

TOKEN_SECONDS: Final = 60
_SET_CLOCK = "Switch the time service on: timedatectl set-ntp true (or set the clock in the system's settings)."
_ACCOUNT_KEYS = (
    "Compare VOICE_API_KEY and VOICE_API_SECRET in .env with the dashboard (API settings): "
    "they are the account's, not an application's."
)
_NEW_KEY = (
    "In the dashboard, open the application, generate a public and private key, save it, "
    "and put the downloaded file's path into .env as VONAGE_PRIVATE_KEY."
)


def clock(patient: Patient) -> Finding:
    """Is this machine's clock right, as the platform's `Date` header tells? Tokens and signatures hang on it."""
    skew = patient.application().skew
    if skew is None:
        return skipped("clock", f"The API tells no time: {patient.application().saw}.")
    off = max(0.0, abs(skew) - 1.0)  # the header has no fractions of a second
    way = "ahead" if skew > 0 else "behind"
    if off >= CLOCK_FAILURE:
        return failure("clock", f"This machine's clock is {off:.0f} s {way}: tokens will be refused.", _SET_CLOCK)
    if off >= CLOCK_WARNING:
        return warning("clock", f"This machine's clock is {off:.0f} s {way}.", _SET_CLOCK)
    return ok("clock", f"at most {off + 1:.0f} s off")


def video_project(patient: Patient) -> Finding:
    """Does the video side accept its credentials? Asked by creating a session, as every room does."""
    try:
        patient.video().create_session()
    except AuthenticationRefused as error:
        return failure("video credentials", error.message, error.fix)
    except SipkitError as error:
        return failure("video credentials", f"They could not be tried: {error.message}", error.fix)
    return ok("video credentials", "accepted: a session was created")


def account_key(patient: Patient) -> Finding:
    """Does the Account API accept the account's key and secret? They are the SIP password, too."""
    answer = patient.balance()
    if answer.good:
        return ok("account credentials", "accepted by the Account API")
    if answer.refused:
        return failure("account credentials", "The Account API refuses the account's key and secret.", _ACCOUNT_KEYS)
    if patient.application().good:
        return ok("account credentials", "accepted by the Application API")
    fix = "Check the network connection (and a proxy, if you need one), then try again."
    return failure("account credentials", f"The Account API could not be asked: {answer.saw}.", fix)


def application_key(patient: Patient) -> Finding:
    """Does the private key belong to the application? Asked for real: a token of it reads the list of calls."""
    check = "application key pair"
    pem = patient.account.private_key.get_secret_value()
    if not pem:
        return skipped(check, "VONAGE_PRIVATE_KEY is not set; only the unified video environment needs it.")
    token = application_token(patient.account.application_id, pem)
    if token is None:
        return failure(check, "VONAGE_PRIVATE_KEY is no RSA private key in PEM.", _NEW_KEY)
    matches = _matches(pem, patient.application().body.get("keys"))
    if matches is False:
        return failure(check, "VONAGE_PRIVATE_KEY belongs to another application or to an older key pair.", _NEW_KEY)
    answer = patient.ask(patient.account.voice_api_url, "/v1/calls", {"page_size": "1"}, bearer=token)
    if answer.good:
        return ok(check, "accepted by the Voice API")
    if answer.refused:
        return failure(check, "The Voice API refuses a token of this key for this application.", _NEW_KEY)
    if matches:
        return ok(check, "belongs to the application's public key")
    return failure(check, f"The Voice API could not be asked: {answer.saw}.", "Try again in a minute.")


def application_token(application_id: str, pem: str) -> str | None:
    """Make an application's JWT (RS256; developer.vonage.com, "JSON Web Tokens"); None if `pem` is no such key."""
    import jwt

    now = int(time.time())
    claims = {"application_id": application_id, "iat": now, "exp": now + TOKEN_SECONDS, "jti": str(uuid4())}
    try:
        return jwt.encode(claims, pem, algorithm="RS256")
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _matches(pem: str, keys: Any) -> bool | None:
    """Whether a private key belongs to the application's public key; None if that is not known."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    known = keys.get("public_key") if isinstance(keys, dict) else None
    if not isinstance(known, str):
        return None
    try:
        return load_pem_private_key(pem.encode(), None).public_key() == load_pem_public_key(known.encode())
    except (ValueError, TypeError):
        return None
