"""The sandbox's phones: what they hear of each other, and how they are driven."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, Phone, wait_for

TONES = (400, 530, 670, 830, 1010, 1210, 1430, 1690)
AMPLITUDE = 0.1
"""-23 dBFS each: eight together do not clip."""


@pytest.mark.parametrize("count", [2, 3, 8])
def test_everyone_hears_exactly_the_others(lab: Lab, app: AnsweringApp, count: int) -> None:
    """N phones, over all transports, each send a tone of their own; each recording holds all tones but its own."""
    app.on("/answer", [{"action": "conversation", "name": "choir"}])
    tones = TONES[:count]
    phones = [lab.dial(("udp", "tcp", "tls")[number % 3], from_=f"1202555{number:04d}") for number in range(count)]
    lab.wait_joined(count)
    for phone, hz in zip(phones, tones, strict=True):
        phone.wait("answered")
        phone.post("play", data=ear.make_wav(ear.tone(hz, 8, AMPLITUDE)))

    def heard(phone: Phone) -> dict[int, float]:
        sound = ear.last(phone.recording(), 0.6)
        return {hz: ear.strength(sound, hz) for hz in TONES}

    def exactly(phone: Phone, own: int) -> bool:
        levels = heard(phone)
        others = all(-26 < levels[hz] < -20 for hz in tones if hz != own)
        return others and all(levels[hz] < -50 for hz in TONES if hz == own or hz not in tones)

    for phone, own in zip(phones, tones, strict=True):
        wait_for(partial(exactly, phone, own), 5, f"all but {own} Hz")


def test_two_conversations_do_not_hear_each_other(lab: Lab, app: AnsweringApp) -> None:
    """Audio stays inside a conversation."""
    app.on("/answer", lambda asked: [{"action": "conversation", "name": f"room {asked.fields['from'][-1]}"}])
    phones = [lab.dial(from_=f"1202555000{room}") for room in (1, 1, 2, 2)]
    lab.wait_joined(4)
    for phone, hz in zip(phones, TONES, strict=False):
        phone.wait("answered")
        phone.post("tone", json={"hz": hz, "seconds": 6})
    for number, phone in enumerate(phones):
        mate, foreign = TONES[number ^ 1], TONES[2:4] if number < 2 else TONES[:2]

        def levels(phone: Phone = phone, wanted: tuple[int, ...] = (mate, *foreign)) -> list[float]:
            sound = ear.last(phone.recording(), 0.5)
            return [ear.strength(sound, hz) for hz in wanted]

        # A tone's first moment is a click that holds every frequency: wait for a steady half second.
        wait_for(lambda: levels()[0] > -15.5, what="its mate")
        assert max(levels()[1:]) < -50


def test_fifty_legs_fill_a_conversation(lab: Lab, app: AnsweringApp) -> None:
    """The fifty-first leg is told by an error event and hung up; the fifty stay."""
    app.on("/answer", [{"action": "conversation", "name": "crowd"}])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: lab.dial(from_=f"1202555{number:04d}"), range(50)))
    lab.wait_joined(50, timeout=20)
    late = lab.dial(from_="12025559999")
    assert late.wait("ended")["reason"] == "remote BYE"
    wait_for(lambda: app.errors() == ["the conversation holds its 50 legs"], what="the error event")
    assert len(lab.wait_joined(50)) == 50


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_phone_call_from_ring_to_hang_up(lab: Lab, app: AnsweringApp, transport: str) -> None:
    """A phone dials over each transport, hears a prompt, keys digits, and hangs up."""
    app.on(
        "/answer",
        [
            {"action": "talk", "text": "Press one.", "bargeIn": True},
            {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 3}, "eventUrl": [f"{app.url}/input"]},
        ],
    )
    app.on("/input", [{"action": "conversation", "name": "one"}])
    phone = lab.dial(transport)
    assert phone.wait("answered")["reason"] is None
    assert phone.post("listen", json={"silence": 0.4, "timeout": 10}).json()["heard"]["seconds"] > 0.3
    phone.keys("1*D")
    lab.wait_joined(1)
    assert app.asked("/input")[0].fields["dtmf"] == {"digits": "1*D", "timed_out": False}
    assert phone.hang_up()["reason"] == "local BYE"
    lab.wait_legs(0)


def test_phones_that_do_not_get_through_say_why(lab: Lab, app: AnsweringApp) -> None:
    """An unknown number is 404; an application that is not there is 480."""
    app.on("/answer", Reply(status=404))
    assert lab.dial(number="12025550199").wait("ended")["reason"] == "404 Not Found"
    assert lab.dial().wait("ended")["reason"] == "480 Temporarily Unavailable"


def test_hang_up_while_ringing(lab: Lab, app: AnsweringApp) -> None:
    """A phone that gives up cancels its call."""
    gate = threading.Event()
    app.on("/answer", Reply(gate=gate))
    phone = lab.dial()
    phone.wait("ringing")
    assert phone.hang_up()["reason"] == "487 Request Terminated"
    gate.set()
    lab.wait_legs(0)


def test_control_refuses_nonsense(lab: Lab, app: AnsweringApp) -> None:
    """Wrong wishes are 400, unknown phones 404, keys without a call 409, no password 401."""
    app.on("/answer", [{"action": "conversation", "name": "x"}])
    for wish in ({}, {"number": 1}, {"number": "abc"}, {"number": "12025550100", "transport": "pigeon"}):
        lab.ask("POST", "/phones", json=wish, status=400)
    lab.ask("POST", "/phones", data=b"{", status=400)
    lab.ask("POST", "/phones", data=b"[]", status=400)
    lab.ask("GET", "/phones/none", status=404)
    lab.ask("GET", "/ledger", status=401, auth=("somebody", "else"))
    phone = lab.dial()
    phone.wait("answered")
    for digits in ("", "12x", "1" * 65, 5):
        lab.ask("POST", f"{phone._path}/keys", json={"digits": digits}, status=400)
    for what, wish in (("tone", {}), ("tone", {"hz": 0}), ("tone", {"hz": 4000}), ("say", {"text": ""}), ("say", {})):
        phone.post(what, status=400, json=wish)
    phone.post("play", status=400, data=b"no wav")
    phone.post("listen", status=400, json={"silence": -1})
    phone.hang_up()
    phone.keys("1", status=409)
    phone.post("say", status=409, json={"text": "hello"})


def test_session_participants_hear_the_phone_side(lab: Lab, app: AnsweringApp, sandbox: SandboxInfo) -> None:
    """A tone of the session reaches the phone over SIP and RTP, and the phone's reaches the session."""
    app.on("/answer", [{"action": "conversation", "name": "bridge"}])
    session = lab.session()
    near, silent = lab.participant(session, tone_hz=440), lab.participant(session)
    lab.sip_dial(session)
    phone = lab.dial()
    lab.wait_joined(2)
    phone.wait("answered")
    phone.post("tone", json={"hz": 1000, "seconds": 8})
    wait_for(lambda: ear.strength(ear.last(phone.recording(), 0.5), 440) > -20, what="the session's tone")
    wait_for(lambda: ear.strength(ear.last(near.recording(), 0.5), 1000) > -20, what="the phone's tone")
    wait_for(lambda: ear.strength(ear.last(silent.recording(), 0.5), 1000) > -20, what="the phone's tone")
    assert ear.strength(ear.last(near.recording(), 0.5), 440) < -50
    lab.ask("DELETE", f"/sessions/{session}/participants/{silent.id}")
    lab.ask("GET", f"/sessions/{session}/participants/{silent.id}", status=404)
