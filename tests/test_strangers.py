"""What a stranger gets who finds the webhook server's public address: nothing that moves a call, nothing that tells."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
WEBHOOKS = ("voice-answer", "voice-dtmf", "voice-keys", "voice-events")
SOUNDS = ("hold-music", "hold-music.mp3", "tones")
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
        path = path.replace("<phone>", "leg").replace("<deed>", "mute")
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
                # Scripts and styles of the room page, and sounds, are the same for everybody, and in the wheel.
                assert method == "GET", rule.rule
                assert first in {"healthz", "static", *SOUNDS}, rule.rule
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
def served() -> Iterator[Callable[[Any], str]]:
    """Puts an app behind the kit's own HTTP server, and gives its address."""
    with ExitStack() as ends:

        def serve(app: Any) -> str:
            sock = listen(0)
            server = http_server(sock, app)
            ends.callback(server.task_dispatcher.shutdown, timeout=2)
            threading.Thread(target=server.run, daemon=True).start()
            return f"http://127.0.0.1:{sock.getsockname()[1]}"

        yield serve


@pytest.fixture
def url(app: Flask, served: Callable[[Any], str]) -> str:
    """The kit's app behind it."""
    return served(app)


def test_health_tells_only_holders_about_this_machine(url: str, tmp_path: Path) -> None:
    """Who has not read server.json learns that the server is there and which one, whatever address he comes from.

    A raw tunnel hands on a forged `Host: localhost`, and its agent is on this machine: no address tells him from us.
    """
    state = ServerState(1, 1.0, 1, "one", 1, "token", "config", "project")
    state.write(tmp_path / "server.json")

    def told(headers: dict[str, str]) -> dict[str, Any]:
        return dict(requests.get(f"{url}/healthz", headers=headers, timeout=10).json())

    health = told({HOLDER_HEADER: state.proof})
    assert health.keys() == {"ok", "instance", "pid", "environment", "public_url"}
    assert health["environment"] == "sandbox:46000001"
    strangers: list[dict[str, str]] = [
        {},
        {"Host": "localhost"},
        {"Host": "127.0.0.1"},
        {"Host": "calls.example.com"},
        {"X-Forwarded-For": "198.51.100.1, 127.0.0.1"},
        {HOLDER_HEADER: ""},
        {HOLDER_HEADER: "one"},
        {HOLDER_HEADER: "token"},
        {HOLDER_HEADER: "ä"},
    ]
    for headers in strangers:
        assert told(headers).keys() == {"ok", "instance"}, headers


def test_forwarded_headers_say_who_asks_and_nothing_else(served: Callable[[Any], str]) -> None:
    """A tunnel's agent, which is on this machine, may say for whom it asks; what else was forwarded nobody sees."""
    seen: dict[str, Any] = {}

    def note(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return [b""]

    url = served(note)
    requests.get(url, headers={name: value for name, value in FORGED.items() if name != "Host"}, timeout=10)
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert (seen["wsgi.url_scheme"], seen["SCRIPT_NAME"]) == ("http", "")
    assert not {name for name in seen if "FORWARDED" in name} - {"HTTP_X_FORWARDED_PREFIX"}
    requests.get(url, headers={"X-Forwarded-For": "198.51.100.1"}, timeout=10)
    assert seen["REMOTE_ADDR"] == "198.51.100.1"
