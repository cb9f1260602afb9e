"""The platform's habits with callbacks, as `PUT /sandbox/callbacks` sets them: tries, fallbacks, doubles, disorder."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import jwt
import pytest

from sipkit.sandbox.voice.callback_habits import PROFILES, Habits
from tests.standins.answering_app import AnsweringApp, Asked, Reply
from tests.standins.lab import Lab, wait_for

STAY = [{"action": "conversation", "name": "habits"}]
HabitSetter = Callable[..., dict[str, Any]]


@pytest.fixture
def habits(lab: Lab) -> Iterator[HabitSetter]:
    """`habits(attempts=3, ...)` sets some; after the test they are as they were."""

    def change(**wanted: Any) -> dict[str, Any]:
        return dict(lab.ask("PUT", "/callbacks", json=wanted).json())

    yield change
    change(profile="2024")


def ids(asked: list[Asked]) -> list[str]:
    """The ids of the tokens."""
    tokens = [each.headers["authorization"].partition(" ")[2] for each in asked]
    return [jwt.decode(token, options={"verify_signature": False})["jti"] for token in tokens]


def test_habits_are_told_and_changed(lab: Lab, habits: HabitSetter) -> None:
    """A profile sets everything, single habits change one thing, and GET tells all."""
    assert lab.ask("GET", "/callbacks").json() == asdict(Habits())
    told = habits(profile="tcp3-http5", event_attempts=2)
    assert told == {**asdict(PROFILES["tcp3-http5"]), "event_attempts": 2}
    assert habits(shuffle=True) == {**told, "shuffle": True}
    assert lab.ask("GET", "/callbacks").json()["attempts"] == 3
    assert habits(profile="2024") == asdict(Habits())


@pytest.mark.parametrize(
    "wanted",
    [
        {"profile": "1999"},
        {"attempts": 0},
        {"attempts": 6},
        {"attempts": True},
        {"fallback_attempts": "2"},
        {"connect_timeout": 0},
        {"answer_timeout": 11},
        {"duplicate": 1},
        {"nonsense": 1},
        [],
    ],
)
def test_nonsense_is_refused(lab: Lab, habits: HabitSetter, wanted: Any) -> None:
    """What is unknown or out of range changes nothing and is named."""
    assert lab.ask("PUT", "/callbacks", json=wanted, status=400).json()["error"]
    assert lab.ask("GET", "/callbacks").json() == asdict(Habits())


def test_attempts_and_fallback_attempts(lab: Lab, app: AnsweringApp, habits: HabitSetter) -> None:
    """Both URLs are tried as often as is set, each with its own token, before the call is given up."""
    habits(attempts=3, fallback_attempts=2)
    lab.point(app.url, fallback_answer_url={"address": f"{app.url}/fallback", "http_method": "GET"})
    app.on("/answer", Reply(status=503))
    app.on("/fallback", Reply(status=503))
    lab.dial().wait("ended")
    assert len(app.asked("/answer")) == 3
    assert len(app.asked("/fallback")) == 2
    first, second = set(ids(app.asked("/answer"))), set(ids(app.asked("/fallback")))
    assert (len(first), len(second)) == (1, 1)
    assert first != second


def test_a_retry_may_have_a_token_of_its_own(lab: Lab, app: AnsweringApp, habits: HabitSetter) -> None:
    """Which of the two Vonage does is not documented, so both can be had."""
    habits(retry_keeps_token=False)
    app.on("/answer", lambda _: Reply(status=503) if len(app.asked("/answer")) == 1 else Reply(STAY))
    lab.dial().wait("answered")
    assert len(set(ids(app.asked("/answer")))) == 2


def test_events_are_tried_as_often_as_set(lab: Lab, app: AnsweringApp, habits: HabitSetter) -> None:
    """An event URL that is too busy is asked once; or more often, when that is the habit."""
    app.on("/event", Reply(status=503))
    app.on("/answer", STAY)
    habits(event_attempts=2)
    phone = lab.dial()
    phone.wait("answered")
    phone.hang_up()
    wait_for(lambda: app.statuses().count("completed") == 2, what="the last event's second try")
    assert all(count == 2 for count in Counter(ids(app.asked("/event"))).values())


def test_events_as_post_whatever_the_setting(lab: Lab, app: AnsweringApp, habits: HabitSetter) -> None:
    """With GET configured, events come as POST all the same; the answer URL is still asked by GET."""
    lab.point(app.url, event_method="GET")
    habits(events_as_post=True)
    app.on("/answer", STAY)
    phone = lab.dial()
    phone.wait("answered")
    phone.hang_up()
    wait_for(lambda: "completed" in app.statuses(), what="the last event")
    assert {asked.method for asked in app.asked("/event")} == {"POST"}
    assert {asked.method for asked in app.asked("/answer")} == {"GET"}


def test_duplicates(lab: Lab, app: AnsweringApp, habits: HabitSetter) -> None:
    """Each request comes twice with the same token, and the call goes its way once."""
    habits(duplicate=True)
    app.on("/answer", STAY)
    phone = lab.dial()
    phone.wait("answered")
    assert len(lab.wait_joined(1)) == 1
    phone.hang_up()
    wait_for(lambda: app.statuses().count("completed") == 2, what="both last events")
    assert set(Counter(ids(app.asked())).values()) == {2}


def test_shuffled_events_are_all_there(lab: Lab, app: AnsweringApp, habits: HabitSetter) -> None:
    """Out of order means just that: no event is lost, and at least one overtakes another."""
    habits(shuffle=True)
    app.on("/answer", STAY)
    phone = lab.dial()
    phone.wait("answered")
    lab.wait_joined(1)
    phone.hang_up()
    wait_for(lambda: len(app.statuses()) == 4, what="all events")
    wanted = ["started", "ringing", "answered", "completed"]
    assert sorted(app.statuses()) == sorted(wanted)
    assert app.statuses()[:2] == ["ringing", "started"]


def test_an_application_without_signed_callbacks(lab: Lab, app: AnsweringApp) -> None:
    """Who switches signed callbacks off gets them unsigned."""
    path = f"{lab.info.api_url}/v2/applications/{lab.info.application_id}"

    def sign(signed: bool) -> None:
        now = lab._http.get(path, timeout=10).json()
        body = {name: now[name] for name in ("name", "capabilities")}
        body["capabilities"]["voice"]["signed_callbacks"] = signed
        lab._http.put(path, json=body, timeout=10).raise_for_status()

    app.on("/answer", STAY)
    sign(False)
    try:
        lab.dial().wait("answered")
    finally:
        sign(True)
    assert "authorization" not in app.asked("/answer")[0].headers
