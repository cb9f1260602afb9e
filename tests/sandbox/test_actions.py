"""The further actions of call documents: notify, wait, stream, asynchronous digits, transfer, music on hold."""

from typing import Any

import pytest

from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, Phone, wait_for

JOIN = {"action": "conversation", "name": "room"}


def _sound(app: AnsweringApp, hz: float, seconds: float, path: str = "/sound.wav") -> str:
    """Serve a tone; returns its URL."""
    app.on(path, Reply(body=ear.make_wav(ear.tone(hz, seconds)), content_type="audio/wav"))
    return app.url + path


def _answered(lab: Lab, from_: str = "12025550123") -> Phone:
    phone = lab.dial(from_=from_)
    phone.wait("answered")
    return phone


def _hears(phone: Phone, hz: float, what: str = "the tone") -> None:
    wait_for(lambda: ear.strength(ear.last(phone.recording(), 0.3), hz) > -25, what=what)


def _deaf(phone: Phone, hz: float) -> bool:
    return ear.strength(ear.last(phone.recording(), 0.5), hz) < -55


def test_notify_tells_the_application_and_goes_on(lab: Lab, app: AnsweringApp) -> None:
    """The payload is posted with the conversation's id; an empty answer lets the document go on."""
    app.on("/told", Reply())
    notify = {"action": "notify", "payload": {"step": 1, "more": ["x"]}, "eventUrl": [f"{app.url}/told"]}
    app.on("/answer", [notify, JOIN])
    _answered(lab)
    lab.wait_joined(1, name="room")
    [told] = app.asked("/told")
    assert told.method == "POST"
    assert told.fields["payload"] == {"step": 1, "more": ["x"]}
    assert told.fields["conversation_uuid"] == app.asked("/answer")[0].fields["conversation_uuid"]
    assert set(told.fields) == {"payload", "conversation_uuid", "timestamp"}


def test_notify_by_get_sends_the_payload_as_json_text(lab: Lab, app: AnsweringApp) -> None:
    """With eventMethod GET the payload is one query field of JSON, and a returned document replaces the rest."""
    app.on("/told", [{**JOIN, "name": "instead"}])
    notify = {"action": "notify", "payload": {"a": 1}, "eventUrl": [f"{app.url}/told"], "eventMethod": "GET"}
    app.on("/answer", [notify, JOIN])
    _answered(lab)
    lab.wait_joined(1, name="instead")
    assert [asked.fields["payload"] for asked in app.asked("/told")] == ['{"a":1}']


def test_a_webhook_that_fails_in_the_middle_of_a_call_does_not_end_it(lab: Lab, app: AnsweringApp) -> None:
    """The application hears why, the fallback is asked, and with neither the call flow continues."""
    app.on("/answer", [{"action": "notify", "payload": {}, "eventUrl": [f"{app.url}/nobody"]}, JOIN])
    _answered(lab)
    lab.wait_joined(1)
    wait_for(app.errors, what="the error event")
    assert "HTTP 404" in app.errors()[0]


def test_wait_holds_up_the_next_action(lab: Lab, app: AnsweringApp) -> None:
    """The next action begins so many seconds later."""
    app.on("/answer", [{"action": "wait", "timeout": 0.4}, JOIN])
    _answered(lab)
    lab.wait_joined(1)
    steps = {(each["action"], each["state"]): each["t"] for each in lab.trace(kind="ncco")}
    # The trace tells the time of day, which is corrected while a timer runs.
    assert steps["conversation", "started"] - steps["wait", "started"] >= 0.39


def test_file_is_streamed_to_the_caller(lab: Lab, app: AnsweringApp) -> None:
    """A WAV on this machine is heard as often as `loop` says; then the next action follows."""
    url = _sound(app, 700, 0.5)
    app.on("/answer", [{"action": "stream", "streamUrl": [url], "loop": 2}])
    phone = _answered(lab)
    phone.wait("ended")
    heard = phone.recording()
    assert ear.strength(heard, 700) > -25
    assert 0.9 < len(heard) / ear.RATE < 2


def test_key_interrupts_a_stream_with_barge_in(lab: Lab, app: AnsweringApp) -> None:
    """A key ends an endless stream with bargeIn and is the first digit of the input after it."""
    url = _sound(app, 700, 0.5)
    ask = {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 1}, "eventUrl": [f"{app.url}/input"]}
    app.on("/answer", [{"action": "stream", "streamUrl": [url], "loop": 0, "bargeIn": True}, ask])
    app.on("/input", [JOIN])
    phone = _answered(lab)
    _hears(phone, 700)
    phone.keys("7")
    lab.wait_joined(1)
    assert app.asked("/input")[0].fields["dtmf"] == {"digits": "7", "timed_out": False}


@pytest.mark.parametrize(
    ("served", "url", "reason"),
    [
        pytest.param(Reply(body=b"ID3\x03", content_type="audio/mpeg"), "", "not an MP3 file", id="no mp3"),
        pytest.param(Reply(body=b"noise", content_type="audio/wav"), "", "not a WAV file", id="no wav"),
        pytest.param(Reply(status=404), "", "answered HTTP 404", id="missing"),
        pytest.param(Reply(), "http://192.0.2.1/a.wav", "not on this machine", id="elsewhere"),
        pytest.param(Reply(), "http://127.0.0.1.example/a.wav", "not on this machine", id="nearly here"),
    ],
)
def test_file_that_cannot_be_played_ends_the_call(
    lab: Lab, app: AnsweringApp, served: Reply, url: str, reason: str
) -> None:
    """A stream that is no WAV or MP3 of this machine gives an error event that says so, and a hang-up."""
    app.on("/sound", served)
    app.on("/answer", [{"action": "stream", "streamUrl": [url or f"{app.url}/sound"]}, JOIN])
    assert lab.dial().wait("ended")["reason"] == "remote BYE"
    wait_for(app.errors, what="the error event")
    assert reason in app.errors()[0]


def test_asynchronous_digits_come_one_by_one(lab: Lab, app: AnsweringApp) -> None:
    """In asynchronous mode the document goes on at once, and each key is posted while it does."""
    app.on("/input", Reply())
    ask = {"action": "input", "type": ["dtmf"], "mode": "asynchronous", "eventUrl": [f"{app.url}/input"]}
    app.on("/answer", [ask, JOIN])
    phone = _answered(lab)
    lab.wait_joined(1)
    phone.keys("4#")
    wait_for(lambda: len(app.asked("/input")) == 2, what="two callbacks")
    assert [each.fields["dtmf"]["digits"] for each in app.asked("/input")] == ["4", "#"]
    assert app.asked("/input")[0].fields["uuid"] == app.asked("/answer")[0].fields["uuid"]


def test_transfer_moves_the_leg_to_a_conversation(lab: Lab, app: AnsweringApp) -> None:
    """`transfer` puts the leg among the legs of a conversation that exists; of one that does not, it is an error."""
    app.on("/answer", [JOIN])
    host = _answered(lab, "12025550001")
    lab.wait_joined(1)
    moves = wait_for(lambda: [e for e in app.events() if e.get("type") == "transfer"], what="the transfer event")
    app.on("/answer", [{"action": "transfer", "conversationId": moves[0]["conversation_uuid_to"]}])
    guest = _answered(lab, "12025550002")
    lab.wait_joined(2, name="room")
    host.post("tone", json={"hz": 800, "seconds": 6})
    _hears(guest, 800)
    app.on("/answer", [{"action": "transfer", "conversationId": "CON-none"}])
    assert lab.dial(from_="12025550003").wait("ended")["reason"] == "remote BYE"
    wait_for(app.errors, what="the error event")
    assert app.errors() == ["there is no conversation CON-none"]


def test_music_plays_until_the_conversation_starts(lab: Lab, app: AnsweringApp) -> None:
    """Who waits for the moderator hears musicOnHoldUrl, over and over, and nothing of it afterwards."""
    url = _sound(app, 650, 0.4)
    wait: dict[str, Any] = {**JOIN, "startOnEnter": False, "musicOnHoldUrl": [url]}
    app.on("/answer", lambda asked: [wait if asked.fields["from"].endswith("1") else JOIN])
    guest = _answered(lab, "12025550001")
    wait_for(lambda: ear.strength(ear.last(guest.recording(), 1.0), 650) > -20, what="a second of music")
    host = _answered(lab, "12025550002")
    host.post("tone", json={"hz": 900, "seconds": 6})
    _hears(guest, 900)
    wait_for(lambda: _deaf(guest, 650), what="the end of the music")


def test_can_speak_and_can_hear_choose_who_hears_whom(lab: Lab, app: AnsweringApp) -> None:
    """With canSpeak a document names who hears a leg, with canHear whom it hears; the rest is as ever."""
    legs: dict[str, str] = {}

    def answer(asked: Any) -> list[dict[str, Any]]:
        number = asked.fields["from"][-1]
        legs[number] = asked.fields["uuid"]
        options: dict[str, Any] = {"2": {"canSpeak": [legs["1"]]}, "3": {"canHear": [legs["1"]]}}
        return [{**JOIN, **options.get(number, {})}]

    app.on("/answer", answer)
    one, two, three = (_answered(lab, f"1202555000{number}") for number in (1, 2, 3))
    lab.wait_joined(3)
    one.post("tone", json={"hz": 500, "seconds": 8})
    two.post("tone", json={"hz": 800, "seconds": 8})
    three.post("tone", json={"hz": 1100, "seconds": 8})
    _hears(one, 800, "the whisper")
    _hears(one, 1100, "the third")
    _hears(two, 500, "the first")
    _hears(two, 1100, "the third")
    _hears(three, 500, "the first")
    assert _deaf(three, 800)
