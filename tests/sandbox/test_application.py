"""The Application REST API: read and replaced as at Vonage, where PUT replaces everything."""

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from aiohttp import web

from sipkit.sandbox.home import Home
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.sandbox.rest import json_errors
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice import application
from sipkit.sandbox.voice.application import Applications, InvalidApplication

ANSWER = {"address": "http://127.0.0.1:8000/voice-answer", "http_method": "GET"}
EVENT = {"address": "https://example.com/voice-events", "http_method": "POST"}


def body(**webhooks: Any) -> dict[str, Any]:
    """A full body with these voice webhooks."""
    return {"name": "lesson", "capabilities": {"voice": {"webhooks": webhooks}, "video": {}}}


class Api:
    """The API in this process."""

    def __init__(self, home: Home, serve: Callable[[web.Application], Any]) -> None:
        self.applications = Applications(home)
        self.trace = Trace()
        app = web.Application(middlewares=[json_errors(self.trace)])
        app.add_routes(application.routes(self.applications, home.credentials, self.trace))
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
    applications = Applications(home)
    shown = applications.get()
    assert shown["id"] == home.credentials.application_id
    assert shown["capabilities"].keys() == {"voice", "video"}
    assert shown["capabilities"]["voice"]["webhooks"] == {}
    assert shown["keys"] == {"public_key": home.public_key()}
    assert shown["_links"] == {"self": {"href": f"/v2/applications/{home.credentials.application_id}"}}
    assert applications.answer_url is applications.event_url is applications.fallback_url is None
    assert applications.signed_callbacks


def test_webhooks_are_read_with_vonages_defaults(home: Home) -> None:
    """Answer and fallback default to GET, events to POST; timeouts to 5, 10 and 1 second."""
    applications = Applications(home)
    plain = {"address": "http://127.0.0.1:1/x"}
    applications.put(body(answer_url=plain, event_url=plain, fallback_answer_url=plain))
    assert applications.answer_url == ("http://127.0.0.1:1/x", "GET")
    assert applications.event_url == ("http://127.0.0.1:1/x", "POST")
    assert applications.fallback_url == ("http://127.0.0.1:1/x", "GET")
    assert applications.timeouts("answer_url") == (1.0, 5.0)
    assert applications.timeouts("event_url") == (1.0, 10.0)
    applications.put(body(answer_url={**plain, "http_method": "POST", "socket_timeout": 1500, "connect_timeout": 300}))
    assert applications.answer_url == ("http://127.0.0.1:1/x", "POST")
    assert applications.timeouts("answer_url") == (0.3, 1.5)


def test_the_application_survives_a_restart(home: Home) -> None:
    """What PUT answered is there for the next process."""
    kept = Applications(home).put(body(answer_url=ANSWER, event_url=EVENT))
    assert Applications(home).get() == kept


def test_what_get_returns_is_a_copy(home: Home) -> None:
    """Changing it changes nothing here."""
    applications = Applications(home)
    applications.get()["capabilities"].clear()
    assert applications.get()["capabilities"]


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
    assert api.applications.answer_url is None
    assert api.put({"name": "empty"}).json()["capabilities"] == {}


def test_reading_editing_and_writing_back_keeps_the_rest(api: Api) -> None:
    """The round trip the kit makes: GET, edit the raw object, PUT it without id and links."""
    current = requests.get(api.url, auth=api.auth, timeout=10).json()
    edited = {name: value for name, value in current.items() if name not in {"id", "_links"}}
    edited["capabilities"]["voice"]["webhooks"].update(answer_url=ANSWER, event_url=EVENT)
    after = api.put(edited).json()
    assert after == {**current, "capabilities": edited["capabilities"]}
    assert "video" in after["capabilities"]
    assert api.applications.answer_url == (ANSWER["address"], "GET")


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
    """The account has one application."""
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
    before = api.applications.get()
    answer = api.put(wrong)
    assert answer.status_code == 400
    assert [each["name"] for each in answer.json()["invalid_parameters"]] == [field]
    assert api.applications.get() == before


def test_an_event_webhook_may_take_ten_seconds(home: Home) -> None:
    """The limit of 5000 ms is the answer webhook's; the event's is 10000."""
    Applications(home).put(body(event_url={**EVENT, "socket_timeout": 10_000}))
    with pytest.raises(InvalidApplication, match="socket_timeout must be from 1000 to 10000 ms"):
        Applications(home).put(body(event_url={**EVENT, "socket_timeout": 10_001}))


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


def test_the_vonage_sdk_reads_the_running_sandboxs_application(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of vonage 4, which insists on https, gets the application with only host and CA changed."""
    vonage: Any = importlib.import_module("vonage")  # it ships no types
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    host = sandbox.https_url.removeprefix("https://")
    auth = vonage.Auth(api_key=sandbox.voice_api_key, api_secret=sandbox.voice_api_secret)
    client = vonage.Vonage(auth, vonage.HttpClientOptions(api_host=host))
    shown = client.application.get_application(sandbox.application_id)
    assert shown.id == sandbox.application_id
    assert shown.capabilities is not None
    assert shown.capabilities.voice is not None
