"""The vonage SDK judges the Application API: each method, right and wrong, over https with host and CA changed."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipkit.sandbox.launcher import SandboxInfo

application: Any = importlib.import_module("vonage_application")  # ships no types
errors: Any = importlib.import_module("vonage_http_client.errors")
vonage: Any = importlib.import_module("vonage")

UNKNOWN = "00000000-0000-4000-8000-000000000000"
WEBHOOKS = {
    "answer_url": {
        "address": "https://example.com/answer",
        "http_method": "GET",
        "connect_timeout": 500,
        "socket_timeout": 3000,
    },
    "fallback_answer_url": {"address": "https://example.com/fallback", "http_method": "POST"},
    "event_url": {"address": "https://example.com/event", "http_method": "POST", "socket_timeout": 10_000},
}
CAPABILITIES = {
    "voice": {
        "webhooks": WEBHOOKS,
        "signed_callbacks": True,
        "conversations_ttl": 24,
        "leg_persistence_time": 7,
        "region": "eu-west",
    },
    "rtc": {"webhooks": {"event_url": {"address": "https://example.com/rtc", "http_method": "POST"}}},
    "messages": {"webhooks": {"inbound_url": {"address": "https://example.com/in", "http_method": "POST"}}},
    "vbc": {},
    "verify": {"webhooks": {"status_url": {"address": "https://example.com/verify", "http_method": "POST"}}},
}


def client(sandbox: SandboxInfo, secret: str = "") -> Any:
    """The SDK's client of the account."""
    host = sandbox.https_url.removeprefix("https://")
    auth = vonage.Auth(api_key=sandbox.voice_api_key, api_secret=secret or sandbox.voice_api_secret)
    return vonage.Vonage(auth, vonage.HttpClientOptions(api_host=host, rest_host=host)).application


@pytest.fixture
def api(sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`vonage.application`; what a test creates is deleted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    api = client(sandbox)
    yield api
    for each in api.list_applications()[0]:
        if each.id != sandbox.application_id:
            api.delete_application(each.id)


def test_an_application_is_created_read_updated_and_deleted(api: Any) -> None:
    """Everything the SDK's models can say comes back as it was said."""
    config = application.ApplicationConfig(name="judged", capabilities=CAPABILITIES, privacy={"improve_ai": True})
    made = api.create_application(config)
    assert isinstance(made, application.ApplicationData)
    assert made.link == f"/v2/applications/{made.id}"
    assert made.capabilities == application.Capabilities(**CAPABILITIES)
    assert made.privacy.improve_ai is True
    assert made.keys.private_key.startswith("-----BEGIN PRIVATE KEY-----")
    read = api.get_application(made.id)
    assert (read.name, read.capabilities, read.keys.public_key) == ("judged", made.capabilities, made.keys.public_key)
    assert not hasattr(read.keys, "private_key")
    bare = api.update_application(made.id, application.ApplicationConfig(name="bare"))
    assert (bare.name, bare.capabilities) == ("bare", application.Capabilities())
    assert bare.keys.public_key == made.keys.public_key
    assert api.delete_application(made.id) is None
    with pytest.raises(errors.NotFoundError):
        api.get_application(made.id)


def test_applications_are_listed_page_by_page(api: Any, sandbox: SandboxInfo) -> None:
    """The SDK finds the next page by itself, and none after the last."""
    key = {"public_key": api.get_application(sandbox.application_id).keys.public_key}
    for number in range(2):
        api.create_application(application.ApplicationConfig(name=f"page {number}", keys=key))
    everything, following = api.list_applications()
    assert ([each.name for each in everything][-2:], following) == (["page 0", "page 1"], None)
    first, following = api.list_applications(application.ListApplicationsFilter(page_size=2))
    assert (first[0].id, following) == (sandbox.application_id, 2)
    last, following = api.list_applications(application.ListApplicationsFilter(page_size=2, page=2))
    assert ([each.name for each in last], following) == (["page 1"], None)


def test_an_update_through_the_models_drops_the_video_capability(api: Any, sandbox: SandboxInfo) -> None:
    """The models know no `video`: reading and writing back through them strips it, here as at Vonage."""
    http = api.http_client
    made = http.post(http.api_host, "/v2/applications", {"name": "v", "capabilities": {"video": {}}}, "basic")
    read = api.get_application(made["id"])
    config = application.ApplicationConfig(name=read.name, capabilities=read.capabilities)
    api.update_application(made["id"], config)
    raw = http.get(http.api_host, f"/v2/applications/{made['id']}", None, "basic")
    assert made["capabilities"] == {"video": {}}
    assert raw["capabilities"] == {}


def test_what_does_not_exist_is_a_not_found_error(api: Any) -> None:
    """Get, update and delete of an unknown application."""
    config = application.ApplicationConfig(name="x")
    calls: list[Callable[[], Any]] = [
        lambda: api.get_application(UNKNOWN),
        lambda: api.update_application(UNKNOWN, config),
        lambda: api.delete_application(UNKNOWN),
    ]
    for call in calls:
        with pytest.raises(errors.NotFoundError, match="not among those of this account"):
            call()


def test_what_breaks_the_rules_is_an_http_request_error_of_400(api: Any) -> None:
    """No body, an empty name, a time limit that the SDK's model allows and Vonage does not, a page too large."""
    too_long = {"voice": {"webhooks": {"answer_url": {"address": "https://example.com", "socket_timeout": 9000}}}}
    calls: list[tuple[Callable[[], Any], str]] = [
        (api.create_application, "not valid JSON"),
        (lambda: api.create_application(application.ApplicationConfig(name="")), '"name": "name"'),
        (
            lambda: api.create_application(application.ApplicationConfig(name="x", capabilities=too_long)),
            "answer_url.socket_timeout",
        ),
        (lambda: api.list_applications(application.ListApplicationsFilter(page_size=101)), "page_size"),
    ]
    for call, field in calls:
        with pytest.raises(errors.HttpRequestError, match=field) as failure:
            call()
        assert failure.value.response.status_code == 400


def test_wrong_credentials_are_an_authentication_error(api: Any, sandbox: SandboxInfo) -> None:
    """Every method is refused with 401, and nothing is made."""
    stranger = client(sandbox, "WrongSecret12345")
    before = api.list_applications()
    config = application.ApplicationConfig(name="x")
    calls: list[Callable[[], Any]] = [
        stranger.list_applications,
        lambda: stranger.create_application(config),
        lambda: stranger.get_application(sandbox.application_id),
        lambda: stranger.update_application(sandbox.application_id, config),
        lambda: stranger.delete_application(sandbox.application_id),
    ]
    for call in calls:
        with pytest.raises(errors.AuthenticationError):
            call()
    assert api.list_applications() == before
