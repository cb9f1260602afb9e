"""The OpenTok REST API of the sandbox, by the real opentok client and by requests it would never send."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import opentok
import pytest
import requests
from aiohttp import web
from opentok import MediaModes
from opentok.exceptions import AuthError, ForceDisconnectError, GetStreamError, OpenTokException, SipDialError

from sipkit.sandbox.home import Home
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video.session_id import project_of
from sipkit.sandbox.video.sessions import Sessions
from tests.standins.video_api import URI, VideoApi

SECRET = "0123456789abcdef" * 3


def client_of(url: str, key: str, secret: str) -> Any:
    """Make opentok's client with nothing but its address changed (and a time limit, which it lacks)."""
    return opentok.Client(key, secret, api_url=url, timeout=10)


# ---------------------------------------------------------------- with the real sandbox and the real client


@pytest.fixture
def client(sandbox: SandboxInfo) -> Any:
    """The client of opentok on the running sandbox."""
    return client_of(sandbox.api_url, sandbox.video_api_key, sandbox.video_api_secret)


def options(sandbox: SandboxInfo, **changes: Any) -> dict[str, Any]:
    """SIP options as the tutorial passes them."""
    auth = {"username": sandbox.voice_api_key, "password": sandbox.voice_api_secret}
    return {"auth": auth, "secure": False, **changes}


@pytest.fixture
def answering(sandbox: SandboxInfo, serve: Callable[[web.Application], Any]) -> Iterator[list[dict[str, str]]]:
    """A webhook server that lets every SIP leg into a conversation, and what it was asked."""
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response([{"action": "conversation", "name": "test"}])

    async def event(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.add_routes([web.get("/answer", answer), web.post("/event", event)])
    url = serve(app).url
    application = f"{sandbox.api_url}/v2/applications/{sandbox.application_id}"
    with requests.Session() as account:
        account.auth = (sandbox.voice_api_key, sandbox.voice_api_secret)
        before = account.get(application, timeout=10).json()
        urls = {"answer_url": {"address": f"{url}/answer"}, "event_url": {"address": f"{url}/event"}}
        body = {"name": "test", "capabilities": {"voice": {"webhooks": urls}, "video": {}}}
        assert account.put(application, json=body, timeout=10).status_code == 200
        yield asked
        account.put(application, json=before, timeout=10)


def test_opentok_creates_dials_lists_and_disconnects(
    sandbox: SandboxInfo, client: Any, answering: list[dict[str, str]], wait_until: Callable[..., Any]
) -> None:
    """The whole life of a SIP leg through opentok 3.15: session, token, dial, streams, force-disconnect."""
    session_id = client.create_session(media_mode=MediaModes.routed).session_id
    call = client.dial(session_id, client.generate_token(session_id), URI, options(sandbox))
    assert len({call.id, call.connectionId, call.streamId}) == 3
    assert [stream.id for stream in client.list_streams(session_id)] == [call.streamId]
    assert client.get_stream(session_id, call.streamId).videoType == "camera"
    wait_until(lambda: answering, what="the answer webhook to be asked")
    assert answering[0]["SipHeader_X-OpenTok-SessionId"] == session_id
    client.force_disconnect(session_id, call.connectionId)
    assert len(client.list_streams(session_id)) == 0
    with pytest.raises(ForceDisconnectError, match="not connected"):
        client.force_disconnect(session_id, call.connectionId)


def test_opentok_is_told_each_kind_of_refusal(sandbox: SandboxInfo, client: Any) -> None:
    """400, 403, 404 and 409 arrive as the SDK's own exceptions."""
    session_id = client.create_session(media_mode=MediaModes.routed).session_id
    relayed = client.create_session(media_mode=MediaModes.relayed).session_id
    token = client.generate_token(session_id)
    stranger = client_of(sandbox.api_url, sandbox.video_api_key, SECRET)
    with pytest.raises(AuthError):
        stranger.dial(session_id, token, URI, options(sandbox))
    with pytest.raises(AuthError):
        stranger.list_streams(session_id)
    with pytest.raises(AuthError):
        stranger.force_disconnect(session_id, "any")
    with pytest.raises(OpenTokException, match="invalid credentials"):
        stranger.create_session()
    with pytest.raises(AuthError):
        client.dial(session_id, stranger.generate_token(session_id), URI, options(sandbox))
    with pytest.raises(SipDialError, match="Media Router"):
        client.dial(relayed, client.generate_token(relayed), URI, options(sandbox))
    with pytest.raises(SipDialError, match="Invalid request"):
        client.dial(session_id, token, "tel:+12025550100", options(sandbox))
    with pytest.raises(SipDialError, match="Invalid request"):
        client.dial(session_id, token, URI, options(sandbox, headers={"Subject": "no X-"}))
    unknown = "1_" + base64.urlsafe_b64encode(f"1~{sandbox.video_api_key}~~1~none~".encode()).decode().rstrip("=")
    with pytest.raises(SipDialError, match="does not exist"):
        client.dial(unknown, client.generate_token(unknown), URI, options(sandbox))


def test_a_wrong_sip_password_still_answers_200_and_the_connection_goes(
    sandbox: SandboxInfo, client: Any, wait_until: Callable[..., Any]
) -> None:
    """As at Vonage, /dial knows nothing of the SIP side: the leg is refused later and its stream disappears."""
    session_id = client.create_session(media_mode=MediaModes.routed).session_id
    wrong = {"username": sandbox.voice_api_key, "password": "wrong"}
    call = client.dial(session_id, client.generate_token(session_id), URI, options(sandbox, auth=wrong))
    assert call.connectionId
    wait_until(lambda: len(client.list_streams(session_id)) == 0, what="the refused leg's stream to go")


# ---------------------------------------------------------------- sessions


def test_a_created_session_has_the_vendors_shape(video: VideoApi) -> None:
    """A list of one object, labelled exactly application/json; the id decodes to the project's key."""
    form = {"p2p.preference": "disabled", "archiveMode": "manual", "e2ee": "false"}
    answer = requests.post(f"{video.url}/session/create", data=form, headers=video.auth(), timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    (made,) = answer.json()
    key = video.credentials.video_api_key
    assert made["project_id"] == made["partner_id"] == key == project_of(made["session_id"])
    assert made["session_id"].startswith("1_MX4")
    assert time.strptime(made["create_dt"], "%a %b %d %H:%M:%S UTC %Y")
    assert {"session_status", "media_server_hostname", "ice_servers", "session_segment_id"} <= made.keys()


@pytest.mark.parametrize("label", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
def test_the_form_is_read_whatever_its_label(video: VideoApi, label: str) -> None:
    """SDKs send the session's form labelled JSON; the media mode must still be understood."""
    headers = {**video.auth(), "Content-Type": label}
    url = f"{video.url}/session/create"
    for preference, routed in (("disabled", True), ("enabled", False)):
        answer = requests.post(url, data=f"p2p.preference={preference}", headers=headers, timeout=10)
        session = video.sessions.get(answer.json()[0]["session_id"])
        assert session is not None
        assert session.routed is routed


def test_a_session_without_options_is_routed(video: VideoApi) -> None:
    """The unified SDK sends an empty body for defaults."""
    answer = requests.post(f"{video.url}/session/create", headers=video.auth(), timeout=10)
    session = video.sessions.get(answer.json()[0]["session_id"])
    assert session is not None
    assert session.routed


@pytest.mark.parametrize(
    "form",
    [
        "p2p.preference=maybe",
        "archiveMode=often",
        "location=earth",
        "e2ee=2",
        "p2p.preference=enabled&archiveMode=always",
        "p2p.preference=enabled&e2ee=true",
        "no form at all",
        b"\xff\xfe",
    ],
)
def test_a_session_with_wrong_options_is_refused(video: VideoApi, form: str | bytes) -> None:
    """Values outside the reference give 400 in JSON and no session."""
    answer = requests.post(f"{video.url}/session/create", data=form, headers=video.auth(), timeout=10)
    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message", "description"}
    assert list(video.sessions._sessions) == []


def test_sessions_survive_a_restart_and_connections_do_not(home: Home) -> None:
    """What was created is known to the next process; a line cut by a crash costs only itself."""
    key = home.credentials.video_api_key
    with Sessions(home, key, Trace()) as sessions:
        routed, relayed = sessions.create(routed=True, archiveMode="manual"), sessions.create(routed=False)
        sessions.settle()
        sessions.add(routed, "sip", "")
    with home.sessions_file.open("ab") as file:
        file.write(b'{"sessionId": "1_MX4tor')
    with Sessions(home, key, Trace()) as sessions:
        again = sessions.get(routed.session_id)
        assert again is not None
        assert (again.routed, again.created_at, again.connections) == (True, routed.created_at, {})
        other = sessions.get(relayed.session_id)
        assert other is not None
        assert not other.routed
        third = sessions.create(routed=True)
    with Sessions(home, key, Trace()) as sessions:
        assert sessions.get(third.session_id) is not None
        assert len(sessions._sessions) == 3


def test_a_connections_life_is_traced_and_its_first_end_counts(home: Home) -> None:
    """created, connected once, destroyed once with the first reason; later calls change nothing."""
    trace = Trace()
    with Sessions(home, home.credentials.video_api_key, trace) as sessions:
        session = sessions.create(routed=True)
        connection = sessions.add(session, "synthetic", "data")
        sessions.connected(connection.id)
        sessions.connected(connection.id)
        assert [each.id for each in sessions.living()] == [connection.id]
        assert sessions.remove(connection.id, "forceDisconnected") is connection
        assert sessions.remove(connection.id, "clientDisconnected") is None
        sessions.connected(connection.id)
        assert session.connections == {}
    told = [(event["event"], event.get("reason")) for event in trace.since(0)]
    assert told == [("created", None), ("connected", None), ("destroyed", "forceDisconnected")]


def test_listeners_hear_in_order_until_they_stop(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """Of all sessions or of one: streams end before their connection, and a listener that fails harms nobody."""
    with Sessions(home, home.credentials.video_api_key, Trace()) as sessions:
        session, other = sessions.create(routed=True), sessions.create(routed=True)
        everything: list[str] = []
        here: list[str] = []

        def fail(event: object) -> None:
            raise RuntimeError("deaf")

        stop_failing = sessions.listen(fail)
        sessions.listen(lambda event: everything.append(type(event).__name__))
        stop = sessions.listen(lambda event: here.append(type(event).__name__), session)
        connection = sessions.add(session, "sip", "")
        sessions.connected(connection.id)
        sessions.connected(connection.id)
        sessions.add(other, "sip", "")
        assert "a listener failed at ConnectionCreated" in caplog.text
        stop_failing()
        sessions.remove(connection.id, "clientDisconnected")
        life = ["ConnectionCreated", "StreamCreated", "StreamDestroyed", "ConnectionDestroyed"]
        assert here == life
        assert everything == [*life[:2], "ConnectionCreated", *life[2:]]
        stop()
        stop()
        sessions.add(session, "sip", "")
        assert here == life


# ---------------------------------------------------------------- streams, connections, force-disconnect


def test_streams_and_connections_are_listed_while_they_live(video: VideoApi) -> None:
    """The lists show what is in the session now, with the connection's state."""
    session_id = video.routed()
    session_url = f"{video.project}/session/{session_id}"
    empty = requests.get(f"{session_url}/connection", headers=video.auth(), timeout=10).json()
    assert (empty["count"], empty["items"], empty["sessionId"]) == (0, [], session_id)
    assert empty["projectId"] == empty["applicationId"] == video.credentials.video_api_key
    call = video.dial(session_id).json()
    listed = requests.get(f"{session_url}/connection", headers=video.auth(), timeout=10).json()
    assert listed["count"] == 1
    (item,) = listed["items"]
    assert (item["connectionId"], item["connectionState"]) == (call["connectionId"], "Connecting")
    video.sessions.connected(call["connectionId"])
    listed = requests.get(f"{session_url}/connection", headers=video.auth(), timeout=10).json()
    assert listed["items"][0]["connectionState"] == "Connected"
    streams = requests.get(f"{session_url}/stream", headers=video.auth(), timeout=10).json()
    stream = {"id": call["streamId"], "videoType": "camera", "name": "", "layoutClassList": []}
    assert streams == {"count": 1, "items": [stream]}
    one = requests.get(f"{session_url}/stream/{call['streamId']}", headers=video.auth(), timeout=10)
    assert one.json() == stream


def test_missing_streams_answer_as_documented(video: VideoApi) -> None:
    """A session without streams is 404 (which opentok shows as an empty list), a wrong stream id is 408."""
    session_id = video.routed()
    session_url = f"{video.project}/session/{session_id}"
    assert requests.get(f"{session_url}/stream", headers=video.auth(), timeout=10).status_code == 404
    assert len(video.client.list_streams(session_id)) == 0
    assert requests.get(f"{session_url}/stream/none", headers=video.auth(), timeout=10).status_code == 408
    with pytest.raises(GetStreamError, match="invalid stream ID"):
        video.client.get_stream(session_id, "none")


def test_force_disconnect_hangs_up_once(video: VideoApi) -> None:
    """204 the first time, with the call ended and the connection gone; 404 after that."""
    session_id = video.routed()
    connection_id = video.dial(session_id).json()["connectionId"]
    url = f"{video.project}/session/{session_id}/connection/{connection_id}"
    first = requests.delete(url, headers=video.auth(), timeout=10)
    assert (first.status_code, first.content) == (204, b"")
    assert requests.delete(url, headers=video.auth(), timeout=10).status_code == 404
    assert video.gateway.hung_up == [connection_id]
    (end,) = [event for event in video.trace.since(0) if event.get("event") == "destroyed"]
    assert end["reason"] == "forceDisconnected"


def test_force_disconnect_keeps_to_the_session(video: VideoApi) -> None:
    """A connection of one session cannot be ended through another; unknown sessions are 404."""
    connection_id = video.dial(video.routed()).json()["connectionId"]
    other = f"{video.project}/session/{video.routed()}/connection/{connection_id}"
    assert requests.delete(other, headers=video.auth(), timeout=10).status_code == 404
    assert (
        requests.delete(f"{video.project}/session/x/connection/y", headers=video.auth(), timeout=10).status_code == 400
    )
    assert len(list(video.sessions.living())) == 1


# ---------------------------------------------------------------- hygiene and trace


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 60_000, b'{"sessionId": 5}'])
def test_a_malformed_body_is_400(video: VideoApi, body: bytes) -> None:
    """Whatever is no JSON object with the wanted fields is 400 in JSON."""
    headers = {**video.auth(), "Content-Type": "application/json"}
    answer = requests.post(f"{video.project}/dial", data=body, headers=headers, timeout=10)
    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message", "description"}


@pytest.mark.parametrize("told", [True, False])
def test_a_body_too_large_is_413(video: VideoApi, told: bool) -> None:
    """More than 64 KiB is refused, whether its length is told or it comes in chunks."""
    large = b"x" * 200_000
    data = large if told else iter([large])
    answer = requests.post(f"{video.project}/dial", data=data, headers=video.auth(), timeout=10)
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/project/1/nothing", 404),
        ("GET", "/session/create", 405),
        ("PUT", "/v2/project/1/dial", 405),
        ("GET", "/sandbox/nothing", 404),
    ],
)
def test_unknown_paths_and_methods_answer_json(video: VideoApi, method: str, path: str, status: int) -> None:
    """404 and 405 in JSON, never HTML; control paths have their own error form."""
    answer = requests.request(method, video.url + path, timeout=10)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert ("error" in answer.json()) is path.startswith("/sandbox/")
    assert ("Allow" in answer.headers) is (status == 405)


def test_the_running_sandbox_never_answers_html(sandbox: SandboxInfo) -> None:
    """Wrong paths, methods and bodies of the whole app get JSON too."""
    for method, path, status in (
        ("GET", "/", 404),
        ("DELETE", "/session/create", 405),
        ("POST", f"/v2/project/{sandbox.video_api_key}/dial", 403),
        ("PUT", f"/v2/applications/{sandbox.application_id}", 401),
        ("GET", "/sandbox/ledger", 401),
    ):
        answer = requests.request(method, sandbox.api_url + path, data=b"{", timeout=10)
        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.json()


def test_every_vendor_request_is_one_trace_event_with_secrets_masked(video: VideoApi) -> None:
    """Method, path, status, body and error are told; tokens and passwords are not, and of a number the last digits."""
    session_id = video.routed()
    sip = {"uri": URI, "auth": {"username": "user", "password": "hush-hush"}}
    video.dial(session_id, sip=sip)
    video.dial(session_id, sip={"uri": "nonsense"})
    requests.get(f"{video.url}/nowhere", timeout=10)
    requests.get(f"{video.url}/sandbox/nowhere", timeout=10)
    created, dialled, refused, nowhere = video.rest_events()
    assert (created["method"], created["path"], created["status"]) == ("POST", "/session/create", 200)
    assert created["body"]["p2p.preference"] == "disabled"
    assert dialled["body"]["token"] == dialled["body"]["sip"]["auth"]["password"] == "•••"
    assert dialled["body"]["sip"]["uri"] == URI.replace("1202555", "•••")
    assert (refused["status"], "sip:user@host" in refused["error"]) == (400, True)
    assert (nowhere["path"], nowhere["status"]) == ("/nowhere", 404)
    told = json.dumps(video.trace.since(0))
    assert "hush-hush" not in told
    assert "eyJ" not in told


def test_a_client_that_leaves_in_mid_request_disturbs_nobody(video: VideoApi) -> None:
    """A connection closed inside the body gets no answer, and the next request is served."""
    parts = urlsplit(video.url)
    broken = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    broken.putrequest("POST", "/session/create")
    broken.putheader("Content-Length", "1000")
    broken.endheaders(b"p2p.preference=")
    broken.close()
    assert video.routed()
