"""The unified environment's sessions and tokens: an application's RS256 JWTs, by vonage's own SDK and by forgers."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import jwt
import opentok
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from opentok.endpoints import Endpoints
from vonage_http_client import Auth, HttpClient, HttpClientOptions
from vonage_http_client.errors import NotFoundError
from vonage_video import Video
from vonage_video.models import SessionOptions, SignalData, SipAuth, SipOptions, TokenOptions
from vonage_video.models.sip import InitiateSipRequest

from sipkit.sandbox.launcher import SandboxInfo
from sipkit.sandbox.video.session_id import project_of
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab
from tests.standins.page import Page, Refused
from tests.standins.video_api import VideoApi

STRANGER = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
SESSION_ACL: dict[str, Any] = {"paths": {"/session/**": {}}}


@pytest.fixture
def video4(lab: Lab, sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Video]:
    """The video client of vonage on the running sandbox, over TLS: only its host is another."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    auth = Auth(application_id=sandbox.application_id, private_key=sandbox.private_key_file)
    options = HttpClientOptions(video_host=urlsplit(sandbox.https_url).netloc, timeout=10)
    client = HttpClient(auth, options)
    yield Video(client)
    client._session.close()


def test_vonage_moderates_a_session_of_an_application(sandbox: SandboxInfo, video4: Video, lab: Lab) -> None:
    """Session, token, page, streams, mutes, signal and disconnect: every call of the SDK works, unmodified."""
    session_id = video4.create_session(SessionOptions(media_mode="routed")).session_id
    assert project_of(session_id) == sandbox.application_id
    token = video4.generate_client_token(TokenOptions(session_id=session_id, connection_data="Ada")).decode()

    async def story() -> None:
        async with Page(sandbox.api_url) as page:
            with pytest.raises(Refused) as refused:
                await page.connect(session_id, sandbox.video_api_key, token)
            assert refused.value.name == "OT_AUTHENTICATION_ERROR"
            own = await page.connect(session_id, sandbox.application_id, token)
            assert own["connection"]["data"] == "Ada"
            stream_id, _ = await page.publish(name="Ada")

            def streams() -> list[Any]:
                try:
                    return list(video4.list_streams(session_id))
                except NotFoundError:
                    return []

            async with asyncio.timeout(10):
                while not (listed := await asyncio.to_thread(streams)):
                    pass
            assert [(each.id, each.name) for each in listed] == [(stream_id, "Ada")]
            assert (await asyncio.to_thread(video4.get_stream, session_id, stream_id)).id == stream_id
            await asyncio.to_thread(video4.mute_stream, session_id, stream_id)
            assert (await page.news("muteForced"))["streamIds"] == [stream_id]
            await asyncio.to_thread(video4.mute_all_streams, session_id, [stream_id])
            assert (await page.news("muteForced"))["streamIds"] == []
            await asyncio.to_thread(video4.mute_all_streams, session_id)
            assert (await page.news("muteForced"))["streamIds"] == [stream_id]
            await asyncio.to_thread(video4.disable_mute_all_streams, session_id)
            assert (await page.news("muteForced"))["active"] is False
            await asyncio.to_thread(video4.send_signal, session_id, SignalData(type="t", data="d"), page.id)
            assert (await page.news("signal"))["data"] == "d"
            await asyncio.to_thread(video4.disconnect_client, session_id, page.id)
            assert (await page.news("sessionDisconnected"))["reason"] == "forceDisconnected"

    asyncio.run(story())


def test_vonage_dials_and_hangs_up(sandbox: SandboxInfo, video4: Video, lab: Lab, app: AnsweringApp) -> None:
    """A session made with the SDK's defaults is routed, can dial, and its call is ended by disconnect_client."""
    app.on("/answer", [{"action": "conversation", "name": "test"}])
    session_id = video4.create_session().session_id
    token = video4.generate_client_token(TokenOptions(session_id=session_id)).decode()
    auth = SipAuth(username=sandbox.voice_api_key, password=sandbox.voice_api_secret)
    sip = SipOptions(uri=f"sip:{sandbox.number}@sip.nexmo.com;transport=tls", auth=auth)
    call = video4.initiate_sip_call(InitiateSipRequest(session_id=session_id, token=token, sip=sip))
    assert (call.session_id, call.project_id) == (session_id, sandbox.application_id)
    lab.wait_joined(1)
    video4.disconnect_client(session_id, call.connection_id)
    lab.wait_legs(0)


def test_opentok_in_vonage_mode_is_let_in(sandbox: SandboxInfo) -> None:
    """With an application's key, opentok's sessions and tokens are of the unified environment, and they open."""
    client: Any = opentok.Client(sandbox.application_id, sandbox.private_key_file, timeout=10)
    client.endpoints = Endpoints(sandbox.api_url, sandbox.application_id)
    session_id = client.create_session(media_mode=opentok.MediaModes.routed).session_id
    assert project_of(session_id) == sandbox.application_id
    assert len(client.list_streams(session_id)) == 0

    async def story() -> None:
        async with Page(sandbox.api_url) as page:
            token = client.generate_token(session_id, opentok.Roles.moderator, initial_layout_class_list=["focus"])
            own = await page.connect(session_id, sandbox.application_id, token)
            assert own["capabilities"]["forceMute"] == 1

    asyncio.run(story())


# ---------------------------------------------------------------- forgers


def signed(video: VideoApi, claims: dict[str, Any], key: str | None = None, algorithm: str = "RS256") -> str:
    """Sign claims with the application's key, or another; None leaves a claim out."""
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key or video.key, algorithm)


def request_claims(video: VideoApi, **changes: Any) -> dict[str, Any]:
    """Make the claims of a request as vonage-jwt does."""
    now = int(time.time())
    claims = {"application_id": video.credentials.application_id, "iat": now, "jti": str(uuid.uuid4())}
    return {**claims, "exp": now + 900, **changes}


def session_claims(video: VideoApi, session_id: str, /, **changes: Any) -> dict[str, Any]:
    """Make the claims of a session token as vonage-video does."""
    more = {"session_id": session_id, "role": "publisher", "scope": "session.connect", "subject": "video"}
    return {**request_claims(video), **more, "acl": SESSION_ACL, **changes}


def make_session(video: VideoApi, token: str) -> requests.Response:
    """Ask for a session with a bearer token."""
    return requests.post(f"{video.url}/session/create", headers={"Authorization": f"Bearer {token}"}, timeout=10)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"application_id": str(uuid.uuid4())}, "Issuer not found"),
        ({"application_id": None}, "no application_id claim"),
        ({"jti": None}, "no jti claim"),
        ({"jti": ""}, "Invalid token"),
        ({"iat": None}, "no iat claim"),
        ({"exp": 1_000_000_000}, "expired"),
        ({"exp": None, "iat": int(time.time()) - 1000}, "expired"),
        ({"iat": int(time.time()) + 3600}, "future"),
        ({"exp": int(time.time()) + 90_000}, "24 hours"),
        ({"ist": "account"}, "Invalid token"),
        ({"scope": "session.connect"}, "session token"),
        ({"key": STRANGER}, "Invalid signature"),
        ({"key": STRANGER, "application_id": str(uuid.uuid4())}, "Issuer not found"),
        ({"aud": "someone"}, "Invalid token"),
    ],
)
def test_a_request_with_a_wrong_bearer_is_refused(video: VideoApi, changes: dict[str, Any], why: str) -> None:
    """401 with the reason, and no session."""
    changes = dict(changes)
    key = changes.pop("key", None)
    answer = make_session(video, signed(video, request_claims(video, **changes), key))
    assert answer.status_code == 401
    assert why in answer.json()["message"]
    assert list(video.sessions._sessions) == []


def test_keys_and_algorithms_are_not_mixed_up(video: VideoApi) -> None:
    """A public key used as an HMAC secret, `none`, the project's secret, or its header: each opens nothing."""
    claims = request_claims(video)
    head, body = (
        base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=")
        for each in (
            {"alg": "none"},
            claims,
        )
    )
    for token in (
        f"{head}.{body}.",
        signed(video, claims, video.credentials.video_api_secret, "HS256"),
        video.auth()["X-OPENTOK-AUTH"],
        "x",
        "",
    ):
        assert make_session(video, token).status_code in (401, 403)
    rs256 = signed(video, {**claims, "iss": video.credentials.video_api_key, "ist": "project"})
    answer = requests.post(f"{video.url}/session/create", headers={"X-OPENTOK-AUTH": rs256}, timeout=10)
    assert answer.status_code == 403


def test_each_environment_sees_its_own_sessions(video: VideoApi) -> None:
    """The application's JWT opens its path and its sessions, not the project's; and the other way round."""
    application = video.credentials.application_id
    bearer = {"Authorization": f"Bearer {signed(video, request_claims(video))}"}
    unified = make_session(video, bearer["Authorization"].split()[1]).json()[0]["session_id"]
    legacy = video.routed()
    unified_path, legacy_path = f"{video.url}/v2/project/{application}/session", f"{video.project}/session"
    for url, headers, status in (
        (f"{unified_path}/{unified}/connection", bearer, 200),
        (f"{legacy_path}/{legacy}/connection", video.auth(), 200),
        (f"{unified_path}/{legacy}/connection", bearer, 404),
        (f"{legacy_path}/{unified}/connection", video.auth(), 404),
        (f"{unified_path}/{unified}/connection", video.auth(), 403),
        (f"{legacy_path}/{legacy}/connection", bearer, 403),
    ):
        assert requests.get(url, headers=headers, timeout=10).status_code == status


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"subject": None}, "does not open sessions"),
        ({"subject": "voice"}, "does not open sessions"),
        ({"acl": None}, "does not open sessions"),
        ({"acl": {"paths": {"/users/**": {}}}}, "does not open sessions"),
        ({"acl": "all"}, "does not open sessions"),
        ({"scope": None}, "no scope claim"),
        ({"scope": "all"}, "does not open sessions"),
        ({"jti": None}, "does not open sessions"),
        ({"exp": None}, "no exp claim"),
        ({"exp": 1_000_000_000}, "expired"),
        ({"exp": int(time.time()) + 40 * 86_400}, "30 days"),
        ({"role": "king"}, "role"),
        ({"role": {}}, "role"),
        ({"session_id": "1_another"}, "another session"),
        ({"application_id": str(uuid.uuid4())}, "Issuer not found"),
        ({"connection_data": 5}, "connection data"),
        ({"key": STRANGER}, "Invalid signature"),
    ],
)
def test_a_wrong_session_token_cannot_dial(video: VideoApi, changes: dict[str, Any], why: str) -> None:
    """Every claim of vonage's session tokens is demanded: 403 with the reason, and nobody is called."""
    changes = dict(changes)
    key = changes.pop("key", None)
    bearer = signed(video, request_claims(video))
    session_id = make_session(video, bearer).json()[0]["session_id"]
    body = {
        "sessionId": session_id,
        "token": signed(video, session_claims(video, session_id, **changes), key),
        "sip": {"uri": "sip:12025550100@sip.nexmo.com"},
    }
    url = f"{video.url}/v2/project/{video.credentials.application_id}/dial"
    answer = requests.post(url, json=body, headers={"Authorization": f"Bearer {bearer}"}, timeout=10)
    assert (answer.status_code, why in answer.json()["message"]) == (403, True), answer.text
    assert video.gateway.dialled == []
    body["token"] = signed(video, session_claims(video, session_id))
    assert requests.post(url, json=body, headers={"Authorization": f"Bearer {bearer}"}, timeout=10).status_code == 200
