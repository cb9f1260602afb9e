"""The Application REST API: read and replaced as at Vonage, where PUT replaces everything."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from aiohttp import web

from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.home import Home
from sipkit.sandbox.rest import json_errors
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice import application_rest
from sipkit.sandbox.voice.application import Application, Applications
from sipkit.sandbox.voice.application_rules import InvalidApplication

ANSWER = {"address": "http://127.0.0.1:8000/voice-answer", "http_method": "GET"}
EVENT = {"address": "https://example.com/voice-events", "http_method": "POST"}


def body(**webhooks: Any) -> dict[str, Any]:
    """A full body with these voice webhooks."""
    return {"name": "lesson", "capabilities": {"voice": {"webhooks": webhooks}, "video": {}}}


def first(applications: Applications) -> Application:
    """The application that the sandbox's JSON line names."""
    found = applications.find(applications.first_id)
    assert found is not None
    return found


class Api:
    """The API in this process. `deleted` holds the ids the rest of the account was told of."""

    def __init__(self, home: Home, serve: Callable[[web.Application], Any]) -> None:
        self.applications = Applications(home)
        self.trace = Trace()
        app = web.Application(middlewares=[json_errors(self.trace)])
        self.deleted: list[str] = []
        self.limits = Limits()
        app.add_routes(
            application_rest.routes(self.applications, home.credentials, self.trace, self.limits, self.deleted.append)
        )
        self.url = f"{serve(app).url}/v2/applications/{home.credentials.application_id}"
        self.auth = (home.credentials.voice_api_key, home.credentials.voice_api_secret)

    def put(self, value: Any, **changes: Any) -> requests.Response:
        """PUT a body, with the right credentials unless `changes` says otherwise."""
        wish: dict[str, Any] = {"json": value, "auth": self.auth, **changes}
        return requests.put(self.url, timeout=10, **wish)


@pytest.fixture
def api(home: Home, serve: Callable[[web.Application], Any]) -> Api:
    """The application API of a new home."""
    return Api(home, serve)


def test_a_new_application_has_voice_and_video_and_no_webhooks(home: Home) -> None:
    """Until the kit points it, nobody is asked about a call."""
    application = first(Applications(home))
    shown = application.shown()
    assert shown["id"] == home.credentials.application_id
    assert shown["capabilities"].keys() == {"voice", "video"}
    assert shown["capabilities"]["voice"]["webhooks"] == {}
    assert shown["keys"] == {"public_key": home.public_key()}
    assert shown["_links"] == {"self": {"href": f"/v2/applications/{home.credentials.application_id}"}}
    assert application.answer_url is application.event_url is application.fallback_url is None
    assert application.signed_callbacks


def test_webhooks_are_read_with_vonages_defaults(home: Home) -> None:
    """Answer and fallback default to GET, events to POST; timeouts to 5, 10 and 1 second."""
    applications = Applications(home)
    id_ = applications.first_id
    plain = {"address": "http://127.0.0.1:1/x"}
    application = applications.put(id_, body(answer_url=plain, event_url=plain, fallback_answer_url=plain))
    assert application.answer_url == ("http://127.0.0.1:1/x", "GET")
    assert application.event_url == ("http://127.0.0.1:1/x", "POST")
    assert application.fallback_url == ("http://127.0.0.1:1/x", "GET")
    assert application.timeouts("answer_url") == (1.0, 5.0)
    assert application.timeouts("event_url") == (1.0, 10.0)
    application = applications.put(
        id_, body(answer_url={**plain, "http_method": "POST", "socket_timeout": 1500, "connect_timeout": 300})
    )
    assert application.answer_url == ("http://127.0.0.1:1/x", "POST")
    assert application.timeouts("answer_url") == (0.3, 1.5)


def test_the_application_survives_a_restart(home: Home) -> None:
    """What PUT answered is there for the next process."""
    applications = Applications(home)
    second, _ = applications.create({"name": "second"})
    kept = applications.put(applications.first_id, body(answer_url=ANSWER, event_url=EVENT))
    assert Applications(home).all() == [kept, second]


def test_the_file_of_the_only_application_is_still_read(home: Home) -> None:
    """A home of before there were several keeps its webhooks."""
    applications = Applications(home)
    kept = applications.put(applications.first_id, body(answer_url=ANSWER))
    home.application_file.write_text(json.dumps(kept.kept))
    assert Applications(home).all() == [kept]


def test_what_get_returns_is_a_copy(home: Home) -> None:
    """Changing it changes nothing here."""
    application = first(Applications(home))
    application.shown()["capabilities"].clear()
    assert application.shown()["capabilities"]


def test_put_replaces_everything(api: Api) -> None:
    """A capability or webhook left out of the body is gone; only the key pair stays."""
    before = requests.get(api.url, auth=api.auth, timeout=10).json()
    api.put(body(answer_url=ANSWER, event_url=EVENT))
    answer = api.put({"name": "bare", "capabilities": {"voice": {"webhooks": {"event_url": EVENT}}}})
    assert answer.status_code == 200
    after = requests.get(api.url, auth=api.auth, timeout=10).json()
    assert after == answer.json()
    assert after["name"] == "bare"
    assert after["capabilities"] == {"voice": {"webhooks": {"event_url": EVENT}}}
    assert after["keys"] == before["keys"]
    assert first(api.applications).answer_url is None
    assert api.put({"name": "empty"}).json()["capabilities"] == {}


def test_reading_editing_and_writing_back_keeps_the_rest(api: Api) -> None:
    """The round trip the kit makes: GET, edit the raw object, PUT it without id and links."""
    current = requests.get(api.url, auth=api.auth, timeout=10).json()
    edited = {name: value for name, value in current.items() if name not in {"id", "_links"}}
    edited["capabilities"]["voice"]["webhooks"].update(answer_url=ANSWER, event_url=EVENT)
    after = api.put(edited).json()
    assert after == {**current, "capabilities": edited["capabilities"]}
    assert "video" in after["capabilities"]
    assert first(api.applications).answer_url == (ANSWER["address"], "GET")


@pytest.mark.parametrize("auth", [None, ("key", "secret"), ("", "")])
def test_wrong_credentials_are_401(api: Api, auth: tuple[str, str] | None) -> None:
    """No or wrong Basic auth gets Vonage's error JSON."""
    for answer in (requests.get(api.url, auth=auth, timeout=10), api.put(body(), auth=auth)):
        assert answer.status_code == 401
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json().keys() == {"type", "title", "detail", "instance"}


@pytest.mark.parametrize(
    "header", [b"", b"Basic", b"Basic !!!", b"Basic \xc3\xa9", b"Basic \xff", b"Bearer x", b"Digest x"]
)
def test_a_malformed_authorization_header_is_401(api: Api, header: bytes) -> None:
    """Whatever is in the header, it is never a 500."""
    headers = {"Authorization": header}
    assert requests.get(api.url, headers=headers, timeout=10).status_code == 401


def test_another_application_is_404(api: Api) -> None:
    """An id that is none of the account's."""
    url = api.url.rsplit("/", 1)[0] + "/00000000-0000-4000-8000-000000000000"
    answer = requests.get(url, auth=api.auth, timeout=10)
    assert answer.status_code == 404
    assert answer.json().keys() == {"type", "title", "detail", "instance"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x", "capabilities": []}, "capabilities"),
        ({"name": "x", "capabilities": None}, "capabilities"),
        ({"name": "x", "capabilities": {"telepathy": {}}}, "capabilities.telepathy"),
        ({"name": "x", "capabilities": {"voice": None}}, "capabilities.voice"),
        ({"name": "x", "capabilities": {"voice": {"webhooks": []}}}, "capabilities.voice.webhooks"),
        ({"name": "x", "capabilities": {"voice": {"signed_callbacks": 1}}}, "capabilities.voice.signed_callbacks"),
        ({"name": "x", "capabilities": {"voice": {"region": "mars"}}}, "capabilities.voice.region"),
        ({"name": "x", "capabilities": {"voice": {"conversations_ttl": 9001}}}, "capabilities.voice.conversations_ttl"),
        ({"name": "x", "keys": {"public_key": "x"}}, "keys.public_key"),
        ({"name": "x", "privacy": {"improve_ai": "no"}}, "privacy.improve_ai"),
        (body(hangup_url=ANSWER), "capabilities.voice.webhooks.hangup_url"),
        (body(answer_url="http://127.0.0.1"), "capabilities.voice.webhooks.answer_url"),
        (body(answer_url={}), "capabilities.voice.webhooks.answer_url.address"),
        (body(answer_url={**ANSWER, "address": "ftp://x"}), "capabilities.voice.webhooks.answer_url.address"),
        (body(answer_url={**ANSWER, "address": "http://"}), "capabilities.voice.webhooks.answer_url.address"),
        (body(answer_url={**ANSWER, "address": "http://x:y"}), "capabilities.voice.webhooks.answer_url.address"),
        (body(answer_url={**ANSWER, "address": "http://x\r\ny"}), "capabilities.voice.webhooks.answer_url.address"),
        (body(answer_url={**ANSWER, "address": "http://x/\ud800"}), "capabilities.voice.webhooks.answer_url.address"),
        (body(event_url={**EVENT, "http_method": "PUT"}), "capabilities.voice.webhooks.event_url.http_method"),
        (body(event_url={**EVENT, "http_method": {}}), "capabilities.voice.webhooks.event_url.http_method"),
        (body(answer_url={**ANSWER, "socket_timeout": 5001}), "capabilities.voice.webhooks.answer_url.socket_timeout"),
        (body(answer_url={**ANSWER, "socket_timeout": True}), "capabilities.voice.webhooks.answer_url.socket_timeout"),
        (body(answer_url={**ANSWER, "connect_timeout": 299}), "capabilities.voice.webhooks.answer_url.connect_timeout"),
    ],
)
def test_a_wrong_body_is_400_and_names_the_field(api: Api, wrong: dict[str, Any], field: str) -> None:
    """Each rule broken is told with the field's path, and the application stays as it was."""
    before = first(api.applications).shown()
    answer = api.put(wrong)
    assert answer.status_code == 400
    assert [each["name"] for each in answer.json()["invalid_parameters"]] == [field]
    assert first(api.applications).shown() == before


def test_an_event_webhook_may_take_ten_seconds(home: Home) -> None:
    """The limit of 5000 ms is the answer webhook's; the event's is 10000."""
    applications = Applications(home)
    applications.put(applications.first_id, body(event_url={**EVENT, "socket_timeout": 10_000}))
    with pytest.raises(InvalidApplication, match="socket_timeout must be from 1000 to 10000 ms"):
        applications.put(applications.first_id, body(event_url={**EVENT, "socket_timeout": 10_001}))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_400(api: Api, data: bytes) -> None:
    """Malformed JSON gets the vendor's error JSON."""
    answer = api.put(None, json=None, data=data)
    assert answer.status_code == 400
    assert answer.json()["type"].startswith("https://developer.vonage.com/api-errors")


def test_a_body_too_large_is_413(api: Api) -> None:
    """More than 64 KiB is refused."""
    assert api.put({"name": "x" * 70_000}).status_code == 413


def test_a_new_public_key_replaces_the_old(api: Api, home: Home) -> None:
    """`keys.public_key` is kept as given; a private key sent along is not kept anywhere."""
    keys = {"public_key": home.public_key(), "private_key": "-----BEGIN PRIVATE KEY-----"}
    assert api.put({"name": "x", "keys": keys}).json()["keys"] == {"public_key": home.public_key()}
    assert "PRIVATE" not in home.application_file.read_text()
    assert "BEGIN PRIVATE" not in json.dumps(api.trace.since(0))


def test_requests_are_traced_without_credentials(api: Api) -> None:
    """One rest event each; the account's secret is nowhere in it."""
    api.put(body(answer_url=ANSWER))
    api.put({})
    good, bad = api.trace.since(0)
    assert (good["kind"], good["method"], good["status"]) == ("rest", "PUT", 200)
    assert good["body"]["capabilities"]["voice"]["webhooks"]["answer_url"] == ANSWER
    assert bad["status"] == 400
    assert api.auth[1] not in json.dumps([good, bad])


def test_a_new_application_gets_a_key_pair_that_is_told_once(api: Api) -> None:
    """201 with the private key; it is nowhere afterwards, and a body with a public key gets none."""
    account = api.url.rsplit("/", 1)[0]
    made = requests.post(account, json={"name": "second"}, auth=api.auth, timeout=10)
    assert made.status_code == 201
    shown = made.json()
    assert shown["keys"].pop("private_key").startswith("-----BEGIN PRIVATE KEY-----")
    assert requests.get(f"{account}/{shown['id']}", auth=api.auth, timeout=10).json() == shown
    wish = {"name": "third", "keys": {"public_key": shown["keys"]["public_key"]}}
    assert requests.post(account, json=wish, auth=api.auth, timeout=10).json()["keys"] == wish["keys"]
    assert "BEGIN PRIVATE" not in json.dumps(api.trace.since(0))


def test_the_list_comes_in_pages(api: Api) -> None:
    """Pages with links to the first, the last, the next and the one before; sizes from 1 to 100."""
    account = api.url.rsplit("/", 1)[0]
    key = {"public_key": first(api.applications).public_key}
    for number in range(4):
        api.applications.create({"name": f"more {number}", "keys": key})
    page = requests.get(account, {"page_size": 2, "page": 2}, auth=api.auth, timeout=10).json()
    assert (page["page_size"], page["page"], page["total_items"], page["total_pages"]) == (2, 2, 5, 3)
    assert [each["name"] for each in page["_embedded"]["applications"]] == ["more 1", "more 2"]
    assert page["_links"].keys() == {"self", "first", "last", "next", "prev"}
    assert page["_links"]["next"] == {"href": "/v2/applications?page_size=2&page=3"}
    for wrong in ({"page_size": 0}, {"page_size": 101}, {"page": 0}, {"page": "x"}):
        answer = requests.get(account, wrong, auth=api.auth, timeout=10)
        assert answer.status_code == 400
        assert [each["name"] for each in answer.json()["invalid_parameters"]] == list(wrong)


def test_a_deleted_application_is_gone(api: Api) -> None:
    """204 without a body, then 404; the numbers are told, and the first one is no exception."""
    gone = requests.delete(api.url, auth=api.auth, timeout=10)
    assert (gone.status_code, gone.content) == (204, b"")
    assert api.deleted == [api.applications.first_id]
    assert requests.get(api.url, auth=api.auth, timeout=10).status_code == 404
    assert requests.delete(api.url, auth=api.auth, timeout=10).status_code == 404
    assert api.put({"name": "x"}).status_code == 404


def test_too_many_requests_are_429_in_the_apis_own_shape(api: Api) -> None:
    """A limit set by a test is answered with the problem JSON."""
    api.limits.rates["account"] = 1
    assert api.put({"name": "x"}).status_code == 200
    answer = api.put({"name": "x"})
    assert answer.status_code == 429
    assert answer.json().keys() == {"type", "title", "detail", "instance"}
