"""The SIP gateway: a session's calls out, seen by the vendor's SDK, the application, the trace and the ledger."""

import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from sipkit.sandbox.home import Home
from sipkit.sandbox.media.leg import RtpLeg
from sipkit.sandbox.video import gateway
from tests.standins import ear
from tests.standins.answering_app import AnsweringApp, Reply
from tests.standins.lab import Lab, wait_for


def _room(name: str, *, end_on_exit: bool = True) -> list[dict[str, Any]]:
    return [{"action": "conversation", "name": name, "endOnExit": end_on_exit}]


def _destroyed(lab: Lab, connection: str, since: int | None = None) -> list[dict[str, Any]]:
    """Wait until a connection is destroyed; returns its events."""

    def events() -> list[dict[str, Any]]:
        return [each for each in lab.trace(since, "connection") if each["connectionId"] == connection]

    wait_for(lambda: any(each["event"] == "destroyed" for each in events()), what="the destroyed connection")
    assert connection not in [each["id"] for each in lab.ledger()["connections"]]
    return events()


def test_wrong_sip_password(lab: Lab, app: AnsweringApp) -> None:
    """The dial is answered with ids all the same; then the connection goes away, with the reason in the trace."""
    since = lab.now()
    connection = lab.sip_dial(lab.session(), auth={"username": lab.info.voice_api_key, "password": "wrong"})
    events = _destroyed(lab, connection, since)
    assert [each["event"] for each in events] == ["created", "call failed", "destroyed"]
    assert events[1]["reason"] == "403 Forbidden"
    assert app.asked() == []
    assert lab.legs() == []


def test_no_credentials(lab: Lab, app: AnsweringApp) -> None:
    """A dial without credentials fails at the challenge."""
    connection = lab.sip_dial(lab.session(), auth={})
    assert _destroyed(lab, connection)[1]["reason"] == "401 Unauthorized"


def test_encrypted_media_is_refused(lab: Lab, app: AnsweringApp) -> None:
    """secure:true is not in the sandbox: the connection is destroyed and the trace says why."""
    connection = lab.sip_dial(lab.session(), secure=True)
    assert "SRTP" in _destroyed(lab, connection)[1]["reason"]
    assert app.asked() == []


@pytest.mark.parametrize("host", ["sip.example.com", "127.0.0.1", "localhost", "sip.nexmo.com.example.org"])
def test_no_other_host_is_called(lab: Lab, app: AnsweringApp, host: str) -> None:
    """Whatever the dial says, no message leaves for a host that is not Vonage's voice side."""
    since = lab.now()
    session = lab.session()
    try:
        connection = lab.sip_dial(session, uri=f"sip:{lab.info.number}@{host}")
    except Exception as error:  # noqa: BLE001 - the SDK's errors for refusals are many
        assert str(error)  # noqa: PT017 - refusing at once is one of two right answers
    else:
        _destroyed(lab, connection, since)
    # The voice side may still be repeating answers to phones of tests before.
    assert [each for each in lab.trace(since, "sip") if each["ua"] != "voice"] == []


def test_force_disconnect_while_it_rings(lab: Lab, app: AnsweringApp) -> None:
    """Force-disconnect before the answer cancels the call: CANCEL, 487, no leg, the application hears `cancelled`."""
    gate = threading.Event()
    app.on("/answer", Reply(_room("late"), gate=gate))
    session, since = lab.session(), lab.now()
    connection = lab.sip_dial(session)
    wait_for(lambda: [leg for leg in lab.legs() if leg["state"] == "ringing"], what="the ringing leg")
    lab.video.force_disconnect(session, connection)
    gate.set()
    events = {each["event"]: each.get("reason") for each in _destroyed(lab, connection, since)}
    assert events["destroyed"] == "forceDisconnected"
    assert "connected" not in events
    lab.wait_legs(0)
    lines = [each["first_line"] for each in lab.trace(since, "sip") if each["ua"] == "voice"]
    assert any(line.startswith("CANCEL ") for line in lines)
    assert "487 Request Terminated" in lines
    assert not any(line.startswith("BYE ") for line in lines)
    wait_for(lambda: "cancelled" in app.statuses(), what="the cancelled event")


def test_force_disconnect_of_a_call(lab: Lab, app: AnsweringApp) -> None:
    """Force-disconnect of an answered call says BYE; with endOnExit the phones in the room are hung up too."""
    session = lab.session()
    app.on("/answer", _room(session))
    connection = lab.sip_dial(session)
    phone = lab.dial()
    lab.wait_joined(2)
    since = lab.now()
    lab.video.force_disconnect(session, connection)
    assert _destroyed(lab, connection, since)[-1]["reason"] == "forceDisconnected"
    assert phone.wait("ended")["reason"] == "remote BYE"
    lab.wait_legs(0)
    byes = [e for e in lab.trace(since, "sip") if e["ua"] == "gateway" and e["first_line"].startswith("BYE ")]
    assert len(byes) == 1
    assert byes[0]["dir"] == "sent"


def test_far_end_hangs_up(lab: Lab, app: AnsweringApp) -> None:
    """When the platform ends the call, the connection is destroyed as by its client."""
    app.on("/answer", [{"action": "input", "type": ["dtmf"], "dtmf": {"timeOut": 0.3}}])
    connection = lab.sip_dial(lab.session())
    events = _destroyed(lab, connection)
    assert [each["event"] for each in events] == ["created", "connected", "destroyed"]
    assert events[-1]["reason"] == "clientDisconnected"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_headers_survive_the_challenge(lab: Lab, app: AnsweringApp, transport: str) -> None:
    """Over each transport both INVITEs, before and after the 401, carry the session id and the custom headers."""
    session, since = lab.session(), lab.now()
    app.on("/answer", _room(session))
    uri = f"sip:{lab.info.number}@sip.nexmo.com;transport={transport}"
    lab.sip_dial(session, uri=uri, headers={"X-Colour": "Blue"})
    lab.wait_joined(1)
    invites = [
        each
        for each in lab.trace(since, "sip")
        if (each["ua"], each["dir"]) == ("voice", "received") and each["first_line"].startswith("INVITE ")
    ]
    assert {each["transport"] for each in invites} == {transport}
    assert ["Authorization" in each["message"] for each in invites] == [False, True]
    for invite in invites:
        assert f"X-OpenTok-SessionId: {session}" in invite["message"]
        assert "X-Colour: Blue" in invite["message"]


def test_caller_is_shown(lab: Lab, app: AnsweringApp) -> None:
    """`from` is the caller; without it the gateway's anonymous number is."""
    session = lab.session()
    app.on("/answer", _room(session, end_on_exit=False))
    options: dict[str, Any] = {"from": "14155550101@example.com"}
    lab.sip_dial(session, **options)
    lab.wait_joined(1)
    lab.sip_dial(session)
    lab.wait_joined(2)
    assert [asked.fields["from"] for asked in app.asked("/answer")] == ["14155550101", "+00000000"]


def test_two_bridges_of_one_session_share_its_audio(lab: Lab, app: AnsweringApp) -> None:
    """A session with a leg in each of two conversations carries a phone's tone from one to the other."""
    session = lab.session()
    app.on(
        "/answer", lambda asked: _room(asked.fields.get("SipHeader_X-Room") or asked.fields["from"], end_on_exit=False)
    )
    for number in ("12025550001", "12025550002"):
        lab.sip_dial(session, headers={"X-Room": number})
    phones = [lab.dial(from_=number) for number in ("12025550001", "12025550002")]
    lab.wait_joined(4)
    phones[0].wait("answered")
    phones[0].post("tone", json={"hz": 800, "seconds": 6})
    wait_for(lambda: ear.strength(ear.last(phones[1].recording(), 0.5), 800) > -20, what="the tone next door")


@pytest.mark.parametrize(("limit", "value"), [("MEDIA_LIMIT", 1.0), ("CALL_LIMIT", 1.0)])
def test_limits_end_the_call(
    own_lab: Lab, session_app: AnsweringApp, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    """Five minutes without media, or six hours (here: a second), end the call and the connection."""
    monkeypatch.setattr(gateway, limit, value)
    if limit == "MEDIA_LIMIT":
        monkeypatch.setattr(RtpLeg, "send", lambda *_: None)
    session_app.on("/answer", _room("limits"))
    connection = own_lab.sip_dial(own_lab.session())
    events = _destroyed(own_lab, connection)
    assert [each["event"] for each in events] == ["created", "connected", "destroyed"]
    own_lab.wait_legs(0)


def test_nobody_answers(own_lab: Lab, session_app: AnsweringApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A far end that rings too long is cancelled and the connection destroyed."""
    monkeypatch.setattr(gateway, "RING_LIMIT", 0.5)
    gate = threading.Event()
    session_app.on("/answer", Reply(gate=gate))
    connection = own_lab.sip_dial(own_lab.session())
    assert _destroyed(own_lab, connection)[-1]["reason"] == "networkDisconnected"
    gate.set()
    own_lab.wait_legs(0)
    assert any(each["first_line"].startswith("CANCEL ") for each in own_lab.trace(kind="sip"))


@pytest.fixture
def foreign_authority(tmp_path: Path) -> None:
    """Let the sandbox of `own_lab` trust another authority than the one that signed its certificate."""
    home = Home.open(tmp_path / "own-sandbox")
    home.ca_file.write_bytes(trustme.CA().cert_pem.bytes())


def test_certificate_of_the_platform_is_verified(
    foreign_authority: None, own_lab: Lab, session_app: AnsweringApp
) -> None:
    """A platform that shows a certificate of a stranger's authority is not called over TLS, nor by phones."""
    session_app.on("/answer", _room("tls"))
    connection = own_lab.sip_dial(own_lab.session())
    assert "CERTIFICATE_VERIFY_FAILED" in _destroyed(own_lab, connection)[1]["reason"]
    assert "no connection" in own_lab.dial("tls").wait("ended")["reason"]
    assert session_app.asked() == []


def test_a_participant_made_to_leave_takes_its_voice_along(lab: Lab) -> None:
    """Force-disconnected like any client, it is silent at once for those who stay, and cannot be asked any more."""
    session = lab.session()
    listener, singer = lab.participant(session), lab.participant(session, tone_hz=500)
    wait_for(lambda: ear.strength(ear.last(listener.recording(), 0.5), 500) > -20, what="the tone")
    lab.video.force_disconnect(session, singer.id)
    wait_for(lambda: ear.strength(ear.last(listener.recording(), 0.5), 500) < -50, what="silence")
    lab.ask("GET", f"/sessions/{session}/participants/{singer.id}", status=404)
