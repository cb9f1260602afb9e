"""What a stranger gets who finds the webhook server's public address: nothing that moves a call, nothing that tells."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from pydantic import SecretStr

from sipkit.app import create_app
from sipkit.cloud import Account, LiveCloud
from sipkit.errors import MissingCredential
from sipkit.http_server import http_server, listen
from sipkit.server_state import HOLDER_HEADER, ServerState
from sipkit.settings import ANYBODY, Settings
from sipkit.store import Store
from tests.standins.forger import Forger, Sent, app_of_an_account

SECRET = "a-signature-secret-of-32-letters"
WEBHOOKS = ("voice-answer", "voice-dtmf", "voice-events")
LIVE = {
    "mode": "live",
    "video_api_key": "100",
    "video_api_secret": "video-secret",
    "voice_api_key": "KEY",
    "voice_api_secret": "voice-secret",
    "conference_number": "12025550100",
}


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """The app, told its public address https://calls.example.com."""
    return app_of_an_account(tmp_path, SECRET)


def live(home: Path, **more: Any) -> tuple[Settings, Account]:
    """Settings and account of a live owner who has no signature secret."""
    settings = Settings.load(home=home, **LIVE, **more)
    return settings, LiveCloud(settings).account()


def made(home: Path, settings: Settings, account: Account) -> Flask:
    """The app of these."""
    return create_app(settings, account, Store.open(f"sqlite:///{home}/db", account.environment))


@pytest.mark.parametrize("words", [None, "yes", "true", "1", "let anybody call my webhooks", f"not {ANYBODY}"])
@pytest.mark.parametrize("address", [{}, {"server_url": "https://calls.example.com"}])
def test_live_without_a_secret_no_server_starts(tmp_path: Path, words: str | None, address: dict[str, str]) -> None:
    """A public address leads to it, or will; so it starts only for an owner who says in full what that means."""
    allow = {} if words is None else {"allow_unsigned_webhooks": words}
    with pytest.raises(MissingCredential, match="SIGNATURE_SECRET") as refusal:
        made(tmp_path, *live(tmp_path, **allow, **address))
    assert ANYBODY in refusal.value.fix


def test_live_without_a_secret_in_so_many_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The full sentence starts it, the log warns, and unsigned webhooks are answered."""
    caplog.set_level(logging.WARNING)
    settings, account = live(tmp_path, allow_unsigned_webhooks=ANYBODY, server_url="https://calls.example.com")
    app = made(tmp_path, settings, account)
    assert "anybody" in caplog.text
    status, text = Sent("POST", "voice-answer", {"uuid": "leg", "from": "12025550123"}, "").send(app)
    assert status == 200
    assert "https://calls.example.com/voice-dtmf" in text


def test_with_a_secret_the_sentence_means_nothing(tmp_path: Path) -> None:
    """Where webhooks can be checked they are, whatever ALLOW_UNSIGNED_WEBHOOKS says."""
    settings, account = live(tmp_path, allow_unsigned_webhooks=ANYBODY, signature_secret=SECRET)
    app = made(tmp_path, settings, account)
    assert Sent("POST", "voice-answer", {"uuid": "leg"}, "").send(app)[0] == 401


def test_the_sandbox_always_signs(tmp_path: Path, app: Flask) -> None:
    """In the sandbox there is no way to do without: the secret is always there."""
    account = replace(app.extensions["sipkit"].account, signature_secret=SecretStr(""))
    settings = Settings.load(mode="sandbox", home=tmp_path / "home", allow_unsigned_webhooks=ANYBODY)
    with pytest.raises(MissingCredential):
        made(tmp_path, settings, account)


def test_nothing_answers_but_webhooks_health_and_invited_rooms(app: Flask) -> None:
    """Of every route there is: webhooks want a signature, rooms an invitation; health says only that it is there."""
    client = app.test_client()
    seen = set()
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<name>", "standup").replace("<path:filename>", "room.js")
        assert "<" not in path, f"{rule.rule}: a new route must be looked at here"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            with client.open(path, method=method) as answer:
                status = answer.status_code
            first = path.split("/")[1]
            seen.add(first)
            if first in WEBHOOKS:
                assert status == 401, rule.rule
            elif first == "room":
                assert status in {401, 403, 404}, rule.rule
            else:
                # Scripts and styles of the room page are the same for everybody, and in the wheel.
                assert (first, method) in {("healthz", "GET"), ("static", "GET")}, rule.rule
    assert {*WEBHOOKS, "healthz", "room"} <= seen
    for path in ("/", "/sandbox/ledger", "/static/x", "/.env", "/room/", "/voice-answer/", "//voice-answer", "/api"):
        assert client.get(path).status_code in {404, 403}, path


FORGED = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-URL": "https://evil.example/",
    "Forwarded": "for=1.2.3.4;host=evil.example;proto=http",
}


@pytest.mark.parametrize("header", FORGED)
def test_event_urls_come_from_the_known_address(app: Flask, header: str) -> None:
    """No header of a request moves the address that a phone's keys are sent to."""
    sent = Forger(SECRET, "KEY", "APP").signed(Sent("POST", "voice-answer", {"uuid": "leg", "from": "1"}, ""))
    headers = {"Authorization": f"Bearer {sent.token}", header: FORGED[header]}
    answer = app.test_client().post("/voice-answer", data=sent.body, headers=headers)
    assert [action.get("eventUrl") for action in json.loads(answer.text)] == [
        None,
        ["https://calls.example.com/voice-dtmf"],
    ]


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    """The app behind the kit's own HTTP server."""
    sock = listen(0)
    server = http_server(sock, app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.task_dispatcher.shutdown(timeout=2)


@pytest.mark.parametrize("header", [{"Host": "calls.example.com"}, {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}])
def test_health_tells_strangers_nothing_of_this_machine(url: str, header: dict[str, str]) -> None:
    """Through a tunnel health says that the server is there and which one; the rest is for this machine."""
    assert {"pid", "environment", "public_url"} <= requests.get(f"{url}/healthz", timeout=10).json().keys()
    told = requests.get(f"{url}/healthz", headers=header, timeout=10).json()
    assert told.keys() == {"ok", "instance"}


def test_health_names_the_account_only_to_holders(url: str, tmp_path: Path) -> None:
    """A raw tunnel hands on a forged `Host: localhost`: only who has read server.json learns whose server it is."""
    state = ServerState(1, 1.0, 1, "one", 1, "token", "config", "project")
    state.write(tmp_path / "server.json")

    def environment(headers: dict[str, str]) -> str:
        told = requests.get(f"{url}/healthz", headers=headers, timeout=10).json()
        return str(told["environment"])

    assert environment({HOLDER_HEADER: state.proof}) == "sandbox:46000001"
    for forged in ({"Host": "localhost"}, {HOLDER_HEADER: "one"}, {HOLDER_HEADER: "token"}, {HOLDER_HEADER: "ä"}):
        assert environment(forged) == "sandbox"


def test_forwarded_headers_of_others_are_not_believed(app: Flask) -> None:
    """Who does not come from this machine cannot say that he does."""
    claims = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"}
    stranger = {"REMOTE_ADDR": "203.0.113.7"}
    told = app.test_client().get("/healthz", headers=claims, environ_base=stranger).json or {}
    assert told.keys() == {"ok", "instance"}
