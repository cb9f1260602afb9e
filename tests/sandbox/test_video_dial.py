"""Who may ask the video API, and whom a dial may call: tokens and SIP targets, right and wrong."""

import base64
import time
from typing import Any

import jwt
import pytest
import requests
from opentok import MediaModes, Roles

from tests.standins.video_api import URI, VideoApi

SECRET = "0123456789abcdef" * 3


# ---------------------------------------------------------------- authentication


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"secret": SECRET}, "Invalid signature"),
        ({"iss": "99999999"}, "Issuer not found"),
        ({"iss": "99999999", "secret": SECRET}, "Issuer not found"),
        ({"iss": None}, "no iss claim"),
        ({"ist": "account"}, "ist"),
        ({"ist": None}, "no ist claim"),
        ({"exp": None}, "no exp claim"),
        ({"iat": 1, "exp": 100}, "expired"),
        ({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 3700}, "in the future"),
        ({"exp": int(time.time()) + 3600}, "5 minutes"),
        ({"aud": "someone"}, "Invalid token"),
        ({"iat": "soon"}, "Invalid token"),
    ],
)
def test_a_request_without_a_good_jwt_is_refused(video: VideoApi, changes: dict[str, Any], why: str) -> None:
    """Signature, issuer, kind, times and life of X-OPENTOK-AUTH are verified; 403 says which failed."""
    changes = dict(changes)
    try:
        headers = video.auth(changes.pop("secret", None), **changes)
    except TypeError:  # PyJWT itself refuses to encode some wrong claims
        headers = {"X-OPENTOK-AUTH": "a.b.c"}
    answer = requests.post(f"{video.url}/session/create", headers=headers, timeout=10)
    assert answer.status_code == 403
    assert why in answer.json()["message"]


@pytest.mark.parametrize("header", [b"", b"x", b"a.b.c", b"Bearer x", b"\xc3\xa9", b"\xff"])
def test_something_else_than_a_jwt_is_refused(video: VideoApi, header: bytes) -> None:
    """No header, or garbage in it: 403, never a 500."""
    headers = {"X-OPENTOK-AUTH": header} if header else {}
    assert requests.post(f"{video.url}/session/create", headers=headers, timeout=10).status_code == 403


def test_unsigned_and_otherwise_signed_jwts_are_refused(video: VideoApi) -> None:
    """Only HS256 counts: `none` and HS512 with the right secret do not."""
    now = int(time.time())
    claims = {"iss": video.credentials.video_api_key, "ist": "project", "iat": now, "exp": now + 180}
    for token in (
        jwt.encode(claims, "", "none"),
        jwt.encode(claims, video.credentials.video_api_secret * 2, "HS512"),
    ):
        answer = requests.post(f"{video.url}/session/create", headers={"X-OPENTOK-AUTH": token}, timeout=10)
        assert answer.status_code == 403


def test_another_project_in_the_path_is_refused(video: VideoApi) -> None:
    """A good JWT opens only its own project."""
    url = f"{video.url}/v2/project/99999999/session/{video.routed()}/stream"
    assert requests.get(url, headers=video.auth(), timeout=10).status_code == 403


# ---------------------------------------------------------------- dial


def test_dial_passes_on_everything_the_sip_side_needs(video: VideoApi) -> None:
    """URI, caller, custom headers, digest user and password, and the token's data reach the gateway."""
    session_id = video.routed()
    token = video.client.generate_token(session_id, Roles.moderator, data='{"sip":true}')
    sip = {
        "from": "12025550123@example.com",
        "headers": {"X-Room": "standup", "X-Empty": ""},
        "auth": {"username": "user", "password": "hush-hush"},
        "secure": True,
        "video": False,
        "observeForceMute": True,
        "streams": ["a"],
    }
    call = video.client.dial(session_id, token, URI, sip)
    ((dialled_session, connection_id, target),) = video.gateway.dialled
    assert (dialled_session, connection_id) == (session_id, call.connectionId)
    assert (target.user, target.host, target.port, target.transport) == ("12025550100", "sip.nexmo.com", None, "tls")
    assert (target.from_, target.headers, target.secure) == (sip["from"], sip["headers"], True)
    assert (target.username, target.password) == ("user", "hush-hush")
    assert "hush-hush" not in repr(target)
    connection = video.sessions.connection(connection_id)
    assert connection is not None
    assert (connection.kind, connection.data, connection.state) == ("sip", '{"sip":true}', "connecting")


def test_dial_answers_the_recorded_shape(video: VideoApi) -> None:
    """200 with the seven fields of the recorded production answer, at once."""
    answer = video.dial(session_id := video.routed())
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"id", "projectId", "sessionId", "connectionId", "streamId", "createdAt", "updatedAt"}
    assert (body["projectId"], body["sessionId"]) == (video.credentials.video_api_key, session_id)
    assert abs(body["createdAt"] / 1000 - time.time()) < 60


@pytest.mark.parametrize(
    "uri",
    [
        "sip:100@sip.nexmo.com",
        "sip:100@sip.nexmo.com:5060;transport=tcp",
        "sips:100@sip.nexmo.com",
        "sip:100@SIP-EU1.nexmo.com;transport=udp",
        "sip:100@me.sip-us.vonage.com;transport=tls",
    ],
)
def test_vonages_own_sip_hosts_are_inside(video: VideoApi, uri: str) -> None:
    """sip.nexmo.com, its regional names and *.vonage.com lead to the sandbox's voice side."""
    assert video.dial(video.routed(), sip={"uri": uri}).status_code == 200


@pytest.mark.parametrize(
    "uri",
    [
        "sip:100@example.com",
        "sip:100@127.0.0.1:5060",
        "sip:100@nexmo.com",
        "sip:100@sip.nexmo.com.example.com",
        "sip:100@evilvonage.com",
        "sip:100@vonage.com",
    ],
)
def test_no_other_host_is_ever_called(video: VideoApi, uri: str) -> None:
    """400, saying that the sandbox never calls out; nothing is dialled."""
    answer = video.dial(video.routed(), sip={"uri": uri})
    assert answer.status_code == 400
    assert "never calls out" in answer.json()["description"]
    assert video.gateway.dialled == []


@pytest.mark.parametrize(
    "sip",
    [
        None,
        "sip:100@sip.nexmo.com",
        {},
        {"uri": 5},
        {"uri": ""},
        {"uri": "sip:sip.nexmo.com"},
        {"uri": "tel:+12025550100"},
        {"uri": "sip:1 2@sip.nexmo.com"},
        {"uri": "sip:100@sip.nexmo.com\r\nX-Evil: 1"},
        {"uri": "sip:100@sip.nexmo.com;transport=sctp"},
        {"uri": "sip:100@sip.nexmo.com:99999"},
        {"uri": URI, "from": "12025550123"},
        {"uri": URI, "from": "a@b\r\nX-Evil: 1"},
        {"uri": URI, "headers": ["X-A"]},
        {"uri": URI, "headers": {"Subject": "x"}},
        {"uri": URI, "headers": {"X-A": "b\r\nX-Evil: 1"}},
        {"uri": URI, "headers": {"X-A\r\nX-Evil": "b"}},
        {"uri": URI, "headers": {"X-A": 5}},
        {"uri": URI, "headers": {"X-A": "\ud800"}},
        {"uri": URI, "from": "é@example.com"},
        {"uri": URI, "auth": {"username": "a\r\nb"}},
        {"uri": URI, "auth": {"username": "a", "password": "\ud800"}},
        {"uri": URI, "headers": {"x-opentok-sessionid": "other"}},
        {"uri": URI, "auth": "user:password"},
        {"uri": URI, "auth": {"username": 5}},
        {"uri": URI, "secure": "false"},
        {"uri": URI, "streams": "all"},
    ],
)
def test_a_malformed_sip_object_is_refused(video: VideoApi, sip: Any) -> None:
    """Wrong URI, headers, auth or types give 400 in OpenTok's error JSON, and nobody is called."""
    answer = video.dial(video.routed(), sip=sip)
    assert answer.status_code == 400
    assert answer.json()["code"] == -1
    assert answer.json()["message"].startswith("Invalid request: ")
    assert video.gateway.dialled == []


def test_a_sip_object_with_nulls_means_its_defaults(video: VideoApi) -> None:
    """SDKs of other languages send null for what was not given."""
    answer = video.dial(video.routed(), sip={"uri": URI, "from": None, "headers": None, "auth": None})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"secret": SECRET}, "Invalid signature"),
        ({"iss": "99999999"}, "Issuer not found"),
        ({"iat": 1, "exp": 100}, "expired"),
        ({"exp": int(time.time()) + 31 * 86_400}, "30 days"),
        ({"session_id": "1_MX4x"}, "another session"),
        ({"scope": "session.read"}, "does not open sessions"),
        ({"role": None}, "no role claim"),
        ({"role": "king"}, "unknown"),
        ({"role": "subscriber"}, "cannot dial"),
        ({"role": "publisheronly"}, "cannot dial"),
        ({"connection_data": "x" * 1001}, "1000"),
    ],
)
def test_a_token_that_does_not_open_this_session_is_refused(video: VideoApi, changes: dict[str, Any], why: str) -> None:
    """Signature, project, session, life, scope and role of the session token are verified: 403."""
    session_id = video.routed()
    changes = dict(changes)
    answer = video.dial(session_id, token=video.token(session_id, changes.pop("secret", None), **changes))
    assert answer.status_code == 403
    assert why in answer.json()["message"]
    assert video.gateway.dialled == []


def test_dial_of_a_relayed_session_conflicts(video: VideoApi) -> None:
    """409: SIP needs the Media Router."""
    session_id = video.client.create_session(media_mode=MediaModes.relayed).session_id
    assert video.dial(session_id).status_code == 409


def test_dial_of_an_unknown_session_is_404_and_of_no_session_id_400(video: VideoApi) -> None:
    """An id of the right form that was not created here does not exist; another text is no id."""
    unknown = "1_" + base64.urlsafe_b64encode(
        f"1~{video.credentials.video_api_key}~~1~none~~".encode()
    ).decode().rstrip("=")
    answer = video.dial(unknown, token=video.token(video.routed(), session_id=unknown))
    assert (answer.status_code, answer.json()["message"]) == (404, "The session does not exist")
    for wrong in ("standup", "1_", "1_MX4é", "1_!!!!"):
        assert video.dial(video.routed(), sessionId=wrong).status_code == 400


def test_a_gateway_that_fails_leaves_no_connection(video: VideoApi, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected failure is a 500 in JSON without a reason; the connection does not stay behind."""
    video.gateway.broken = True
    answer = video.dial(video.routed())
    assert answer.status_code == 500
    assert answer.json() == {"code": -1, "message": "Internal server error", "description": "Internal server error"}
    assert list(video.sessions.living()) == []
