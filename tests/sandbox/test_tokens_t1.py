"""T1 session tokens, as opentok makes them without JWTs, and as forgers do."""

import base64
import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlencode

import opentok
import pytest

from tests.standins.video_api import VideoApi

DAY = 86_400


def sign(video: VideoApi, fields: str, *, key: str | None = None, secret: str | None = None) -> str:
    """Make a T1 token of these fields, as its project would."""
    mac = hmac.new((secret or video.credentials.video_api_secret).encode(), fields.encode(), hashlib.sha1)
    payload = f"partner_id={key or video.credentials.video_api_key}&sig={mac.hexdigest()}:{fields}"
    return "T1==" + base64.b64encode(payload.encode()).decode()


def fields_of(session_id: str, /, **changes: Any) -> dict[str, Any]:
    """Make the fields of a good token; None leaves one out."""
    now = int(time.time())
    fields = {"session_id": session_id, "create_time": now, "expire_time": now + DAY, "role": "publisher", "nonce": 1}
    return {name: value for name, value in (fields | changes).items() if value is not None}


@pytest.mark.parametrize("role", [opentok.Roles.publisher, opentok.Roles.moderator])
def test_tokens_of_the_sdk_open_the_session(video: VideoApi, role: opentok.Roles) -> None:
    """generate_token(use_jwt=False) dials like a JWT, with its connection data."""
    session_id = video.routed()
    token = video.client.generate_token(
        session_id, role, data="Ada & Grace: 50 %", initial_layout_class_list=["focus"], use_jwt=False
    )
    assert token.startswith("T1==")
    answer = video.dial(session_id, token=token)
    assert answer.status_code == 200, answer.text
    connection = video.sessions.connection(answer.json()["connectionId"])
    assert connection is not None
    assert connection.data == "Ada & Grace: 50 %"


def test_without_an_expiry_a_token_lives_a_day(video: VideoApi) -> None:
    """Documented: 24 hours from create_time."""
    session_id = video.routed()
    now = int(time.time())
    for age, status in ((DAY - 60, 200), (DAY + 60, 403)):
        fields = urlencode(fields_of(session_id, create_time=now - age, expire_time=None))
        assert video.dial(session_id, token=sign(video, fields)).status_code == status


def test_a_role_that_cannot_dial_is_told(video: VideoApi) -> None:
    """The role of a T1 token counts as that of a JWT does."""
    session_id = video.routed()
    token = video.client.generate_token(session_id, opentok.Roles.subscriber, use_jwt=False)
    answer = video.dial(session_id, token=token)
    assert (answer.status_code, "subscriber" in answer.json()["message"]) == (403, True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"session_id": "1_another"}, "another session"),
        ({"session_id": None}, "no session_id"),
        ({"create_time": None}, "no create_time"),
        ({"create_time": "soon"}, "Invalid token"),
        ({"create_time": int(time.time()) + 3600}, "future"),
        ({"expire_time": int(time.time()) - 60}, "expired"),
        ({"expire_time": int(time.time()) + 31 * DAY}, "30 days"),
        ({"expire_time": "-5"}, "Invalid token"),
        ({"role": "king"}, "role"),
        ({"role": None}, "no role"),
        ({"nonce": None}, "no nonce"),
        ({"connection_data": "x" * 1001}, "1000 characters"),
        ({"scope": "session.connect"}, "Invalid token"),
    ],
)
def test_a_wrong_field_is_refused(video: VideoApi, changes: dict[str, Any], why: str) -> None:
    """403 with the reason although the signature is right, and nobody is called."""
    session_id = video.routed()
    answer = video.dial(session_id, token=sign(video, urlencode(fields_of(session_id, **changes))))
    assert (answer.status_code, why in answer.json()["message"]) == (403, True), answer.text
    assert video.gateway.dialled == []


def test_forged_and_mangled_tokens_are_refused(video: VideoApi) -> None:
    """Another secret or key, altered or doubled fields, base64 that is none: 403 each, never a 500."""
    session_id = video.routed()
    fields = urlencode(fields_of(session_id))
    good = sign(video, fields)
    packed = base64.b64decode(good[4:])
    altered = [packed.replace(b"publisher", b"moderator"), packed.replace(b"sig=", b"sig=0"), packed[:-30], b"\xff"]
    for token in (
        sign(video, fields, secret="0" * 40),
        sign(video, fields, key="99999999"),
        sign(video, fields + "&role=moderator"),
        sign(video, "x"),
        *("T1==" + base64.b64encode(each).decode() for each in altered),
        good[:-1],
        "T1==" + good,
        "T1==",
        "T1==é",
        "T1==\ud800",
        good + "\n",
    ):
        assert video.dial(session_id, token=token).status_code == 403, token
    assert video.gateway.dialled == []
    assert video.dial(session_id, token=good).status_code == 200
