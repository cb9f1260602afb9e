"""The webhooks: every form the platform's requests take, the PIN dialogue, and what strangers get."""

import hashlib
import io
import json
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from flask import Flask
from pydantic import SecretStr
from werkzeug.test import TestResponse

from sipkit import ncco
from sipkit.app import create_app
from sipkit.cloud import Account
from sipkit.rooms import Bridge, Room
from sipkit.server_state import HOLDER_HEADER, ServerState
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.webhooks import MAX_BODY

SECRET = "a-signature-secret-of-32-letters"
NUMBER = "12025550123"
PUBLIC = "https://example.org"
ROUTES = ("voice-answer", "voice-dtmf", "voice-keys", "voice-events")
ACCOUNT = Account(
    mode="sandbox",
    video_api_url="http://127.0.0.1:1",
    video_api_key="46000001",
    video_api_secret=SecretStr("video-secret"),
    voice_api_url="http://127.0.0.1:1",
    voice_api_key="KEY",
    voice_api_secret=SecretStr("voice-secret"),
    application_id="APP",
    signature_secret=SecretStr(SECRET),
    conference_number="12025550100",
)
STATE = ServerState(1, 1.0, 1, "abc", 1, "token", "config", "project")


class Platform:
    """Sends what the platform would send, signed as it signs."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client()

    def token(self, hashed: bytes, **changes: Any) -> dict[str, str]:
        """Make the header that signs a payload."""
        claims = {
            "iat": int(time.time()),
            "jti": str(uuid.uuid4()),
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(hashed).hexdigest(),
            "api_key": "KEY",
            "application_id": "APP",
            **changes,
        }
        return {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}

    def post(self, route: str, body: Any, **headers: str) -> TestResponse:
        """POST JSON, or bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        return self._client.post(f"/{route}", data=raw, headers={**kind, **self.token(raw), **headers})

    def get(self, route: str, query: dict[str, str]) -> TestResponse:
        """GET with parameters."""
        text = json.dumps(query, separators=(",", ":"), ensure_ascii=False)
        return self._client.get(f"/{route}?{urlencode(query)}", headers=self.token(text.encode()))

    def send(self, method: str, route: str, fields: dict[str, str]) -> TestResponse:
        """GET or POST."""
        return self.get(route, fields) if method == "GET" else self.post(route, fields)

    def raw(self, method: str, path: str, **options: Any) -> TestResponse:
        """Send anything, unsigned unless it is signed."""
        return self._client.open(path, method=method, **options)

    def health(self) -> TestResponse:
        """Ask for the server's health as one of its holders."""
        return self.raw("GET", "/healthz", headers={HOLDER_HEADER: STATE.proof})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a sandbox whose data folder knows only the server."""
    home = tmp_path_factory.mktemp("home")
    STATE.write(home / "server.json")
    return Settings.load(mode="sandbox", home=home)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store."""
    store = Store.open(f"sqlite:///{tmp_path / 'sipkit.db'}", ACCOUNT.environment)
    yield store
    store.close()


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    """The app, told its public address."""
    app = create_app(settings, ACCOUNT, store)
    store.set_fact("public_url", PUBLIC)
    return app


@pytest.fixture
def platform(app: Flask) -> Platform:
    """The platform's sending side."""
    return Platform(app)


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


def leg_of(bridge: Bridge) -> dict[str, str]:
    """What the answer webhook says of the leg that a bridge's dial made."""
    headers = {"SipHeader_X-OpenTok-SessionId": "SESSION", "SipHeader_X-Sipkit-Dial": bridge.nonce}
    return {"uuid": "leg", "from": "46000001", **headers}


def wrong_pin_for(_room: Room) -> str:
    """Digits that are not the room's PIN."""
    return "111111"  # no PIN has a digit twice in a row


# Answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "header",
    ["SipHeader_X-OpenTok-SessionId", "SipHeader_X-OPENTOK-SESSION-ID", "sipheader_x_opentok_sessionid"],
)
def test_the_bridge_joins_its_session(platform: Platform, store: Store, room: Room, method: str, header: str) -> None:
    """A leg whose SIP header names a session joins its conversation and ends it when it leaves."""
    bridge, _ = store.claim_bridge(room, "me")
    fields = {"uuid": "leg", "from": "46000001", header: "SESSION", "SipHeader_X-Sipkit-Dial": bridge.nonce, "new": "x"}
    answer = platform.send(method, "voice-answer", fields)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == ncco.join("SESSION", end_on_exit=True)
    living = store.living_bridge(room)
    assert living is not None
    assert (living.state, living.leg_uuid) == ("answered", "leg")
    assert store.callers(room) == []


@pytest.mark.parametrize("session", ["UNKNOWN", "", "standup"])
def test_a_session_that_is_not_ours_is_refused(platform: Platform, room: Room, session: str) -> None:
    """A leg that names a session of no open room is told goodbye; a conversation is not made for it."""
    answer = platform.post("voice-answer", {"uuid": "leg", "SipHeader_X-OpenTok-SessionId": session})
    assert answer.json == ncco.goodbye("goodbye_session")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_phone_is_asked_for_its_pin(platform: Platform, store: Store, method: str) -> None:
    """A phone's leg is asked for a PIN, to be sent to our public address."""
    answer = platform.send(method, "voice-answer", {"uuid": "leg", "from": NUMBER, "to": "12025550100"})
    assert answer.json == ncco.ask_pin(f"{PUBLIC}/voice-dtmf", 6)
    caller = store.caller("leg")
    assert caller is not None
    assert (caller.state, caller.number) == ("asked", NUMBER)


def test_a_longer_pin_of_an_older_room_can_be_typed(platform: Platform, store: Store) -> None:
    """The prompt waits for as many digits as the longest PIN in use has."""
    store.pin_length = 8
    store.open_room("old", lambda: "S")
    answer = platform.post("voice-answer", {"uuid": "leg", "from": NUMBER})
    assert answer.json == ncco.ask_pin(f"{PUBLIC}/voice-dtmf", 8)


def test_the_event_url_never_comes_from_the_request(platform: Platform) -> None:
    """A forged Host, or forwarding headers, do not divert the digits."""
    body = {"uuid": "leg", "from": NUMBER}
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    answer = platform.post("voice-answer", body, **forged)
    assert "evil" not in answer.text
    assert answer.json == ncco.ask_pin(f"{PUBLIC}/voice-dtmf", 6)


def test_public_address(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is the one told since this server started, else the address it listens on, else an apology."""
    monkeypatch.delenv("SIPKIT_LOCAL_URL", raising=False)
    store.set_fact("public_url", "https://of-a-former-server.example")
    app = create_app(settings, ACCOUNT, store)
    call = {"uuid": "leg", "from": NUMBER}
    assert Platform(app).post("voice-answer", call).json == ncco.goodbye("sorry")
    monkeypatch.setenv("SIPKIT_LOCAL_URL", "http://127.0.0.1:5000")
    assert "http://127.0.0.1:5000/voice-dtmf" in Platform(app).post("voice-answer", call).text
    store.set_fact("public_url", f"{PUBLIC}/")
    assert f'"{PUBLIC}/voice-dtmf"' in Platform(app).post("voice-answer", call).text


LOOPBACK = "http://127.0.0.1:5000"
LIVE = dict.fromkeys(("video_api_key", "video_api_secret", "voice_api_key", "voice_api_secret"), "x")


@pytest.mark.parametrize(
    ("mode", "server_url", "local_url", "wanted"),
    [
        ("live", PUBLIC, LOOPBACK, PUBLIC),
        ("sandbox", PUBLIC, LOOPBACK, LOOPBACK),
        ("sandbox", "http://localhost:6000", "", "http://localhost:6000"),
        ("sandbox", "http://127.0.0.1:6000", LOOPBACK, LOOPBACK),
        ("sandbox", PUBLIC, "", None),
        ("live", "http://127.0.0.1:6000", LOOPBACK, None),
        ("live", "http://[::1]:6000", "", None),
        ("live", None, LOOPBACK, None),
    ],
)
def test_each_cloud_is_told_an_address_it_reaches(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    mode: str, server_url: str | None, local_url: str, wanted: str | None,
) -> None:  # fmt: skip
    """Vonage is never told an address of this machine, nor the sandbox one elsewhere; without any: the fix."""
    monkeypatch.setenv("SIPKIT_LOCAL_URL", local_url)
    here = {"home": settings.home, "server_url": server_url, "conference_number": "12025550100"}
    app = create_app(Settings.load(mode=mode, **here, **LIVE), ACCOUNT, store)
    answer = Platform(app).post("voice-answer", {"uuid": "leg", "from": NUMBER})
    if wanted:
        assert f'"{wanted}/voice-dtmf"' in answer.text
        return
    assert answer.json == ncco.goodbye("sorry")
    way = "Set SERVER_URL to the public address" if mode == "live" else "Set SERVER_URL to the address this server"
    assert way in caplog.text
    assert way in store.events()[-1].text


# PIN


FORMS: dict[str, Callable[[str], tuple[str, Any]]] = {
    "object": lambda keys: ("POST", {"digits": keys, "timed_out": False}),
    "JSON text": lambda keys: ("GET", json.dumps({"digits": keys, "timed_out": True})),
    "plain text": lambda keys: ("POST", keys),
    "plain text in a query": lambda keys: ("GET", keys),
    "with the hash key": lambda keys: ("POST", {"digits": f"{keys}#"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_right_pin_joins(platform: Platform, store: Store, room: Room, form: str) -> None:
    """The PIN, in every form the platform has sent it, puts the phone into the room's conversation."""
    method, dtmf = FORMS[form](room.pin)
    answer = platform.send(method, "voice-dtmf", {"uuid": "leg", "from": NUMBER, "dtmf": dtmf})
    assert answer.json == ncco.join("SESSION")
    assert [(caller.leg_uuid, caller.state) for caller in store.callers(room)] == [("leg", "joined")]


def test_three_wrong_pins(platform: Platform, room: Room) -> None:
    """Two wrong PINs are asked again with the tries left, the third ends the call; then the caller has to pause."""
    keys = {"uuid": "leg", "from": NUMBER, "dtmf": {"digits": wrong_pin_for(room)}}
    url = f"{PUBLIC}/voice-dtmf"
    answers = [platform.post("voice-dtmf", keys).json for _ in range(3)]
    assert answers == [ncco.wrong_pin(url, 6, 2), ncco.wrong_pin(url, 6, 1), ncco.goodbye("goodbye_wrong_pins")]
    for leg in ("leg", "other"):
        assert platform.post("voice-dtmf", {**keys, "uuid": leg}).json == ncco.goodbye("goodbye_pause")
    assert platform.post("voice-dtmf", {**keys, "uuid": "next", "from": "12025550188"}).json == ncco.wrong_pin(
        url, 6, 2
    )


NOTHING: dict[str, dict[str, Any]] = {
    "empty": {"dtmf": {"digits": "", "timed_out": True}},
    "null digits": {"dtmf": {"digits": None}},
    "no digits": {"dtmf": {"timed_out": True}},
    "null": {"dtmf": None},
    "missing": {"speech": {"error": "Speech was not enabled"}},
    "empty text": {"dtmf": ""},
    "hash only": {"dtmf": "#"},
}


@pytest.mark.parametrize("form", NOTHING)
def test_silence_is_asked_once_more(platform: Platform, form: str) -> None:
    """Nothing typed, in every form, is asked once again; the second time it is goodbye."""
    keys = {"uuid": "leg", "from": NUMBER, **NOTHING[form]}
    assert platform.post("voice-dtmf", keys).json == ncco.nothing_typed(f"{PUBLIC}/voice-dtmf", 6)
    assert platform.post("voice-dtmf", keys).json == ncco.goodbye("goodbye_no_keys")


def test_a_pin_of_a_closed_room_or_another_environment_is_wrong(platform: Platform, store: Store, room: Room) -> None:
    """Only open rooms of this environment let anybody in."""
    store.close_room("standup")
    answer = platform.post("voice-dtmf", {"uuid": "leg", "dtmf": {"digits": room.pin}})
    assert answer.json == ncco.wrong_pin(f"{PUBLIC}/voice-dtmf", 6, 2)


# Events


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_callers_follow_the_events(platform: Platform, store: Store, room: Room, method: str) -> None:
    """A phone comes, joins and leaves; repeated and disordered events change nothing."""
    call = {"uuid": "leg", "from": NUMBER, "to": "12025550100", "conversation_uuid": "CON-1", "direction": "inbound"}

    def event(status: str) -> None:
        assert platform.send(method, "voice-events", {**call, "status": status}).json == {"ok": True}

    event("started")
    platform.post("voice-dtmf", {**call, "dtmf": {"digits": room.pin}})
    for status in ("answered", "ringing", "started"):
        event(status)
    assert [caller.state for caller in store.callers(room)] == ["joined"]
    for status in ("completed", "answered", "completed", "started"):
        event(status)
    assert [caller.state for caller in store.callers(room)] == ["left"]


@pytest.mark.parametrize(
    "status",
    ["completed", "failed", "rejected", "busy", "cancelled", "unanswered", "timeout", "disconnected", "COMPLETED"],
)
def test_the_end_of_its_leg_ends_the_bridge(platform: Platform, store: Store, room: Room, status: str) -> None:
    """Each last status of the bridge's leg ends the bridge, with the status as its reason."""
    bridge, _ = store.claim_bridge(room, "me")
    platform.post("voice-answer", leg_of(bridge))
    for _ in range(2):
        platform.post("voice-events", {"uuid": "leg", "status": status, "headers": {}, "duration": "7"})
    ended = store.bridge(bridge.id)
    assert ended is not None
    assert (ended.state, ended.reason) == ("ended", f"the phone side said {status.lower()}")
    assert store.callers(room) == []


def test_events_of_a_bridge_before_its_answer(platform: Platform, store: Store, room: Room) -> None:
    """Early news of a leg with the session in its headers make no caller and bind no bridge."""
    bridge, _ = store.claim_bridge(room, "me")
    news = {"uuid": "leg", "from": "46000001", "headers": {"X-OpenTok-SessionId": "SESSION"}}
    for status in ("started", "ringing"):
        platform.post("voice-events", {**news, "status": status})
    assert store.caller("leg") is None
    assert store.living_bridge(room) == bridge
    assert [event.room_id for event in store.events()] == [room.id, room.id]


def test_completed_overtakes_the_bridges_answer(platform: Platform, store: Store, room: Room) -> None:
    """A bridge whose end is heard before its answer webhook does not stay on record as living."""
    bridge, _ = store.claim_bridge(room, "me")
    platform.post("voice-events", {"uuid": "leg", "status": "completed"})
    platform.post("voice-answer", leg_of(bridge))
    assert store.living_bridge(room) is None


OTHER_NEWS: list[dict[str, Any]] = [
    {"reason": "NCCO is invalid", "conversation_uuid": "CON-1", "timestamp": "2020-07-01T20:45:34.796Z"},
    {"type": "transfer", "uuid": "leg", "conversation_uuid_from": "CON-1", "conversation_uuid_to": "CON-2"},
    {"uuid": "leg", "status": "human"},
    {"uuid": "leg", "status": "something new", "sip_code": 200, "disconnected_by": "user"},
    {},
]


@pytest.mark.parametrize("news", OTHER_NEWS)
def test_other_news_are_noted(platform: Platform, store: Store, news: dict[str, Any]) -> None:
    """Errors, transfers, unknown statuses and news about nobody are noted, not refused."""
    assert platform.post("voice-events", news).status_code == 200
    assert len(store.events()) == 1


def test_captured_events(platform: Platform) -> None:
    """Bodies as the platform sent them, nulls and all, are understood."""
    common = {"from": NUMBER, "to": "16105553939", "uuid": "0A0000000123ABCD1", "conversation_uuid": "CON-1"}
    answered: dict[str, Any] = {"start_time": None, "headers": {}, "rate": None, "status": "answered", "network": None}
    completed = {"end_time": "2020-07-01T20:45:42.000Z", "duration": "7", "price": "0.00052500", "status": "completed"}
    for body in (answered, completed):
        assert platform.post("voice-events", {**common, **body, "direction": "inbound"}).status_code == 200


# Timeline


def test_the_timeline_tells_the_call_without_its_secrets(platform: Platform, store: Store, room: Room) -> None:
    """Each request is in the timeline in words; no PIN, no digits, no token, no whole number."""
    wrong = wrong_pin_for(room)
    call = {"uuid": "leg", "from": NUMBER}
    platform.post("voice-answer", call)
    platform.get("voice-dtmf", {**call, "dtmf": json.dumps({"digits": wrong})})
    platform.post("voice-dtmf", {**call, "dtmf": {"digits": ""}})
    platform.post("voice-dtmf", {**call, "dtmf": {"digits": room.pin}})
    platform.post("voice-events", {**call, "status": "completed", "duration": "7"})
    events = store.events()
    assert [event.text for event in events] == [
        "Phone •••0123 called; it is asked for a PIN.",
        "Phone •••0123 typed 6 digits that are no room's PIN (try 1); it is asked again.",
        "Phone •••0123 typed nothing; it is asked again.",
        "Phone •••0123 typed the PIN of room 'standup' and joins.",
        "Phone •••0123: completed, after 7 s.",
    ]
    assert [event.kind for event in events] == ["voice-answer", *["voice-dtmf"] * 3, "voice-events"]
    assert [event.room_id for event in events] == [None, None, None, room.id, room.id]
    written = " ".join(f"{event.text} {dict(event.data)}" for event in events)
    assert not [secret for secret in (room.pin, wrong, NUMBER, "eyJ") if secret in written]


# Strangers


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unsigned_and_forged_requests(platform: Platform, store: Store, room: Room, route: str, method: str) -> None:
    """Without the platform's signature for this very body nothing is answered and nothing is changed."""
    body = json.dumps({"uuid": "leg", "dtmf": {"digits": room.pin}}).encode()
    for headers in ({}, platform.token(b"other"), platform.token(body, iat=int(time.time()) - 400)):
        answer = platform.raw(method, f"/{route}", data=body, headers=headers)
        assert (answer.status_code, answer.mimetype) == (401, "application/json")
        assert set(answer.json or {}) == {"error"}
        assert "eyJ" not in answer.text
    assert store.callers(room) == []
    assert [event.kind for event in store.events()] == ["refused"], "at most one a second"


BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"uuid=leg",
    "half": b'{"uuid": "leg"',
    "not UTF-8": b'{"uuid": "\xff"}',
    "array": b'[{"uuid": "leg"}]',
    "text": b'"leg"',
    "number": b"1",
    "null": b"null",
    "NaN": b'{"uuid": "leg", "x": NaN}',
    "deep": b"[" * 60_000,
    "long number": b'{"uuid": "leg", "x": ' + b"1" * 5000 + b"}",
    "uuid number": b'{"uuid": 7}',
    "uuid object": b'{"uuid": {}}',
    "uuid with a space": b'{"uuid": "a b"}',
    "uuid too long": b'{"uuid": "' + b"a" * 101 + b'"}',
    "from number": b'{"uuid": "leg", "from": 12025550123}',
    "from with NUL": b'{"uuid": "leg", "from": "\\u0000"}',
    "from half a pair": b'{"uuid": "leg", "from": "\\ud800"}',
    "session number": b'{"uuid": "leg", "SipHeader_X-OpenTok-SessionId": 7}',
    "session list": b'{"uuid": "leg", "headers": {"X-OpenTok-SessionId": []}}',
}
BAD_KEYS: list[Any] = [7, [], {"digits": 7}, {"digits": []}, {"digits": "12ab56!"}, "drop table", "{", "1" * 41, True]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_bodies(platform: Platform, route: str, case: str) -> None:
    """Signed nonsense is a 400 with one line of JSON that says why."""
    answer = platform.post(route, BAD_BODIES[case])
    assert (answer.status_code, answer.mimetype) == (400, "application/json")
    assert answer.text.count("\n") == 1
    assert set(answer.json or {}) == {"error"}


@pytest.mark.parametrize("dtmf", BAD_KEYS)
def test_bad_keys(platform: Platform, dtmf: Any) -> None:
    """Keys that are none are a 400 that does not quote them."""
    answer = platform.post("voice-dtmf", {"uuid": "leg", "dtmf": dtmf})
    assert answer.status_code == 400
    assert (answer.json or {})["error"].startswith("dtmf ")


def test_missing_uuid(platform: Platform) -> None:
    """A call needs a leg; without one there is nothing to answer."""
    for route in ("voice-answer", "voice-dtmf"):
        assert platform.post(route, {"from": NUMBER}).json == {"error": "uuid is missing"}


def test_bad_event_status(platform: Platform) -> None:
    """A status that is no text is a 400."""
    assert platform.post("voice-events", {"uuid": "leg", "status": 7}).status_code == 400


@pytest.mark.parametrize("route", ROUTES)
def test_large_bodies(platform: Platform, route: str) -> None:
    """A body of 64 KiB is read; one byte more is a 413, signed or not, told by its length or sent in chunks."""
    fits = b'{"uuid":"leg","x":"' + b"y" * (MAX_BODY - 21) + b'"}'
    assert len(fits) == MAX_BODY
    assert platform.post(route, fits).status_code == 200
    large = fits + b" "
    chunks = {"environ_overrides": {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}}
    chunked = platform.raw("POST", f"/{route}", data=fits, headers=platform.token(fits), **chunks)
    assert chunked.status_code == 200
    for answer in (
        platform.post(route, large),
        platform.raw("POST", f"/{route}", data=large),
        platform.raw("POST", f"/{route}", data=large * 3, headers=platform.token(large), **chunks),
    ):
        assert (answer.status_code, answer.json) == (413, {"error": "request entity too large"})


def test_a_stranger_is_refused_though_the_store_is_locked(
    app: Flask, store: Store, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a caller waits for a store that is locked, who has nothing to write there does not wait with it."""
    monkeypatch.setattr("sipkit.app.PATIENCE", 60.0)
    with closing(sqlite3.connect(tmp_path / "sipkit.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(2) as pool:
            caller = pool.submit(Platform(app).post, "voice-answer", {"uuid": "leg", "from": NUMBER})
            try:
                strangers = pool.submit(platform.raw, "POST", "/voice-answer", data=b"{}")
                assert strangers.result(20).status_code == 401
                assert not caller.done()
            finally:
                other.execute("ROLLBACK")
            assert caller.result(20).status_code == 200


def test_a_slow_body_keeps_nobody_waiting(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends its body as slowly as it likes is refused in the end, and meanwhile the others are answered."""
    monkeypatch.setattr("sipkit.app.PATIENCE", 60.0)
    asked, go_on = threading.Event(), threading.Event()

    class Slow(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            asked.set()
            assert go_on.wait(60)
            return 0

    options = {"environ_overrides": {"wsgi.input": Slow(), "CONTENT_LENGTH": "10"}}
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(Platform(app).raw, "POST", "/voice-answer", **options)
        try:
            assert asked.wait(10)
            other = pool.submit(Platform(app).post, "voice-answer", {"uuid": "leg", "from": NUMBER})
            assert other.result(20).status_code == 200
        finally:
            go_on.set()
        assert slow.result(20).status_code == 400


@pytest.mark.parametrize(
    "path", ["/", "/voice-answer/", "//voice-answer", "/voice-fallback", "/static/x", "/voice-answer%00", "/%ff"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_unknown_routes(platform: Platform, path: str, method: str) -> None:
    """There is nothing else here, and no redirect either."""
    answer = platform.raw(method, path)
    assert (answer.status_code, answer.json) == (404, {"error": "not found"})


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE", "HEAD"])
@pytest.mark.parametrize("route", ROUTES)
def test_unknown_methods(platform: Platform, route: str, method: str) -> None:
    """Other methods, HEAD included, are a 405 that lists the right ones."""
    answer = platform.raw(method, f"/{route}")
    assert (answer.status_code, answer.mimetype) == (405, "application/json")
    assert answer.headers["Allow"] == "GET, POST"


def test_too_many_parameters(platform: Platform) -> None:
    """A query of more than a hundred parameters is a 400."""
    assert platform.raw("GET", f"/voice-answer?{'a=1&' * 101}").status_code == 400


# Our own failures


def test_a_broken_store_apologizes(
    platform: Platform, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the store fails a caller hears an apology, events are acknowledged, and the log says why."""
    store.close()
    (tmp_path / "sipkit.db").write_bytes(b"not a database" * 1000)
    for companion in tmp_path.glob("sipkit.db-*"):
        companion.unlink()
    call = {"uuid": "leg", "from": NUMBER, "dtmf": {"digits": "4711"}}
    for route in ("voice-answer", "voice-dtmf"):
        assert platform.post(route, call).json == ncco.goodbye("sorry")
    answer = platform.post("voice-events", {**call, "status": "completed"})
    assert (answer.status_code, (answer.json or {})["ok"]) == (200, False)
    health = platform.health()
    assert (health.status_code, (health.json or {})["ok"]) == (200, False)
    assert "The store does not work" in caplog.text
    assert NUMBER not in caplog.text
    assert "4711" not in caplog.text


def test_an_unforeseen_failure_apologizes(
    platform: Platform, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours is an apology too, and the log names its kind and place but quotes nothing."""

    def broken(*_: object, **__: object) -> None:
        raise KeyError(NUMBER)

    monkeypatch.setattr(store, "caller_seen", broken)
    assert platform.post("voice-answer", {"uuid": "leg", "from": NUMBER}).json == ncco.goodbye("sorry")
    assert "KeyError at" in caplog.text
    assert NUMBER not in caplog.text


def test_healthz(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The health check says which server this is, and to its holders also whose, and where the platform reaches it."""
    monkeypatch.setenv("SIPKIT_INSTANCE", "abc")
    told = {"ok": True, "instance": "abc"}
    assert platform.raw("GET", "/healthz").json == told
    health = platform.health().json or {}
    assert health.pop("pid") > 0
    assert health == told | {"environment": ACCOUNT.environment, "public_url": PUBLIC}


def test_access_logs_drop_queries(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Request lines of Flask's own server lose their query, which holds numbers and session ids."""
    caplog.set_level(logging.INFO, "werkzeug")
    log = logging.getLogger("werkzeug")
    log.info('%s "%s" %s', "127.0.0.1", f"GET /voice-answer?from={NUMBER}&x=%20y HTTP/1.1", 200)
    assert caplog.messages == ['127.0.0.1 "GET /voice-answer HTTP/1.1" 200']
