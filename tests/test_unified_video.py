"""The unified video environment over Vonage's real SDK: against the sandbox, and against platforms that close early."""

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from sipkit import voice, voice_calls
from sipkit.cloud import Account, cloud_for
from sipkit.errors import (
    AuthenticationRefused,
    DialRefused,
    DialUncertain,
    PlatformError,
    PlatformUnreachable,
    SessionGone,
    SettingsError,
)
from sipkit.settings import Settings
from sipkit.unified_video import UnifiedVideo
from sipkit.video import OpenTokVideo
from sipkit.video_platform import video_platform
from tests.standins.closing_platform import closing_platform


@pytest.fixture
def account(sandbox_env: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """The running sandbox's account in the unified environment."""
    monkeypatch.setenv("VIDEO_ENVIRONMENT", "Unified")
    cloud = cloud_for(Settings.load())
    yield cloud.account()
    cloud.close()


@pytest.fixture
def video(account: Account) -> UnifiedVideo:
    """The unified video side of the running sandbox."""
    return UnifiedVideo(account)


@pytest.fixture(scope="module")
def strange_key() -> SecretStr:
    """A private key that belongs to no application."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return SecretStr(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


def test_settings_choose_the_environment(account: Account, settings: Settings) -> None:
    """The account says which environment it is, its project is the application, and the platform fits."""
    assert (account.video_environment, account.video_api_key) == ("unified", account.application_id)
    assert account.environment == f"sandbox:{account.application_id}"
    assert isinstance(video_platform(account), UnifiedVideo)
    cloud = cloud_for(settings.model_copy(update={"video_environment": None}))
    assert isinstance(video_platform(cloud.account()), OpenTokVideo)
    cloud.close()


def test_a_created_session_is_known(video: UnifiedVideo) -> None:
    """A session of the application is known; others, and what is no session id, are not."""
    session_id = video.create_session()
    assert video.session_known(session_id)
    assert not video.session_known(session_id[:-8] + "AAAAAAAA")
    assert not video.session_known("no-session-id")


def test_tokens_are_text_signed_with_the_applications_key(video: UnifiedVideo, account: Account) -> None:
    """A token is a str, opens its session only, and keeps role, data and time; a bad wish is a typed error."""
    session_id = video.create_session()
    key = serialization.load_pem_private_key(account.private_key.get_secret_value().encode(), None)
    claims = jwt.decode(video.sip_token(session_id), key.public_key(), algorithms=["RS256"])  # type: ignore[arg-type]
    assert (claims["application_id"], claims["session_id"]) == (account.application_id, session_id)
    assert (claims["role"], claims["scope"]) == ("publisher", "session.connect")
    assert json.loads(claims["connection_data"])["sip"] is True
    with pytest.raises(SessionGone):
        video.token("2_MX4xMTExMTExMX5-MX5ub25lfg")
    for wish in ({"role": "king"}, {"data": "x" * 1001}, {"expires_in": 31 * 86400}):
        with pytest.raises(PlatformError):
            video.token(session_id, **wish)


@pytest.fixture
def silent_webhooks(account: Account) -> Iterator[None]:
    """A webhook server that takes requests and says nothing, so that a leg stays up for some seconds."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        previous = voice.point_application(account, f"http://127.0.0.1:{silent.getsockname()[1]}")
        yield
        voice.restore_application(account, previous)


def test_dial_list_and_disconnect(video: UnifiedVideo, silent_webhooks: None) -> None:
    """A dial gives ids at once; the leg is listed until it is disconnected, and gone the second time."""
    session_id = video.create_session()
    assert not video.stream_alive(session_id, "none")
    dialed = video.dial(session_id, "a-nonce")
    assert dialed.call_id
    listed = video.connections(session_id)
    assert listed is not None
    assert [connection.connection_id for connection in listed] == [dialed.connection_id]
    assert video.stream_alive(session_id, dialed.stream_id)
    assert video.force_disconnect(session_id, dialed.connection_id) is True
    assert video.force_disconnect(session_id, dialed.connection_id) is False
    assert video.connections(session_id) == []


def test_refused_dials_say_why(video: UnifiedVideo, account: Account) -> None:
    """Unknown session, relayed session, and an address that is none: three errors, and no call."""
    from vonage_video.models import MediaMode, SessionOptions

    session_id = video.create_session()
    with pytest.raises(SessionGone):
        video.dial(session_id[:-8] + "AAAAAAAA")
    with video._client() as sdk:
        relayed = sdk.create_session(SessionOptions(media_mode=MediaMode.RELAYED)).session_id
    with pytest.raises(DialRefused, match="not routed"):
        video.dial(relayed)
    with pytest.raises(DialRefused) as caught:
        UnifiedVideo(replace(account, conference_number="+1 202 555")).dial(session_id)
    assert "CONFERENCE_NUMBER" in caught.value.fix


@pytest.mark.parametrize("call", ["create", "known", "dial", "connections", "streams", "disconnect"])
def test_another_key_is_refused(account: Account, strange_key: SecretStr, call: str) -> None:
    """A key that is not the application's is AuthenticationRefused from every call, with nothing secret in it."""
    known = UnifiedVideo(account).create_session()
    wrong = UnifiedVideo(replace(account, private_key=strange_key))
    calls: dict[str, Callable[[], Any]] = {
        "create": wrong.create_session,
        "known": lambda: wrong.session_known(known),
        "dial": lambda: wrong.dial(known),
        "connections": lambda: wrong.connections(known),
        "streams": lambda: wrong.stream_alive(known, "a-stream"),
        "disconnect": lambda: wrong.force_disconnect(known, "a-connection"),
    }
    with pytest.raises(AuthenticationRefused) as caught:
        calls[call]()
    assert "VONAGE_PRIVATE_KEY" in caught.value.fix
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert account.voice_api_secret.get_secret_value() not in shown
    assert "eyJ" not in f"{caught.value}"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", id="cut off"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", id="no JSON"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", id="no object"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="no connection id"),
        pytest.param(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", id="502"),
    ],
)
def test_one_dial_is_one_request(account: Account, sandbox_home: Path, answer: bytes) -> None:
    """A platform that reads the dial and closes gets exactly one, where the SDK would send ten; it is uncertain."""
    session_id = UnifiedVideo(account).create_session()
    with closing_platform(sandbox_home, answer) as platform:
        with pytest.raises(DialUncertain) as caught:
            UnifiedVideo(replace(account, video_api_url=platform.url)).dial(session_id, "a-nonce")
        assert [request.split(b" ")[0] for request in platform.requests] == [b"POST"]
        assert b'"X-Sipkit-Dial": "a-nonce"' in platform.requests[0]
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert account.voice_api_secret.get_secret_value() not in shown
    assert "eyJ" not in shown


def test_surely_unsent_dials_are_not_uncertain(account: Account, sandbox_home: Path) -> None:
    """Nobody listening, or a certificate that is not trusted: no request was sent, so no call can be up."""
    session_id = UnifiedVideo(account).create_session()
    with closing_platform(sandbox_home) as platform:
        untrusting = replace(account, video_api_url=platform.url, ca_file=None)
        with pytest.raises(PlatformUnreachable):
            UnifiedVideo(untrusting).dial(session_id)
        assert platform.requests == []
    with pytest.raises(PlatformUnreachable):
        UnifiedVideo(replace(account, video_api_url=platform.url)).dial(session_id)


def test_a_form_after_json_says_that_it_is_a_form(account: Account, sandbox_home: Path) -> None:
    """The Content-Type of one request does not stick to the next one."""
    session_id = UnifiedVideo(account).create_session()
    with closing_platform(sandbox_home) as platform:
        video = UnifiedVideo(replace(account, video_api_url=platform.url))
        with pytest.raises(DialUncertain):
            video.dial(session_id)
        with pytest.raises(PlatformUnreachable):
            video.create_session()
        dial, create = (request.lower() for request in platform.requests)
    assert b"content-type: application/json" in dial
    assert b"content-type: application/x-www-form-urlencoded" in create
    assert b"p2p.preference=disabled" in create


def test_trust_in_the_sandbox_stays_with_its_requests(
    video: UnifiedVideo, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its authority is trusted whatever the environment says, and by nothing else in this process."""
    before = dict(os.environ)
    session_id = video.create_session()
    assert dict(os.environ) == before
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{account.video_api_url}/sandbox/health", timeout=5)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Path(__file__)))  # no certificate in there
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert video.session_known(session_id)


def test_what_cannot_be_unified_is_said_at_once(account: Account) -> None:
    """An address without https, and a missing key, are errors before anything is asked."""
    with pytest.raises(SettingsError, match="https"):
        UnifiedVideo(replace(account, video_api_url="http://127.0.0.1:1"))
    with pytest.raises(SettingsError, match="VONAGE_PRIVATE_KEY"):
        UnifiedVideo(replace(account, private_key=SecretStr("")))


def test_logs_and_reprs_hold_no_secret(video: UnifiedVideo, account: Account, caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative, the logs of a dial and of a refused request hold no token and no secret."""
    caplog.set_level(logging.DEBUG)
    session_id = video.create_session()
    video.force_disconnect(session_id, video.dial(session_id).connection_id)
    video.force_disconnect(session_id, "nobody")
    assert "eyJ" not in caplog.text
    assert account.voice_api_secret.get_secret_value() not in caplog.text
    assert "PRIVATE" not in f"{video!r} {account!r}"


def test_hanging_up_a_leg_is_one_request(account: Account, sandbox_home: Path, strange_key: SecretStr) -> None:
    """A leg is hung up with the application's JWT, once; a lost answer is said, and a strange key refused."""
    uuid = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
    assert voice_calls.can_call(account)
    assert not voice_calls.can_call(replace(account, private_key=SecretStr("")))
    with closing_platform(sandbox_home) as platform:
        with pytest.raises(PlatformUnreachable):
            voice_calls.hang_up_leg(replace(account, voice_api_url=platform.url), uuid)
        [asked] = platform.requests
    assert asked.startswith(f"PUT /v1/calls/{uuid} ".encode())
    assert asked.endswith(b'{"action": "hangup"}')
    with closing_platform(sandbox_home, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as platform:
        wrong = replace(account, voice_api_url=platform.url, private_key=strange_key)
        with pytest.raises(AuthenticationRefused):
            voice_calls.hang_up_leg(wrong, uuid)
    with closing_platform(sandbox_home, b"HTTP/1.1 204 No Content\r\n\r\n") as platform:
        assert voice_calls.hang_up_leg(replace(account, voice_api_url=platform.url), uuid) is True
