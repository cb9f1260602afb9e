"""The voice side: point the Voice application at our webhooks, so that its number reaches them.

The application is edited as raw JSON (GET, edit, PUT). A PUT replaces the whole application, and the
vendor's Python models know only some of its capabilities: passing it through them would remove the others,
`video` among them (Application API v2). Nothing changes here but the voice webhooks.
"""

import copy
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sipkit.errors import AuthenticationRefused, PlatformError, PlatformUnreachable
from sipkit.refusals import TIMEOUT, proxies_for

if TYPE_CHECKING:
    from sipkit.cloud import Account

Voice = dict[str, Any] | None
"""An application's voice capability; None where it has none."""

_OURS = ("answer_url", "event_url")
_CHECK_VOICE_KEYS = (
    "Check VOICE_API_KEY and VOICE_API_SECRET in .env: they are the key and secret of your Vonage account "
    "(dashboard, API settings), not of an application."
)


def point_application(account: "Account", base_url: str, keep: Callable[[Voice], None] | None = None) -> dict[str, Any]:
    """Make the application ask our webhooks what to do with a call, and tell them what happens.

    The answer URL is fetched with GET and events arrive by POST, as the platform does by default; callbacks
    are signed. If the application is pointed there already, nothing is written.

    Args:
        account: Whose application; its id, and the account's key and secret.
        base_url: The public address of the webhook server, without a path.
        keep: Called with the voice capability as it was, before anything is changed; where it is written down, not
            even a crash in between loses it. Not called when nothing is to be changed.

    Returns:
        The application's voice capability as it was; empty if it had none, too, which only `keep` tells apart.

    Raises:
        AuthenticationRefused: Wrong account key or secret.
        PlatformError: There is no such application, or the platform refuses the change.
        PlatformUnreachable: No answer.
    """
    application = _ask(account, "GET")
    previous = _voice(application)
    body = pointed(application, base_url)
    if _voice(body) != previous:
        if keep is not None:
            keep(copy.deepcopy(previous))
        _ask(account, "PUT", body)
    return previous or {}


def restore_application(account: "Account", previous: Voice, ours: Collection[str] | None = None) -> bool:
    """Give the application the webhooks it had before; what else was changed in the meantime stays.

    Args:
        account: Whose application.
        previous: What `point_application` returned, or told `keep`.
        ours: The answer URLs that we had set. If it asks another one by now, somebody else has pointed it, and
            nothing is changed; None restores whatever it asks.

    Returns:
        False if somebody else has pointed it.

    Raises:
        AuthenticationRefused, PlatformError, PlatformUnreachable: As for `point_application`.
    """
    application = _ask(account, "GET")
    if ours is not None and answer_address(_voice(application)) not in ours:
        return False
    body = restored(application, previous)
    if _voice(body) != _voice(application):
        _ask(account, "PUT", body)
    return True


def pointed(application: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    """The body of the PUT that points an application at our webhooks; `application` itself stays as it is."""
    body = _writable(application)
    voice = body["capabilities"].setdefault("voice", {})
    if not isinstance(voice, dict):
        voice = body["capabilities"]["voice"] = {}
    webhooks = voice.get("webhooks")
    webhooks = voice["webhooks"] = webhooks if isinstance(webhooks, dict) else {}
    base = base_url.rstrip("/")
    _point(webhooks, "answer_url", f"{base}/voice-answer", "GET")
    _point(webhooks, "event_url", f"{base}/voice-events", "POST")
    voice["signed_callbacks"] = True
    return body


def restored(application: Mapping[str, Any], previous: Voice) -> dict[str, Any]:
    """The body of the PUT that takes back what `pointed` did; `application` itself stays as it is."""
    body = _writable(application)
    voice = body["capabilities"].get("voice")
    if not isinstance(voice, dict):
        return body
    former = copy.deepcopy(previous or {})
    webhooks, former_webhooks = voice.get("webhooks"), former.get("webhooks")
    if isinstance(webhooks, dict):
        _take_back(webhooks, former_webhooks if isinstance(former_webhooks, dict) else {}, _OURS)
        if not webhooks:
            _take_back(voice, former, ("webhooks",))
    _take_back(voice, former, ("signed_callbacks",))
    if not voice and previous is None:
        del body["capabilities"]["voice"]
    return body


def answer_address(voice: Voice) -> str | None:
    """The answer URL in an application's voice capability; None where there is none."""
    webhooks = (voice or {}).get("webhooks")
    webhook = webhooks.get("answer_url") if isinstance(webhooks, dict) else None
    address = webhook.get("address") if isinstance(webhook, dict) else None
    return address if isinstance(address, str) else None


def _voice(application: Mapping[str, Any]) -> Voice:
    """The voice capability of an application; None where it has none."""
    capabilities = application.get("capabilities")
    voice = capabilities.get("voice") if isinstance(capabilities, dict) else None
    return voice if isinstance(voice, dict) else None


def _point(webhooks: dict[str, Any], name: str, address: str, method: str) -> None:
    """Set one webhook's address and method, and leave its timeouts alone."""
    known = webhooks.get(name)
    webhooks[name] = {
        **(known if isinstance(known, dict) else {}),
        "address": address,
        "http_method": method,
    }


def _take_back(now: dict[str, Any], former: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Make these entries what they were, or remove them where there were none."""
    for name in names:
        if name in former:
            now[name] = former[name]
        else:
            now.pop(name, None)


def _writable(application: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the application as a PUT wants it: whole, without what the platform itself adds."""
    body = copy.deepcopy({key: value for key, value in application.items() if key not in {"id", "_links"}})
    if not isinstance(body.get("capabilities"), dict):
        body["capabilities"] = {}
    if isinstance(body.get("keys"), dict):
        body["keys"] = {key: value for key, value in body["keys"].items() if key == "public_key"}
    return body


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
