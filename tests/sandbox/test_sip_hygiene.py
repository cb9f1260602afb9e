"""The voice side's SIP, by a hand-made phone that repeats, crosses, cancels and lies (RFC 3261)."""

import re
import threading
import time
from pathlib import Path
from statistics import median

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipkit.sandbox.launcher import SandboxInfo
from sipkit.sandbox.sip import transaction
from sipkit.sandbox.voice import platform
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, wait_for
from tests.standins.raw_phone import RawPhone, SipText, Wire

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
    assert app.events()[-1]["disconnected_by"] == "user"


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


@pytest.mark.parametrize("account", ["carrier", "api key", "nobody"])
def test_wrong_password(phone: RawPhone, lab: Lab, app: AnsweringApp, account: str) -> None:
    """A wrong password is 403 for every account, known or not, and the application is not asked."""
    users = {"carrier": lab.info.carrier_user, "api key": lab.info.voice_api_key, "nobody": "nobody"}
    with phone:
        phone.user, phone.password = users[account], "wrong"
        phone.dial()
        response = phone.final()
        assert response.status in (401, 403)
        phone.ack_failure(response)
    assert app.asked() == []
    assert lab.legs() == []


def test_nobody_calls_without_credentials(phone: RawPhone) -> None:
    """Every INVITE is challenged with MD5 and qop=auth, the realm named as at Vonage."""
    with phone:
        challenge = phone.challenge()["www-authenticate"]
        assert challenge.startswith("Digest ")
        assert 'realm="sip.nexmo.com"' in challenge
        assert re.search(r'qop="?auth"?', challenge)
        assert re.search(r"algorithm=MD5", challenge)


def test_credentials_cannot_be_played_again(phone: RawPhone, lab: Lab) -> None:
    """A recorded Authorization header used in another call is stale, the next nonce count is not."""
    with phone:
        challenge = phone.challenge()
        phone.send(phone.invite())
        phone.take(phone.final())
        phone.ack()
        with RawPhone(lab.info) as thief:
            thief.authorization = phone.authorization
            thief.send(thief.invite())
            refused = thief.final()
            assert refused.status == 401
            assert re.search(r'stale="?true"?', refused["www-authenticate"])
            thief.ack_failure(refused)
            assert len(lab.legs()) == 1
        with RawPhone(lab.info) as second:
            second.authorization = second.digest(challenge, nc="00000002")
            second.send(second.invite())
            second.take(second.final())
            second.ack()
            lab.wait_joined(2)
            second.hang_up()
        phone.hang_up()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("8 0 101", 200, id="G.711"),
        pytest.param("9 0", 200, id="G.722 before G.711"),
        pytest.param("9 101", 488, id="no G.711"),
        pytest.param("SAVP", 488, id="SRTP only"),
        pytest.param("", 488, id="no offer"),
        pytest.param("nonsense", 488, id="no SDP"),
    ],
)
def test_media_that_is_taken_and_refused(phone: RawPhone, lab: Lab, body: str, status: int) -> None:
    """G.711 over RTP/AVP is taken, everything else is 488."""
    offers = {"SAVP": phone.offer(profile="RTP/SAVP"), "": "", "nonsense": "nonsense"}
    with phone:
        phone.dial(offers[body] if body in offers else phone.offer(body))
        response = phone.final()
        assert response.status == status
        if status == 200:
            phone.take(response)
            phone.ack()
            phone.hang_up()
        else:
            phone.ack_failure(response)
            assert lab.legs() == []


def test_unknown_number(phone: RawPhone, app: AnsweringApp) -> None:
    """A number that is not the application's is 404."""
    with phone:
        phone.target = "sip:12025550199@sip.nexmo.com"
        phone.dial()
        response = phone.final()
        assert response.status == 404
        phone.ack_failure(response)
    assert app.asked() == []


@pytest.mark.parametrize(
    ("method", "status"), [("BYE", 481), ("REGISTER", 405), ("SUBSCRIBE", 405), ("FLY", 405), ("INFO", 405)]
)
def test_requests_without_a_call(phone: RawPhone, method: str, status: int) -> None:
    """BYE for no call is 481; a method the platform does not know is 405 with Allow."""
    with phone:
        phone.send(phone.request(method))
        response = phone.final(method)
        assert response.status == status
        assert status != 405 or "INVITE" in response["allow"]


def test_required_extension_is_refused(phone: RawPhone) -> None:
    """Require names something unknown: 420 says which (section 8.2.2.3)."""
    with phone:
        phone.dial(extra="Require: teleport")
        response = phone.final()
        assert response.status == 420
        assert response["unsupported"] == "teleport"
        phone.ack_failure(response)


def test_response_echoes_via_and_fills_rport(phone: RawPhone) -> None:
    """A response carries the request's Via letter by letter, with the source port filled in (RFC 3581)."""
    with phone:
        phone.send(phone.request("OPTIONS"))
        via = phone.final("OPTIONS")["via"]
        assert via.startswith(f"SIP/2.0/UDP 127.0.0.1:{phone.wire.port};branch={phone.branch};rport={phone.wire.port}")


def test_compact_header_names(phone: RawPhone) -> None:
    """Short header names mean the same (section 7.3.3)."""
    short = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Content-Length": "l", "Contact": "m"}
    with phone:
        text = phone.request("OPTIONS")
        for name, letter in short.items():
            text = text.replace(f"\r\n{name}: ", f"\r\n{letter}: ")
        phone.send(text)
        assert phone.final("OPTIONS").status == 200


def _answers_options(info: SandboxInfo) -> float:
    """Return how many seconds an OPTIONS takes."""
    with RawPhone(info) as phone:
        began = time.monotonic()
        phone.send(phone.request("OPTIONS"))
        assert phone.final("OPTIONS", timeout=5).status == 200
        return time.monotonic() - began


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "",
            '"',
            "<",
            "<sip:",
            ";tag=",
            "é" * 40,
            "Digest",
            'Digest nonce="é-é", realm="sip.nexmo.com"',
            "-1",
            "9" * 5000,
        ]
    ),
)
NAMES = st.sampled_from(
    [
        "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Authorization", "Content-Length", "Content-Type",
        "Record-Route", "Route", "Require", "Max-Forwards", "X-Odd",
    ]
)  # fmt: skip


def _with_header(text: str, name: str, value: str) -> bytes:
    lines = text.split("\r\n")
    kept = [line for line in lines if not line.lower().startswith(name.lower() + ":")]
    return "\r\n".join([kept[0], f"{name}: {value}", *kept[1:]]).encode(errors="replace")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=1500))
def test_random_datagrams_are_harmless(session_lab: Lab, noise: bytes) -> None:
    """Random bytes are dropped: nothing is answered and nothing breaks."""
    wire = Wire(session_lab.info)
    wire.send(noise)
    wire.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["INVITE", "OPTIONS", "BYE", "ACK", "CANCEL"]), name=NAMES, value=HOSTILE)
def test_hostile_headers_are_harmless(session_lab: Lab, method: str, name: str, value: str) -> None:
    """Requests with one mangled header are refused or dropped."""
    with RawPhone(session_lab.info) as phone:
        body = phone.offer() if method == "INVITE" else ""
        phone.wire.send(_with_header(phone.request(method, body=body), name, value))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, value=HOSTILE)
def test_hostile_headers_of_a_known_caller_are_harmless(lab: Lab, app: AnsweringApp, name: str, value: str) -> None:
    """A caller with the right password and one mangled header more is refused, ignored, or simply taken."""
    app.on("/answer", Reply(status=404))
    with RawPhone(lab.info) as phone:
        phone.challenge()
        phone.wire.send(_with_header(phone.invite(), name, value))
        for message in phone.silent(0.05):
            assert message.status in (100, 180, 400, 401, 403, 420, 480, 488), message


def test_still_well_after_the_abuse(session_lab: Lab, sandbox_home: Path) -> None:
    """After the garbage above: same process, no traceback in its log, quick answers even during a flood."""
    health = session_lab.ask("GET", "/health").json()
    assert health["instance"] == session_lab.info.instance
    times = []
    flood = Wire(session_lab.info)
    for _ in range(20):
        for _ in range(100):
            flood.send(b"\x00garbage\r\n" * 20)
        times.append(_answers_options(session_lab.info))
    flood.close()
    assert median(times) < 0.25, f"OPTIONS took {times}"
    log = sandbox_home.parent / f"{sandbox_home.name}.log"
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]


def test_hostile_reinvite_leaves_the_call_up(phone: RawPhone, lab: Lab, sandbox_home: Path) -> None:
    """Inside a call too a mangled Contact is refused or ignored, and the call goes on."""
    with phone:
        phone.call()
        lab.wait_joined(1)
        phone.wire.send(_with_header(phone.request("INVITE", body=phone.offer()), "Contact", "<<<"))
        refused: SipText = phone.final()
        if refused.status == 200:
            phone.send(phone.request("ACK", sequence=phone.sequence))
        else:
            phone.ack_failure(refused)
        assert len(lab.legs()) == 1
        phone.hang_up()
