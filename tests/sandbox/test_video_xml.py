"""/session/create for SDKs of before JSON: an answer in XML unless JSON is asked for."""

from xml.etree import ElementTree as ET

import pytest
import requests

from sipkit.sandbox.video.session_id import project_of
from tests.sandbox.test_unified import request_claims, signed
from tests.standins.video_api import VideoApi


@pytest.mark.parametrize("accept", ["*/*", "text/xml", "application/xml", None])
def test_who_does_not_ask_for_json_gets_xml(video: VideoApi, accept: str | None) -> None:
    """The three recorded fields, labelled text/xml, of a session that is there."""
    headers: dict[str, str | None] = {**video.auth(), "Accept": accept}
    answer = requests.post(f"{video.url}/session/create", headers=headers, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml")
    (session,) = ET.fromstring(answer.content)  # noqa: S314 - our own answer
    assert session.tag == "Session"
    assert [field.tag for field in session] == ["session_id", "partner_id", "create_dt"]
    session_id = session.findtext("session_id", "")
    assert project_of(session_id) == session.findtext("partner_id") == video.credentials.video_api_key
    assert video.sessions.get(session_id) is not None


def test_the_sdks_own_xml_reader_takes_it(video: VideoApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """opentok, when it asks as its early versions did, reads the session from the XML and can dial."""
    monkeypatch.setattr(video.client, "get_headers", lambda: {**video.auth(), "Accept": "*/*"})
    session_id = video.routed()
    monkeypatch.undo()
    assert video.dial(session_id).status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "text/html, application/json;q=0.9"])
def test_who_asks_for_json_gets_json(video: VideoApi, accept: str) -> None:
    """Exactly application/json, without a charset, which the SDKs would take for XML."""
    answer = requests.post(f"{video.url}/session/create", headers={**video.auth(), "Accept": accept}, timeout=10)
    assert answer.headers["Content-Type"] == "application/json"


def test_the_unified_environment_answers_json_only(video: VideoApi) -> None:
    """Its document knows no XML, whatever is asked for."""
    headers = {"Authorization": f"Bearer {signed(video, request_claims(video))}", "Accept": "text/xml"}
    answer = requests.post(f"{video.url}/session/create", headers=headers, timeout=10)
    assert answer.headers["Content-Type"] == "application/json"
