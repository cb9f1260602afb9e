"""The video side over the real SDK: against the sandbox, and against rude servers."""

import base64
import json
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from sipkit import voice
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
from sipkit.video import OpenTokVideo

WRONG_SECRET = "w" * 40


@pytest.fixture
def account(settings: Settings) -> Iterator[Account]:
    """The running sandbox's account."""
    cloud = cloud_for(settings)
    yield cloud.account()
    cloud.close()


@pytest.fixture
def video(account: Account) -> OpenTokVideo:
    """The video side of the running sandbox."""
    return OpenTokVideo(account)


@pytest.fixture
def silent_webhooks(account: Account) -> Iterator[None]:
    """A webhook server that takes requests and says nothing, so that a leg stays up for some seconds."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        previous = voice.point_application(account, f"http://127.0.0.1:{silent.getsockname()[1]}")
        yield
        voice.restore_application(account, previous)


class _Rude(socketserver.ThreadingTCPServer):
    """Reads whole HTTP requests, counts them, and answers with given bytes or not at all."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _ReadThenLeave)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _ReadThenLeave(socketserver.BaseRequestHandler):
    server: _Rude

    def handle(self) -> None:
        said = b""
        while b"\r\n\r\n" not in said:
            said += self.request.recv(65536)
        head, _, body = said.partition(b"\r\n\r\n")
        lengths = [int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")]
        while len(body) < sum(lengths):
            body += self.request.recv(65536)
        self.server.requests.append(head + b"\r\n\r\n" + body)
        self.request.sendall(self.server.answer)


@contextmanager
def rude_server(answer: bytes = b"") -> Iterator[_Rude]:
    """A platform that answers every request with these bytes and closes the connection."""
    with _Rude(answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _http(status: str, body: str = "{}") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _session_id(account: Account) -> str:
    """A well-formed session id of the account's project that no platform ever made."""
    inside = f"1~{account.video_api_key}~~{time.time_ns()}~made up~~"
    return "1_" + base64.urlsafe_b64encode(inside.encode()).decode().rstrip("=")


def _secrets(account: Account) -> list[str]:
    return [account.video_api_secret.get_secret_value(), account.voice_api_secret.get_secret_value()]


def test_a_created_session_is_known(video: OpenTokVideo, account: Account) -> None:
    """A session just created is known; one that nobody made, and text that is no session id, are not."""
    session_id = video.create_session()
    assert video.session_known(session_id)
    assert not video.session_known(_session_id(account))
    assert not video.session_known("no-session-id")


def test_sip_token_says_that_it_is_sip(video: OpenTokVideo, account: Account) -> None:
    """The SIP leg's token is a publisher's, and its data is the tutorial's as valid JSON."""
    session_id = video.create_session()
    claims = jwt.decode(video.sip_token(session_id), account.video_api_secret.get_secret_value(), algorithms=["HS256"])
    assert claims["session_id"] == session_id
    assert claims["role"] == "publisher"
    assert json.loads(claims["connection_data"]) == {
        "sip": True,
        "role": "client",
        "name": account.conference_number,
    }


def test_sip_options_and_uri(video: OpenTokVideo, account: Account) -> None:
    """A dial goes to the number at the Voice API over TLS, with the Voice credentials and only X- headers."""
    assert video.sip_uri == f"sip:{account.conference_number}@sip.nexmo.com;transport=tls"
    options = video.sip_options(secure=True, headers={"X-Lesson": "3"})
    assert options == {
        "from": f"{account.conference_number}@sip.nexmo.com",
        "headers": {"X-Lesson": "3"},
        "auth": {"username": account.voice_api_key, "password": account.voice_api_secret.get_secret_value()},
        "secure": True,
    }
    for name in ("Lesson", "X-Nexmo-Lesson", "X-Two\r\nLines"):
        with pytest.raises(DialRefused):
            video.sip_options(headers={name: "3"})


def test_token_of_another_project_is_refused(video: OpenTokVideo, account: Account) -> None:
    """A session id of another project gives a typed error, and so does a role that does not exist."""
    foreign = _session_id(replace(account, video_api_key="11111111"))
    with pytest.raises(SessionGone):
        video.token(foreign)
    with pytest.raises(PlatformError, match="role"):
        video.token(video.create_session(), role="king")
    with pytest.raises(PlatformError, match="token"):
        video.token(video.create_session(), expires_in=31 * 24 * 3600)


def test_dial_and_force_disconnect(video: OpenTokVideo, silent_webhooks: None) -> None:
    """A dial gives ids at once; the leg is listed until it is disconnected, and gone the second time."""
    session_id = video.create_session()
    dialed = video.dial(session_id)
    assert dialed.connection_id
    assert dialed.stream_id
    assert dialed.call_id
    listed = video.connections(session_id)
    assert listed is not None
    assert [connection.connection_id for connection in listed] == [dialed.connection_id]
    assert video.stream_alive(session_id, dialed.stream_id)
    assert video.force_disconnect(session_id, dialed.connection_id) is True
    assert video.force_disconnect(session_id, dialed.connection_id) is False
    assert not video.stream_alive(session_id, dialed.stream_id)
    assert video.connections(session_id) == []


def test_dial_into_an_unknown_session(video: OpenTokVideo, account: Account) -> None:
    """A dial into a session the platform does not know is SessionGone: nothing was placed."""
    with pytest.raises(SessionGone):
        video.dial(_session_id(account))


def test_dial_into_a_relayed_session(video: OpenTokVideo) -> None:
    """SIP needs the media router: a dial into a relayed session is refused, saying so."""
    session_id = video._client.create_session().session_id  # the SDK's default is relayed
    with pytest.raises(DialRefused, match="not routed"):
        video.dial(session_id)


def test_dial_to_a_number_that_is_none(account: Account) -> None:
    """A SIP address the platform does not accept is refused with the setting to check."""
    wrong = OpenTokVideo(replace(account, conference_number="+1 202 555"))
    with pytest.raises(DialRefused) as caught:
        wrong.dial(wrong.create_session())
    assert "CONFERENCE_NUMBER" in caught.value.fix


@pytest.mark.parametrize("call", ["create", "known", "dial", "connections", "streams", "disconnect"])
def test_wrong_credentials(account: Account, call: str) -> None:
    """A wrong project secret is AuthenticationRefused from every call, without any secret in the error."""
    known = OpenTokVideo(account).create_session()
    wrong = OpenTokVideo(replace(account, video_api_secret=SecretStr(WRONG_SECRET)))
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
    shown = f"{caught.value} {caught.value!r}"
    assert "VIDEO_API_SECRET" in caught.value.fix
    for secret in (WRONG_SECRET, *_secrets(account), "eyJ"):
        assert secret not in shown


def test_a_text_that_is_no_session_id_is_refused(video: OpenTokVideo) -> None:
    """What the platform says of a nonsensical session id is a PlatformError with the fix, not the SDK's own error."""
    with pytest.raises(PlatformError, match="session's id"):
        video.stream_alive("nonsense", "a-stream")


def test_nobody_there_is_unreachable(account: Account) -> None:
    """A refused connection is PlatformUnreachable; a dial that never left this machine is not uncertain."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    nobody = OpenTokVideo(replace(account, video_api_url=url))
    session_id = _session_id(account)
    for call in (
        nobody.create_session,
        lambda: nobody.session_known(session_id),
        lambda: nobody.dial(session_id),
    ):
        with pytest.raises(PlatformUnreachable):
            call()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", id="cut off"),
        pytest.param(_http("200 OK", "<html>"), id="no JSON"),
        pytest.param(_http("200 OK", "[]"), id="no object"),
        pytest.param(_http("200 OK", '{"id": "a"}'), id="no connection id"),
        pytest.param(_http("502 Bad Gateway"), id="502"),
        pytest.param(_http("504 Gateway Timeout"), id="504"),
    ],
)
def test_a_lost_answer_is_uncertain_and_never_retried(account: Account, answer: bytes) -> None:
    """A dial that was sent and not answered is DialUncertain after exactly one POST, without secrets."""
    with rude_server(answer) as server:
        video = OpenTokVideo(replace(account, video_api_url=server.url))
        with pytest.raises(DialUncertain) as caught:
            video.dial(_session_id(account))
        assert [request.split(b" ")[0] for request in server.requests] == [b"POST"]
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    for secret in (*_secrets(account), "eyJ"):
        assert secret not in shown


def test_silence_is_uncertain(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform that takes the dial and says nothing is DialUncertain when the time is up."""
    monkeypatch.setattr("sipkit.video.TIMEOUT", (1.0, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DialUncertain):
            OpenTokVideo(replace(account, video_api_url=url)).dial(_session_id(account))


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"])
def test_a_failing_platform_is_unreachable(account: Account, status: str) -> None:
    """When the platform itself says that it failed, that is no lost answer: the error tells the status."""
    with rude_server(_http(status)) as server:
        video = OpenTokVideo(replace(account, video_api_url=server.url))
        with pytest.raises(PlatformUnreachable, match=status[:3]):
            video.dial(_session_id(account))
        with pytest.raises(PlatformUnreachable, match=status[:3]):
            video.session_known(_session_id(account))


def test_an_answer_that_makes_no_sense(account: Account) -> None:
    """A new session without an id is a typed error, not a KeyError."""
    with rude_server(_http("200 OK", "{}")) as server:
        video = OpenTokVideo(replace(account, video_api_url=server.url))
        with pytest.raises(PlatformError):
            video.create_session()


def test_environment_proxies_are_not_asked_for_this_machine(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used on the way to 127.0.0.1, where it would see the secrets."""
    with rude_server() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        video = OpenTokVideo(account)
        assert video.session_known(video.create_session())
        assert proxy.requests == []


def test_a_key_file_is_no_secret(account: Account) -> None:
    """A secret that looks like a key file is refused: the SDK would turn to another platform with it."""
    with pytest.raises(SettingsError, match="VIDEO_API_SECRET"):
        OpenTokVideo(replace(account, video_api_secret=SecretStr("private.key")))


def test_debug_logs_hold_no_secret(video: OpenTokVideo, account: Account, caplog: pytest.LogCaptureFixture) -> None:
    """Even with everything logged, neither tokens nor the SIP password reach a log."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="opentok"):
        session_id = video.create_session()
        video.force_disconnect(session_id, video.dial(session_id).connection_id)
    for secret in (*_secrets(account), "eyJ"):
        assert secret not in caplog.text


def test_repr_holds_no_secret(video: OpenTokVideo) -> None:
    """The repr says which cloud, and nothing else."""
    assert repr(video) == "<OpenTokVideo sandbox>"
