"""The vonage SDK judges the Numbers, Account and Pricing APIs: every method the sandbox serves, right and wrong."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from sipkit.sandbox.launcher import SandboxInfo

account: Any = importlib.import_module("vonage_account.requests")  # ships no types
numbers: Any = importlib.import_module("vonage_numbers")
errors: Any = importlib.import_module("vonage_http_client.errors")
vonage: Any = importlib.import_module("vonage")

OFFERED = "12125550142"
NUMBER = {"country": "US", "msisdn": OFFERED}


def client(sandbox: SandboxInfo, secret: str = "") -> Any:
    """The SDK's client of the account."""
    host = sandbox.https_url.removeprefix("https://")
    auth = vonage.Auth(api_key=sandbox.voice_api_key, api_secret=secret or sandbox.voice_api_secret)
    return vonage.Vonage(auth, vonage.HttpClientOptions(api_host=host, rest_host=host))


@pytest.fixture
def limits(sandbox: SandboxInfo) -> Iterator[Any]:
    """`limits(name=figure)` sets limits of the sandbox; afterwards they are as documented again."""
    url, auth = f"{sandbox.api_url}/sandbox/limits", (sandbox.voice_api_key, sandbox.voice_api_secret)
    yield lambda **wish: requests.put(url, json=wish, auth=auth, timeout=10).raise_for_status()
    requests.delete(url, auth=auth, timeout=10).raise_for_status()


@pytest.fixture
def api(sandbox: SandboxInfo, limits: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SDK, prices unlimited; a number that a test bought is given back."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    limits(pricing=None)
    api = client(sandbox)
    yield api
    for each in api.numbers.list_owned_numbers()[0]:
        if each.msisdn != sandbox.number:
            api.numbers.cancel_number(numbers.NumberParams(country=each.country, msisdn=each.msisdn))


def test_the_accounts_number_is_listed_with_its_application(api: Any, sandbox: SandboxInfo) -> None:
    """Every filter of the SDK, and its count and next page."""
    listed = numbers.ListOwnedNumbersFilter
    (mine,), count, following = api.numbers.list_owned_numbers()
    assert isinstance(mine, numbers.OwnedNumber)
    assert (mine.msisdn, mine.country, mine.app_id, count, following) == (
        sandbox.number,
        "US",
        sandbox.application_id,
        1,
        None,
    )
    assert (mine.voice_callback_type, mine.voice_callback_value) == ("app", sandbox.application_id)
    for wish, found in (
        ({"country": "US", "application_id": sandbox.application_id, "has_application": True}, 1),
        ({"pattern": "0100", "search_pattern": 2}, 1),
        ({"pattern": "0100", "search_pattern": 0}, 0),
        ({"has_application": False}, 0),
    ):
        assert api.numbers.list_owned_numbers(listed(**wish))[1] == found


def test_available_numbers_are_searched_page_by_page(api: Any) -> None:
    """The SDK's filters choose, and it finds the next page."""
    search = numbers.SearchAvailableNumbersFilter
    found, count, following = api.numbers.search_available_numbers(
        search(
            country="US",
            type=numbers.NumberType.MOBILE_LVN,
            features=numbers.NumberFeatures.SMS_VOICE,
            pattern="1212",
            search_pattern=0,
            size=10,
        )
    )
    assert isinstance(found[0], numbers.AvailableNumber)
    assert (len(found), count, following) == (10, 100, 2)
    assert float(found[0].cost) > 0
    assert api.numbers.search_available_numbers(search(country="FR")) == ([], 0, None)


def test_a_number_is_bought_linked_forwarded_and_cancelled(api: Any, sandbox: SandboxInfo) -> None:
    """The life of a number through the SDK; the balance pays for it."""
    before = api.account.get_balance()
    assert before.auto_reload is False
    status = api.numbers.buy_number(numbers.NumberParams(**NUMBER))
    assert (status.error_code, status.error_code_label) == ("200", "success")
    assert api.account.get_balance().value < before.value
    change = numbers.UpdateNumberParams
    api.numbers.update_number(change(**NUMBER, app_id=sandbox.application_id))
    wish = numbers.ListOwnedNumbersFilter(pattern=OFFERED, search_pattern=0)
    assert api.numbers.list_owned_numbers(wish)[0][0].app_id == sandbox.application_id
    api.numbers.update_number(
        change(
            **NUMBER,
            app_id=sandbox.application_id,
            mo_http_url="https://example.com/sms",
            voice_callback_type=numbers.VoiceCallbackType.TEL,
            voice_callback_value="12025550123",
        )
    )
    (mine,), _, _ = api.numbers.list_owned_numbers(wish)
    assert (mine.voice_callback_type, mine.voice_callback_value) == ("tel", "12025550123")
    assert (mine.mo_http_url, mine.app_id) == ("https://example.com/sms", sandbox.application_id)
    assert api.numbers.cancel_number(numbers.NumberParams(**NUMBER)).error_code == "200"
    assert api.numbers.list_owned_numbers(wish) == ([], 0, None)


def test_what_cannot_be_done_is_an_http_request_error_of_420(api: Any, sandbox: SandboxInfo) -> None:
    """A number that is not for sale, not ours, or linked to nothing known."""
    params, change = numbers.NumberParams, numbers.UpdateNumberParams
    calls: list[Callable[[], Any]] = [
        lambda: api.numbers.buy_number(params(country="GB", msisdn=OFFERED)),
        lambda: api.numbers.buy_number(params(country="US", msisdn=sandbox.number)),
        lambda: api.numbers.cancel_number(params(**NUMBER)),
        lambda: api.numbers.update_number(change(**NUMBER, app_id=sandbox.application_id)),
        lambda: api.numbers.update_number(change(country="US", msisdn=sandbox.number, app_id="unknown")),
        lambda: api.numbers.update_number(change(country="US", msisdn=f"+{sandbox.number}")),
    ]
    for call in calls:
        with pytest.raises(errors.HttpRequestError, match='"error-code": "420"') as failure:
            call()
        assert failure.value.response.status_code == 420
    assert api.numbers.list_owned_numbers()[0][0].app_id == sandbox.application_id


def test_prices_are_told(api: Any) -> None:
    """By country, by prefix and for all, in the SDK's models."""
    voice = account.ServiceType.VOICE
    country = api.account.get_country_pricing(account.GetCountryPricingRequest(country_code="US", type=voice))
    assert (country.country_code, country.dialing_prefix, country.currency) == ("US", "1", "EUR")
    assert country.networks[0].network_code == "US-LANDLINE"
    both = api.account.get_prefix_pricing(account.GetPrefixPricingRequest(prefix="1", type=voice))
    assert [each.country_code for each in both.countries] == ["CA", "US"]
    everything = api.account.get_all_countries_pricing(voice)
    assert everything.count == len(everything.countries)
    with pytest.raises(errors.NotFoundError):
        api.account.get_country_pricing(account.GetCountryPricingRequest(country_code="XX", type=voice))


def test_a_second_price_in_a_second_is_a_rate_limited_error(api: Any, limits: Any) -> None:
    """The documented limit, in the SDK's own exception."""
    limits(pricing=1)
    wish = account.GetCountryPricingRequest(country_code="US", type=account.ServiceType.VOICE)
    api.account.get_country_pricing(wish)
    with pytest.raises(errors.RateLimitedError):
        api.account.get_country_pricing(wish)


def test_wrong_credentials_are_an_authentication_error(api: Any, sandbox: SandboxInfo) -> None:
    """Every method is refused with 401, and nothing is bought."""
    stranger = client(sandbox, "WrongSecret12345")
    params, search = numbers.NumberParams(**NUMBER), numbers.SearchAvailableNumbersFilter(country="US")
    price = account.GetCountryPricingRequest(country_code="US", type=account.ServiceType.VOICE)
    calls: list[Callable[[], Any]] = [
        stranger.numbers.list_owned_numbers,
        lambda: stranger.numbers.search_available_numbers(search),
        lambda: stranger.numbers.buy_number(params),
        lambda: stranger.numbers.cancel_number(params),
        lambda: stranger.numbers.update_number(numbers.UpdateNumberParams(**NUMBER)),
        stranger.account.get_balance,
        lambda: stranger.account.get_country_pricing(price),
    ]
    for call in calls:
        with pytest.raises(errors.AuthenticationError):
            call()
    assert api.numbers.list_owned_numbers()[1] == 1
