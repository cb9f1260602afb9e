"""The Numbers API: what an account owns, could buy, and where the calls of each number go."""

from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from aiohttp import web

from sipkit.sandbox.account import numbers_rest
from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.account.numbers import Numbers
from sipkit.sandbox.home import NUMBER, Home
from sipkit.sandbox.rest import json_errors
from sipkit.sandbox.trace import Trace
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab

OFFERED = "12125550100"
SUCCESS = {"error-code": "200", "error-code-label": "success"}
FAILED = {"error-code": "420", "error-code-label": "method failed"}


class Api:
    """The API in this process, with the home's own application and "other"."""

    def __init__(self, home: Home, serve: Callable[[web.Application], Any]) -> None:
        self.numbers = Numbers(home)
        self.limits = Limits()
        self.application = home.credentials.application_id
        self.trace = Trace()
        app = web.Application(middlewares=[json_errors(self.trace)])
        known = {self.application, "other"}
        app.add_routes(numbers_rest.routes(self.numbers, known.__contains__, home.credentials, self.limits, self.trace))
        self.url = serve(app).url
        self.auth: tuple[str, str] | None = (home.credentials.voice_api_key, home.credentials.voice_api_secret)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET."""
        return requests.get(f"{self.url}{path}", query, auth=self.auth, timeout=10).json()

    def post(self, action: str, msisdn: str = NUMBER, country: str = "US", **fields: str) -> requests.Response:
        """Act on a number, by a form."""
        form = {"country": country, "msisdn": msisdn, **fields}
        return requests.post(f"{self.url}/number/{action}", form, auth=self.auth, timeout=10)

    def mine(self, msisdn: str = NUMBER) -> Any:
        """An owned number as it is listed."""
        return self.get("/account/numbers", pattern=msisdn)["numbers"][0]


@pytest.fixture
def api(home: Home, serve: Callable[[web.Application], Any]) -> Api:
    """The Numbers API of a new home."""
    return Api(home, serve)


def test_a_new_account_owns_the_number_linked_to_its_application(api: Api) -> None:
    """The number of the JSON line, with the link told twice, as recorded."""
    assert api.get("/account/numbers") == {
        "count": 1,
        "numbers": [
            {
                "country": "US",
                "msisdn": NUMBER,
                "type": "mobile-lvn",
                "features": ["VOICE", "SMS"],
                "voiceCallbackType": "app",
                "voiceCallbackValue": api.application,
                "app_id": api.application,
            }
        ],
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"country": "US"}, 1),
        ({"country": "GB"}, 0),
        ({"pattern": "1202"}, 1),
        ({"pattern": "0100"}, 0),
        ({"pattern": "555", "search_pattern": 1}, 1),
        ({"pattern": "0100", "search_pattern": 2}, 1),
        ({"pattern": "1202", "search_pattern": 2}, 0),
        ({"has_application": "True"}, 1),
        ({"has_application": "false"}, 0),
        ({"application_id": "other"}, 0),
        ({"index": 2}, 0),
    ],
)
def test_owned_numbers_are_filtered(api: Api, query: dict[str, Any], found: int) -> None:
    """Each filter as documented; where nothing is left the answer is an empty object, as recorded."""
    answer = api.get("/account/numbers", **query)
    assert (answer["count"] if found else answer) == (found or {})


def test_available_numbers_come_in_pages_of_ten(api: Api) -> None:
    """Country, type, features and pattern choose; ten on a page unless asked, a hundred at most."""
    page = api.get("/number/search", country="US")
    assert (page["count"], len(page["numbers"])) == (120, 10)
    assert page["numbers"][0].keys() == {"country", "msisdn", "type", "cost", "features"}
    assert len(api.get("/number/search", country="GB", size=100, index=2)["numbers"]) == 50
    assert api.get("/number/search", country="US", features="SMS,VOICE")["count"] == 100
    assert api.get("/number/search", country="US", type="landline-toll-free")["count"] == 20
    assert api.get("/number/search", country="FR") == {}


@pytest.mark.parametrize(
    "query", [{}, {"country": "usa"}, {"country": "US", "size": 101}, {"country": "US", "search_pattern": 3}]
)
def test_a_wrong_search_is_420(api: Api, query: dict[str, Any]) -> None:
    """In the error shape of this API."""
    assert api.get("/number/search", **query) == FAILED


def test_a_number_is_bought_and_cancelled(api: Api, home: Home) -> None:
    """It leaves the offers, costs its price, survives a restart, and can be given back; twice is 420."""
    balance = api.numbers.balance
    assert api.post("buy", OFFERED).json() == SUCCESS
    assert api.numbers.balance < balance
    assert "app_id" not in api.mine(OFFERED)
    assert api.get("/number/search", country="US", pattern=OFFERED) == {}
    assert Numbers(home).find(OFFERED) == api.numbers.find(OFFERED)
    again = api.post("buy", OFFERED)
    assert (again.status_code, again.json()) == (420, FAILED)
    assert api.post("cancel", OFFERED).json() == SUCCESS
    assert api.post("cancel", OFFERED).json() == FAILED


def test_a_number_dearer_than_the_balance_is_not_sold(api: Api) -> None:
    """420 with the reason, and nothing is owned."""
    api.numbers.balance *= 0
    assert "credit" in api.post("buy", OFFERED).json()["error-code-label"]
    assert api.numbers.find(OFFERED) is None


def test_an_update_replaces_the_link_and_the_callback(api: Api) -> None:
    """What is left out is removed: an update without an application unlinks."""
    assert api.post("update", app_id="other").json() == SUCCESS
    assert api.mine()["app_id"] == "other"
    api.post("update", app_id="other", voiceCallbackType="tel", voiceCallbackValue="12025550123")
    assert (api.mine()["voiceCallbackType"], api.mine()["voiceCallbackValue"]) == ("tel", "12025550123")
    assert api.mine()["app_id"] == "other"
    api.post("update")
    assert api.mine().keys() == {"country", "msisdn", "type", "features"}
    api.post("update", voiceCallbackType="app", voiceCallbackValue="other")
    assert api.mine()["app_id"] == "other"


@pytest.mark.parametrize(
    "wrong",
    [
        {"msisdn": "+" + NUMBER},
        {"msisdn": OFFERED},
        {"country": "GB"},
        {"country": ""},
        {"app_id": "unknown"},
        {"voiceCallbackType": "sip"},
        {"voiceCallbackValue": "12025550123"},
        {"voiceCallbackType": "fax", "voiceCallbackValue": "1"},
        {"voiceCallbackType": "tel", "voiceCallbackValue": "+12025550123"},
        {"voiceCallbackType": "sip", "voiceCallbackValue": "12025550123"},
        {"voiceCallbackType": "app", "voiceCallbackValue": "unknown"},
    ],
)
def test_a_wrong_update_is_420_and_changes_nothing(api: Api, wrong: dict[str, str]) -> None:
    """A plus sign, somebody else's number or application, half a callback."""
    before = api.mine()
    answer = api.post("update", **wrong)
    assert (answer.status_code, answer.json()) == (420, FAILED)
    assert api.mine() == before


def test_credentials_and_parameters_may_stand_in_the_query(api: Api) -> None:
    """As older documents and SDKs send them; a form labelled JSON is a form too."""
    assert api.auth is not None
    key, secret = api.auth
    query = {"api_key": key, "api_secret": secret, "country": "US", "msisdn": NUMBER, "app_id": "other"}
    assert requests.post(f"{api.url}/number/update", params=query, timeout=10).json() == SUCCESS
    assert api.mine()["app_id"] == "other"
    labelled = requests.post(
        f"{api.url}/number/update",
        f"country=US&msisdn={NUMBER}",
        auth=api.auth,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert labelled.json() == SUCCESS
    assert secret not in str(api.trace.since(0))


@pytest.mark.parametrize("path", ["/account/numbers", "/number/search?country=US"])
def test_wrong_credentials_are_401(api: Api, path: str) -> None:
    """None, wrong ones, or wrong ones in the query: 401 in the shape of this API."""
    for more in ({}, {"auth": ("key", "secret")}, {"params": {"api_key": "key", "api_secret": "\u00e9"}}):
        answer = requests.get(f"{api.url}{path}", timeout=10, **more)
        assert answer.status_code == 401
        assert answer.json() == {"error-code": "401", "error-code-label": "authentication failed"}


def test_a_numbers_link_decides_who_answers(lab: Lab, app: AnsweringApp) -> None:
    """A call reaches the application its number is linked to, signed for it; else it is refused and nobody is asked."""
    account = requests.Session()
    account.trust_env = False
    account.auth = (lab.info.voice_api_key, lab.info.voice_api_secret)
    api = lab.info.api_url
    app.on("/other", Reply(status=500))
    capabilities = {"voice": {"webhooks": {"answer_url": {"address": f"{app.url}/other"}}}}
    wish = {"name": "other", "capabilities": capabilities}
    other = account.post(f"{api}/v2/applications", json=wish, timeout=10).json()["id"]
    number = {"country": "US", "msisdn": OFFERED}
    linked = {**number, "app_id": other}
    account.post(f"{api}/number/buy", number, timeout=10)
    try:
        lab.dial(number=OFFERED).wait("ended")
        assert app.asked() == []
        account.post(f"{api}/number/update", linked, timeout=10)
        lab.dial(number=OFFERED).wait("ended")
        asked = app.asked()
        assert {each.path for each in asked} == {"/other"}
        token = asked[0].headers["authorization"].split()[1]
        assert jwt.decode(token, options={"verify_signature": False})["application_id"] == other
        forwarded = {"voiceCallbackType": "tel", "voiceCallbackValue": "12025550123"}
        account.post(f"{api}/number/update", {**linked, **forwarded}, timeout=10)
        lab.dial(number=OFFERED).wait("ended")
        assert app.asked() == asked
    finally:
        account.delete(f"{api}/v2/applications/{other}", timeout=10)
        account.post(f"{api}/number/cancel", number, timeout=10)
        account.close()
