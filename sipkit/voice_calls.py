"""Hang up one leg of the phone side by the Voice API: for a leg whose connection id the video side never told.

``PUT /v1/calls/{uuid} {"action": "hangup"}`` with the application's JWT (Voice API reference, "Modify an in-progress
call"). One request is sent and never repeated: whether the leg is gone is asked elsewhere anyway, of the video side's
connections, so a lost answer costs nothing.
"""

import time
import uuid as uuids
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from sipkit.errors import AuthenticationRefused, PlatformUnreachable
from sipkit.refusals import TIMEOUT, proxies_for

if TYPE_CHECKING:
    from sipkit.cloud import Account

JWT_SECONDS = 60
"""How long the request's JWT is good; it is sent at once."""


def can_hang_up(account: "Account") -> bool:
    """Tell whether the account has what the Voice API asks for: an application's id and its private key."""
    return bool(account.application_id and account.private_key.get_secret_value())


def hanging_up(account: Callable[[], "Account"]) -> Callable[[str], bool | None]:
    """Return what hangs up a leg by its uuid, with the account as it is then; it says None without a key."""

    def hang_up(leg_uuid: str) -> bool | None:
        now = account()
        return hang_up_leg(now, leg_uuid) if can_hang_up(now) else None

    return hang_up


def hang_up_leg(account: "Account", leg_uuid: str) -> bool:
    """Hang up a leg of the application.

    Args:
        account: Whose application; its id and private key.
        leg_uuid: The leg, as its webhooks name it.

    Returns:
        True if it was told to end; False if the platform knows no such leg, or none that is up.

    Raises:
        AuthenticationRefused: The application's id or key is wrong.
        PlatformUnreachable: No answer, or that of a broken platform; the leg may still be up.
    """
    import requests

    address = f"{account.voice_api_url.rstrip('/')}/v1/calls/{leg_uuid}"
    try:
        answer = requests.put(
            address,
            json={"action": "hangup"},
            headers={"Authorization": f"Bearer {application_jwt(account)}"},
            verify=account.ca_file or True,
            proxies=proxies_for(address),
            timeout=TIMEOUT,
        )
        status = answer.status_code
    except requests.RequestException:
        status = 0
    # Raised here and not where it was caught: a library's exception carries the request and its JWT.
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise AuthenticationRefused(
            "The Voice API refused the application's credentials.",
            "Check VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY in .env (dashboard, Applications).",
        )
    if status == 0 or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        saw = f"it answered HTTP {status}" if status else "no answer came"
        raise PlatformUnreachable(f"The Voice API could not hang up the leg: {saw}.")
    return status < HTTPStatus.BAD_REQUEST


def application_jwt(account: "Account") -> str:
    """Make the JWT by which the application's owner is known (RS256; Vonage, "Authentication", JWT)."""
    import jwt

    now = int(time.time())
    claims = {"application_id": account.application_id, "iat": now, "exp": now + JWT_SECONDS}
    return jwt.encode({**claims, "jti": str(uuids.uuid4())}, account.private_key.get_secret_value(), "RS256")
