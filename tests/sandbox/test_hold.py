"""Hold, resume and move by re-INVITE (RFC 3264 section 8), by hand-made phones and by phones of the sandbox."""

import pytest

from tests.standins.answering_app import AnsweringApp
from tests.standins.ear import last, strength
from tests.standins.lab import Lab, wait_for
from tests.standins.raw_phone import RawPhone
from tests.standins.raw_wire import RawRtp, SipText

STAY = [{"action": "conversation", "name": "hold"}]
TONE_HZ = 700
LOUD = -40.0
"""dB of full scale: a tone is there, whatever the laws did to it."""


def _turn(phone: RawPhone, body: str) -> SipText:
    """Send an offer inside the call; returns the answer, acknowledged."""
    phone.send(phone.request("INVITE", body=body))
    answer = phone.final()
    assert answer.status == 200
    phone.send(phone.request("ACK", sequence=int(answer["cseq"].split()[0])))
    return answer


def _version(body: str) -> list[str]:
    return next(line for line in body.splitlines() if line.startswith("o=")).split()[1:3]


@pytest.mark.parametrize(
    ("direction", "answered"), [("sendonly", "recvonly"), ("inactive", "inactive"), ("zeros", "sendrecv")]
)
def test_a_held_leg_is_sent_nothing_until_it_is_resumed(
    lab: Lab, app: AnsweringApp, direction: str, answered: str
) -> None:
    """The answer mirrors the direction in a new version, no audio is sent, and resuming brings it back."""
    app.on("/answer", STAY)
    with RawPhone(lab.info) as phone:
        phone.call()
        plain = phone.offer() + "a=sendrecv\r\n"
        # The first answer followed an offer without a direction, and may differ from this one.
        before = _turn(phone, plain).body.decode()
        assert phone.rtp.receive() is not None
        zeros = plain.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")  # as RFC 2543 held
        held = _turn(phone, zeros if direction == "zeros" else f"{phone.offer()}a={direction}\r\n").body.decode()
        assert f"a={answered}" in held
        assert _version(held)[0] == _version(before)[0]
        assert int(_version(held)[1]) == int(_version(before)[1]) + (direction != "zeros")
        phone.rtp.drain()
        assert phone.rtp.receive(0.3) is None
        assert len(lab.wait_joined(1)) == 1
        assert "a=sendrecv" in _turn(phone, plain).body.decode()
        wait_for(lambda: phone.rtp.receive() is not None, what="audio after the resume")
        phone.hang_up()


def test_audio_follows_a_phone_that_moves(lab: Lab, app: AnsweringApp) -> None:
    """After an offer with another port the audio goes there and no more to the old one, in the law of the offer."""
    app.on("/answer", STAY)
    with RawPhone(lab.info) as phone:
        phone.call()
        assert phone.rtp.receive() is not None
        old, phone.rtp = phone.rtp, RawRtp()
        try:
            answer = _turn(phone, phone.offer("0 101"))
            assert b"PCMU/8000" in answer.body
            assert b"PCMA/8000" not in answer.body
            packet = phone.rtp.receive()
            assert packet is not None
            assert packet[1] & 0x7F == 0
            old.drain()
            assert old.receive(0.2) is None
        finally:
            old.close()
        phone.hang_up()


def test_a_request_without_an_offer_is_given_one(lab: Lab, app: AnsweringApp) -> None:
    """A held phone asks without an offer: the 200 offers both directions, and the ACK's answer resumes the call."""
    app.on("/answer", STAY)
    with RawPhone(lab.info) as phone:
        phone.call()
        assert "a=inactive" in _turn(phone, f"{phone.offer()}a=inactive\r\n").body.decode()
        phone.send(phone.request("INVITE"))
        offer = phone.final()
        assert b"a=sendrecv" in offer.body
        phone.rtp.drain()
        assert phone.rtp.receive(0.2) is None
        accepted = f"{phone.offer('8 101')}a=sendrecv\r\n"
        phone.send(phone.request("ACK", sequence=int(offer["cseq"].split()[0]), body=accepted))
        assert phone.rtp.receive() is not None
        phone.hang_up()


def test_a_change_nobody_acknowledges_ends_the_call(
    own_lab: Lab, session_app: AnsweringApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 200 to a re-INVITE is repeated, and without an ACK the call is given up by BYE (RFC 3261 section 14.2)."""
    session_app.on("/answer", STAY)
    with RawPhone(own_lab.info) as phone:
        phone.call()
        monkeypatch.setattr("sipkit.sandbox.sip.transaction.T1", 0.05)
        monkeypatch.setattr("sipkit.sandbox.sip.transaction.TIMEOUT", 1.0)
        phone.send(phone.request("INVITE", body=f"{phone.offer()}a=sendonly\r\n"))
        assert phone.final().status == 200
        assert phone.final().status == 200
        phone.hung_up()
    own_lab.wait_legs(0)


def test_phones_of_the_sandbox_hold_and_resume(lab: Lab, app: AnsweringApp) -> None:
    """On hold neither hears the other, while the call stays; resumed, the tone is heard again."""
    app.on("/answer", STAY)
    talks, listens = lab.dial(), lab.dial()
    for phone in (talks, listens):
        phone.wait("answered")
    lab.wait_joined(2)
    talks.post("tone", json={"hz": TONE_HZ, "seconds": 60})

    def heard() -> bool:
        return strength(last(listens.recording(), 0.3), TONE_HZ) > LOUD

    wait_for(heard, what="the tone")
    for holder in (talks, listens):
        holder.post("hold")
        wait_for(lambda: not heard(), what="silence on hold")
        assert len(lab.wait_joined(2)) == 2
        holder.post("resume")
        wait_for(heard, what="the tone again")
    talks.hang_up()
    assert "no call" in talks.post("hold", status=409).text
