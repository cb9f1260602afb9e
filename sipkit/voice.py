"""The voice side: point the Voice application at our webhooks, so that its number reaches them.

The application is edited as raw JSON (GET, edit, PUT). A PUT replaces the whole application, and the
vendor's Python models know only some of its capabilities: passing it through them would remove the others,
`video` among them (Application API v2). Nothing changes here but the voice webhooks.
"""

import copy
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sipkit.errors import AuthenticationRefused, PlatformError, PlatformUnreachable
from sipkit.refusals import TIMEOUT, proxies_for

if TYPE_CHECKING:
    from sipkit.cloud import Account

_CHECK_VOICE_KEYS = (
    "Check VOICE_API_KEY and VOICE_API_SECRET in .env: they are the key and secret of your Vonage account "
    "(dashboard, API settings), not of an application."
)


def point_application(account: "Account", base_url: str) -> dict[str, Any]:
    """Make the application ask our webhooks what to do with a call, and tell them what happens.

    The answer URL is fetched with GET and events arrive by POST, as the platform does by default; callbacks
    are signed. If the application is pointed there already, nothing is written.

    Args:
        account: Whose application; its id, and the account's key and secret.
        base_url: The public address of the webhook server, without a path.

    Returns:
        The application's voice settings as they were, for `restore_application`.

    Raises:
        AuthenticationRefused: Wrong account key or secret.
        PlatformError: There is no such application, or the platform refuses the change.
        PlatformUnreachable: No answer.
    """
    application = _ask(account, "GET")
    previous = copy.deepcopy(_voice(application))
    voice = _voice(application)
    webhooks = voice.setdefault("webhooks", {})
    base = base_url.rstrip("/")
    _point(webhooks, "answer_url", f"{base}/voice-answer", "GET")
    _point(webhooks, "event_url", f"{base}/voice-events", "POST")
    voice["signed_callbacks"] = True
    if voice != previous:
        _replace(account, application, voice)
    return previous


def restore_application(account: "Account", previous: Mapping[str, Any]) -> None:
    """Give the application the voice settings it had before.

    Args:
        account: Whose application.
        previous: What `point_application` returned.

    Raises:
        AuthenticationRefused, PlatformError, PlatformUnreachable: As for `point_application`.
    """
    application = _ask(account, "GET")
    if _voice(application) != previous:
        _replace(account, application, dict(previous))


def _voice(application: dict[str, Any]) -> dict[str, Any]:
    """The voice capability of an application; an empty one where it has none."""
    capabilities = application.get("capabilities")
    voice = capabilities.get("voice") if isinstance(capabilities, dict) else None
    return voice if isinstance(voice, dict) else {}


def _point(webhooks: dict[str, Any], name: str, address: str, method: str) -> None:
    """Set one webhook's address and method, and leave its timeouts alone."""
    known = webhooks.get(name)
    webhooks[name] = {
        **(known if isinstance(known, dict) else {}),
        "address": address,
        "http_method": method,
    }


def _replace(account: "Account", application: Mapping[str, Any], voice: dict[str, Any]) -> None:
    """PUT the whole application back with other voice settings, without what the platform itself adds."""
    body = {key: value for key, value in application.items() if key not in {"id", "_links"}}
    others = {key: value for key, value in (body.get("capabilities") or {}).items() if key != "voice"}
    body["capabilities"] = {**others, "voice": voice} if voice else others
    if isinstance(body.get("keys"), dict):
        body["keys"] = {key: value for key, value in body["keys"].items() if key == "public_key"}
    _ask(account, "PUT", body)


def _ask(account: "Account", method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send one request to the Application API and return its JSON object."""
    import requests

    address = f"{account.voice_api_url.rstrip('/')}/v2/applications/{account.application_id}"
    what = "read" if method == "GET" else "change"
    try:
        # In the sandbox the certificate is its own; live, None means the public authorities.
        answer = requests.request(
            method,
            address,
            json=body,
            auth=(account.voice_api_key, account.voice_api_secret.get_secret_value()),
            verify=account.ca_file or True,
            proxies=proxies_for(address),
            timeout=TIMEOUT,
        )
        status, told = answer.status_code, answer.json() if answer.ok else {}
    except (requests.RequestException, ValueError):
        status, told = 0, {}
    # Raised here and not where it was caught: a library's exception carries the request and its password.
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise AuthenticationRefused("The Voice API refused the account's credentials.", _CHECK_VOICE_KEYS)
    if status == HTTPStatus.NOT_FOUND:
        raise PlatformError(
            "The account has no application with this id.",
            "Check VONAGE_APPLICATION_ID in .env (dashboard, Applications).",
        )
    if status == HTTPStatus.BAD_REQUEST:
        raise PlatformError(
            f"The platform refuses to {what} the application.",
            "Open the application in the dashboard, save it once, and try again.",
        )
    if not isinstance(told, dict) or not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        saw = f"it answered HTTP {status}" if status else "no usable answer came"
        raise PlatformUnreachable(f"The Voice API could not {what} the application: {saw}.")
    return told
