"""The voice side's SIP, by a hand-made phone that repeats, crosses, cancels and lies (RFC 3261)."""

import threading
import time

import pytest

from sipkit.sandbox.sip import transaction
from sipkit.sandbox.voice import platform
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, wait_for
from tests.standins.raw_phone import RawPhone
from tests.standins.raw_wire import Wire

STAY = [{"action": "conversation", "name": "hygiene"}]


@pytest.fixture
def phone(lab: Lab, app: AnsweringApp) -> RawPhone:
    """A UDP phone; the application lets it stay in a conversation."""
    app.on("/answer", STAY)
    return RawPhone(lab.info)


def test_retransmitted_invite_is_one_call(phone: RawPhone, lab: Lab, app: AnsweringApp) -> None:
    """The same INVITE four times is one leg, one question to the application, one dialog (section 17.2.1)."""
    with phone:
        phone.dial()
        for _ in range(3):
            phone.send(phone.last)
        first = phone.final()
        phone.send(phone.last)
        again = phone.final()
        assert (again.start, again["to"], again.body) == (first.start, first["to"], first.body)
        phone.take(first)
        phone.ack()
        assert len(lab.wait_joined(1)) == 1
        assert len(app.asked("/answer")) == 1
        phone.hang_up()


def test_retransmitted_first_invite_gets_the_same_challenge(phone: RawPhone) -> None:
    """A repeated INVITE without credentials is answered with the very same 401, not with a new nonce."""
    with phone:
        phone.send(phone.invite())
        first = phone.final()
        phone.send(phone.last)
        assert phone.final()["www-authenticate"] == first["www-authenticate"]
        phone.ack_failure(first)
        phone.send(phone.last)
        assert phone.silent(0.3) == [], "an acknowledged failure is not repeated"


def test_cancel_while_ringing(lab: Lab, app: AnsweringApp) -> None:
    """CANCEL gets 200, its INVITE 487, and the application hears `cancelled` by the user (section 9.2)."""
    gate = threading.Event()
    app.on("/answer", Reply(STAY, gate=gate))
    with RawPhone(lab.info) as phone:
        phone.dial()
        while phone.receive().status != 180:
            pass
        phone.send(phone.request("CANCEL", sequence=phone.sequence, fresh=False))
        answers = {message.method: message for message in (phone.final("CANCEL"), phone.final("INVITE"))}
        assert (answers["CANCEL"].status, answers["INVITE"].status) == (200, 487)
        phone.ack_failure(answers["INVITE"])
        assert phone.silent(0.7) == [], "the acknowledged 487 is not repeated"
    gate.set()
    lab.wait_legs(0)
    wait_for(lambda: len(app.statuses()) == 3, what="three events")
    assert app.statuses() == ["started", "ringing", "cancelled"]
    assert "disconnected_by" not in app.events()[-1]  # documented with `completed` alone


def test_cancel_of_an_answered_call_changes_nothing(phone: RawPhone, lab: Lab) -> None:
    """A CANCEL that comes after the 200 is answered 200 and the call stays (section 9.2)."""
    with phone:
        phone.dial()
        phone.take(phone.final())
        branch = phone.branch
        phone.ack()
        lab.wait_joined(1)
        tag, target, phone.to_tag, phone.branch = phone.to_tag, phone.target, "", branch
        phone.send(phone.request("CANCEL", sequence=phone.sequence, fresh=False))
        assert phone.final("CANCEL").status == 200
        assert phone.silent(0.3) == []
        phone.to_tag, phone.target = tag, target
        phone.hang_up()


def test_cancel_of_nothing(phone: RawPhone) -> None:
    """A CANCEL without its INVITE is 481."""
    with phone:
        phone.send(phone.request("CANCEL"))
        assert phone.final("CANCEL").status == 481


def test_answer_is_repeated_until_acknowledged(phone: RawPhone, lab: Lab) -> None:
    """The 200 comes again after half a second, and no more once it is acknowledged (section 13.3.1.4)."""
    with phone:
        phone.dial()
        first = phone.final()
        began = time.monotonic()
        again = phone.final(timeout=3)
        assert 0.3 < time.monotonic() - began < 2.5
        assert (again["to"], again.body) == (first["to"], first.body)
        phone.take(again)
        phone.ack()
        late = phone.silent(1.4)
        assert late == [], "repeated after its ACK"
        phone.hang_up()


def test_answer_nobody_acknowledges_ends_the_call(
    own_lab: Lab, session_app: AnsweringApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an ACK the callee gives the call up with BYE (section 13.3.1.4); no leg is left."""
    monkeypatch.setattr(transaction, "T1", 0.05)
    monkeypatch.setattr(transaction, "TIMEOUT", 1.0)
    session_app.on("/answer", STAY)
    with RawPhone(own_lab.info) as phone:
        phone.dial()
        phone.take(phone.final())
        phone.hung_up()
    own_lab.wait_legs(0)


def test_hang_up_before_the_acknowledgement(phone: RawPhone, lab: Lab) -> None:
    """A caller may say BYE instead of ACK: the leg ends and the 200 is repeated no more."""
    with phone:
        phone.dial()
        phone.take(phone.final())
        phone.hang_up()
        assert phone.silent(0.8) == []
    lab.wait_legs(0)


def test_overload(own_lab: Lab, session_app: AnsweringApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the legs it can carry the platform answers 503, and takes calls again when there is room."""
    monkeypatch.setattr(platform, "MAX_LEGS", 1)
    session_app.on("/answer", STAY)
    first = own_lab.dial()
    first.wait("answered")
    assert own_lab.dial().wait("ended")["reason"] == "503 Service Unavailable"
    first.hang_up()
    own_lab.wait_legs(0)
    own_lab.dial().wait("answered")


def test_byes_that_cross_are_both_answered(lab: Lab, app: AnsweringApp) -> None:
    """Each side hangs up before it saw the other's BYE: both get 200 (or 481) and the leg ends once."""
    app.on("/answer", [{"action": "conversation", "name": "hygiene", "endOnExit": True}])
    with RawPhone(lab.info) as host, RawPhone(lab.info) as guest:
        host.call()
        guest.call()
        lab.wait_joined(2)
        host.hang_up()
        crossing = guest.receive()
        assert crossing.start == f"BYE {guest.contact} SIP/2.0"
        guest.hang_up()
        guest.respond(crossing)
        lab.wait_legs(0)
    wait_for(lambda: app.statuses().count("completed") == 2, what="both legs to complete")
    assert lab.legs() == []


def test_bye_twice(phone: RawPhone, lab: Lab) -> None:
    """A retransmitted BYE gets its 200 again; a new BYE for the ended call gets 200 or 481, nothing else."""
    with phone:
        phone.call()
        phone.hang_up()
        bye = phone.request("BYE", sequence=phone.sequence, fresh=False)
        phone.send(bye)
        assert phone.final("BYE").status == 200
        phone.send(phone.request("BYE"))
        assert phone.final("BYE").status in (200, 481)
        lab.wait_legs(0)


def test_options_is_answered(phone: RawPhone, lab: Lab) -> None:
    """OPTIONS is 200 with Allow, outside a call without any password, and inside one (section 11)."""
    with phone:
        phone.send(phone.request("OPTIONS"))
        outside = phone.final("OPTIONS")
        assert outside.status == 200
        assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"} <= set(outside["allow"].split(", "))
        phone.call()
        phone.send(phone.request("OPTIONS"))
        assert phone.final("OPTIONS").status == 200
        assert len(lab.wait_joined(1)) == 1
        phone.hang_up()


def test_reinvite_changes_nothing(phone: RawPhone, lab: Lab) -> None:
    """A re-INVITE is answered with the description in force; audio goes on from the same socket."""
    with phone:
        answer = phone.call()
        assert phone.rtp.receive() is not None
        phone.send(phone.request("INVITE", body=phone.offer()))
        again = phone.final()
        assert again.status == 200
        assert again.body == answer.body
        assert again.contact.split("@")[1] == answer.contact.split("@")[1]
        sequence = int(again["cseq"].split()[0])
        phone.send(phone.request("ACK", sequence=sequence))
        assert phone.silent(0.8) == [], "the acknowledged answer is not repeated"
        phone.rtp.drain()
        assert phone.rtp.receive() is not None, "audio after the re-INVITE"
        assert len(lab.wait_joined(1)) == 1
        phone.hang_up()


def test_old_request_inside_the_call_is_refused(phone: RawPhone, lab: Lab) -> None:
    """A request whose CSeq is lower than the last one is 500 and changes nothing (section 12.2.2)."""
    with phone:
        phone.call()
        phone.send(phone.request("BYE", sequence=1))
        assert phone.final("BYE").status == 500
        assert len(lab.wait_joined(1)) == 1
        phone.hang_up()


def test_bye_of_the_platform_goes_to_the_contact(lab: Lab, app: AnsweringApp) -> None:
    """Requests inside the dialog go to the Contact's port, not to where the INVITE came from (section 12.2.1.1)."""
    app.on("/answer", [{"action": "conversation", "name": "hygiene", "endOnExit": True}])
    desk = Wire(lab.info)
    with RawPhone(lab.info) as host, RawPhone(lab.info) as guest:
        host.call()
        guest.contact_port = desk.port
        guest.call()
        lab.wait_joined(2)
        host.hang_up()
        bye = desk.receive()
        assert bye is not None
        assert bye.start == f"BYE {guest.contact} SIP/2.0"
        assert bye["call-id"] == guest.call_id
        assert bye["to"].endswith(guest.tag)
        guest.respond(bye)
        guest.over = True
        lab.wait_legs(0)
    desk.close()
