"""What a caller hears while the endpoint it is connected with rings."""

import pytest

from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.ear import last, make_wav, strength, tone
from tests.standins.lab import Lab, wait_for

PHONE = "12025550177"


@pytest.mark.parametrize("name", ["ringbackTone", "ringback"])
def test_the_ringback_tone_of_on_answer_plays_until_both_are_connected(lab: Lab, app: AnsweringApp, name: str) -> None:
    """Under its present and its old name: it is repeated while the phone rings, and stops when that is answered."""
    app.on("/tone.wav", Reply(body=make_wav(tone(600, 0.2)), content_type="audio/wav"))
    app.on("/greeting", [{"action": "wait", "timeout": 0.1}])
    greeting = {"url": f"{app.url}/greeting", name: f"{app.url}/tone.wav"}
    endpoint = {"type": "phone", "number": PHONE, "onAnswer": greeting}
    app.on("/answer", [{"action": "connect", "endpoint": [endpoint], "from": lab.info.number}])
    called = lab.expect(PHONE, answer_after=0.8)
    caller = lab.dial()
    called.wait("ringing")
    wait_for(lambda: strength(last(caller.recording(), 0.3), 600) > -20, what="the tone")
    lab.wait_joined(2)
    assert app.asked("/greeting")
    wait_for(lambda: strength(last(caller.recording(), 0.2), 600) < -50, what="its end")
