"""Call documents at work: prompts, digits and conversations, heard and keyed by phones."""

import math
import time
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox.home import Home
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.calls import OwnSandbox
from tests.standins.lab import Lab, Phone, wait_for
from tests.standins.raw_phone import RawPhone

LONG = "Good morning and welcome. This prompt goes on and on, so that somebody has the time to interrupt it. " * 2


def _input(app: AnsweringApp, **dtmf: Any) -> dict[str, Any]:
    return {"action": "input", "type": ["dtmf"], "dtmf": dtmf, "eventUrl": [f"{app.url}/input"]}


def _join(name: str = "room", **flags: bool) -> list[dict[str, Any]]:
    return [{"action": "conversation", "name": name, **flags}]


def _answered(lab: Lab, **call: str) -> Phone:
    phone = lab.dial(**call)
    phone.wait("answered")
    return phone


def _digits(app: AnsweringApp, count: int = 1, timeout: float = 10.0) -> list[dict[str, Any]]:
    """Wait for so many input callbacks; returns what they told of the keys."""
    wait_for(lambda: len(app.asked("/input")) >= count, timeout, f"{count} input callbacks")
    return [asked.fields["dtmf"] for asked in app.asked("/input")]


def _quiet(phone: Phone, seconds: float = 0.3) -> bool:
    return ear.level(ear.last(phone.recording(), seconds)) < -55


def test_prompt_is_spoken_and_then_the_call_ends(lab: Lab, app: AnsweringApp) -> None:
    """A talk is heard in full, and after the last action of a document the platform hangs up."""
    app.on("/answer", [{"action": "talk", "text": "Good bye."}])
    phone = _answered(lab)
    assert phone.wait("ended")["reason"] == "remote BYE"
    spoken = [each for each in lab.trace(kind="speech") if each.get("text") == "Good bye."][-1]
    heard = phone.recording()
    assert ear.level(heard) > -45
    assert len(heard) / ear.RATE > spoken["seconds"] - 0.1
    wait_for(lambda: "completed" in app.statuses(), what="the last event")
    assert app.events()[-1]["disconnected_by"] == "platform"


def test_key_interrupts_a_prompt_with_barge_in(lab: Lab, app: AnsweringApp) -> None:
    """A key pressed during the prompt silences it at once and counts as the first digit of the input."""
    app.on("/answer", [{"action": "talk", "text": LONG, "bargeIn": True}, _input(app, maxDigits=2, timeOut=5)])
    app.on("/input", _join())
    phone = _answered(lab)
    wait_for(lambda: not _quiet(phone), what="the prompt")
    phone.keys("4")
    wait_for(lambda: _quiet(phone), 2, "silence")
    phone.keys("2")
    assert _digits(app) == [{"digits": "42", "timed_out": False}]
    assert len(phone.recording()) / ear.RATE < 9, "the prompt would have taken longer"


def test_key_does_not_interrupt_a_prompt_without_barge_in(lab: Lab, app: AnsweringApp) -> None:
    """Without bargeIn the prompt is spoken to its end, and keys pressed meanwhile are nothing to the input."""
    app.on("/answer", [{"action": "talk", "text": "One moment, please."}, _input(app, maxDigits=1, timeOut=0.4)])
    app.on("/input", _join())
    phone = _answered(lab)
    wait_for(lambda: not _quiet(phone, 0.1), what="the prompt")
    phone.keys("4")
    assert _digits(app) == [{"digits": "", "timed_out": True}]


def test_keys_ahead_of_the_prompt_count(lab: Lab, app: AnsweringApp) -> None:
    """Who knows the prompt may key while it is still being synthesised; it is then not spoken at all."""
    app.on(
        "/answer",
        [{"action": "talk", "text": f"{time.time()} {LONG}", "bargeIn": True}, _input(app, maxDigits=4, timeOut=5)],
    )
    app.on("/input", _join())
    with RawPhone(lab.info) as phone:
        phone.call()
        for key in (1, 2, 3, 4):
            phone.rtp.digit(key)
        assert _digits(app, timeout=15) == [{"digits": "1234", "timed_out": False}]
        phone.hang_up()


@pytest.mark.parametrize(
    ("dtmf", "keys", "told"),
    [
        pytest.param({"maxDigits": 3, "timeOut": 5}, "12345", {"digits": "123", "timed_out": False}, id="max"),
        pytest.param({"timeOut": 5}, "98765", {"digits": "9876", "timed_out": False}, id="four by default"),
        pytest.param(
            {"maxDigits": 8, "submitOnHash": True, "timeOut": 5},
            "12#34",
            {"digits": "12", "timed_out": False},
            id="hash",
        ),
        pytest.param(
            {"maxDigits": 8, "submitOnHash": True, "timeOut": 5},
            "#",
            {"digits": "", "timed_out": False},
            id="only hash",
        ),
        pytest.param(
            {"maxDigits": 3, "timeOut": 5}, "1#2", {"digits": "1#2", "timed_out": False}, id="hash is a digit"
        ),
        pytest.param({"maxDigits": 8, "timeOut": 0.7}, "55", {"digits": "55", "timed_out": True}, id="silence"),
        pytest.param({"maxDigits": 4, "timeOut": 0.5}, "", {"digits": "", "timed_out": True}, id="nothing"),
        pytest.param(
            {"maxDigits": 6, "timeOut": 5}, "1122**", {"digits": "1122**", "timed_out": False}, id="same keys"
        ),
    ],
)
def test_digits_are_collected(
    lab: Lab, app: AnsweringApp, dtmf: dict[str, Any], keys: str, told: dict[str, Any]
) -> None:
    """maxDigits, submitOnHash and timeOut end an input as documented."""
    app.on("/answer", [_input(app, **dtmf)])
    app.on("/input", _join())
    phone = _answered(lab)
    if keys:
        phone.keys(keys)
    assert _digits(app) == [told]
    assert len(lab.wait_joined(1)) == 1


def test_time_out_counts_from_the_last_key(lab: Lab, app: AnsweringApp) -> None:
    """Three keys half a second apart are one input although together they take longer than timeOut."""
    app.on("/answer", [_input(app, maxDigits=8, timeOut=0.9)])
    app.on("/input", _join())
    with RawPhone(lab.info) as phone:
        phone.call()
        for key in (1, 2, 3):
            phone.rtp.digit(key)
            for _ in range(25):
                assert phone.rtp.receive(2) is not None  # half a second, by the platform's own packets
        assert _digits(app) == [{"digits": "123", "timed_out": True}]
        phone.hang_up()


def test_answer_to_an_input_replaces_the_document(lab: Lab, app: AnsweringApp) -> None:
    """What the input callback returns is done instead of the rest; with nothing returned the rest goes on."""
    app.on("/answer", [_input(app, maxDigits=1, timeOut=3), *_join("the rest")])
    app.on("/input", lambda asked: _join("replaced") if asked.fields["dtmf"]["digits"] == "1" else Reply())
    one, two = _answered(lab, from_="12025550001"), _answered(lab, from_="12025550002")
    one.keys("1")
    two.keys("2")
    joined = {leg["from"]: leg["conversation"] for leg in lab.wait_joined(2)}
    assert joined == {"12025550001": "replaced", "12025550002": "the rest"}


def test_wrong_tries_go_round(lab: Lab, app: AnsweringApp) -> None:
    """An input may be answered with a prompt and another input, as often as it takes."""
    again = [{"action": "talk", "text": "Wrong.", "bargeIn": True}, _input(app, maxDigits=2, timeOut=5)]
    app.on("/answer", [_input(app, maxDigits=2, timeOut=5)])
    app.on("/input", lambda asked: _join() if asked.fields["dtmf"]["digits"] == "33" else again)
    phone = _answered(lab)
    for count, keys in enumerate(("11", "22", "33"), 1):
        phone.keys(keys)
        _digits(app, count)
    lab.wait_joined(1)
    assert [told["digits"] for told in _digits(app, 3)] == ["11", "22", "33"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param([{"action": "pay"}], id="not here"),
        pytest.param([{"action": "dance"}], id="unknown"),
        pytest.param([{"action": "input"}], id="no type"),
        pytest.param([{"action": "talk", "text": "Hello", "bargeIn": True}], id="bargeIn without input"),
        pytest.param([], id="empty"),
    ],
)
def test_bad_replacement_ends_the_call(lab: Lab, app: AnsweringApp, document: list[dict[str, Any]]) -> None:
    """A document that cannot be executed in mid-call gives an error event and a hang-up."""
    app.on("/answer", [_input(app, maxDigits=1, timeOut=0.3)])
    app.on("/input", document)
    phone = _answered(lab)
    assert phone.wait("ended")["reason"] == "remote BYE"
    wait_for(lambda: "completed" in app.statuses(), what="the last event")
    assert len(app.errors()) == 1


def test_audio_waits_for_start_on_enter(lab: Lab, app: AnsweringApp) -> None:
    """Legs with startOnEnter false hear nobody until one without it comes in."""
    app.on("/answer", lambda asked: _join(startOnEnter=asked.fields["from"].endswith("3")))
    first, second = _answered(lab, from_="12025550001"), _answered(lab, from_="12025550002")
    lab.wait_joined(2)
    first.post("tone", json={"hz": 600, "seconds": 10})
    heard = len(second.recording())
    wait_for(lambda: len(second.recording()) > heard + 4000, what="half a second")
    assert ear.strength(second.recording(), 600) < -60
    _answered(lab, from_="12025550003")
    wait_for(lambda: ear.strength(ear.last(second.recording(), 0.3), 600) > -20, what="the tone")


def test_end_on_exit_ends_it_for_all(lab: Lab, app: AnsweringApp) -> None:
    """When the leg with endOnExit leaves, the others are hung up; others leaving changes nothing."""
    app.on("/answer", lambda asked: _join(endOnExit=asked.fields["from"].endswith("1")))
    host, guest, other = (_answered(lab, from_=f"1202555000{number}") for number in (1, 2, 3))
    lab.wait_joined(3)
    other.hang_up()
    assert len(lab.wait_joined(2)) == 2
    host.hang_up()
    assert guest.wait("ended")["reason"] == "remote BYE"
    lab.wait_legs(0)
    wait_for(lambda: app.statuses().count("completed") == 3, what="every call to complete")


def test_muted_leg_is_not_heard(lab: Lab, app: AnsweringApp) -> None:
    """mute: the leg hears the others, they do not hear it."""
    app.on("/answer", lambda asked: _join(mute=asked.fields["from"].endswith("1")))
    muted, other = _answered(lab, from_="12025550001"), _answered(lab, from_="12025550002")
    lab.wait_joined(2)
    muted.post("tone", json={"hz": 500, "seconds": 6})
    other.post("tone", json={"hz": 900, "seconds": 6})
    wait_for(lambda: ear.strength(ear.last(muted.recording(), 0.5), 900) > -20, what="the other's tone")
    assert ear.strength(other.recording(), 500) < -60


def test_a_conversation_is_forgotten_when_empty(lab: Lab, app: AnsweringApp) -> None:
    """The next to come to an empty conversation starts a new one, with another id."""
    app.on("/answer", _join(startOnEnter=True))
    for _ in range(2):
        _answered(lab).hang_up()
        lab.wait_legs(0)
    wait_for(lambda: app.statuses().count("completed") == 2, what="both calls to complete")
    moves = [each["conversation_uuid_to"] for each in app.events() if each.get("type") == "transfer"]
    assert len(set(moves)) == 2


@pytest.mark.parametrize(("level", "difference"), [(1, 6.0), (-1, -6.0)])
def test_level_makes_a_prompt_louder_or_softer(lab: Lab, app: AnsweringApp, level: float, difference: float) -> None:
    """`level` changes the loudness of a prompt by a factor of two each way."""
    levels = {"12025550001": level, "12025550002": 0}
    app.on("/answer", lambda asked: [{"action": "talk", "text": "Hello.", "level": levels[asked.fields["from"]]}])
    changed, plain = lab.dial(from_="12025550001"), lab.dial(from_="12025550002")
    for phone in (changed, plain):
        phone.wait("ended")
    energy = [ear.level(phone.recording()) + 10 * _log_length(phone) for phone in (changed, plain)]
    assert abs(energy[0] - energy[1] - difference) < 1.5


def _log_length(phone: Phone) -> float:
    return math.log10(len(phone.recording()))


def test_loop_repeats_a_prompt(lab: Lab, app: AnsweringApp) -> None:
    """`loop` speaks a prompt so many times; 0 goes on until a key is pressed."""
    app.on("/answer", [{"action": "talk", "text": "Hi.", "loop": 0, "bargeIn": True}, _input(app, maxDigits=1)])
    app.on("/input", [{"action": "talk", "text": "Hi.", "loop": 2}])
    phone = _answered(lab)
    spoken = wait_for(lambda: [e for e in lab.trace(kind="speech") if e.get("text") == "Hi."], what="the prompt")
    length = spoken[-1]["seconds"]
    wait_for(lambda: len(phone.recording()) / ear.RATE > 1.6 * length, what="the second round")
    assert phone.show()["state"] == "answered"
    phone.keys("1")
    keyed = len(phone.recording()) / ear.RATE
    phone.wait("ended")
    assert len(phone.recording()) / ear.RATE - keyed > 2 * length - 0.2


def test_sandbox_that_stops_hangs_up(tmp_path: Path, session_app: AnsweringApp) -> None:
    """A sandbox that is told to stop ends its calls, and the application hears of it before the end."""
    session_app.reset()
    session_app.on("/answer", _join())
    own = OwnSandbox(Home.open(tmp_path / "sandbox"))
    lab = Lab(own.info)
    lab.point(session_app.url)
    lab.dial().wait("answered")
    lab.sip_dial(lab.session())
    lab.wait_joined(2)
    lab.close()
    began = time.monotonic()
    own.close()
    assert time.monotonic() - began < 8
    assert session_app.statuses().count("completed") == 2
