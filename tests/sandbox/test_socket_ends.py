"""How calls to WebSockets fail and end, and what a far end that misbehaves can do: nothing to anybody else."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox.home import Home
from sipkit.sandbox.sip import sdp
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice import socket_call
from sipkit.sandbox.voice.socket_call import SocketCall
from sipkit.sandbox.voice.socket_wish import SocketWish
from tests.sandbox.test_webhook_schemas import problems
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for
from tests.standins.voice_client import VoiceClient
from tests.standins.voice_socket import VoiceSocket, module_socket, server, sound

__all__ = ["module_socket", "server"]

ROOM = [{"action": "conversation", "name": "sockets"}]
TYPE = "audio/l16;rate=16000"
NO_MEDIA = sdp.offer("127.0.0.1", 0)


@pytest.fixture
def client(lab: Lab) -> VoiceClient:
    """The Voice REST API as the application uses it."""
    lab.ask("DELETE", "/limits")
    return VoiceClient(lab.info)


def at(uri: str, **more: Any) -> dict[str, Any]:
    """Make an endpoint."""
    return {"type": "websocket", "uri": uri, "content-type": TYPE, **more}


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ended(app: AnsweringApp, leg: str) -> dict[str, Any]:
    """Wait for the last event of a leg that was not answered."""

    def last() -> dict[str, Any] | None:
        return next((each for each in app.events(leg) if each.get("status") not in ("started", None)), None)

    return dict(wait_for(last, what="the end of the leg"))


@pytest.mark.parametrize("what", ["refused", "redirected", "closed port", "elsewhere", "no TLS"])
def test_a_websocket_that_cannot_be_opened_fails(
    app: AnsweringApp, client: VoiceClient, server: VoiceSocket, what: str
) -> None:
    """The event is `failed`, with the endpoint's headers and no reason, and nothing is tried twice."""
    uri = {
        "closed port": f"ws://127.0.0.1:{free_port()}/socket",
        "elsewhere": "wss://socket.example.com/",
        "no TLS": server.uri.replace("ws:", "wss:"),
    }.get(what, server.uri)
    server.status = {"refused": 403, "redirected": 302}.get(what, 0)
    server.location = server.uri + "?again"
    last = ended(app, client.create(at(uri, headers={"room": "7"}), ncco=ROOM))
    assert last["status"] == "failed"
    assert last["headers"] == {"room": "7"}
    assert not last.keys() & {"detail", "sip_code"}
    assert server.asked == (1 if what in ("refused", "redirected") else 0)


def test_a_handshake_without_an_answer_is_unanswered_or_hung_up(
    app: AnsweringApp, client: VoiceClient, server: VoiceSocket
) -> None:
    """The ringing timer makes it `unanswered`; a hangup over REST meanwhile makes it `cancelled`."""
    server.silent = True
    slow = client.create(at(server.uri), ncco=ROOM, ringing_timer=1)
    other = client.create(at(server.uri), ncco=ROOM)
    wait_for(lambda: server.asked == 2, what="two handshakes")
    client.ask("PUT", f"/{other}", {"action": "hangup"}, 204)
    assert ended(app, other)["status"] == "cancelled"
    assert ended(app, slow)["status"] == "unanswered"
    assert client.ask("GET", f"/{slow}")["status"] == "unanswered"


def test_a_closed_websocket_is_told_where_events_are_synchronous(
    lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket
) -> None:
    """The application that closes gets `disconnected`, and answers with the caller's next document."""
    connect = {"action": "connect", "endpoint": [at(server.uri, headers={"room": "7"})]}
    app.on("/answer", [{**connect, "eventType": "synchronous", "eventUrl": [f"{app.url}/input/fallback"]}])

    def fallback(asked: Any) -> list[dict[str, Any]]:
        return [{"action": "conversation", "name": "fallback"}] if asked.fields["status"] == "disconnected" else []

    app.on("/input/fallback", fallback)
    lab.dial(from_="12025550155")
    server.line().close()
    lab.wait_joined(1, name="fallback")
    told = [each.fields for each in app.asked("/input/fallback")]
    assert [each["status"] for each in told] == ["started", "answered", "completed", "disconnected"]
    assert (told[-1]["to"], told[-1]["from"], told[-1]["headers"]) == (server.uri, "12025550155", {"room": "7"})
    assert "direction" not in told[-1]
    assert [problem for each in told for problem in problems(each)] == []
    assert not [each for each in lab.trace(kind="webhook") if "unlisted" in each]


def test_a_fallback_that_fails_lets_the_document_go_on(lab: Lab, app: AnsweringApp, server: VoiceSocket) -> None:
    """An event URL without a usable answer is an error event, and the next action of the caller follows."""
    server.status = 503
    connect = {"action": "connect", "endpoint": [at(server.uri)], "eventType": "synchronous"}
    after = {"action": "conversation", "name": "after"}
    app.on("/answer", [{**connect, "eventUrl": [f"{app.url}/nobody"]}, after])
    lab.dial()
    lab.wait_joined(1, name="after")
    wait_for(app.errors, what="the error event")


def test_a_hangup_over_rest_is_no_disconnection(
    lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket
) -> None:
    """An application that ends the leg over REST is not told `disconnected`; the caller's document goes on."""
    connect = {"action": "connect", "endpoint": [at(server.uri)], "eventType": "synchronous"}
    app.on("/answer", [{**connect, "eventUrl": [f"{app.url}/event"]}, {"action": "conversation", "name": "after"}])
    lab.dial()
    line = server.line()
    leg = next(each["uuid"] for each in app.events() if each.get("to") == server.uri)
    wait_for(lambda: "answered" in app.statuses(leg), what="the answered event")
    client.ask("PUT", f"/{leg}", {"action": "hangup"}, 204)
    wait_for(lambda: line.code == 1000, what="the close")
    lab.wait_joined(1, name="after")
    assert app.statuses(leg) == ["started", "answered", "completed"]


def test_websockets_count_as_calls(lab: Lab, app: AnsweringApp, client: VoiceClient, server: VoiceSocket) -> None:
    """The account's limit of concurrent calls holds for WebSockets: the next one is 429, and opens nothing."""
    lab.ask("PUT", "/limits", json={"concurrent_calls": 1})
    try:
        client.create(at(server.uri), ncco=ROOM)
        server.line()
        assert client.post(at(server.uri), ncco=ROOM).status_code == 429
        assert server.asked == 1
    finally:
        lab.ask("DELETE", "/limits")


@contextlib.contextmanager
def tls_server(certificates: Path) -> Iterator[VoiceSocket]:
    """A server with the certificate of a sandbox's folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server-cert.pem", certificates / "server-key.pem")
    with VoiceSocket(context) as server:
        yield server
        for line in server.lines:
            line.close()


def test_wss_is_verified_and_carries_the_call(lab: Lab, app: AnsweringApp, client: VoiceClient, home: Home) -> None:
    """A `wss:` endpoint is connected if the sandbox's authority vouches for it; another's certificate fails."""
    with tls_server(Path(lab.info.private_key_file).parent) as trusted, tls_server(home.ca_file.parent) as stranger:
        leg = client.create(at(trusted.uri), ncco=ROOM)
        assert trusted.line().texts[0]["event"] == "websocket:connected"
        wait_for(lambda: "answered" in app.statuses(leg), what="the answered event")
        assert ended(app, client.create(at(stranger.uri), ncco=ROOM))["status"] == "failed"
        assert stranger.asked == 0


class Caller:
    """A call of this process, so that its bounds can be lowered, and more be said than a clock allows."""

    def __init__(self, home: Home, server: VoiceSocket) -> None:
        self.trace = Trace()
        self._tasks: list[asyncio.Task[None]] = []
        wish = SocketWish(server.uri, TYPE, {})
        self.call = SocketCall(wish, "1", lambda _: "", home.ca_file, self._spawn, self.trace)

    def _spawn(self, work: Any) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def ended(self) -> str:
        """Wait for the end, and until all is cleared up."""
        reason = await asyncio.wait_for(asyncio.shield(self.call.ended), 10)
        await asyncio.wait_for(asyncio.gather(*self._tasks, return_exceptions=True), 10)
        return reason


def test_a_far_end_that_sends_without_end_is_cut_off(
    home: Home, server: VoiceSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sound beyond the buffer is dropped; messages beyond all measure end the call, pings and bad ones included."""
    monkeypatch.setattr(socket_call, "BURST", 5000)
    monkeypatch.setattr(socket_call, "PER_SECOND", 0)

    async def scenario() -> tuple[str, Caller]:
        caller = Caller(home, server)
        await caller.call.place(NO_MEDIA, lambda: None)
        line = await asyncio.to_thread(server.line)
        flood = sound(700, 0.02, 16000) * 4900 + [b"x"] * 200
        sending = asyncio.to_thread(line.send, *flood)
        _, reason = await asyncio.gather(sending, caller.ended(), return_exceptions=True)
        return str(reason), caller

    reason, caller = asyncio.run(scenario())
    assert reason == "remote BYE"
    assert (caller.call.audio.received, caller.call.audio.lost) == (3072, 4900 - 3072)


def test_a_far_end_that_does_not_read_loses_sound_and_then_the_call(
    home: Home, server: VoiceSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sound waits in a bounded buffer and is dropped beyond; with too many events unread the call is given up."""
    monkeypatch.setattr(socket_call, "CLOSE_DEADLINE", 0.1)
    frames = 30_000

    async def scenario() -> str:
        caller = Caller(home, server)
        server.reading.clear()
        await caller.call.place(NO_MEDIA, lambda: None)
        audio = caller.call.carry("voice:1")
        for count in range(frames):
            audio.send(b"\x00" * 160)
            if count % 100 == 0:
                await asyncio.sleep(0)
        for _ in range(socket_call.EVENTS_WAITING + 1):
            audio.key("1")
        return await caller.ended()

    assert asyncio.run(scenario()) == "remote BYE"
    server.reading.set()
    line = server.line()
    wait_for(lambda: line.over, what="the end of the connection")
    assert len(line.frames) < frames


def test_a_far_end_that_froze_is_given_up(home: Home, server: VoiceSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers no ping is gone; who only listens is not."""
    monkeypatch.setattr(socket_call, "HEARTBEAT", 0.2)
    monkeypatch.setattr(socket_call, "CLOSE_DEADLINE", 0.1)

    async def scenario() -> str:
        frozen, listening = Caller(home, server), Caller(home, server)
        await listening.call.place(NO_MEDIA, lambda: None)
        await asyncio.to_thread(server.line)
        server.reading.clear()
        await frozen.call.place(NO_MEDIA, lambda: None)
        reason = await frozen.ended()
        assert not listening.call.ended.done()
        await listening.call.hang_up()
        await listening.ended()
        return reason

    try:
        assert asyncio.run(scenario()) == "remote BYE"
    finally:
        server.reading.set()


def test_a_message_beyond_the_limit_ends_the_call(home: Home, server: VoiceSocket) -> None:
    """A message longer than the limit is never held in memory whole: the connection ends."""

    async def scenario() -> str:
        caller = Caller(home, server)
        await caller.call.place(NO_MEDIA, lambda: None)
        line = await asyncio.to_thread(server.line)
        await asyncio.to_thread(line.send, b"\x00" * (2 * socket_call.LONGEST_MESSAGE))
        return await caller.ended()

    assert asyncio.run(scenario()) == "remote BYE"
