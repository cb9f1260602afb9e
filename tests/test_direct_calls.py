"""Direct calls: whom they may go to, who must agree, and a real call to a phone of the sandbox that rings."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from sipkit.direct_calls import allowed_number
from sipkit.errors import CallNotConfirmed, NumberRefused, ServerError, SettingsError
from sipkit.switchboard import Switchboard

HOME = "12025550100"
NUMBER = "12025550123"


@pytest.mark.parametrize(
    ("typed", "prefixes"),
    [
        ("+1 (202) 555-0123", None),
        ("1-202-555-0123", None),
        (" +12025550123 ", "1"),
        ("+44 20 7946 0018", "1 44"),
        ("+44 7400 123456", "447"),
        ("+1 876 922 1234", "44 1876"),
        ("+44 1481 256789", "1 441481"),
        ("+1 800 234 5678", "1"),
    ],
)
def test_ordinary_numbers_of_allowed_countries(typed: str, prefixes: str | None) -> None:
    """Ordinary lines of the home country, or of the prefixes that are set, are called as digits."""
    assert allowed_number(typed, HOME, prefixes) == "".join(filter(str.isdigit, typed))


@pytest.mark.parametrize(
    ("typed", "prefixes", "why"),
    [
        pytest.param("911", None, "Emergency", id="emergency at home"),
        pytest.param("112", "1 44", "Emergency", id="emergency in Europe"),
        pytest.param("+44 999", "44", "short", id="emergency with country code"),
        pytest.param("40404", None, "short", id="short code"),
        pytest.param("not a number", None, "number", id="no number"),
        pytest.param("+1 100 555 0123", None, "gives to anybody", id="nobody's"),
        pytest.param("+44 20 7946 0018", None, "no country", id="another country"),
        pytest.param("+1 876 922 1234", None, "no country", id="another country with the same prefix"),
        pytest.param("+1 876 922 1234", "1 44", "no country", id="Jamaica, behind a prefix that is set"),
        pytest.param("+1 809 555 1234", "1 44", "no country", id="the Dominican Republic likewise"),
        pytest.param("+44 1481 256789", "1 44", "no country", id="Guernsey likewise"),
        pytest.param("+44 20 7946 0018", "4", "no country", id="part of a country code"),
        pytest.param("+1 202 555 0123", "44", "no country", id="home, which the prefixes leave out"),
        pytest.param("+1 900 234 5678", "1", "charged extra", id="premium rate"),
        pytest.param("+44 909 879 0123", "44", "charged extra", id="premium rate abroad"),
        pytest.param("+44 844 412 3456", "44", "charged extra", id="shared cost"),
        pytest.param("+44 70 1234 5678", "44", "charged extra", id="personal number"),
        pytest.param("+979 1 2345 6789", "979", "charged extra|gives to anybody", id="international premium rate"),
    ],
)
def test_other_numbers_are_refused(typed: str, prefixes: str | None, why: str) -> None:
    """Emergency and short numbers, other countries and lines that cost extra are refused; no text shows the number."""
    with pytest.raises(NumberRefused, match=why) as caught:
        allowed_number(typed, HOME, prefixes)
    digits = "".join(filter(str.isdigit, typed))
    assert len(digits) < 7 or digits not in f"{caught.value!r}"


def test_home_that_shares_its_code_is_allowed_with_it() -> None:
    """Whoever has a Jamaican conference number and allows +1 may call Jamaica, and the code's main country."""
    assert allowed_number("+1 876 922 1234", "18769221111", "1") == "18769221234"
    assert allowed_number(NUMBER, "18769221111", "1") == NUMBER


def test_a_conference_number_of_no_country() -> None:
    """It allows no country by itself, which is said in the kit's words; prefixes that are set work without it."""
    with pytest.raises(SettingsError, match="conference number"):
        allowed_number(NUMBER, "9990000", None)
    assert allowed_number(NUMBER, "9990000", "1") == NUMBER


def test_nothing_is_dialled_before_all_is_right(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server, with a refused number, and live without consent, no bridge is claimed."""
    room = board.open_room("standup")
    with pytest.raises(ServerError):
        board.call(room, NUMBER)
    board.start_webhook_server()
    with pytest.raises(NumberRefused):
        board.call(room, "+1 900 234 5678")
    with pytest.raises(NumberRefused):
        board.call(room, NUMBER, caller_id="911")
    with pytest.raises(CallNotConfirmed):
        board.call(room, NUMBER, confirm=lambda _text: False)
    monkeypatch.setattr(Switchboard, "mode", property(lambda _board: "live"))
    with pytest.raises(CallNotConfirmed, match="nobody was asked"):
        board.call(room, NUMBER)
    shown: list[str] = []

    def refuse(text: str) -> bool:
        shown.append(text)
        return False

    with pytest.raises(CallNotConfirmed):
        board.call(room, NUMBER, confirm=refuse)
    assert shown == [f"This places a real, billed call to +{NUMBER}."]
    assert board.calls(room) == []
    assert all(NUMBER not in event.text for event in board.events())


def test_a_phone_rings_and_is_hung_up(board: Switchboard, sandbox: Any, wait_until: Callable[..., Any]) -> None:
    """A called phone answers and is in the session; a second call is the same one; hanging up ends it alone."""
    auth = (sandbox.voice_api_key, sandbox.voice_api_secret)
    api = f"{sandbox.api_url}/sandbox/phones"
    expected = requests.post(f"{api}/expect", json={"number": NUMBER}, auth=auth, timeout=10)
    assert expected.status_code == 201
    phone = f"{api}/{expected.json()['id']}"

    def state() -> str:
        return str(requests.get(phone, auth=auth, timeout=10).json()["state"])

    room = board.open_room("standup")
    board.start_webhook_server()
    bridge = board.call(room, f"+{NUMBER}")
    assert bridge.number == NUMBER
    wait_until(lambda: state() == "answered", 15, "the phone's answer")
    assert board.call(room, NUMBER).id == bridge.id
    assert [call.id for call in board.calls(room)] == [bridge.id]
    assert board.bridge(room) is None
    assert board.hang_up_call(room, NUMBER).hung_up
    wait_until(lambda: state() not in {"answered", "ringing"}, 15, "the phone's end")
    assert board.calls(room) == []
    assert board.hang_up_calls(room) == []

    def of_the_phone() -> set[str]:
        return {each.data["status"] for each in board.events(room) if "called phone •••0123: " in each.text}

    wait_until(lambda: {"ringing", "answered", "completed"} <= of_the_phone(), 15, "the phone's news")
    assert board.callers(room) == []
    assert not any("Phone •••" in event.text for event in board.events())
    assert all(NUMBER not in event.text for event in board.events(room))
