"""The panel of direct calls over a real switchboard: a phone of the sandbox rings; live nothing is dialled unasked."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets import DirectCallPanel
from sipkit.widgets.refresh import stop_all
from tests.test_lost_dials import lossy

NUMBER = "12025550123"
CALL_SECONDS = 15.0


class Rung:
    """A phone of the sandbox that waits to be rung, driven by the sandbox's own API."""

    def __init__(self, sandbox: Any) -> None:
        self._session = requests.Session()
        self._session.auth = (sandbox.voice_api_key, sandbox.voice_api_secret)
        api = f"{sandbox.api_url}/sandbox/phones"
        made = self._session.post(f"{api}/expect", json={"number": NUMBER}, timeout=10).json()
        self._url = f"{api}/{made['id']}"

    def state(self) -> str:
        """Where its call stands."""
        return str(self._session.get(self._url, timeout=10).json()["state"])

    def hang_up(self) -> None:
        """End the call at the phone."""
        self._session.post(f"{self._url}/hang-up", timeout=10).raise_for_status()

    def close(self) -> None:
        """Wait for no call any more: it would be taken for the next test's phone."""
        self.hang_up()
        self._session.close()


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room whose calls would be answered; no thread looks at the board afterwards."""
    board.start_webhook_server()
    yield board.open_room("direct")
    stop_all(board)


@pytest.fixture
def phone(sandbox: Any) -> Iterator[Rung]:
    """Who is called."""
    rung = Rung(sandbox)
    yield rung
    rung.close()


def test_a_number_is_called_and_hung_up(
    board: Switchboard, room: Room, phone: Rung, wait_until: Callable[..., Any]
) -> None:
    """In the sandbox one press rings the phone; its news show; Hang up ends it; the number stays nowhere."""
    panel = DirectCallPanel(board, room)
    assert [button.disabled for button in (panel.call, panel.hang_up)] == [False, True]
    panel.number.value = f"+{NUMBER}"
    panel.call.click()
    assert panel.wait_for("calling", CALL_SECONDS) == "calling"
    wait_until(lambda: phone.state() == "answered", CALL_SECONDS, "the phone's answer")
    wait_until(lambda: "phone •••0123: answered" in panel.view.news, CALL_SECONDS, "the news of it")
    assert panel.number.value == ""
    assert NUMBER not in f"{panel!r} {panel.view.get_state()} {panel._repr_mimebundle_()}"
    assert [button.disabled for button in (panel.call, panel.hang_up)] == [True, False]
    panel.hang_up.click()
    assert panel.wait_for("idle", CALL_SECONDS) == "idle"
    wait_until(lambda: phone.state() not in {"answered", "ringing"}, CALL_SECONDS, "the phone's end")
    assert board.calls(room) == []


def test_what_may_not_be_called_shows_in_the_banner(board: Switchboard, room: Room) -> None:
    """A refused number is told in words, with its fix; the next one can be tried at once."""
    panel = DirectCallPanel(board, room)
    panel.number.value = "+1 900 234 5678"
    panel.call.click()
    assert panel.state.state == "failed"
    assert "charged extra" in panel.view.error
    assert not panel.call.disabled
    assert board.calls(room) == []


def test_live_a_billed_call_waits_for_a_yes(
    board: Switchboard, room: Room, phone: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live, Call only asks; No forgets the number; Yes places the call that was asked about, once."""
    monkeypatch.setattr(Switchboard, "mode", property(lambda _board: "live"))
    panel = DirectCallPanel(board, room)
    for answer in (panel.no, panel.yes):
        panel.number.value = f"+{NUMBER}"
        panel.call.click()
        assert panel.state.state == "asking"
        assert panel.view.question == f"This places a real, billed call to +{NUMBER}."
        assert board.calls(room) == []
        assert phone.state() == "waiting"
        assert (panel.call.disabled, panel.yes.disabled, panel.no.disabled) == (True, False, False)
        answer.click()
        assert panel.view.question == ""
    assert panel.wait_for("calling", CALL_SECONDS) == "calling"
    assert len(board.calls(room)) == 1
    assert panel.yes.disabled
    panel.hang_up.click()
    panel.wait_for("idle", CALL_SECONDS)


def test_a_phone_that_ends_the_call_ends_it_here(board: Switchboard, room: Room, phone: Rung) -> None:
    """When the called phone hangs up, the panel is idle again, by itself."""
    panel = DirectCallPanel(board, room)
    panel.number.value = f"+{NUMBER}"
    panel.call.click()
    board.wait_for(lambda: phone.state() == "answered", CALL_SECONDS, "the phone's answer")
    phone.hang_up()
    assert panel.wait_for("idle", CALL_SECONDS) == "idle"


def test_a_living_call_stays_in_reach(board: Switchboard, room: Room, phone: Rung) -> None:
    """A cell that is run again makes a panel that knows the call placed by the first one, and can hang it up."""
    board.call(room, f"+{NUMBER}")
    panel = DirectCallPanel(board, room)
    assert panel.wait_for("calling", CALL_SECONDS) == "calling"
    assert not panel.hang_up.disabled
    assert NUMBER not in f"{panel!r} {panel.view.get_state()}"
    panel.hang_up.click()
    assert panel.wait_for("idle", CALL_SECONDS) == "idle"
    assert board.calls(room) == []


def test_a_call_whose_answer_was_lost_can_be_hung_up(board: Switchboard, room: Room, phone: Rung) -> None:
    """The phone may be ringing, so the banner says what happened and Hang up works."""
    panel = DirectCallPanel(board, room)
    with lossy(board, dial_arrives=True):
        panel.number.value = f"+{NUMBER}"
        panel.call.click()
        board.wait_for(lambda: not panel.hang_up.disabled, CALL_SECONDS, "a call to hang up")
        assert "hang" in panel.view.error
        board.wait_for(lambda: phone.state() == "answered", CALL_SECONDS, "the phone's answer")
        panel.hang_up.click()
        assert panel.wait_for("idle", CALL_SECONDS) == "idle"
    assert board.calls(room) == []


def test_a_second_press_changes_nothing(
    board: Switchboard, room: Room, phone: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Call and Yes pressed twice in a row place one call, and complain of nothing."""
    monkeypatch.setattr(Switchboard, "mode", property(lambda _board: "live"))
    panel = DirectCallPanel(board, room)
    panel.number.value = f"+{NUMBER}"
    for button, state in ((panel.call, {"asking"}), (panel.yes, {"dialing", "calling"})):
        button.click()
        button.click()
        assert panel.state.state in state
        assert panel.view.error == ""
    assert len(board.calls(room)) == 1
    panel.hang_up.click()
    panel.wait_for("idle", CALL_SECONDS)
