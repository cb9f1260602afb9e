"""Garbage and hostile headers thrown at the voice side's SIP: nothing crashes, nothing slows down."""

import time
from pathlib import Path
from statistics import median

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab
from tests.standins.raw_phone import RawPhone
from tests.standins.raw_wire import SipText, Wire

STAY = [{"action": "conversation", "name": "hygiene"}]


@pytest.fixture
def phone(lab: Lab, app: AnsweringApp) -> RawPhone:
    """A UDP phone; the application lets it stay in a conversation."""
    app.on("/answer", STAY)
    return RawPhone(lab.info)


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
    """Random bytes are dropped: the first answer is the one to the OPTIONS sent after them."""
    with RawPhone(session_lab.info) as phone:
        phone.wire.send(noise)
        phone.send(phone.request("OPTIONS"))
        assert phone.receive().status == 200


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["INVITE", "OPTIONS", "BYE", "ACK", "CANCEL"]), name=NAMES, value=HOSTILE)
def test_hostile_headers_are_harmless(session_lab: Lab, method: str, name: str, value: str) -> None:
    """Requests with one mangled header are refused or dropped, and the next one is answered."""
    with RawPhone(session_lab.info) as phone:
        body = phone.offer() if method == "INVITE" else ""
        phone.wire.send(_with_header(phone.request(method, body=body), name, value))
    _answers_options(session_lab.info)


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
