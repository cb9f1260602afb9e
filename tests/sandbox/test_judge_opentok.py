"""opentok 3.15 judges the sandbox: every method of its client, right and wrong, over http and https."""

from collections.abc import Callable
from typing import Any

import opentok
import pytest
from opentok import MediaModes, Roles
from opentok.exceptions import (
    AuthError,
    DTMFError,
    ForceDisconnectError,
    GetStreamError,
    NotFoundError,
    OpenTokException,
    RequestError,
    SipDialError,
)
from opentok.sip_call import SipCall

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for

Call = Callable[[Any, str], Any]
"""Calls one method of a client about a session."""

ABSENT: dict[str, tuple[Call, type[OpenTokException]]] = {
    "start_archive": (lambda sdk, session: sdk.start_archive(session), NotFoundError),
    "stop_archive": (lambda sdk, _: sdk.stop_archive("a"), NotFoundError),
    "delete_archive": (lambda sdk, _: sdk.delete_archive("a"), NotFoundError),
    "get_archive": (lambda sdk, _: sdk.get_archive("a"), NotFoundError),
    "get_archives": (lambda sdk, _: sdk.get_archives(), NotFoundError),
    "list_archives": (lambda sdk, _: sdk.list_archives(), NotFoundError),
    "add_archive_stream": (lambda sdk, _: sdk.add_archive_stream("a", "s"), RequestError),
    "remove_archive_stream": (lambda sdk, _: sdk.remove_archive_stream("a", "s"), RequestError),
    "set_archive_layout": (lambda sdk, _: sdk.set_archive_layout("a", "pip"), RequestError),
    "set_stream_class_lists": (
        lambda sdk, session: sdk.set_stream_class_lists(session, [{"id": "s", "layoutClassList": ["full"]}]),
        RequestError,
    ),
    "start_broadcast": (lambda sdk, session: sdk.start_broadcast(session, {"outputs": {"hls": {}}}), RequestError),
    "stop_broadcast": (lambda sdk, _: sdk.stop_broadcast("b"), RequestError),
    "add_broadcast_stream": (lambda sdk, _: sdk.add_broadcast_stream("b", "s"), RequestError),
    "remove_broadcast_stream": (lambda sdk, _: sdk.remove_broadcast_stream("b", "s"), RequestError),
    "get_broadcast": (lambda sdk, _: sdk.get_broadcast("b"), RequestError),
    "set_broadcast_layout": (lambda sdk, _: sdk.set_broadcast_layout("b", "pip"), RequestError),
    "start_render": (lambda sdk, session: sdk.start_render(session, "t", "https://example.com"), RequestError),
    "get_render": (lambda sdk, _: sdk.get_render("r"), NotFoundError),
    "stop_render": (lambda sdk, _: sdk.stop_render("r"), NotFoundError),
    "list_renders": (lambda sdk, _: sdk.list_renders(), RequestError),
    "connect_audio_to_websocket": (
        lambda sdk, session: sdk.connect_audio_to_websocket(session, "t", {"uri": "wss://example.com"}),
        RequestError,
    ),
    "start_captions": (lambda sdk, session: sdk.start_captions(session, "t"), RequestError),
    "stop_captions": (lambda sdk, _: sdk.stop_captions("c"), NotFoundError),
}
"""What the platform has and the sandbox has not, and what the SDK makes of the answer."""


def client_of(sandbox: SandboxInfo, scheme: str, secret: str | None = None) -> Any:
    """Make the SDK's client with nothing but its address changed (and a time limit, which it lacks)."""
    url = sandbox.api_url if scheme == "http" else sandbox.https_url
    return opentok.Client(sandbox.video_api_key, secret or sandbox.video_api_secret, api_url=url, timeout=10)


@pytest.fixture(params=["http", "https"])
def sdk(request: pytest.FixtureRequest, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The SDK's client, over plain HTTP and over the sandbox's own TLS."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    return client_of(sandbox, request.param)


@pytest.fixture
def stranger(sdk: Any, sandbox: SandboxInfo) -> Any:
    """A client with the right key and a wrong secret."""
    return client_of(sandbox, sdk.endpoints.api_url.partition(":")[0], secret="0123456789abcdef" * 3)


def test_the_life_of_a_leg(sdk: Any, lab: Lab, app: AnsweringApp) -> None:
    """Session, token, dial, streams, mutes, digits, signals and disconnect give the SDK's own objects."""
    app.on("/answer", [{"action": "conversation", "name": "judged"}])
    session_id = sdk.create_session(media_mode=MediaModes.routed).session_id
    auth = {"username": lab.info.voice_api_key, "password": lab.info.voice_api_secret}
    options = {"auth": auth, "secure": False, "from": "12025550123@example.com", "headers": {"X-Foo": "bar"}}
    options |= {"video": False, "observeForceMute": True, "streams": []}
    uri = f"sip:{lab.info.number}@sip.nexmo.com;transport=tls"
    call = sdk.dial(session_id, sdk.generate_token(session_id, Roles.moderator), uri, options)
    assert isinstance(call, SipCall)
    lab.wait_joined(1)
    assert app.asked("/answer")[0].fields["SipHeader_X-Foo"] == "bar"
    (stream,) = sdk.list_streams(session_id)
    assert (stream.id, stream.videoType, stream.layoutClassList) == (call.streamId, "camera", [])
    assert sdk.get_stream(session_id, call.streamId).id == call.streamId
    for answer in (
        sdk.mute_stream(session_id, call.streamId),
        sdk.mute_all(session_id, [call.streamId]),
        sdk.mute_all(session_id, None),
        sdk.disable_force_mute(session_id),
    ):
        assert (answer.status_code, answer.json()["projectId"]) == (200, lab.info.video_api_key)
    assert sdk.play_dtmf(session_id, call.connectionId, "1p#").status_code == 200
    assert sdk.play_dtmf(session_id, None, "*").status_code == 200
    assert sdk.send_signal(session_id, {"type": "news", "data": "all"}) is None
    with pytest.deprecated_call():
        assert sdk.signal(session_id, {"type": "news", "data": "one"}, call.connectionId) is None
    sdk.force_disconnect(session_id, call.connectionId)
    wait_for(lambda: len(sdk.list_streams(session_id)) == 0, what="no stream")
    lab.wait_legs(0)


def test_wrong_arguments_get_the_sdks_own_errors(sdk: Any, sandbox: SandboxInfo) -> None:
    """Sessions, streams, connections and digits that are not there: the exception the SDK documents."""
    session_id = sdk.create_session(media_mode=MediaModes.routed).session_id
    relayed = sdk.create_session(media_mode=MediaModes.relayed).session_id
    uri = f"sip:{sandbox.number}@sip.nexmo.com"
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: sdk.dial(relayed, sdk.generate_token(relayed), uri, {}), SipDialError, "Media Router"),
        (lambda: sdk.dial(session_id, sdk.generate_token(session_id), "tel:1", {}), SipDialError, "Invalid request"),
        (lambda: sdk.dial(session_id, "no token", uri, {}), AuthError, "Authentication error"),
        (lambda: sdk.dial("nonsense", "t", uri, {}), SipDialError, "Invalid session ID"),
        (lambda: sdk.get_stream(session_id, "none"), GetStreamError, "invalid stream ID"),
        (lambda: sdk.list_streams("nonsense"), GetStreamError, "Invalid request"),
        (lambda: sdk.force_disconnect(session_id, "nobody"), ForceDisconnectError, "not connected"),
        (lambda: sdk.force_disconnect("nonsense", "nobody"), ForceDisconnectError, "One of the arguments"),
        (lambda: sdk.create_session(location="nowhere"), OpenTokException, "Location must be"),
    ]
    for call, error, why in cases:
        with pytest.raises(error, match=why):
            call()
    # These methods of the SDK put what they understood into the cause of one error for all.
    inside: list[tuple[Callable[[], Any], type[Exception]]] = [
        (lambda: sdk.mute_stream(session_id, "none"), NotFoundError),
        (lambda: sdk.mute_all(session_id, ["none"]), NotFoundError),
        (lambda: sdk.disable_force_mute("nonsense"), OpenTokException),
        (lambda: sdk.play_dtmf(session_id, "nobody", "1"), NotFoundError),
        (lambda: sdk.play_dtmf(session_id, None, "1a"), DTMFError),
    ]
    for call, error in inside:
        with pytest.raises(OpenTokException) as refused:
            call()
        assert isinstance(refused.value.__context__, error)
    # The SDK takes every refusal of a signal for an unexpected one, with its status.
    for call, status in (
        (lambda: sdk.send_signal(session_id, {"type": "t", "data": "d"}, "nobody"), 404),
        (lambda: sdk.send_signal(session_id, {"type": "t", "data": "d" * 8193}), 413),
        (lambda: sdk.send_signal(session_id, {"type": "not allowed!", "data": "d"}), 400),
    ):
        with pytest.raises(RequestError) as unexpected:
            call()
        assert unexpected.value.args[1] == status
    with pytest.deprecated_call(), pytest.raises(RequestError):
        sdk.signal(session_id, {"type": "t", "data": "d"}, "nobody")


def test_a_stranger_is_refused_everywhere(sdk: Any, stranger: Any, sandbox: SandboxInfo) -> None:
    """A wrong secret is the SDK's AuthError wherever the SDK tells it apart."""
    session_id = sdk.create_session(media_mode=MediaModes.routed).session_id
    token = sdk.generate_token(session_id)
    plain: list[Callable[[], Any]] = [
        stranger.create_session,
        lambda: stranger.dial(session_id, token, f"sip:{sandbox.number}@sip.nexmo.com", {}),
        lambda: stranger.list_streams(session_id),
        lambda: stranger.get_stream(session_id, "s"),
        lambda: stranger.force_disconnect(session_id, "c"),
        lambda: stranger.get_archive("a"),
        lambda: stranger.start_broadcast(session_id, {"outputs": {"hls": {}}}),
        lambda: stranger.start_captions(session_id, token),
    ]
    for call in plain:
        with pytest.raises(OpenTokException) as refused:
            call()
        assert isinstance(refused.value, AuthError) or "credentials" in str(refused.value), repr(refused.value)
    for call in (
        lambda: stranger.mute_stream(session_id, "s"),
        lambda: stranger.mute_all(session_id, None),
        lambda: stranger.disable_force_mute(session_id),
        lambda: stranger.play_dtmf(session_id, None, "1"),
    ):
        with pytest.raises(OpenTokException) as refused:
            call()
        assert isinstance(refused.value.__context__, AuthError)


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_what_the_sandbox_lacks_is_an_error_of_the_sdk(sandbox: SandboxInfo, name: str) -> None:
    """Archives, broadcasts, captions and the like give the SDK's own error, never a surprise."""
    sdk = client_of(sandbox, "http")
    session_id = sdk.create_session(media_mode=MediaModes.routed).session_id
    call, error = ABSENT[name]
    with pytest.raises(error):
        call(sdk, session_id)


def test_t1_tokens_of_the_sdk_are_taken(sdk: Any, sandbox: SandboxInfo) -> None:
    """generate_token(use_jwt=False) dials too."""
    session_id = sdk.create_session(media_mode=MediaModes.routed).session_id
    token = sdk.generate_token(session_id, use_jwt=False)
    call = sdk.dial(session_id, token, f"sip:{sandbox.number}@sip.nexmo.com", {})
    assert call.connectionId
