"""The options of the `connect` action, by phones that are rung: how long, who is shown, what the called one gets."""

import pytest

from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.ear import last, make_wav, strength, tone
from tests.standins.lab import Lab, wait_for

PHONE = "12025550177"
TONE_HZ = 900
LOUD = -40.0


def _connect(app: AnsweringApp, options: dict[str, object], **of_the_endpoint: object) -> None:
    """Answer calls with `connect`, and then with a conversation by which its end is known."""
    endpoint = {"type": "phone", "number": PHONE, **of_the_endpoint}
    app.on(
        "/answer",
        [{"action": "connect", "endpoint": [endpoint], **options}, {"action": "conversation", "name": "after"}],
    )


def _of_the_called(app: AnsweringApp, status: str) -> dict[str, object]:
    """Wait for an event of the phone that is rung."""

    def told() -> dict[str, object] | None:
        return next((each for each in app.events() if each.get("to") == PHONE and each.get("status") == status), None)

    return dict(wait_for(told, what=f"the called leg's {status}"))


def test_an_answered_call_ends_at_its_limit(lab: Lab, app: AnsweringApp) -> None:
    """After `limit` seconds the called phone is hung up, and the caller's next action follows."""
    called = lab.expect(PHONE)
    _connect(app, {"from": lab.info.number, "limit": 1})
    lab.dial()
    called.wait("answered")
    assert called.wait("ended")["reason"] == "remote BYE"
    lab.wait_joined(1, name="after")


def test_a_phone_that_nobody_takes_off_rings_for_the_timeout(lab: Lab, app: AnsweringApp) -> None:
    """After `timeout` seconds the ringing phone is let go, told as a timeout; the caller's next action follows."""
    called = lab.expect(PHONE, answer_after=60)
    _connect(app, {"from": lab.info.number, "timeout": 1})
    lab.dial()
    called.wait("ringing")
    assert called.wait("ended")["reason"] == "cancelled"
    lab.wait_joined(1, name="after")
    assert _of_the_called(app, "timeout")


@pytest.mark.parametrize(
    ("option", "shown"), [({"randomFromNumber": True}, "own"), ({"from": "12125550100"}, "unknown")]
)
def test_who_is_shown_to_the_called_phone(lab: Lab, app: AnsweringApp, option: dict[str, object], shown: str) -> None:
    """A random number is one of the account's; a number that is not the account's is shown as unknown."""
    called = lab.expect(PHONE)
    _connect(app, option)
    lab.dial()
    called.wait("answered")
    assert called.show()["from"] == (lab.info.number if shown == "own" else "unknown")


def test_the_called_phone_gets_a_document_of_its_own_first(lab: Lab, app: AnsweringApp) -> None:
    """`onAnswer` is fetched and executed for the called phone alone; then both talk."""
    app.on("/tone.wav", Reply(body=make_wav(tone(TONE_HZ, 1.0)), content_type="audio/wav"))
    app.on("/whisper", [{"action": "stream", "streamUrl": [f"{app.url}/tone.wav"]}])
    called = lab.expect(PHONE)
    _connect(app, {"from": lab.info.number}, onAnswer={"url": f"{app.url}/whisper"})
    caller = lab.dial()
    called.wait("answered")
    wait_for(lambda: strength(last(called.recording(), 0.3), TONE_HZ) > LOUD, what="the document's sound")
    assert strength(caller.recording(), TONE_HZ) < LOUD
    lab.wait_joined(2)
    assert app.asked("/whisper")[0].fields["to"] == PHONE
