"""What is done to one leg of the phone side by the Voice API: hang up, mute, move, speak, play; and which legs are up.

``PUT /v1/calls/{uuid}`` with the application's JWT (Voice API reference, "Modify an in-progress call", "Play text to
speech to an in-progress call", "Play an audio file to an in-progress call"). A request is sent once and never
repeated: each of them leaves the leg as it was if it is lost, and who asked is told so. ``GET /v1/calls`` lists the
application's calls.
"""

import time
import uuid as uuids
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from sipkit.errors import AuthenticationRefused, PlatformError, PlatformUnreachable
from sipkit.orphans import Call
from sipkit.refusals import TIMEOUT, proxies_for

if TYPE_CHECKING:
    import requests

    from sipkit.cloud import Account
    from sipkit.ncco import Ncco

JWT_SECONDS = 60
"""How long the request's JWT is good; it is sent at once."""

GONE: Final = frozenset(
    {"busy", "cancelled", "completed", "disconnected", "failed", "rejected", "timeout", "unanswered"}
)
"""Statuses after which a leg is no more."""

_PAGE = 100  # the most that one answer holds (Voice OpenAPI 1.10.0)


def can_call(account: "Account") -> bool:
    """Tell whether the account has what the Voice API asks for: an application's id and its private key."""
    return bool(account.application_id and account.private_key.get_secret_value())


def hanging_up(account: Callable[[], "Account"]) -> Callable[[str], bool | None]:
    """Return what hangs up a leg by its uuid, with the account as it is then; it says None without a key."""

    def hang_up(leg_uuid: str) -> bool | None:
        now = account()
        return hang_up_leg(now, leg_uuid) if can_call(now) else None

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
    return _put(account, leg_uuid, {"action": "hangup"}, "hang up the leg")


def mute_leg(account: "Account", leg_uuid: str, *, on: bool) -> bool:
    """Let nobody hear a leg, or everybody again; returns and raises as `hang_up_leg`."""
    return _put(account, leg_uuid, {"action": "mute" if on else "unmute"}, "mute the leg" if on else "unmute the leg")


def transfer_leg(account: "Account", leg_uuid: str, document: "Ncco") -> bool:
    """Let a leg execute another call document from now on; returns and raises as `hang_up_leg`."""
    destination = {"type": "ncco", "ncco": document}
    return _put(account, leg_uuid, {"action": "transfer", "destination": destination}, "move the leg")


def speak_to_leg(account: "Account", leg_uuid: str, text: str, language: str = "en-US", style: int = 0) -> bool:
    """Say something to a leg, which nobody else hears; returns and raises as `hang_up_leg`."""
    body = {"text": text, "language": language, "style": style}
    return _put(account, leg_uuid, body, "speak to the leg", "/talk")


def play_to_leg(account: "Account", leg_uuid: str, url: str) -> bool:
    """Play a sound file once to a leg, which nobody else hears; returns and raises as `hang_up_leg`."""
    return _put(account, leg_uuid, {"stream_url": [url]}, "play to the leg", "/stream")


def calls_up(account: "Account", before_each: Callable[[], None]) -> list[Call]:
    """List the application's legs that are answered, whoever brought them up.

    Args:
        account: Whose application; its id and private key.
        before_each: Called before each request: an answer holds a hundred of them at most.

    Raises:
        AuthenticationRefused, PlatformUnreachable: As for `hang_up_leg`.
    """
    found: list[Call] = []
    query = f"status=answered&page_size={_PAGE}"
    while query:
        before_each()
        told = _told(account, f"/v1/calls?{query}")
        try:
            found += [_call(each) for each in told["_embedded"]["calls"]]
            # The link's question and not an index of ours: SDKs differ in whether that counts calls or pages.
            query = urlsplit(told["_links"].get("next", {}).get("href", "")).query
        except (KeyError, TypeError, AttributeError):
            raise PlatformUnreachable("The Voice API could not list the calls: its answer makes no sense.") from None
    return found


def call_over(account: "Account", leg_uuid: str) -> dict[str, Any] | None:
    """Return what the platform says of a leg that has ended, nothing of one that it does not know; None if it is up.

    Raises:
        AuthenticationRefused, PlatformUnreachable: As for `hang_up_leg`.
    """
    answer = _ask(account, "GET", f"/v1/calls/{leg_uuid}", None, "show a call")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return {}
    try:
        told = answer.json() if answer.ok else None
    except ValueError:
        return None
    return told if isinstance(told, dict) and told.get("status") in GONE else None


def _call(told: dict[str, Any]) -> Call:
    ends = (told[name].get("number") for name in ("to", "from"))
    numbers = frozenset(str(number).lstrip("+") for number in ends if number)
    return Call(str(told["uuid"]), str(told["conversation_uuid"]), numbers)


def _told(account: "Account", path: str) -> dict[str, Any]:
    answer = _ask(account, "GET", path, None, "list the calls")
    try:
        told = answer.json() if answer.ok else None
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise PlatformUnreachable(f"The Voice API could not list the calls: it answered HTTP {answer.status_code}.")
    return told


def _put(account: "Account", leg_uuid: str, body: dict[str, Any], what: str, path: str = "") -> bool:
    """Send one request about a leg; False if the platform knows no such leg, or none that is up."""
    return _ask(account, "PUT", f"/v1/calls/{leg_uuid}{path}", body, what).status_code < HTTPStatus.BAD_REQUEST


def _ask(account: "Account", method: str, path: str, body: dict[str, Any] | None, what: str) -> "requests.Response":
    """Send one request; what is returned is an answer, if only one of 400 or 404."""
    import requests

    if not can_call(account):
        raise PlatformError(
            f"Without the application's key nobody can {what}.",
            "Set VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY in .env (dashboard, Applications).",
        )
    address = account.voice_api_url.rstrip("/") + path
    answer, status = None, 0
    try:
        answer = requests.request(
            method,
            address,
            json=body,
            headers={"Authorization": f"Bearer {application_jwt(account)}"},
            verify=account.ca_file or True,
            proxies=proxies_for(address),
            timeout=TIMEOUT,
        )
        status = answer.status_code
    except requests.RequestException:
        pass
    # Raised here and not where it was caught: a library's exception carries the request and its JWT.
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise AuthenticationRefused(
            "The Voice API refused the application's credentials.",
            "Check VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY in .env (dashboard, Applications).",
        )
    if answer is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        saw = f"it answered HTTP {status}" if status else "no answer came"
        raise PlatformUnreachable(f"The Voice API could not {what}: {saw}.")
    return answer


def application_jwt(account: "Account") -> str:
    """Make the JWT by which the application's owner is known (RS256; Vonage, "Authentication", JWT)."""
    import jwt

    now = int(time.time())
    claims = {"application_id": account.application_id, "iat": now, "exp": now + JWT_SECONDS}
    return jwt.encode({**claims, "jti": str(uuids.uuid4())}, account.private_key.get_secret_value(), "RS256")
