"""Recordings: of one leg by the record action, of a whole conversation, told by callback and downloaded by URL."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pytest
import requests
import soundfile

from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.recording import Recorder
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, Phone, wait_for

CALLBACK = {
    *("start_time", "recording_url", "size", "recording_uuid", "end_time", "conversation_uuid", "timestamp"),
}


def _record(app: AnsweringApp, **options: Any) -> dict[str, Any]:
    app.on("/recorded", Reply())
    return {"action": "record", "format": "wav", "eventUrl": [f"{app.url}/recorded"], **options}


def _told(app: AnsweringApp) -> dict[str, Any]:
    wait_for(lambda: app.asked("/recorded"), what="the recording's callback")
    [told] = app.asked("/recorded")
    return told.fields


def _token(lab: Lab, application: str | None = None) -> str:
    claims = {"application_id": application or lab.info.application_id, "iat": int(time.time()), "jti": "1"}
    return jwt.encode(claims, Path(lab.info.private_key_file).read_text(), algorithm="RS256")


def _download(url: str, token: str) -> requests.Response:
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)


def _heard(data: bytes) -> np.ndarray:
    """Read a recording of any format: 16 kHz as documented, here every second sample, a column per channel."""
    samples, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    assert rate == 2 * ear.RATE
    return np.asarray(samples[::2])


def _answered(lab: Lab, from_: str = "12025550123") -> Phone:
    phone = lab.dial(from_=from_)
    phone.wait("answered")
    return phone


def test_message_is_recorded_until_a_key(lab: Lab, app: AnsweringApp) -> None:
    """With endOnKey the next action waits; the callback tells start, end, size and where the WAV is."""
    app.on("/answer", [_record(app, endOnKey="#"), {"action": "conversation", "name": "after"}])
    phone = _answered(lab)
    phone.post("tone", json={"hz": 700, "seconds": 5})
    wait_for(lambda: phone.show()["heard"]["seconds"] > 0.8, what="most of a second")
    assert lab.legs()[0]["conversation"] is None
    phone.keys("#")
    lab.wait_joined(1, name="after")
    told = _told(app)
    assert set(told) == CALLBACK
    assert told["conversation_uuid"] == app.asked("/answer")[0].fields["conversation_uuid"]
    answer = _download(told["recording_url"], _token(lab))
    assert answer.headers["Content-Type"] == "audio/wav"
    assert len(answer.content) == told["size"]
    heard = _heard(answer.content)[:, 0]
    assert ear.strength(heard, 700) > -30
    assert 0.4 < len(heard) / ear.RATE < 5


def test_recording_is_for_the_application_alone(lab: Lab, app: AnsweringApp) -> None:
    """No token, one of a stranger and an unknown id are refused in the Voice API's words."""
    app.on("/answer", [_record(app), {"action": "wait", "timeout": 0.1}])
    lab.dial().wait("ended")
    url = _told(app)["recording_url"]
    for token in ("", "nonsense", _token(lab, "another")):
        refused = _download(url, token)
        assert refused.status_code == 401
        assert refused.json()["type"] == "UNAUTHORIZED"
    assert _download(url[:-4] + "0000", _token(lab)).status_code == 404
    assert _download(url, _token(lab)).status_code == 200


def test_recording_without_an_end_goes_on_beside_the_document(lab: Lab, app: AnsweringApp) -> None:
    """Without an end condition it lasts to the end of the call; split has the caller left and the others right."""
    record = _record(app, split="conversation", beepStart=True)
    join = {"action": "conversation", "name": "room"}
    app.on("/answer", lambda asked: [record, join] if asked.fields["from"].endswith("1") else [join])
    one, two = _answered(lab, "12025550001"), _answered(lab, "12025550002")
    lab.wait_joined(2)
    one.post("tone", json={"hz": 600, "seconds": 9})
    two.post("tone", json={"hz": 900, "seconds": 9})
    wait_for(lambda: ear.strength(ear.last(one.recording(), 0.5), 900) > -25, what="the other's tone")
    assert not app.asked("/recorded")
    one.hang_up()
    data = _download(_told(app)["recording_url"], _token(lab)).content
    tracks = _heard(data)
    assert tracks.shape[1] == 2
    assert ear.strength(tracks[:, 0], 600) > -35
    assert ear.strength(tracks[:, 0], 900) < -60
    assert ear.strength(tracks[:, 1], 900) > -35
    assert ear.strength(tracks[:, 1], 600) < -60


def test_conversation_is_recorded_as_a_whole(lab: Lab, app: AnsweringApp) -> None:
    """`record` of a conversation keeps what all its legs say, and tells when the last one left."""
    app.on("/recorded", Reply())
    join = {"action": "conversation", "name": "room", "record": True, "eventUrl": [f"{app.url}/recorded"]}
    app.on("/answer", [join])
    phones = [_answered(lab, f"1202555000{number}") for number in (1, 2)]
    lab.wait_joined(2)
    for phone, hz in zip(phones, (600, 900), strict=True):
        phone.post("tone", json={"hz": hz, "seconds": 9})
    wait_for(lambda: ear.strength(ear.last(phones[0].recording(), 0.5), 900) > -25, what="the other's tone")
    for phone in phones:
        phone.hang_up()

    def told() -> list[dict[str, Any]]:
        return [each.fields for each in app.asked("/recorded") if "recording_url" in each.fields]

    wait_for(told, what="the recording's callback")
    [end] = told()
    answer = _download(end["recording_url"], _token(lab))
    assert answer.headers["Content-Type"] == "audio/mpeg"
    heard = _heard(answer.content)[:, 0]
    assert min(ear.strength(heard, 600), ear.strength(heard, 900)) > -35


@pytest.mark.parametrize(
    ("options", "loud", "quiet", "ends"),
    [
        pytest.param({"endOnSilence": 3}, 50, 149, False, id="not yet silent enough"),
        pytest.param({"endOnSilence": 3}, 50, 150, True, id="three seconds of silence"),
        pytest.param({"timeOut": 4}, 199, 0, False, id="before the time is up"),
        pytest.param({"timeOut": 4}, 200, 0, True, id="the time is up"),
    ],
)
def test_silence_and_time_end_a_recording(options: dict[str, Any], loud: int, quiet: int, ends: bool) -> None:
    """The option endOnSilence counts the caller's silence, timeOut the whole; both by the frames of 20 ms that came."""

    async def record() -> Recorder:
        [wanted] = ncco.parse([{"action": "record", "format": "wav", **options}])
        assert isinstance(wanted, ncco.Record)
        recorder = Recorder(wanted)
        silence = np.zeros(160, dtype=np.int16)
        for frame in [silence + 9000] * loud + [silence] * quiet:
            recorder.take(frame, silence)
        return recorder

    recorder = asyncio.run(record())
    assert recorder.done.is_set() == ends
    assert len(_heard(recorder.finish().file())) == (loud + quiet) * 160
