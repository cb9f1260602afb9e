"""The account's limits, balance and prices: what is documented is enforced, and a test can set the rest."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from aiohttp import web

from sipkit.sandbox.account import balance
from sipkit.sandbox.account.limits import DOCUMENTED, LimitExceeded, Limits
from sipkit.sandbox.account.numbers import Numbers
from sipkit.sandbox.home import Home
from sipkit.sandbox.rest import json_errors
from sipkit.sandbox.trace import Trace


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Api:
    """Balance, prices and limits in this process, with a clock of its own."""

    def __init__(self, home: Home, serve: Callable[[web.Application], Any]) -> None:
        self.clock = Clock()
        self.limits = Limits(self.clock)
        app = web.Application(middlewares=[json_errors(Trace())])
        app.add_routes(balance.routes(Numbers(home), home.credentials, self.limits, Trace()))
        app.add_routes(self.limits.routes())
        self._url = serve(app).url
        self._auth = (home.credentials.voice_api_key, home.credentials.voice_api_secret)

    def get(self, path: str, auth: tuple[str, str] | None = None) -> requests.Response:
        """GET, with the account's credentials unless others are given, a second after the last one."""
        self.clock.now += 1
        return requests.get(f"{self._url}{path}", auth=auth or self._auth, timeout=10)

    def put(self, path: str, wish: Any) -> requests.Response:
        """PUT JSON to a control path."""
        return requests.put(f"{self._url}{path}", json=wish, timeout=10)


@pytest.fixture
def api(home: Home, serve: Callable[[web.Application], Any]) -> Api:
    """The account API of a new home."""
    return Api(home, serve)


def test_the_balance_is_told_and_can_be_set(api: Api, home: Home) -> None:
    """A number of euros; what a test sets survives a restart."""
    assert api.get("/account/get-balance").json() == {"value": 10.0, "autoReload": False}
    assert api.put("/sandbox/balance", {"value": 0.25}).json() == {"value": 0.25}
    assert api.get("/account/get-balance").json()["value"] == 0.25
    assert float(Numbers(home).balance) == 0.25
    for wrong in (-1, True, "1", None, 1e9):
        assert api.put("/sandbox/balance", {"value": wrong}).status_code == 400


def test_prices_are_told_by_country_by_prefix_and_for_all(api: Api) -> None:
    """The shapes of the Pricing API; a prefix may be that of two countries."""
    country = api.get("/account/get-pricing/outbound/voice?country=US").json()
    assert (country["countryCode"], country["dialingPrefix"], country["currency"]) == ("US", "1", "EUR")
    assert float(country["defaultPrice"]) > 0
    assert country["networks"][0].keys() == {"type", "price", "currency", "networkCode", "networkName"}
    both = api.get("/account/get-prefix-pricing/outbound/voice?prefix=1").json()
    assert [each["countryCode"] for each in both["countries"]] == ["CA", "US"]
    everything = api.get("/account/get-full-pricing/outbound/sms").json()
    assert everything["count"] == len(everything["countries"])


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("get-pricing/outbound/voice", 400, "invalid_parameters"),
        ("get-prefix-pricing/outbound/voice?prefix=x", 400, "invalid_parameters"),
        ("get-pricing/outbound/voice?country=XX", 404, "error-code-label"),
        ("get-pricing/outbound/fax?country=US", 404, "error-code-label"),
    ],
)
def test_a_wrong_question_about_prices_is_refused(api: Api, path: str, status: int, field: str) -> None:
    """400 for a missing parameter, 404 for what there is not, in the documented shapes."""
    answer = api.get(f"/account/{path}")
    assert answer.status_code == status
    assert field in answer.json()


def test_wrong_credentials_are_401_in_each_apis_shape(api: Api) -> None:
    """The balance's error is a problem document, the prices' has a code and a label."""
    wrong = ("key", "secret")
    assert api.get("/account/get-balance", wrong).status_code == 401
    assert "title" in api.get("/account/get-balance", wrong).json()
    prices = api.get("/account/get-pricing/outbound/voice?country=US", wrong).json()
    assert prices == {"currency": "EUR", "code": "401", "error-code-label": "authentication failed"}


def test_prices_are_told_once_a_second(api: Api) -> None:
    """The documented limit: the second request within a second is 429, the first of the next one is answered."""
    path = "/account/get-pricing/outbound/voice?country=US"
    assert api.get(path).status_code == 200
    api.clock.now -= 0.9
    refused = api.get(path)
    assert (refused.status_code, refused.json()["code"]) == (429, "429")
    assert api.get(path).status_code == 200


def test_rates_are_counted_over_the_second_before() -> None:
    """Three calls at once, none more until the first is a second old; the rates do not share a count."""
    clock = Clock()
    limits = Limits(clock)
    for _ in range(3):
        limits.take("calls")
    clock.now = 0.9
    with pytest.raises(LimitExceeded, match="3 outgoing calls per second"):
        limits.take("calls")
    limits.take("voice")
    clock.now = 1.0
    limits.take("calls")


def test_concurrent_calls_are_unlimited_unless_a_test_limits_them() -> None:
    """As documented; and nothing is enforced once that is switched off."""
    limits = Limits()
    limits.check_calls(10_000)
    limits.concurrent_calls = 2
    limits.check_calls(1)
    with pytest.raises(LimitExceeded, match="2 concurrent calls"):
        limits.check_calls(2)
    limits.enforce = False
    limits.check_calls(2)
    for _ in range(10):
        limits.take("calls")


def test_limits_are_shown_set_and_reset_over_http(api: Api) -> None:
    """PUT changes what it names, DELETE goes back to what is documented, nonsense is 400 and changes nothing."""
    rates: dict[str, Any] = {str(name): rate for name, rate in DOCUMENTED.items()}
    documented = {"enforce": True, **rates, "concurrent_calls": None}
    assert api.get("/sandbox/limits").json() == documented
    assert api.put("/sandbox/limits", {"calls": 1, "voice": None}).json() == {**documented, "calls": 1, "voice": None}
    for wrong in ({"enforce": 1}, {"calls": -1}, {"calls": True}, {"calls": "3"}, {"speed": 1}):
        assert api.put("/sandbox/limits", wrong).status_code == 400
    assert api.limits.rates["calls"] == 1
    url = api.get("/sandbox/limits").url
    assert requests.delete(url, timeout=10).json() == documented
