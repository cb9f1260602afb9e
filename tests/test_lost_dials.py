"""Dials whose answer was lost: sent once, settled by their leg, hung up, and nobody else thrown out."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sipkit.errors import (
    DialUncertain,
    PlatformUnreachable,
)
from sipkit.switchboard import Switchboard
from sipkit.video import OpenTokVideo
from tests.standins.boards import GONE_WITHIN, WaitUntil, connections, kernel, legs, runs, said


class _LossyProxy:
    """Hands requests on to the sandbox; the answer to a dial is lost, before or after it was placed."""

    def __init__(self, api_url: str, *, dial_arrives: bool) -> None:
        host, port = api_url.removeprefix("http://").split(":")
        self._upstream = (host, int(port))
        self._dial_arrives = dial_arrives
        self.posts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        request = _read_message(client)
        is_dial = request.split(b" ", 2)[1].endswith(b"/dial")
        self.posts += is_dial
        if is_dial and not self._dial_arrives:
            return
        request = request.replace(b"Connection: keep-alive", b"Connection: close")
        with socket.create_connection(self._upstream) as upstream:
            upstream.sendall(request)
            answer = b"".join(iter(lambda: upstream.recv(65536), b""))
        if not is_dial:
            client.sendall(answer)


def _read_message(connection: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said:
        said += connection.recv(65536)
    head, _, body = said.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")]
    while len(body) < sum(lengths):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def lossy(board: Switchboard, *, dial_arrives: bool) -> Iterator[_LossyProxy]:
    """Put a network between the board and the platform that loses the answer to a dial."""
    account = board._cloud.account()
    proxy = _LossyProxy(account.video_api_url, dial_arrives=dial_arrives)
    through = replace(account, video_api_url=proxy.url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board._cloud, "account", lambda: through)
        yield proxy
    proxy.close()


def test_an_uncertain_dial_is_never_doubled(board: Switchboard, wait_until: WaitUntil) -> None:
    """A dial whose answer was lost is sent once; the next dial_out knows its leg, and hang_up ends it."""
    room = board.open_room("standup")
    board.start_webhook_server()
    with lossy(board, dial_arrives=True) as network:
        with pytest.raises(DialUncertain) as caught:
            board.dial_out(room)
        assert "hang_up" in caught.value.fix
        board.wait_for_bridge(room, "answered")
        assert board.dial_out(room) == board.bridge(room)
        assert network.posts == 1
        assert len(connections(board, room.session_id)) == 1
        result = board.hang_up(room)
    assert result.hung_up
    assert "found" in result.reason
    assert board.bridge(room) is None
    wait_until(lambda: not connections(board, room.session_id), GONE_WITHIN, "no connection")
    assert board.dial_out(room).connection_id
    board.hang_up(room)


def test_an_uncertain_dial_without_leg(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no leg came of the lost dial, hang_up keeps the bridge on record for a while, then says so."""
    room = board.open_room("standup")
    board.start_webhook_server()
    with lossy(board, dial_arrives=False) as network:
        with pytest.raises(DialUncertain):
            board.dial_out(room)
        early = board.hang_up(room)
        assert not early.hung_up
        assert "Try again" in early.reason
        assert board.bridge(room) is not None
        monkeypatch.setattr("sipkit.bridges.PATIENCE", 0.0)
        late = board.hang_up(room)
        assert not late.hung_up
        assert "no leg" in late.reason
        assert board.bridge(room) is None
        assert network.posts == 1


def test_nobody_is_thrown_out_by_guess(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """If other connections began with the lost dial, and no key is there to ask with, hang_up throws nobody out."""
    room = board.open_room("standup")
    board.start_webhook_server()
    monkeypatch.setattr("sipkit.voice_calls.can_call", lambda _account: False)
    with lossy(board, dial_arrives=True):
        with pytest.raises(DialUncertain):
            board.dial_out(room)
        person = board.participant(room, tone_hz=440)
        result = board.hang_up(room)
        assert not result.hung_up
        assert "not clear which" in result.reason
        assert board.bridge(room) is not None
        person.leave()
        assert board.hang_up(room).hung_up


def test_a_dial_cut_off_by_kill_9(
    board: Switchboard, sandbox_env: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """A kernel killed between dial and answer leaves a leg that is known by its answer, and hang_up ends it.

    It holds no lifeline here, as if the server, which would have hung up for it, had been killed with it.
    """
    room = board.open_room("standup")
    board.start_webhook_server()
    code = """
        import os
        from sipkit.video import OpenTokVideo
        dial = OpenTokVideo.dial
        OpenTokVideo.dial = lambda *given: (dial(*given), os.kill(os.getpid(), 9))
        board._bridges.dial(board.room("standup"))
    """
    with kernel(code, sandbox_env) as other:
        other.wait()
    assert len(connections(board, room.session_id)) == 1
    monkeypatch.setattr("sipkit.bridges.PATIENCE", 1.0)
    board.wait_for_bridge(room, "answered")
    assert board.dial_out(room).connection_id is None
    assert len(connections(board, room.session_id)) == 1
    assert board.hang_up(room).hung_up
    wait_until(lambda: not connections(board, room.session_id), GONE_WITHIN, "no connection")


def test_kill_9_in_the_middle_of_a_dial_leaves_nothing(
    board: Switchboard, sandbox_env: Path, wait_until: WaitUntil
) -> None:
    """If that kernel was the last one, the server finds and ends the leg whose id was never told."""
    room = board.open_room("standup")
    code = """
        import os
        from sipkit.video import OpenTokVideo
        dial = OpenTokVideo.dial
        OpenTokVideo.dial = lambda *given: (dial(*given), os.kill(os.getpid(), 9))
        say(server=board.start_webhook_server().pid)
        board.dial_out("standup")
    """
    with kernel(code, sandbox_env) as other:
        server = said(other)["server"]
        other.wait()
    wait_until(lambda: not connections(board, room.session_id), GONE_WITHIN, "no connection")
    wait_until(lambda: not legs(board, room.session_id), GONE_WITHIN, "no leg")
    wait_until(lambda: not runs(server), GONE_WITHIN, "no server")
    assert board.bridge(room) is None


def test_the_stop_button_during_a_dial(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dial interrupted by the stop button is settled by its leg's answer, and hang_up ends what came of it."""
    room = board.open_room("standup")
    board.start_webhook_server()
    dial = OpenTokVideo.dial

    def interrupted(video: OpenTokVideo, session_id: str, nonce: str) -> None:
        dial(video, session_id, nonce)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OpenTokVideo, "dial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            board.dial_out(room)
    board.wait_for_bridge(room, "answered")
    assert board.dial_out(room).connection_id is None
    assert board.hang_up(room).hung_up
    assert connections(board, room.session_id) == []


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (PlatformUnreachable("The Voice API could not hang up the leg: it answered HTTP 429."), "HTTP 429"),
        (True, "was told to end"),
        (False, "is not up"),
    ],
    ids=["fails", "told", "not up"],
)
def test_a_known_leg_that_may_be_up_is_not_guessed_at(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch, says: PlatformUnreachable | bool, reason: str
) -> None:
    """Whatever the Voice API says, while the leg is not seen to end nobody is thrown out by time; the bridge stays."""
    room = board.open_room("standup")
    board.start_webhook_server()
    with lossy(board, dial_arrives=True), pytest.raises(DialUncertain):
        board.dial_out(room)
    board.wait_for_bridge(room, "answered")

    def told(_leg_uuid: str) -> bool:
        if isinstance(says, PlatformUnreachable):
            raise says
        return says

    with monkeypatch.context() as patch:
        patch.setattr("sipkit.lost_dials.GONE_WITHIN", 0.1)
        patch.setattr(board._bridges, "_hang_up_leg", told)
        result = board.hang_up(room)
    assert not result.hung_up
    assert reason in result.reason
    assert board.bridge(room) is not None
    assert len(connections(board, room.session_id)) == 1
    assert board.hang_up(room).hung_up


def test_a_leg_that_is_gone_throws_nobody_out(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leg of a lost dial ended, and its last news was lost: who joined in the same seconds is not taken for it."""
    room = board.open_room("standup")
    board.start_webhook_server()
    bridge, _ = board._store.claim_bridge(room, board.owner)
    board._store.bridge_answered(room.session_id, "00000000-0000-4000-8000-000000000000", bridge.nonce)
    person = board.participant(room)
    monkeypatch.setattr("sipkit.lost_dials.GONE_WITHIN", 0.1)
    result = board.hang_up(room)
    assert not result.hung_up
    assert "not up" in result.reason
    assert len(board._video().connections(room.session_id) or []) == 1
    assert board.bridge(room) is not None
    person.leave()
    result = board.hang_up(room)
    assert (result.hung_up, board.bridge(room)) == (False, None)
    assert "gone already" in result.reason


def test_a_lost_call_is_not_taken_for_the_bridge(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge began in the same seconds; its connection is on record, so it is no leg of the lost call."""
    room = board.open_room("standup")
    board.start_webhook_server()
    bridge = board.dial_out(room)
    with lossy(board, dial_arrives=False):
        with pytest.raises(DialUncertain):
            board.call(room, "+12025550123")
        result = board.hang_up_call(room, "+12025550123")
        assert len(board.calls(room)) == 1
        monkeypatch.setattr("sipkit.bridges.PATIENCE", 0.0)
        late = board.hang_up_call(room, "+12025550123")
    assert not result.hung_up
    assert "no leg" in late.reason
    assert board.calls(room) == []
    assert board.bridge(room) is not None
    assert [each["id"] for each in connections(board, room.session_id)] == [bridge.connection_id]
