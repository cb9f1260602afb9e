"""The switchboard with everything real: sandbox process, webhook server process, SIP, RTP, other kernels."""

import base64
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sipkit import voice
from sipkit.errors import (
    AuthenticationRefused,
    PhoneError,
    PlatformUnreachable,
    RoomNotFound,
    SandboxError,
    ServerError,
    SipkitError,
    WaitTimeout,
)
from sipkit.rooms import Room
from sipkit.sandbox import launcher
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from tests.standins.boards import GONE_WITHIN, WaitUntil, connections, dials, go_on, kernel, legs, now, runs, said

ROOT = Path(__file__).resolve().parent.parent


def join(board: Switchboard, pin: str) -> Any:
    """A phone that dialled, heard the prompt and keyed a PIN."""
    phone = board.phone()
    phone.wait_for("answered")
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -60)
    phone.keys(f"{pin}#")
    return phone


def test_open_room_is_idempotent(board: Switchboard) -> None:
    """The same name gives the same room, session and PIN; another name gives others."""
    room = board.open_room("standup")
    again = board.open_room("standup")
    assert (again.id, again.session_id, again.pin) == (room.id, room.session_id, room.pin)
    assert not again.reopened
    other = board.open_room("retro")
    assert other.session_id != room.session_id
    assert other.pin != room.pin
    assert [each.name for each in board.rooms()] == ["standup", "retro"]
    assert board.room("standup") == room
    with pytest.raises(RoomNotFound):
        board.room("nobody opened this")


def forget_session(board: Switchboard, room: Room) -> str:
    """Put a well-formed session that the platform never made in place of a room's; returns its id."""
    key = board._cloud.account().video_api_key
    inside = f"1~{key}~~{time.time_ns()}~forgotten~~"
    forgotten = "1_" + base64.urlsafe_b64encode(inside.encode()).decode().rstrip("=")
    board._store.renew_session(room.name, room.session_id, forgotten)
    return forgotten


def test_a_forgotten_session_is_opened_anew_saying_so(board: Switchboard) -> None:
    """A room whose session the platform forgot gets a new session and keeps its PIN; the timeline says so."""
    room = board.open_room("standup")
    forgotten = forget_session(board, room)
    again = board.open_room("standup")
    assert again.reopened
    assert again.session_id not in {room.session_id, forgotten}
    assert (again.id, again.pin) == (room.id, room.pin)
    assert any("opened anew" in event.text for event in board.events(again))
    assert not board.open_room("standup").reopened


def test_the_sandbox_may_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that left is started again under the rooms; one that lost its sessions gets new ones."""
    monkeypatch.setenv("SIPKIT_MODE", "sandbox")
    monkeypatch.setenv("SIPKIT_HOME", str(tmp_path / "data"))
    home = tmp_path / "data" / "sandbox"
    try:
        with Switchboard.from_env() as board:
            room = board.open_room("standup")
            assert launcher.stop(home)
            assert board.open_room("standup") == room
            assert launcher.stop(home)
            (home / "sessions.jsonl").unlink()
            again = board.open_room("standup")
            assert again.reopened
            assert again.pin == room.pin
    finally:
        launcher.stop(home)


def test_dial_without_webhook_server_is_refused(board: Switchboard) -> None:
    """Without a webhook server no billed call is placed; the error says what to run first."""
    room = board.open_room("standup")
    since = now(board)
    with pytest.raises(ServerError) as caught:
        board.dial_out(room)
    assert "start_webhook_server" in caught.value.fix
    assert dials(board, since) == []
    assert board.bridge(room) is None


def test_hang_up_without_bridge_is_no_error(board: Switchboard) -> None:
    """Hanging up a room without a bridge says that there was nothing to do."""
    room = board.open_room("standup")
    result = board.hang_up(room)
    assert not result.hung_up
    assert result.room == "standup"
    assert "no bridge" in result.reason


def test_dial_out_twice_places_one_leg(board: Switchboard, wait_until: WaitUntil) -> None:
    """The second dial_out returns the living bridge: one dial request, one connection, one leg."""
    room = board.open_room("standup")
    board.start_webhook_server()
    since = now(board)
    first = board.dial_out(room)
    # "answered" is written when the webhook comes, a moment before its answer lets the leg in.
    wait_until(lambda: legs(board, room.session_id), what="the bridge's leg")
    second = board.dial_out("standup")
    assert second.id == first.id
    assert second.connection_id == first.connection_id
    assert len(dials(board, since)) == 1
    assert len(connections(board, room.session_id)) == 1
    assert len(legs(board, room.session_id)) == 1
    assert board.hang_up(room).hung_up
    assert not board.hang_up(room).hung_up


def test_start_webhook_server_twice_adopts(board: Switchboard, sandbox_env: Path) -> None:
    """Starting the server again keeps the running one; another board of the folder adopts it."""
    first = board.start_webhook_server()
    pid = first.pid
    assert board.start_webhook_server().pid == pid
    with Switchboard.from_env() as other:
        assert other.start_webhook_server().pid == pid
        assert other.server is not None
        assert other.server.adopted
    assert first.alive


def test_hang_up_leaves_no_leg_and_no_phone(board: Switchboard, wait_until: WaitUntil) -> None:
    """After hang_up neither the bridge nor a phone of the conversation is left: nothing stays billed."""
    room = board.open_room("standup")
    board.start_webhook_server()
    board.dial_out(room)
    board.wait_for_bridge(room, "answered")
    phone = join(board, room.pin)
    board.wait_for_callers(room, 1)
    assert len(legs(board, room.session_id)) == 2
    assert board.hang_up(room).hung_up
    wait_until(lambda: not legs(board, room.session_id), GONE_WITHIN, "no leg")
    wait_until(lambda: not connections(board, room.session_id), GONE_WITHIN, "no connection")
    phone.wait_for("ended")
    assert repr(phone) == "<SandboxPhone ended>"
    assert board.wait_for_callers(room, 0) == []
    assert board.bridge(room) is None


def test_two_processes_race_to_dial(board: Switchboard, sandbox_env: Path) -> None:
    """Two kernels dial the same room at the same moment: one leg, and both get the same bridge."""
    room = board.open_room("standup")
    board.start_webhook_server()
    since = now(board)
    code = """
        board.start_webhook_server()
        say(ready=True)
        sys.stdin.readline()
        bridge = board.dial_out("standup")
        say(bridge=bridge.id, connection=bridge.connection_id)
        sys.stdin.readline()
    """
    with kernel(code, sandbox_env) as one, kernel(code, sandbox_env) as two:
        assert said(one)["ready"]
        assert said(two)["ready"]
        go_on(one)
        go_on(two)
        assert said(one) == said(two)
        assert len(dials(board, since)) == 1
        assert len(connections(board, room.session_id)) == 1
    board.hang_up(room)


def test_two_threads_race_to_hang_up(board: Switchboard) -> None:
    """Of many hang-ups at once exactly one hangs up; the others say that it was done."""
    room = board.open_room("standup")
    board.start_webhook_server()
    board.dial_out(room)
    board.wait_for_bridge(room, "answered")
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(board.hang_up(room).hung_up)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 5 + [True]


def test_kill_9_of_the_kernel_leaves_nothing(board: Switchboard, sandbox_env: Path, wait_until: WaitUntil) -> None:
    """When the kernel is killed, server and legs are gone within 15 s, phones included; rooms stay."""
    code = """
        room = board.open_room("standup")
        server = board.start_webhook_server()
        board.dial_out(room)
        board.wait_for_bridge(room, "answered")
        say(session=room.session_id, pin=room.pin, server=server.pid)
        sys.stdin.readline()
    """
    with kernel(code, sandbox_env) as other:
        told = said(other)
        phone = join(board, told["pin"])
        board.wait_for_callers("standup", 1)
        assert len(legs(board, told["session"])) == 2
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        wait_until(lambda: not legs(board, told["session"]), GONE_WITHIN, "no leg")
        wait_until(lambda: not runs(told["server"]), GONE_WITHIN, "no server")
        phone.wait_for("ended")
    assert board.bridge("standup") is None
    assert board.open_room("standup").pin == told["pin"]


def test_kill_9_of_the_server_loses_nothing(board: Switchboard, wait_until: WaitUntil) -> None:
    """When the server is killed mid-call, room, PIN and bridge are still there and the next one carries on."""
    room = board.open_room("standup")
    server = board.start_webhook_server()
    bridge = board.dial_out(room)
    wait_until(lambda: legs(board, room.session_id), what="the bridge's leg")
    killed = server.pid
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not server.alive, what="the server's end")
    with pytest.raises(ServerError):
        board.dial_out(room)
    assert board.start_webhook_server().pid != killed
    assert board.room("standup") == room
    assert board.dial_out(room).connection_id == bridge.connection_id
    join(board, room.pin)
    assert len(board.wait_for_callers(room, 1)) == 1
    assert board.hang_up(room).hung_up
    wait_until(lambda: not legs(board, room.session_id), GONE_WITHIN, "no leg")


def test_a_dead_bridge_is_dialled_anew(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that the platform no longer lists is marked ended, and dial_out places a new one."""
    room = board.open_room("standup")
    board.start_webhook_server()
    monkeypatch.setattr("sipkit.bridges.YOUNG", 0.0)
    first = board.dial_out(room)
    board.wait_for_bridge(room, "answered")
    assert board.dial_out(room).id == first.id
    # The leg goes, and no webhook tells of it.
    board._store.claim_bridge(room, board.owner)
    assert first.connection_id is not None
    board._video().force_disconnect(room.session_id, first.connection_id)
    second = board.dial_out(room)
    assert second.id != first.id
    board.wait_for_bridge(room, "answered")
    ended = board._store.bridge(first.id)
    assert ended is not None
    assert not ended.living
    board.hang_up(room)


def test_dial_into_a_forgotten_session_reopens(board: Switchboard) -> None:
    """If the session is gone at the moment of the dial, the room is opened anew and the call placed."""
    room = board.open_room("standup")
    board.start_webhook_server()
    forgotten = forget_session(board, room)
    bridge = board.dial_out(room)
    assert bridge.connection_id
    assert board.room("standup").session_id not in {room.session_id, forgotten}
    assert any("opened anew" in event.text for event in board.events(room))
    board.hang_up(room)


def test_wrong_credentials_place_nothing(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wrong project secret the dial is AuthenticationRefused, no bridge stays, no secret is told."""
    room = board.open_room("standup")
    board.start_webhook_server()
    right = board._cloud.account()
    wrong = replace(right, video_api_secret=SecretStr("w" * 40))
    monkeypatch.setattr(board._cloud, "account", lambda: wrong)
    with pytest.raises(AuthenticationRefused) as caught:
        board.dial_out(room)
    monkeypatch.undo()
    assert board.bridge(room) is None
    shown = " ".join([str(caught.value), *(event.text for event in board.events())])
    assert "w" * 40 not in shown
    assert right.video_api_secret.get_secret_value() not in shown


def test_wrong_voice_credentials_are_hinted_at(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform answers 200 to a dial with a wrong SIP password; waiting in vain tells what to check."""
    room = board.open_room("standup")
    board.start_webhook_server()
    wrong = replace(board._cloud.account(), voice_api_secret=SecretStr("wrong-and-secret"))
    with monkeypatch.context() as patch:
        patch.setattr(board._cloud, "account", lambda: wrong)
        assert board.dial_out(room).connection_id
    with pytest.raises(WaitTimeout, match="it is dialed") as caught:
        board.wait_for_bridge(room, "answered", timeout=1.0)
    assert "VOICE_API_SECRET" in caught.value.fix
    monkeypatch.setattr("sipkit.bridges.UNKNOWN_YET", 0.0)
    result = board.hang_up(room)
    assert not result.hung_up
    assert "gone already" in result.reason
    assert board.bridge(room) is None


def test_an_unreachable_platform_places_nothing(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the platform cannot be reached no bridge stays on record, and a later dial works."""
    room = board.open_room("standup")
    board.start_webhook_server()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    nowhere = replace(board._cloud.account(), video_api_url=url)
    with monkeypatch.context() as patch:
        patch.setattr(board._cloud, "account", lambda: nowhere)
        with pytest.raises(PlatformUnreachable):
            board.dial_out(room)
    assert board.bridge(room) is None
    assert board.dial_out(room).connection_id
    board.hang_up(room)


def test_close_hangs_up_what_it_dialled(board: Switchboard, sandbox_env: Path, wait_until: WaitUntil) -> None:
    """Closing a board ends its own bridges and not those of another board; a second close does nothing."""
    mine = board.open_room("mine")
    board.start_webhook_server()
    board.dial_out(mine)
    with Switchboard.from_env() as other:
        theirs = other.open_room("theirs")
        other.start_webhook_server()
        other.dial_out(theirs)
        other.wait_for_bridge(theirs, "answered")
    other.close()
    assert (other.closed, board.closed) == (True, False)
    assert repr(other) == "<Switchboard sandbox, closed>"
    wait_until(lambda: not connections(board, theirs.session_id), GONE_WITHIN, "no connection")
    assert board.bridge(mine) is not None
    assert board.bridge(theirs) is None
    with pytest.raises(SipkitError, match="closed"):
        other.open_room("theirs")


def test_phone_hears_the_participant(board: Switchboard) -> None:
    """A phone in the room hears the tone that somebody in the session plays, and is heard there."""
    room = board.open_room("standup")
    board.start_webhook_server()
    board.dial_out(room)
    board.wait_for_bridge(room, "answered")
    person = board.participant(room, tone_hz=440)
    phone = join(board, room.pin)
    board.wait_for_callers(room, 1)
    phone.wait_until_heard(lambda heard: any(abs(tone - 440) < 10 for tone in heard.tones_hz))
    phone.tone(880, seconds=5)
    person.wait_until_heard(lambda heard: any(abs(tone - 880) < 10 for tone in heard.tones_hz))
    assert phone.recording()[:4] == b"RIFF"
    assert person.recording()[:4] == b"RIFF"
    phone.hang_up()
    phone.hang_up()
    assert board.wait_for_callers(room, 0) == []
    person.leave()
    person.leave()
    assert repr(person) == "<SandboxParticipant left>"
    board.hang_up(room)


def test_phone_errors_say_what_to_do(board: Switchboard) -> None:
    """A wrong number, keys that no phone has, and a state that never comes are typed errors."""
    with pytest.raises(PhoneError, match="ended before"):
        board.phone("12025550199").wait_for("answered")
    board.open_room("standup")
    board.start_webhook_server()
    phone = board.phone()
    phone.wait_for("answered")
    with pytest.raises(PhoneError, match="no such keys"):
        phone.keys("12x")
    with pytest.raises(WaitTimeout, match="it is answered"):
        phone.wait_for("ended", timeout=0.1)
    phone.hang_up()
    with pytest.raises(PhoneError):
        phone.keys("1")


def test_trace_waits_for_what_comes(board: Switchboard) -> None:
    """The trace gives what happened, what happens while one waits, and a clear error if nothing does."""
    since = now(board)
    timer = threading.Timer(0.2, lambda: board.open_room("standup"))
    timer.start()
    event = board.trace().wait_for(lambda each: each.get("path") == "/session/create", timeout=5, since=since)
    timer.join()
    assert event["seq"] > since
    with pytest.raises(WaitTimeout):
        board.trace().wait_for(lambda _: False, timeout=0.3)


def test_waiting_says_what_was_seen(board: Switchboard) -> None:
    """A wait that ends in vain tells what it saw instead."""
    room = board.open_room("standup")
    with pytest.raises(WaitTimeout, match="it is none"):
        board.wait_for_bridge(room, "answered", timeout=0.1)
    assert board.wait_for_bridge(room, "ended", timeout=0.1) is None
    with pytest.raises(WaitTimeout, match="0 callers"):
        board.wait_for_callers(room, 1, timeout=0.1)
    with pytest.raises(WaitTimeout, match="the moon; seen last: 0"):
        board.wait_for(lambda: 0, timeout=0.1, what="the moon")


def test_reprs_hold_no_secret(board: Switchboard) -> None:
    """No repr of what a notebook holds shows a PIN, a secret, a port or a process id."""
    room = board.open_room("standup")
    server = board.start_webhook_server()
    shown = " ".join(map(repr, [board, room, server, board.trace()]))
    account = board._cloud.account()
    for secret in (account.video_api_secret, account.voice_api_secret, account.signature_secret):
        assert secret.get_secret_value() not in shown
    assert f"'{room.pin}'" not in shown
    assert repr(board) == "<Switchboard sandbox>"


def test_close_room_frees_its_name(board: Switchboard) -> None:
    """A closed room is hung up and forgotten: its name opens a new one, and closing twice is fine."""
    room = board.open_room("standup")
    board.start_webhook_server()
    board.dial_out(room)
    board.close_room(room)
    board.close_room(room)
    assert board.rooms() == []
    assert board.open_room("standup").session_id != room.session_id


def test_restore_application(board: Switchboard) -> None:
    """The application gets back the webhooks it had before the board pointed it at its own server."""
    account = board._cloud.account()
    voice.point_application(account, "https://before.example")
    board.start_webhook_server()
    board.start_webhook_server()
    assert board.restore_application()
    assert not board.restore_application()
    previous = voice.point_application(account, "https://before.example")
    assert previous is not None
    assert previous["webhooks"]["answer_url"]["address"] == "https://before.example/voice-answer"


def test_no_sandbox_phones_live(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Live there are neither phones nor participants nor a trace; the error says what to take instead."""
    live = {
        "SIPKIT_MODE": "live",
        "SIPKIT_HOME": str(tmp_path / "live"),
        "VIDEO_API_KEY": "12345678",
        "VIDEO_API_SECRET": "v" * 40,
        "VOICE_API_KEY": "abcdef12",
        "VOICE_API_SECRET": "voice-secret",
        "CONFERENCE_NUMBER": "12025550100",
    }
    for name, value in live.items():
        monkeypatch.setenv(name, value)
    with Switchboard.from_env() as board:
        assert board.mode == "live"
        assert board.number == "12025550100"
        with pytest.raises(SandboxError):
            board.phone()
        with pytest.raises(SandboxError):
            board.trace()
