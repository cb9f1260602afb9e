"""Calls that the application makes: phones that are rung, and how each call ends in the events."""

import time
from typing import Any

import pytest

from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for
from tests.standins.voice_client import VoiceClient

PHONE = "12025550177"
HOLD = [{"action": "conversation", "name": "outbound"}]


@pytest.fixture
def client(lab: Lab) -> VoiceClient:
    """The Voice REST API as the application uses it."""
    lab.ask("DELETE", "/limits")
    return VoiceClient(lab.info)


def ended(app: AnsweringApp, leg: str, status: str) -> dict[str, Any]:
    """Wait for the last event of a leg."""

    def last() -> dict[str, Any] | None:
        return next((each for each in app.events(leg) if each.get("status") == status), None)

    return dict(wait_for(last, what=f"the event {status}; seen: {app.statuses(leg)}"))


def test_a_phone_is_rung_talks_and_is_hung_up(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """A created call rings the phone, executes its document, and a hangup over REST completes it."""
    phone = lab.expect(PHONE)
    leg = client.create(PHONE, ncco=HOLD)
    phone.wait("answered")
    lab.wait_joined(1, name="outbound")
    assert client.ask("PUT", f"/{leg}", {"action": "hangup"}, 204) == {}
    assert phone.wait("ended")["reason"] == "remote BYE"
    last = ended(app, leg, "completed")
    assert app.statuses(leg) == ["started", "ringing", "answered", "completed"]
    assert (last["direction"], last["to"], last["disconnected_by"]) == ("outbound", PHONE, "platform")
    shown = client.ask("GET", f"/{leg}")
    assert shown["status"] == "completed"
    assert shown["to"] == {"type": "phone", "number": PHONE}
    assert float(shown["price"]) > 0
    client.ask("PUT", f"/{leg}", {"action": "hangup"}, 404)


@pytest.mark.parametrize(
    ("wish", "status", "detail"),
    [
        ({"busy": True}, "busy", None),
        ({"reject": 603}, "rejected", "declined"),
        ({"reject": 480}, "unanswered", "unavailable"),
        (None, "failed", "number_out_of_service"),
    ],
)
def test_a_call_that_is_not_answered_says_why(
    lab: Lab, app: AnsweringApp, client: VoiceClient, wish: dict[str, Any] | None, status: str, detail: str | None
) -> None:
    """Busy, refused, absent and unknown phones each end in their own status."""
    if wish is not None:
        lab.expect(PHONE, **wish)
    leg = client.create(PHONE, ncco=HOLD)
    assert ended(app, leg, status).get("detail") == detail
    assert client.ask("GET", f"/{leg}")["status"] == status


def test_the_ringing_timer_and_a_hangup_cancel_a_ringing_call(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """A phone that rings too long is `timeout`; one hung up while it rings is `cancelled`."""
    slow = lab.expect(PHONE, answer_after=60)
    leg = client.create(PHONE, ncco=HOLD, ringing_timer=1)
    ended(app, leg, "timeout")
    assert slow.wait("ended")["reason"] == "cancelled"
    other = lab.expect(PHONE, answer_after=60)
    leg = client.create(PHONE, ncco=HOLD)
    other.wait("ringing")
    client.ask("PUT", f"/{leg}", {"action": "hangup"}, 204)
    ended(app, leg, "cancelled")


def test_a_sip_endpoint_off_this_machine_is_never_called(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """The sandbox calls nobody outside: such an endpoint fails with cannot_route."""
    leg = client.create({"type": "sip", "uri": "sip:a@sip.example.com"}, ncco=HOLD)
    assert ended(app, leg, "failed")["detail"] == "cannot_route"


def test_a_sip_endpoint_on_this_machine_gets_the_headers(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """A `sip:` endpoint is called at its port, with X- headers and User-to-User in the INVITE."""
    port = lab.info.sip_udp.rpartition(":")[2]
    uri = f"sip:nobody@127.0.0.1:{port}"
    headers = {"headers": {"room": "7"}, "standard_headers": {"User-to-User": "ab;encoding=hex"}}
    leg = client.create({"type": "sip", "uri": uri, **headers}, ncco=HOLD)
    # The sandbox's own SIP server challenges it, and nobody gave the call credentials.
    ended(app, leg, "failed")
    invite = next(each for each in lab.trace(kind="sip") if "INVITE" in str(each) and "nobody" in str(each))
    assert "X-room" in str(invite)
    assert "ab;encoding=hex" in str(invite)


def test_connect_rings_a_phone_and_both_hear_each_other(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """A caller is connected with a phone; when that phone hangs up, the caller's document goes on and ends."""
    called = lab.expect(PHONE)
    endpoint = {"type": "phone", "number": PHONE}
    app.on("/answer", [{"action": "connect", "endpoint": [endpoint], "from": lab.info.number}])
    phone = lab.dial()
    called.wait("answered")
    lab.wait_joined(2)
    legs = lab.legs()
    assert {leg["direction"] for leg in legs} == {"inbound", "outbound"}
    for each in (phone, called):
        each.wait("answered")
        each.post("tone", json={"hz": 700, "seconds": 3})
    for each in (phone, called):
        wait_for(lambda each=each: each.show()["heard"]["seconds"] > 0.3, what="the other's tone")  # type: ignore[misc]
    called.hang_up()
    assert phone.wait("ended")["reason"] == "remote BYE"


def test_a_synchronous_connect_that_fails_is_replaced(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """The answer to the failed leg's event is the caller's next document."""
    lab.expect(PHONE, busy=True)
    endpoint = {"type": "phone", "number": PHONE}
    connect = {"action": "connect", "endpoint": [endpoint], "from": lab.info.number, "eventType": "synchronous"}
    app.on("/answer", [{**connect, "eventUrl": [f"{app.url}/input/busy"]}])

    def fallback(asked: Any) -> list[dict[str, Any]]:
        return [{"action": "conversation", "name": "voicemail"}] if asked.fields["status"] == "busy" else []

    app.on("/input/busy", fallback)
    lab.dial()
    lab.wait_joined(1, name="voicemail")
    assert [each.fields["status"] for each in app.asked("/input/busy")] == ["started", "busy"]


def test_the_called_leg_is_hung_up_with_its_caller(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """A caller that gives up while the phone rings leaves no ringing phone behind."""
    called = lab.expect(PHONE, answer_after=60)
    app.on("/answer", [{"action": "connect", "endpoint": [{"type": "phone", "number": PHONE}], "from": "1202"}])
    phone = lab.dial()
    called.wait("ringing")
    phone.hang_up()
    assert called.wait("ended")["reason"] == "cancelled"


def test_calls_beyond_the_limit_are_refused(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """Three calls a second are the documented limit; the next one is 429 in the API's own shape; switched off, not."""
    assert lab.ask("GET", "/limits").json()["calls"] == 3
    lab.ask("PUT", "/limits", json={"calls": 0})
    answer = client.post(PHONE, ncco=HOLD)
    assert (answer.status_code, answer.json()["type"]) == (429, "TOO_MANY_REQUESTS")
    lab.ask("PUT", "/limits", json={"enforce": False})
    assert client.post(PHONE, ncco=HOLD).status_code == 201
    lab.ask("DELETE", "/limits")


def test_a_call_refused_for_being_one_too_many_counts_for_no_rate(lab: Lab, client: VoiceClient) -> None:
    """Calls beyond the concurrent ones are 429 and use up nothing of the calls a second."""
    lab.ask("PUT", "/limits", json={"concurrent_calls": 0, "calls": 1})
    assert [client.post(PHONE, ncco=HOLD).status_code for _ in range(2)] == [429, 429]
    lab.ask("PUT", "/limits", json={"concurrent_calls": None})
    assert client.post(PHONE, ncco=HOLD).status_code == 201
    lab.ask("DELETE", "/limits")


def test_requests_beyond_the_rate_are_refused(lab: Lab, client: VoiceClient) -> None:
    """Fifteen requests a second are the documented limit; beyond what is set here, the next one is 429."""
    assert lab.ask("GET", "/limits").json()["voice"] == 15
    lab.ask("PUT", "/limits", json={"voice": 0})
    assert client.request("GET", "").status_code == 429
    lab.ask("DELETE", "/limits")
    assert client.request("GET", "").status_code == 200


@pytest.mark.parametrize(
    "wish",
    [
        {"number": "abc"},
        {"number": PHONE, "answer_after": -1},
        {"number": PHONE, "answer_after": True},
        {"number": PHONE, "busy": "yes"},
        {"number": PHONE, "reject": 200},
    ],
)
def test_an_expectation_that_makes_no_sense_is_refused(lab: Lab, wish: dict[str, Any]) -> None:
    """Wrong numbers, times and refusals are 400."""
    lab.ask("POST", "/phones/expect", json=wish, status=400)


def test_only_a_fresh_jwt_of_the_application_is_let_in(lab: Lab, client: VoiceClient) -> None:
    """No token, a stale one, one of no application and one without an id are 401; a call of nobody is 404."""
    now = int(time.time())
    for token in (
        "",
        "nonsense",
        client.token(exp=now - 3600),
        client.token(iat=now + 3600),
        client.token(application_id=None),
        client.token(application_id="another"),
        client.token(jti=None),
        client.token(application_id=None)[:-4] + "AAAA",
    ):
        answer = client.request("GET", "", token=token)
        assert answer.status_code == 401
        assert answer.json()["type"] == "UNAUTHORIZED"
    assert client.request("GET", "").status_code == 200
    client.ask("GET", "/nobody", status=404)


def test_digits_are_listened_to_over_rest(lab: Lab, app: AnsweringApp, client: VoiceClient) -> None:
    """Every digit is posted to the URL that subscribed, until it unsubscribes; digits can be played to a phone."""
    phone = lab.expect(PHONE)
    leg = client.create({"type": "phone", "number": PHONE, "dtmfAnswer": "1p2"}, ncco=HOLD)
    lab.wait_joined(1, name="outbound")
    client.ask("PUT", f"/{leg}/input/dtmf", {"event_url": [f"{app.url}/event/digit"]})
    phone.keys("5")
    wait_for(lambda: app.asked("/event/digit"), what="the digit")
    assert app.asked("/event/digit")[0].fields["dtmf"]["digits"] == "5"
    client.ask("DELETE", f"/{leg}/input/dtmf")
    client.ask("PUT", f"/{leg}/input/dtmf", {}, 400)
    client.ask("PUT", f"/{leg}/dtmf", {"digits": "x"}, 400)
    client.ask("PUT", f"/{leg}", {"action": "fly"}, 400)
