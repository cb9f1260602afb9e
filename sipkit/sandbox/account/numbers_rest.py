"""The Numbers API at the path of rest.nexmo.com: list, search, buy, cancel, update (Numbers OpenAPI 1.1.0).

Documented: the paths, the parameters, pages of ten and at most a hundred, 401 and 420 with `error-code` and
`error-code-label`, HTTP Basic. An empty list is an empty object in the tests of the Python and Java SDKs (those of the
PHP SDK write a count of 0). Older documents and SDKs send the
credentials as `api_key` and `api_secret` and the parameters in the query: both are taken. Assumed: every wrong
parameter is 420 "method failed", a plus sign before the number included.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.account.numbers import CALLBACK_TYPES, NotPossible, Number, Numbers
from sipkit.sandbox.home import Credentials
from sipkit.sandbox.rest import Refusal, basic_auth_matches, json_answer, matches, parse_form, vendor_api
from sipkit.sandbox.trace import Trace

PAGE, LARGEST_PAGE = 10, 100
METHOD_FAILED = "method failed"
_SUCCESS = {"error-code": "200", "error-code-label": "success"}

Fields = Mapping[str, str]


def problem(refusal: Refusal) -> dict[str, Any]:
    """The error JSON of rest.nexmo.com."""
    return {"error-code": str(refusal.status), "error-code-label": refusal.text}


def account_fields(request: web.Request, body: bytes, credentials: Credentials, limits: Limits) -> dict[str, str]:
    """The query and the form of an authenticated request, without the credentials.

    Raises:
        Refusal: 401, 420 (the body is no form) or 429.
    """
    try:
        form = parse_form(body) if request.method == "POST" else {}
    except Refusal:
        raise Refusal(420, METHOD_FAILED) from None
    fields = {**request.query, **form}
    key, secret = fields.pop("api_key", ""), fields.pop("api_secret", "")
    wanted = (credentials.voice_api_key, credentials.voice_api_secret)
    if not (basic_auth_matches(request, *wanted) or matches(f"{key}:{secret}", ":".join(wanted))):
        raise Refusal(401, "authentication failed")
    limits.take("account")
    return fields


def routes(
    numbers: Numbers,
    has_application: Callable[[str], bool],
    credentials: Credentials,
    limits: Limits,
    trace: Trace,
) -> list[web.RouteDef]:
    """The API's routes. `has_application` tells whether an id is that of an application of the account."""

    def listing(select: Callable[[Fields], list[dict[str, Any]]]) -> Callable[..., Awaitable[web.Response]]:
        async def answer(request: web.Request, body: bytes) -> web.Response:
            fields = account_fields(request, body, credentials, limits)
            found = select(fields)
            size, index = _number(fields, "size", PAGE, 1, LARGEST_PAGE), _number(fields, "index", 1, 1, 10**6)
            page = found[(index - 1) * size : index * size]
            return json_answer({"count": len(found), "numbers": page} if page else {})

        return answer

    def change(act: Callable[[str, str, Fields], None]) -> Callable[..., Awaitable[web.Response]]:
        async def answer(request: web.Request, body: bytes) -> web.Response:
            fields = account_fields(request, body, credentials, limits)
            try:
                await asyncio.to_thread(act, fields.get("country", ""), fields.get("msisdn", ""), fields)
            except NotPossible as error:
                raise Refusal(420, str(error)) from None
            return json_answer(_SUCCESS)

        return answer

    def owned(fields: Fields) -> list[dict[str, Any]]:
        linked, application = fields.get("has_application", "").lower(), fields.get("application_id")
        if linked not in ("", "true", "false"):
            raise Refusal(420, METHOD_FAILED)
        country, fits = fields.get("country"), _pattern(fields)
        return [
            each.as_owned()
            for each in numbers.owned()
            if fits(each)
            and country in (None, each.country)
            and application in (None, each.app_id)
            and linked in ("", str(bool(each.app_id)).lower())
        ]

    def available(fields: Fields) -> list[dict[str, Any]]:
        if not re.fullmatch(r"[A-Z]{2}", fields.get("country", "")):
            raise Refusal(420, METHOD_FAILED)
        kind, fits = fields.get("type"), _pattern(fields)
        features = {each for each in fields.get("features", "").split(",") if each}
        return [
            each.as_offer()
            for each in numbers.on_offer(fields["country"])
            if fits(each) and kind in (None, each.type) and features <= set(each.features)
        ]

    def update(country: str, msisdn: str, fields: Fields) -> None:
        numbers.update(country, msisdn, _behaviour(fields, has_application))

    wrap = vendor_api(trace, problem)
    return [
        web.get("/account/numbers", wrap(listing(owned))),
        web.get("/number/search", wrap(listing(available))),
        web.post("/number/buy", wrap(change(lambda country, msisdn, _: numbers.buy(country, msisdn)))),
        web.post("/number/cancel", wrap(change(lambda country, msisdn, _: numbers.cancel(country, msisdn)))),
        web.post("/number/update", wrap(change(update))),
    ]


def _behaviour(fields: Fields, has_application: Callable[[str], bool]) -> dict[str, str]:
    """What an update asks for, in the words of `Number`; the deprecated type "app" is a link."""
    kind, value = fields.get("voiceCallbackType", ""), fields.get("voiceCallbackValue", "")
    app_id = fields.get("app_id", "")
    if bool(kind) != bool(value) or (kind and kind not in CALLBACK_TYPES):
        raise NotPossible(METHOD_FAILED)
    if kind == "app":
        app_id, kind, value = app_id or value, "", ""
    good_target = {
        "": True,
        "tel": bool(re.fullmatch(r"[1-9]\d{6,14}", value)),
        "sip": bool(re.fullmatch(r"sips?:[!-~]+@[!-~]+", value)),
    }
    if not good_target[kind] or (app_id and not has_application(app_id)):
        raise NotPossible(METHOD_FAILED)
    return {
        "app_id": app_id,
        "callback_type": kind,
        "callback_value": value,
        "messages_url": fields.get("moHttpUrl", ""),
    }


def _pattern(fields: Fields) -> Callable[[Number], bool]:
    """The filter of `pattern` and `search_pattern`: 0 begins with, 1 contains, 2 ends with."""
    pattern = fields.get("pattern", "")
    match _number(fields, "search_pattern", 0, 0, 2):
        case 0:
            return lambda number: number.msisdn.startswith(pattern)
        case 1:
            return lambda number: pattern in number.msisdn
        case _:
            return lambda number: number.msisdn.endswith(pattern)


def _number(fields: Fields, name: str, default: int, lowest: int, highest: int) -> int:
    text = fields.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,7}", text) or not lowest <= int(text) <= highest:
        raise Refusal(420, METHOD_FAILED)
    return int(text)
