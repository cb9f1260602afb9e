"""vonage 4.9 judges the sandbox: every method of its video client, right and wrong, over https and http."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pydantic
import pytest
import requests
from requests.adapters import HTTPAdapter
from vonage_http_client import Auth, HttpClient, HttpClientOptions
from vonage_http_client.errors import (
    AuthenticationError,
    ForbiddenError,
    HttpRequestError,
    NotFoundError,
    RateLimitedError,
)
from vonage_video import Video
from vonage_video import models as m
from vonage_video.errors import RoutedSessionRequiredError
from vonage_video.models.audio_connector import AudioConnectorOptions, AudioConnectorWebSocket
from vonage_video.models.captions import CaptionsData, CaptionsOptions
from vonage_video.models.sip import InitiateSipRequest, SipCall

from sipkit.sandbox.launcher import SandboxInfo
from tests.sandbox.test_unified import STRANGER
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab

Call = Callable[[Video, str], Any]
"""Calls one method of a client about a session."""

_STREAM = m.AddStreamRequest(stream_id="s")
_LAYOUT = m.ComposedLayout(type="bestFit")
_CLASSES = [m.StreamLayout(id="s", layout_class_list=["full"])]

ABSENT: dict[str, Call] = {
    "change_stream_layout": lambda sdk, session: sdk.change_stream_layout(
        session, m.StreamLayoutOptions(items=_CLASSES)
    ),
    "start_captions": lambda sdk, session: sdk.start_captions(CaptionsOptions(session_id=session, token="t")),
    "stop_captions": lambda sdk, _: sdk.stop_captions(CaptionsData(captions_id="c")),
    "start_audio_connector": lambda sdk, session: sdk.start_audio_connector(
        AudioConnectorOptions(
            session_id=session, token="t", websocket=AudioConnectorWebSocket(uri="wss://example.com/socket")
        )
    ),
    "start_experience_composer": lambda sdk, session: sdk.start_experience_composer(
        m.ExperienceComposerOptions(session_id=session, token="t", url="https://example.com/page")
    ),
    "list_experience_composers": lambda sdk, _: sdk.list_experience_composers(),
    "get_experience_composer": lambda sdk, _: sdk.get_experience_composer("e"),
    "stop_experience_composer": lambda sdk, _: sdk.stop_experience_composer("e"),
    "list_archives": lambda sdk, session: sdk.list_archives(m.ListArchivesFilter(session_id=session)),
    "start_archive": lambda sdk, session: sdk.start_archive(m.CreateArchiveRequest(session_id=session)),
    "get_archive": lambda sdk, _: sdk.get_archive("a"),
    "delete_archive": lambda sdk, _: sdk.delete_archive("a"),
    "add_stream_to_archive": lambda sdk, _: sdk.add_stream_to_archive("a", _STREAM),
    "remove_stream_from_archive": lambda sdk, _: sdk.remove_stream_from_archive("a", "s"),
    "stop_archive": lambda sdk, _: sdk.stop_archive("a"),
    "change_archive_layout": lambda sdk, _: sdk.change_archive_layout("a", _LAYOUT),
    "list_broadcasts": lambda sdk, session: sdk.list_broadcasts(m.ListBroadcastsFilter(session_id=session)),
    "start_broadcast": lambda sdk, session: sdk.start_broadcast(
        m.CreateBroadcastRequest(session_id=session, outputs=m.BroadcastOutputSettings(hls=m.BroadcastHls()))
    ),
    "get_broadcast": lambda sdk, _: sdk.get_broadcast("b"),
    "stop_broadcast": lambda sdk, _: sdk.stop_broadcast("b"),
    "change_broadcast_layout": lambda sdk, _: sdk.change_broadcast_layout("b", _LAYOUT),
    "add_stream_to_broadcast": lambda sdk, _: sdk.add_stream_to_broadcast("b", _STREAM),
    "remove_stream_from_broadcast": lambda sdk, _: sdk.remove_stream_from_broadcast("b", "s"),
}
"""What the platform has and the sandbox has not."""


class PlainHttp(HTTPAdapter):
    """Carries the SDK's requests, which are always https, over http."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send in the clear."""
        assert request.url is not None
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **options)


def client_of(sandbox: SandboxInfo, scheme: str = "https", key: str | None = None) -> Video:
    """Make the SDK's video client with nothing but its host changed."""
    host = urlsplit(sandbox.https_url if scheme == "https" else sandbox.api_url).netloc
    auth = Auth(application_id=sandbox.application_id, private_key=key or sandbox.private_key_file)
    client = HttpClient(auth, HttpClientOptions(video_host=host, timeout=10, pool_maxsize=1))
    if scheme == "http":
        client._session.mount(f"https://{host}/", PlainHttp())
    return Video(client)


@pytest.fixture(params=["https", "http"])
def sdk(request: pytest.FixtureRequest, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Video]:
    """The SDK's video client, over the sandbox's own TLS and over plain HTTP."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    client = client_of(sandbox, request.param)
    yield client
    client.http_client._session.close()


@pytest.fixture
def secure(sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Video]:
    """The SDK's video client over TLS."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    client = client_of(sandbox)
    yield client
    client.http_client._session.close()


def wish(sdk: Video, sandbox: SandboxInfo, session_id: str, **changes: Any) -> InitiateSipRequest:
    """Make the request of a SIP call; `changes` replace options."""
    token = sdk.generate_client_token(m.TokenOptions(session_id=session_id)).decode()
    auth = m.SipAuth(username=sandbox.voice_api_key, password=sandbox.voice_api_secret)
    options: dict[str, Any] = {"uri": f"sip:{sandbox.number}@sip.nexmo.com;transport=tls", "auth": auth, **changes}
    return InitiateSipRequest(session_id=session_id, token=token, sip=m.SipOptions(**options))


def test_the_life_of_a_leg(sdk: Video, lab: Lab, app: AnsweringApp) -> None:
    """Session, token, dial, streams, mutes, digits, signals and disconnect give the SDK's own models."""
    app.on("/answer", [{"action": "conversation", "name": "judged"}])
    session_id = sdk.create_session(m.SessionOptions(media_mode="routed", e2ee=False)).session_id
    headers = {"X-Sipkit-Dial": "nonce-2"}
    call = sdk.initiate_sip_call(
        wish(sdk, lab.info, session_id, headers=headers, secure=False, video=True, observe_force_mute=True)
    )
    assert isinstance(call, SipCall)
    assert (call.session_id, call.project_id) == (session_id, lab.info.application_id)
    lab.wait_joined(1)
    assert app.asked("/answer")[0].fields["SipHeader_X-Sipkit-Dial"] == "nonce-2"
    (stream,) = sdk.list_streams(session_id)
    assert (stream.id, stream.video_type, stream.layout_class_list) == (call.stream_id, "camera", [])
    assert sdk.get_stream(session_id, call.stream_id).id == call.stream_id
    sdk.mute_stream(session_id, call.stream_id)
    sdk.mute_all_streams(session_id, [call.stream_id])
    sdk.mute_all_streams(session_id)
    sdk.disable_mute_all_streams(session_id)
    sdk.play_dtmf(session_id, "1p#", call.connection_id)
    sdk.play_dtmf(session_id, "*")
    sdk.send_signal(session_id, m.SignalData(type="news", data="all"))
    sdk.send_signal(session_id, m.SignalData(type="news", data="one"), call.connection_id)
    path = f"/v2/project/{lab.info.application_id}/session/{session_id}/connection"
    listed: Any = sdk.http_client.get(sdk.http_client.video_host, path)
    assert [(each["connectionId"], each["connectionState"]) for each in listed["items"]] == [
        (call.connection_id, "Connected")
    ]
    assert (listed["count"], listed["applicationId"], listed["sessionId"]) == (1, lab.info.application_id, session_id)
    sdk.disconnect_client(session_id, call.connection_id)
    lab.wait_legs(0)
    with pytest.raises(NotFoundError):
        sdk.disconnect_client(session_id, call.connection_id)


def test_a_form_labelled_json_still_makes_the_session_asked_for(sdk: Video) -> None:
    """After a JSON call the SDK labels every form JSON: the session is relayed all the same, and cannot dial."""
    session_id = sdk.create_session().session_id
    sdk.send_signal(session_id, m.SignalData(type="t", data="d"))
    assert sdk.create_session(m.SessionOptions(media_mode="relayed")).media_mode == "relayed"


def test_wrong_arguments_get_the_sdks_own_errors(sdk: Video, sandbox: SandboxInfo) -> None:
    """Sessions, streams and connections that are not there: the exception the SDK documents, with the status."""
    session_id = sdk.create_session().session_id
    relayed = sdk.create_session(m.SessionOptions(media_mode="relayed")).session_id
    with pytest.raises(RoutedSessionRequiredError):
        sdk.initiate_sip_call(wish(sdk, sandbox, relayed))
    foreign = wish(sdk, sandbox, session_id)
    foreign.token = "no token"
    with pytest.raises(ForbiddenError):
        sdk.initiate_sip_call(foreign)
    absent: list[Callable[[], Any]] = [
        lambda: sdk.list_streams(session_id),
        lambda: sdk.mute_stream(session_id, "none"),
        lambda: sdk.mute_all_streams(session_id, ["none"]),
        lambda: sdk.disconnect_client(session_id, "nobody"),
        lambda: sdk.play_dtmf(session_id, "1", "nobody"),
        lambda: sdk.send_signal(session_id, m.SignalData(type="t", data="d"), "nobody"),
    ]
    for call in absent:
        with pytest.raises(NotFoundError):
            call()
    cases: list[tuple[Callable[[], Any], int]] = [
        (lambda: sdk.get_stream(session_id, "none"), 408),
        (lambda: sdk.list_streams("nonsense"), 400),
        (lambda: sdk.send_signal(session_id, m.SignalData(type="not allowed!", data="d")), 400),
        (lambda: sdk.initiate_sip_call(wish(sdk, sandbox, session_id, uri="tel:1")), 400),
        (lambda: sdk.initiate_sip_call(wish(sdk, sandbox, session_id, headers={"Subject": "no X-"})), 400),
    ]
    for ask, status in cases:
        with pytest.raises(HttpRequestError) as refused:
            ask()
        assert refused.value.response.status_code == status
        assert {"code", "message"} <= refused.value.response.json().keys()
    with pytest.raises(pydantic.ValidationError):
        sdk.play_dtmf(session_id, "12a")


def test_another_key_is_refused(secure: Video, sandbox: SandboxInfo) -> None:
    """A JWT signed with another key than the application's is the SDK's AuthenticationError."""
    session_id = secure.create_session().session_id
    stranger = client_of(sandbox, key=STRANGER)
    for call in (
        stranger.create_session,
        lambda: stranger.list_streams(session_id),
        lambda: stranger.get_stream(session_id, "s"),
        lambda: stranger.mute_stream(session_id, "s"),
        lambda: stranger.mute_all_streams(session_id),
        lambda: stranger.disable_mute_all_streams(session_id),
        lambda: stranger.send_signal(session_id, m.SignalData(type="t", data="d")),
        lambda: stranger.disconnect_client(session_id, "c"),
        lambda: stranger.initiate_sip_call(wish(secure, sandbox, session_id)),
        lambda: stranger.play_dtmf(session_id, "1"),
        lambda: stranger.get_archive("a"),
    ):
        with pytest.raises(AuthenticationError):
            call()
    stranger.http_client._session.close()


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_what_the_sandbox_lacks_is_an_error_of_the_sdk(secure: Video, name: str) -> None:
    """Archives, broadcasts, captions and the like are the SDK's NotFoundError, never a surprise."""
    session_id = secure.create_session().session_id
    with pytest.raises(NotFoundError):
        ABSENT[name](secure, session_id)


def test_too_many_requests_are_rate_limited(secure: Video, lab: Lab) -> None:
    """With a limit of none, any request is the SDK's RateLimitedError; without it the next goes through."""
    session_id = secure.create_session().session_id
    signal = m.SignalData(type="t", data="d")
    try:
        lab.ask("PUT", "/limits", json={"video": 0})
        with pytest.raises(RateLimitedError):
            secure.send_signal(session_id, signal)
    finally:
        lab.ask("DELETE", "/limits")
    secure.send_signal(session_id, signal)
