"""A real call while the platform repeats, doubles and mixes up its webhooks: each thing happens once, in any order."""

from collections.abc import Iterator

import pytest
import requests

from sipkit.sandbox.launcher import SandboxInfo
from sipkit.switchboard import Switchboard
from tests.standins.holders import WaitUntil


@pytest.fixture
def habits(sandbox: SandboxInfo) -> Iterator[None]:
    """Every callback twice at once, every second event before the one ahead of it, all events as POST."""
    worst = {"duplicate": True, "shuffle": True, "events_as_post": True}
    password = (sandbox.voice_api_key, sandbox.voice_api_secret)
    for wanted in (worst, {"profile": "2024"}):
        answer = requests.put(f"{sandbox.api_url}/sandbox/callbacks", json=wanted, auth=password, timeout=10)
        assert answer.status_code == 200
        if wanted is worst:
            yield


@pytest.mark.usefixtures("habits")
def test_a_call_under_the_worst_habits(board: Switchboard, wait_until: WaitUntil) -> None:
    """The bridge answers, a wrong PIN counts once, the right one lets the phone in once, and its end is noted."""
    room = board.open_room("bad-habits")
    board.start_webhook_server()
    board.dial_out(room)
    board.wait_for_bridge(room, "answered")
    phone = board.phone()
    phone.wait_for("answered")
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -60)
    phone.keys("0#")

    def said(words: str) -> list[str]:
        return [event.text for event in board.events() if words in event.text]

    wait_until(lambda: said("no room's PIN"), what="the wrong PIN in the timeline")
    phone.listen()
    phone.keys(f"{room.pin}#")
    wait_until(lambda: [caller.state for caller in board.callers(room)] == ["joined"], what="the phone in the room")
    phone.hang_up()
    wait_until(lambda: [caller.state for caller in board.callers(room)] == ["left"], what="the phone's end")
    board.hang_up(room)
    assert len(said("(try 1)")) == len(said("no room's PIN")) == 1
    assert len(said("typed the PIN of room")) == 1
    assert len(said("called; it is asked for a PIN")) == 1
    assert not said("refused")
