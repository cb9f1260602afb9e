"""The conference number: is it the account's, does it lead to our application, and if not, link it.

Vonage's Numbers API (`GET /account/numbers`, `POST /number/update` of rest.nexmo.com, HTTP Basic). Numbers are
E.164 digits without a plus sign: with one, the API finds nothing (ITU-T E.164; vonage-node-sdk 924).

A number has one more switch: its own voice callback (`voiceCallbackType` sip or tel) sends calls past the
application, whatever it is linked to. It is seen and said, and only changed when told so.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sipkit.errors import AuthenticationRefused, PlatformError, PlatformUnreachable, SettingsError
from sipkit.refusals import TIMEOUT, proxies_for
from sipkit.timeline import mask_number

if TYPE_CHECKING:
    from sipkit.cloud import Account

_CHECK_KEYS = (
    "Check VOICE_API_KEY and VOICE_API_SECRET in .env: they are the key and secret of your Vonage account "
    "(dashboard, API settings), not of an application."
)
_PAGE = 100  # the most that one answer holds (Numbers OpenAPI 1.1)


@dataclass(frozen=True)
class OwnedNumber:
    """A number of the account.

    Attributes:
        msisdn: E.164 digits; not in the repr.
        country: Its country, such as ``US``.
        application_id: The application it is linked to; empty if to none.
        features: What it can do, such as ``VOICE``.
        callback_type: Its own voice callback, ``sip`` or ``tel``, which overrides the application; empty if none.
        callback_value: Where that leads.
        messages_url: Its own webhook for messages; empty if none.
    """

    msisdn: str
    country: str
    application_id: str = ""
    features: tuple[str, ...] = ()
    callback_type: str = ""
    callback_value: str = ""
    messages_url: str = ""

    def __repr__(self) -> str:
        return f"OwnedNumber({mask_number(self.msisdn)}, linked={bool(self.application_id)})"

    @property
    def overridden(self) -> bool:
        """Whether calls go to the number's own callback and past the application."""
        return bool(self.callback_type)


def e164(number: str) -> str:
    """The digits of a whole international number as people write it.

    Raises:
        SettingsError: It is no such number; the text does not hold it.
    """
    digits = re.sub(r"[\s().\u2010-\u2015-]", "", number)
    digits = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    if not re.fullmatch(r"[1-9][0-9]{6,14}", digits) or not digits.isascii():
        raise SettingsError("The number must be a whole international one, such as 12025550100 (7 to 15 digits).")
    return digits


def owned_number(account: "Account", number: str) -> OwnedNumber | None:
    """The account's number with these digits; None if the account has none.

    Raises:
        SettingsError: It is no number.
        AuthenticationRefused, PlatformError, PlatformUnreachable: It could not be found out.
    """
    digits = e164(number)
    # search_pattern 1 asks for numbers that contain the digits; there may be others.
    told = _ask(account, "GET", "/account/numbers", {"pattern": digits, "search_pattern": "1", "size": str(_PAGE)})
    found = told.get("numbers")
    for each in found if isinstance(found, list) else []:
        if isinstance(each, dict) and str(each.get("msisdn")).lstrip("+") == digits:
            return _owned(digits, each)
    return None


def link_number(account: "Account", number: str | None = None, *, override: bool = False) -> OwnedNumber:
    """Make a number lead to the account's application; nothing is written if it does already.

    Args:
        account: Whose number and application.
        number: Which one; without it the conference number.
        override: Also remove the number's own voice callback, which would send calls past the application.

    Returns:
        The number as it is now; `overridden` says that its own callback still stands in the way.

    Raises:
        PlatformError: The account has no such number, or the platform refuses.
        SettingsError: There is no application id, or it is no number.
        AuthenticationRefused, PlatformUnreachable: The platform could not be asked.
    """
    if not account.application_id:
        message = "VONAGE_APPLICATION_ID is not set, so there is nothing to link the number to."
        raise SettingsError(message, "Copy the application's id from the dashboard into .env.")
    wanted = number or account.conference_number
    found = owned_number(account, wanted)
    if found is None:
        raise PlatformError(
            f"The account has no number {mask_number(e164(wanted))}.",
            "Check CONFERENCE_NUMBER in .env, or buy the number in the dashboard (Numbers).",
        )
    own_callback = {} if override or not found.overridden else _callback(found)
    linked = found.application_id == account.application_id
    if linked and (not found.overridden or own_callback):
        return found
    # What an update does not name may be reset by it (assumed), so what is there is named again.
    fields = {"country": found.country, "msisdn": found.msisdn, "app_id": account.application_id, **own_callback}
    if found.messages_url:
        fields["moHttpUrl"] = found.messages_url
    _ask(account, "POST", "/number/update", fields)
    now = owned_number(account, found.msisdn)
    if now is None or now.application_id != account.application_id:
        message = "The platform took the link of the number to the application, and does not show it."
        raise PlatformError(message, "Look at the number in the dashboard (Numbers, Manage), and try again.")
    return now


def _owned(digits: str, told: dict[str, Any]) -> OwnedNumber:
    def text(name: str) -> str:
        value = told.get(name)
        return value if isinstance(value, str) else ""

    kind, value = text("voiceCallbackType"), text("voiceCallbackValue")
    own = kind if kind in {"sip", "tel"} else ""
    features = told.get("features")
    return OwnedNumber(
        digits,
        text("country"),
        text("app_id") or (value if kind == "app" else ""),  # the older way to tell the link
        tuple(str(each) for each in features) if isinstance(features, list) else (),
        own,
        value if own else "",
        text("moHttpUrl"),
    )


def _callback(number: OwnedNumber) -> dict[str, str]:
    return {"voiceCallbackType": number.callback_type, "voiceCallbackValue": number.callback_value}


def _ask(account: "Account", method: str, path: str, fields: dict[str, str]) -> dict[str, Any]:
    """Send one request to the Numbers API and return its JSON object."""
    import requests

    address = f"{account.account_api_url.rstrip('/')}{path}"
    try:
        answer = requests.request(
            method,
            address,
            params=fields if method == "GET" else None,
            data=fields if method == "POST" else None,
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
        raise AuthenticationRefused("The Numbers API refused the account's credentials.", _CHECK_KEYS)
    said = str(told.get("error-code", "200")) if isinstance(told, dict) else ""
    if status == 420 or (status == HTTPStatus.OK and said != "200"):  # noqa: PLR2004 - the API's own "method failed"
        raise PlatformError(
            "The Numbers API refuses the request.",
            "Check CONFERENCE_NUMBER and VONAGE_APPLICATION_ID in .env; link the number in the dashboard.",
        )
    if not isinstance(told, dict) or status != HTTPStatus.OK:
        saw = f"it answered HTTP {status}" if status else "no usable answer came"
        raise PlatformUnreachable(f"The Numbers API could not be asked: {saw}.")
    return told
