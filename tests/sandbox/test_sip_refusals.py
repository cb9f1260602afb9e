"""Calls the voice side does not take, and the words it refuses them with; by a hand-made phone."""

import re

import pytest

from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab
from tests.standins.raw_phone import RawPhone

STAY = [{"action": "conversation", "name": "hygiene"}]


@pytest.fixture
def phone(lab: Lab, app: AnsweringApp) -> RawPhone:
    """A UDP phone; the application lets it stay in a conversation."""
    app.on("/answer", STAY)
    return RawPhone(lab.info)


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
