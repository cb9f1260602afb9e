"""Hold and resume by re-INVITE (RFC 3264 section 8.4), by a hand-made phone."""

import pytest

from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for
from tests.standins.raw_phone import RawPhone


def _reinvite(phone: RawPhone, direction: str) -> str:
    """Offer a direction; returns the body of the acknowledged answer."""
    phone.send(phone.request("INVITE", body=phone.offer() + f"a={direction}\r\n"))
    answer = phone.final()
    assert answer.status == 200
    phone.send(phone.request("ACK", sequence=int(answer["cseq"].split()[0])))
    return answer.body.decode()


def _version(body: str) -> list[str]:
    return next(line for line in body.splitlines() if line.startswith("o=")).split()[1:3]


@pytest.mark.parametrize(("direction", "answered"), [("sendonly", "recvonly"), ("inactive", "inactive")])
def test_a_held_leg_is_sent_nothing_until_it_is_resumed(
    lab: Lab, app: AnsweringApp, direction: str, answered: str
) -> None:
    """The answer mirrors the direction in a new version, no audio is sent, and resuming brings it back."""
    app.on("/answer", [{"action": "conversation", "name": "hold"}])
    with RawPhone(lab.info) as phone:
        before = phone.call().body.decode()
        assert phone.rtp.receive() is not None
        held = _reinvite(phone, direction)
        assert f"a={answered}" in held
        assert _version(held)[0] == _version(before)[0]
        assert int(_version(held)[1]) == int(_version(before)[1]) + 1
        phone.rtp.drain()
        assert phone.rtp.receive(0.3) is None
        assert len(lab.wait_joined(1)) == 1
        assert "a=sendrecv" in _reinvite(phone, "sendrecv")
        wait_for(lambda: phone.rtp.receive() is not None, what="audio after the resume")
        phone.hang_up()
