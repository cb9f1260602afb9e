"""Pointing the Voice application at the webhooks, against the sandbox's application."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from sipkit import voice
from sipkit.cloud import Account, cloud_for
from sipkit.errors import AuthenticationRefused, PlatformError, PlatformUnreachable
from sipkit.settings import Settings


@pytest.fixture
def account(settings: Settings) -> Iterator[Account]:
    """The running sandbox's account; its application is put back afterwards."""
    cloud = cloud_for(settings)
    account = cloud.account()
    before = application(account)
    yield account
    put(account, before)
    cloud.close()


def _auth(account: Account) -> tuple[str, str]:
    return account.voice_api_key, account.voice_api_secret.get_secret_value()


def _address(account: Account) -> str:
    return f"{account.voice_api_url}/v2/applications/{account.application_id}"


def application(account: Account) -> dict[str, Any]:
    """The application as the platform shows it."""
    answer = requests.get(_address(account), auth=_auth(account), verify=account.ca_file, timeout=5)
    answer.raise_for_status()
    told: dict[str, Any] = answer.json()
    return told


def put(account: Account, body: dict[str, Any]) -> None:
    """Replace the application, as a dashboard would."""
    body = {key: value for key, value in body.items() if key not in {"id", "_links"}}
    body["keys"] = {key: value for key, value in (body.get("keys") or {}).items() if key == "public_key"}
    answer = requests.put(_address(account), json=body, auth=_auth(account), verify=account.ca_file, timeout=5)
    answer.raise_for_status()


def test_point_sets_the_webhooks_and_signing(account: Account) -> None:
    """The answer URL is fetched with GET, events are posted, callbacks are signed."""
    voice.point_application(account, "http://127.0.0.1:4321/")
    settings = application(account)["capabilities"]["voice"]
    assert settings["webhooks"]["answer_url"]["address"] == "http://127.0.0.1:4321/voice-answer"
    assert settings["webhooks"]["answer_url"]["http_method"] == "GET"
    assert settings["webhooks"]["event_url"]["address"] == "http://127.0.0.1:4321/voice-events"
    assert settings["webhooks"]["event_url"]["http_method"] == "POST"
    assert settings["signed_callbacks"] is True


def test_point_changes_nothing_else(account: Account) -> None:
    """Name, keys, the fallback URL, timeouts and other capabilities, `video` above all, are as before."""
    full = application(account)
    full["name"] = "kept"
    full["capabilities"] = {
        "video": {"webhooks": {}},
        "voice": {
            "webhooks": {
                "answer_url": {
                    "address": "https://old.example/a",
                    "http_method": "POST",
                    "socket_timeout": 4000,
                },
                "event_url": {"address": "https://old.example/e", "http_method": "GET"},
                "fallback_answer_url": {"address": "https://old.example/f", "http_method": "GET"},
            },
        },
    }
    put(account, full)
    before = application(account)
    previous = voice.point_application(account, "http://127.0.0.1:4321")
    after = application(account)
    assert previous == before["capabilities"]["voice"]
    expected = copy.deepcopy(before)
    hooks = expected["capabilities"]["voice"]["webhooks"]
    hooks["answer_url"] |= {"address": "http://127.0.0.1:4321/voice-answer", "http_method": "GET"}
    hooks["event_url"] |= {"address": "http://127.0.0.1:4321/voice-events", "http_method": "POST"}
    expected["capabilities"]["voice"]["signed_callbacks"] = True
    assert after == expected


def test_pointing_twice_writes_once(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that is pointed here already is left alone: there is no second PUT."""
    voice.point_application(account, "http://127.0.0.1:4321")
    asked: list[str] = []
    real = requests.request

    def noting(method: str, *args: Any, **kwargs: Any) -> requests.Response:
        asked.append(method)
        return real(method, *args, **kwargs)

    monkeypatch.setattr(requests, "request", noting)
    voice.point_application(account, "http://127.0.0.1:4321")
    assert asked == ["GET"]


def test_restore_gives_back_what_was(account: Account) -> None:
    """What `point_application` returned brings the application back to where it was."""
    before = application(account)
    previous = voice.point_application(account, "http://127.0.0.1:4321")
    assert application(account) != before
    voice.restore_application(account, previous)
    assert application(account)["capabilities"] == before["capabilities"]


def test_wrong_account_secret(account: Account) -> None:
    """A wrong account secret is AuthenticationRefused, without any secret in the error."""
    wrong = replace(account, voice_api_secret=SecretStr("wrong-and-secret"))
    with pytest.raises(AuthenticationRefused) as caught:
        voice.point_application(wrong, "http://127.0.0.1:4321")
    shown = f"{caught.value!r} {caught.value} {caught.value.__context__!r}"
    assert "VOICE_API_SECRET" in caught.value.fix
    assert "wrong-and-secret" not in shown
    assert account.voice_api_secret.get_secret_value() not in shown


def test_unknown_application(account: Account) -> None:
    """An application id that the account does not have names the setting to check."""
    unknown = replace(account, application_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(PlatformError) as caught:
        voice.point_application(unknown, "http://127.0.0.1:4321")
    assert "VONAGE_APPLICATION_ID" in caught.value.fix


def test_a_certificate_of_somebody_else_is_not_accepted(account: Account) -> None:
    """Without the sandbox's own authority its certificate is refused: the account's secret is not sent."""
    with pytest.raises(PlatformUnreachable):
        voice.point_application(replace(account, ca_file=None), "http://127.0.0.1:4321")


def test_nobody_there(account: Account) -> None:
    """No answer is PlatformUnreachable."""
    with pytest.raises(PlatformUnreachable):
        voice.point_application(replace(account, voice_api_url="https://127.0.0.1:9"), "http://127.0.0.1:4321")
