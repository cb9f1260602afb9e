"""A whole call in the unified environment, and lost dials that are settled by their nonce, in the sandbox."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sipkit.room_page.policy import video_script
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.unified_video import UnifiedVideo
from sipkit.video import OpenTokVideo

WaitUntil = Callable[..., Any]


@pytest.fixture
def unified(sandbox_env: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switchboard]:
    """A switchboard in the sandbox's unified environment."""
    monkeypatch.setenv("VIDEO_ENVIRONMENT", "unified")
    with Switchboard.from_env() as board:
        yield board


def connections(board: Switchboard, room: Room) -> list[str]:
    """The kinds of the connections that are alive in the room's session."""
    return [each["kind"] for each in board.trace().ledger()["connections"] if each["sessionId"] == room.session_id]


def test_the_whole_call(unified: Switchboard, wait_until: WaitUntil) -> None:
    """Room, bridge, phone with PIN, hang-up: all as in the other environment; the page's script is the sandbox's."""
    room = unified.open_room("standup")
    assert isinstance(unified._video(), UnifiedVideo)
    unified.start_webhook_server()
    bridge = unified.dial_out(room)
    assert bridge.connection_id
    answered = unified.wait_for_bridge(room, "answered")
    assert answered is not None
    assert answered.id == bridge.id
    phone = unified.phone()
    phone.wait_for("answered", timeout=10)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -60)
    phone.keys(f"{room.pin}#")
    unified.wait_for_callers(room, 1)
    assert unified.hang_up(room).hung_up
    phone.wait_for("ended", timeout=10)
    unified.wait_for_callers(room, 0)
    wait_until(lambda: connections(unified, room) == [], what="no connection")
    account = unified._account()
    assert account.video_api_url.startswith("https:")
    assert video_script(account).url.startswith("http://127.0.0.1:")
    assert unified.token(room).count(".") == 2


@pytest.mark.parametrize("environment", ["opentok", "unified"])
def test_a_lost_dials_leg_is_hung_up_by_the_voice_api(
    sandbox_env: Path, environment: str, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """Beside a person who came with the dial, its leg is told by the nonce and ended alone; the person stays."""
    monkeypatch.setenv("VIDEO_ENVIRONMENT", environment)
    platform: Any = UnifiedVideo if environment == "unified" else OpenTokVideo
    dial = platform.dial

    def cut_off(video: Any, session_id: str, nonce: str) -> None:
        dial(video, session_id, nonce)
        raise KeyboardInterrupt

    with ExitStack() as stack:
        board = stack.enter_context(Switchboard.from_env())
        room = board.open_room("standup")
        board.start_webhook_server()
        with monkeypatch.context() as patch:
            patch.setattr(platform, "dial", cut_off)
            with pytest.raises(KeyboardInterrupt):
                board.dial_out(room)
        person = board.participant(room, tone_hz=440)
        board.wait_for_bridge(room, "answered")
        assert sorted(connections(board, room)) == ["sip", "synthetic"]
        result = board.hang_up(room)
        assert (result.hung_up, result.reason) == (True, "The leg was found by its answer and hung up.")
        wait_until(lambda: connections(board, room) == ["synthetic"], what="the person alone")
        assert board.bridge(room) is None
        person.leave()
