"""Calls to WebSockets: what is sent and heard, by a real server at the far end."""

from typing import Any

import jwt
import pytest
from vonage_voice.models import Connect, Websocket, WebsocketEndpoint

from tests.standins.answering_app import AnsweringApp
from tests.standins.ear import last, level, strength
from tests.standins.lab import Lab, wait_for
from tests.standins.voice_client import VoiceClient
from tests.standins.voice_socket import VoiceSocket, module_socket, server, sound

__all__ = ["module_socket", "server"]

ROOM = [{"action": "conversation", "name": "sockets"}]


@pytest.fixture
def client(lab: Lab) -> VoiceClient:
    """The Voice REST API as the application uses it."""
    lab.ask("DELETE", "/limits")
    return VoiceClient(lab.info)


def endpoint(server: VoiceSocket, rate: int = 16000, **more: Any) -> dict[str, Any]:
    """Make a WebSocket endpoint, as the vendor's SDK writes it."""
    made = Websocket(uri=server.uri, content_type=f"audio/l16;rate={rate}", **more)
    return dict(made.model_dump(by_alias=True, exclude_none=True, mode="json"))


def test_all_rates_hear_and_are_heard(lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket) -> None:
    """A phone and a WebSocket of each rate in one conversation: every frame is 20 ms, and each tone arrives."""
    rates = {8000: 500, 16000: 700, 24000: 900}
    for count, rate in enumerate(rates):
        client.create(endpoint(server, rate), ncco=ROOM)
        server.line(count)
    app.on("/answer", ROOM)
    phone = lab.dial()
    phone.wait("answered")
    lab.wait_joined(4)
    phone.post("tone", json={"hz": 1200, "seconds": 5})
    for line, (rate, hz) in zip(server.lines, rates.items(), strict=True):
        line.send(*sound(hz, 3, rate))
    for line, rate in zip(server.lines, rates, strict=True):
        factor = rate // 8000
        assert {len(each) for each in line.frames} == {320 * factor}
        wait_for(lambda: strength(last(line.heard(factor), 0.5), 1200) > -20, what=f"the phone's tone at {rate}")  # noqa: B023
        own = strength(last(line.heard(factor), 0.5), rates[rate])
        assert own < -50, f"{rate} hears itself"
    wait_for(
        lambda: all(strength(last(phone.recording(), 0.5), hz) > -20 for hz in rates.values()), what="the three tones"
    )


def test_a_phone_is_connected_to_a_websocket(
    lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket
) -> None:
    """The first message has type and headers, the handshake a signed token; keys and the phone's end are told."""
    headers = {"room": "7", "guest": {"name": "Zoë"}}
    wish = WebsocketEndpoint(
        uri=server.uri,
        contentType="audio/l16;rate=16000",
        headers=headers,
        authorization={"type": "vonage"},
    )
    action = Connect(endpoint=[wish], from_=lab.info.number).model_dump(by_alias=True, exclude_none=True, mode="json")
    app.on("/answer", [action])
    phone = lab.dial()
    line = server.line()
    assert line.texts[0] == {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", **headers}
    scheme, _, token = line.headers["authorization"].partition(" ")
    claims = jwt.decode(token, lab.info.signature_secret, algorithms=["HS256"])
    assert (scheme, claims["application_id"]) == ("Bearer", lab.info.application_id)
    lab.wait_joined(2)
    phone.keys("5#")
    assert [each["digit"] for each in line.wait("dtmf", 2)] == ["5", "#"]
    assert {"event", "digit", "duration"} == set(line.events("dtmf")[0])
    phone.hang_up()
    wait_for(lambda: line.code == 1000, what="the close")
    events = [each for each in app.events() if each.get("to") == server.uri]
    wait_for(lambda: "completed" in app.statuses(events[0]["uuid"]), what="the end of the leg")
    assert app.statuses(events[0]["uuid"]) == ["started", "answered", "completed"]
    assert all(each["headers"] == headers for each in app.events(events[0]["uuid"]))
    assert token not in str(lab.trace())


def test_buffered_sound_is_marked_and_cleared(
    lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket
) -> None:
    """`notify` is told when the sound before it was played; `clear` empties the buffer and its marks."""
    client.create(endpoint(server), ncco=ROOM)
    line = server.line()
    mark = {"action": "notify", "payload": {"part": 1}}
    line.send(*sound(700, 0.5, 16000), mark)
    before = len(line.frames)
    assert line.wait("notify") == [{"event": "websocket:notify", "payload": {"part": 1}}]
    assert len(line.frames) - before >= 20, "half a second of sound takes half a second"
    never, later = ({**mark, "payload": {"part": part}} for part in (2, 3))
    line.send(*sound(700, 20, 16000), never, {"action": "clear"}, later)
    assert line.wait("cleared") == [{"event": "websocket:cleared"}]
    assert [each["payload"]["part"] for each in line.wait("notify", 2)] == [1, 3]
    app.on("/answer", ROOM)
    phone = lab.dial()
    lab.wait_joined(2)
    wait_for(lambda: len(phone.recording()) > 4000, what="half a second of the room")
    assert level(last(phone.recording(), 0.3)) < -60


def test_what_is_no_message_is_ignored(lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket) -> None:
    """Sound of another length is not played, and unknown text does nothing: the trace says so, the call goes on."""
    client.create(endpoint(server), ncco=ROOM)
    line = server.line()
    for each in (b"\x00" * 320, "no JSON", "[" * 3000, {"action": "dance"}, {"action": "notify", "payload": 3}, LONG):
        line.send(each)
    line.send({"action": "notify", "payload": {}})
    line.wait("notify")
    told = [each for each in lab.trace(kind="websocket") if each["state"] in ("wrong", "received")]
    assert told[0]["wanted"] == 640
    assert [each["action"] for each in told[1:]] == ["ignored"] * 5 + ["notify"]


LONG = {"action": "notify", "payload": {"text": "x" * 4096}}


def test_a_secret_of_the_applications_own_is_sent_and_never_shown(
    lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket
) -> None:
    """A custom Authorization is sent as it is written; without the option none is sent."""
    secret = {"type": "custom", "value": "ApiKey s3cr3t-of-mine"}
    leg = client.create(endpoint(server, authorization=secret), ncco=ROOM)
    assert server.line().headers["authorization"] == "ApiKey s3cr3t-of-mine"
    client.create(endpoint(server), ncco=ROOM)
    assert "authorization" not in server.line(1).headers
    shown = client.ask("GET", f"/{leg}")
    assert shown["to"] == {"type": "websocket", "uri": server.uri, "content-type": "audio/l16;rate=16000"}
    assert "s3cr3t" not in f"{lab.trace()}{app.events()}{lab.ledger()}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"content-type": None},
        {"content-type": "audio/l16;rate=44100"},
        {"uri": "http://127.0.0.1/socket"},
        {"uri": "wss://user:secret@127.0.0.1/socket"},
        {"uri": None},
        {"headers": {"long": "x" * 512}},
        {"headers": {"event": "websocket:dtmf"}},
        {"authorization": {"type": "custom"}},
        {"authorization": {"type": "custom", "value": "two\r\nX-Lines: 1"}},
        {"authorization": {"type": "basic"}},
    ],
)
def test_a_malformed_endpoint_is_refused(client: VoiceClient, server: VoiceSocket, wrong: dict[str, Any]) -> None:
    """What the OpenAPI and the guide forbid is 400 over REST, and nothing is opened."""
    every = {**endpoint(server), **wrong}
    answer = client.post({name: value for name, value in every.items() if value is not None}, ncco=ROOM)
    assert (answer.status_code, list(answer.json()["invalid_parameters"])) == (400, ["to"])
    assert server.asked == 0
