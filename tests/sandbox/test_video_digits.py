"""play-dtmf and force mute: what a session's server does to the far end of a dialled leg."""

import asyncio
import time
from typing import Any

import pytest
import requests

from sipkit.sandbox.video.moderation import MAX_DIGITS
from sipkit.sandbox.video.presence import Event, StreamChanged
from sipkit.sandbox.video.session_id import new_session_id
from sipkit.sandbox.video.sip_leg import SipLeg
from tests.standins.answering_app import AnsweringApp
from tests.standins.ear import last, strength
from tests.standins.lab import Lab, wait_for
from tests.standins.video_api import VideoApi


def play(video: VideoApi, path: str, body: Any, name: str = "project") -> requests.Response:
    """POST a play-dtmf below the project."""
    url = f"{video.project.replace('/project/', f'/{name}/')}/session/{path}/play-dtmf"
    return requests.post(url, json=body, headers=video.auth(), timeout=10)


@pytest.mark.parametrize("name", ["project", "projects"])
def test_digits_go_to_one_leg_or_to_all(video: VideoApi, name: str) -> None:
    """Both spellings of the path work, and without a connection every SIP leg of that session hears the digits."""
    session_id, other = video.routed(), video.routed()
    first, second = (video.dial(session_id).json()["connectionId"] for _ in range(2))
    video.dial(other)
    answer = play(video, f"{session_id}/connection/{first}", {"digits": "12#p*"}, name)
    assert (answer.status_code, answer.text) == (200, "")
    assert play(video, session_id, {"digits": "0"}, name).status_code == 200
    assert video.gateway.played == [(first, "12#p*"), (first, "0"), (second, "0")]


@pytest.mark.parametrize(
    "body",
    [{}, {"digits": ""}, {"digits": "12a"}, {"digits": "1 2"}, {"digits": 12}, {"digits": "1" * (MAX_DIGITS + 1)}],
)
def test_wrong_digits_are_refused(video: VideoApi, body: dict[str, Any]) -> None:
    """400, and nothing is played."""
    session_id = video.routed()
    video.dial(session_id)
    assert play(video, session_id, body).status_code == 400
    assert video.gateway.played == []


def test_digits_need_somebody_to_hear_them(video: VideoApi) -> None:
    """404 for a session or connection that is not there, 400 for what is no session id or no SIP connection."""
    session_id = video.routed()
    synthetic = video.sessions.add(video.sessions._sessions[session_id], "synthetic", "").id
    for path, status in (
        (f"{session_id}/connection/nobody", 404),
        (f"{session_id}/connection/{synthetic}", 400),
        ("nonsense", 400),
        (new_session_id(video.credentials.video_api_key), 404),
    ):
        assert play(video, path, {"digits": "1"}).status_code == status
    assert video.gateway.played == []


def test_digits_reach_the_far_end_with_their_pauses(lab: Lab, app: AnsweringApp) -> None:
    """The SIP leg's call document reads the digits played into it; `p` really waits half a second."""
    app.on(
        "/answer",
        [
            {
                "action": "input",
                "type": ["dtmf"],
                "dtmf": {"maxDigits": 5, "timeOut": 5},
                "eventUrl": [f"{app.url}/input"],
            }
        ],
    )
    app.on("/input", [{"action": "conversation", "name": "after"}])
    session_id = lab.session()
    connection = lab.sip_dial(session_id, headers={"X-Sipkit-Dial": "nonce-1"})
    wait_for(lambda: lab.legs() and lab.legs()[0]["state"] == "answered", what="the answered leg")
    assert app.asked("/answer")[0].fields["SipHeader_X-Sipkit-Dial"] == "nonce-1"
    began = time.monotonic()
    lab.video.play_dtmf(session_id, connection, "12pp#")
    lab.video.play_dtmf(session_id, None, "*7")
    lab.wait_joined(1, name="after")
    assert app.asked("/input")[0].fields["dtmf"]["digits"] == "12#*7"
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("observes", [True, False])
def test_a_leg_follows_force_mutes_only_when_told_to(video: VideoApi, observes: bool) -> None:
    """With observeForceMute it is muted by mute and mute-all, not when excluded, and *6 switches; else never."""

    async def story() -> None:
        sessions = video.sessions
        session = sessions.create(True)
        connection = sessions.add(session, "sip", "")
        sessions.connected(connection.id)
        told: list[Event] = []
        stop = sessions.listen(told.append, session)
        leg = SipLeg(sessions, session, connection, observes=observes)
        sessions.force_mute_all(session, [connection.stream_id])
        assert not leg.audio.muted
        sessions.force_mute_all(session, [])
        assert leg.audio.muted is observes
        sessions.disable_force_mute(session)
        assert leg.audio.muted is observes
        for digit in "6*6":
            leg._pressed(digit)
        assert not leg.audio.muted
        sessions.force_mute(session, connection.stream_id)
        assert leg.audio.muted is observes
        changes = [event.new for event in told if isinstance(event, StreamChanged)]
        assert changes == ([False, True, False] if observes else [])
        leg.close()
        stop()

    asyncio.run(story())


def test_a_leg_dialled_into_a_muted_session_begins_muted(video: VideoApi) -> None:
    """The session's mute state counts for who comes later, when the leg observes it."""

    async def story() -> None:
        session = video.sessions.create(True)
        video.sessions.force_mute_all(session, [])
        for observes in (True, False):
            connection = video.sessions.add(session, "sip", "")
            leg = SipLeg(video.sessions, session, connection, observes=observes)
            assert leg.audio.muted is observes
            leg.close()

    asyncio.run(story())


def test_a_force_muted_phone_is_not_heard_in_the_session(lab: Lab, app: AnsweringApp) -> None:
    """The phone side falls silent for the session when a leg that observes force mute is muted."""
    app.on("/answer", [{"action": "conversation", "name": "room"}])
    session_id = lab.session()
    listener = lab.participant(session_id)
    lab.sip_dial(session_id, observeForceMute=True)
    phone = lab.dial()
    lab.wait_joined(2)
    phone.post("tone", json={"hz": 600})
    wait_for(lambda: strength(last(listener.recording(), 0.5), 600) > -40, what="the phone's tone")
    lab.video.mute_all(session_id, [])
    wait_for(lambda: strength(last(listener.recording(), 0.3), 600) < -70, what="silence")


def test_a_leg_hears_only_the_streams_it_was_dialled_for(lab: Lab, app: AnsweringApp) -> None:
    """`streams` of a dial: the phone side hears the named participant and not the other one."""
    app.on("/answer", [{"action": "conversation", "name": "room"}])
    session_id = lab.session()
    lab.participant(session_id, tone_hz=400)
    lab.participant(session_id, tone_hz=900)
    wait_for(lambda: len(lab.video.list_streams(session_id)) == 2, what="both streams")
    wanted = lab.video.list_streams(session_id).items[0].id
    lab.sip_dial(session_id, streams=[wanted])
    phone = lab.dial()
    lab.wait_joined(2)

    def wanted_alone() -> bool:
        heard = last(phone.recording(), 0.5)  # not its beginning, which has a little of every frequency
        return strength(heard, 400) > -40 and strength(heard, 900) < -60

    wait_for(wanted_alone, what="the wanted tone, and nothing of the other")
