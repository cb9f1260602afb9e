"""Balance and prices: what the Account and the Pricing API tell (Account OpenAPI 1.0.4, Pricing OpenAPI 0.0.3).

Documented: the paths, the shapes, one price request a second. The figures are made up, of the size of real ones, and
say so here only: nothing in the sandbox costs anything. `PUT /sandbox/balance {"value"}` stands for a payment.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.account.numbers import Numbers
from sipkit.sandbox.account.numbers_rest import account_fields
from sipkit.sandbox.control import PREFIX, read_object
from sipkit.sandbox.home import Credentials
from sipkit.sandbox.rest import Refusal, json_answer, vendor_api
from sipkit.sandbox.trace import Trace

SERVICES = ("sms", "sms-transit", "voice")
HIGHEST_BALANCE = 1_000_000
_ERRORS = "https://developer.vonage.com/api-errors"

# country: (name, dialling prefix, price of a message, price of a minute), EUR
_COUNTRIES = {
    "CA": ("Canada", "1", "0.00620000", "0.01100000"),
    "DE": ("Germany", "49", "0.07500000", "0.02700000"),
    "ES": ("Spain", "34", "0.07000000", "0.02600000"),
    "FR": ("France", "33", "0.06500000", "0.02800000"),
    "GB": ("United Kingdom", "44", "0.04000000", "0.02200000"),
    "IE": ("Ireland", "353", "0.06000000", "0.03000000"),
    "IT": ("Italy", "39", "0.08270000", "0.03100000"),
    "NL": ("Netherlands", "31", "0.08000000", "0.03300000"),
    "US": ("United States", "1", "0.00700000", "0.01390000"),
    "ZM": ("Zambia", "260", "0.15000000", "0.28725000"),
}


def routes(numbers: Numbers, credentials: Credentials, limits: Limits, trace: Trace) -> list[web.RouteDef]:
    """The balance, the three price lists, and the control path."""

    async def balance(request: web.Request, body: bytes) -> web.Response:
        account_fields(request, body, credentials, limits)
        return json_answer({"value": float(numbers.balance), "autoReload": False})

    def priced(
        answer: Callable[[str, dict[str, str]], dict[str, Any]],
    ) -> Callable[[web.Request, bytes], Awaitable[web.Response]]:
        async def handle(request: web.Request, body: bytes) -> web.Response:
            fields = account_fields(request, body, credentials, limits)
            limits.take("pricing")
            service = request.match_info["type"]
            if service not in SERVICES:
                raise Refusal(404, "The page you requested was not found")
            return json_answer(answer(service, fields))

        return handle

    async def pay(request: web.Request) -> web.Response:
        value = (await read_object(request)).get("value")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= HIGHEST_BALANCE:
            raise web.HTTPBadRequest(reason=f"value must be a number of euros up to {HIGHEST_BALANCE}")
        await asyncio.to_thread(numbers.set_balance, Decimal(str(value)))
        return web.json_response({"value": float(numbers.balance)})

    wrap, prices = vendor_api(trace, _balance_problem), vendor_api(trace, _pricing_problem)
    return [
        web.get("/account/get-balance", wrap(balance)),
        web.get("/account/get-pricing/outbound/{type}", prices(priced(_country))),
        web.get("/account/get-full-pricing/outbound/{type}", prices(priced(_all))),
        web.get("/account/get-prefix-pricing/outbound/{type}", prices(priced(_prefix))),
        web.put(f"{PREFIX}balance", pay),
    ]


def _country(service: str, fields: dict[str, str]) -> dict[str, Any]:
    code = fields.get("country", "")
    if not code:
        raise _missing("country")
    if code not in _COUNTRIES:
        raise Refusal(404, "The page you requested was not found")
    return _prices(code, service)


def _all(service: str, _: dict[str, str]) -> dict[str, Any]:
    countries = [_prices(code, service) for code in _COUNTRIES]
    return {"count": len(countries), "countries": countries}


def _prefix(service: str, fields: dict[str, str]) -> dict[str, Any]:
    prefix = fields.get("prefix", "")
    if not prefix.isascii() or not prefix.isdigit():
        raise _missing("prefix")
    countries = [_prices(code, service) for code, (_, dialled, *_) in _COUNTRIES.items() if dialled == prefix]
    return {"count": len(countries), "countries": countries}


def _prices(code: str, service: str) -> dict[str, Any]:
    name, prefix, message, minute = _COUNTRIES[code]
    price = minute if service == "voice" else message
    return {
        "dialingPrefix": prefix,
        "defaultPrice": price,
        "currency": "EUR",
        "countryDisplayName": name,
        "countryCode": code,
        "countryName": name,
        "networks": [
            {
                "type": kind,
                "price": price,
                "currency": "EUR",
                "networkCode": f"{code}-{kind.upper()}",
                "networkName": f"{name} {kind.capitalize()}",
            }
            for kind in ("landline", "mobile")
        ],
    }


def _missing(parameter: str) -> Refusal:
    return Refusal(400, "Bad Request", invalid_parameters={"parameter": parameter, "message": "Is required"})


def _balance_problem(refusal: Refusal) -> dict[str, Any]:
    slug, title = {
        401: ("unauthorized", "You did not provide correct credentials."),
        429: ("throttled", "Rate Limit Hit"),
    }.get(refusal.status, ("bad-request", "Bad Request"))
    return {"type": f"{_ERRORS}#{slug}", "title": title, "detail": refusal.text, "instance": uuid.uuid4().hex}


def _pricing_problem(refusal: Refusal) -> dict[str, Any]:
    if refusal.status == 400:
        return {"type": "BAD_REQUEST", "error_title": refusal.text, **refusal.more}
    return {"currency": "EUR", "code": str(refusal.status), "error-code-label": refusal.text}
