"""What a host does to phones and door from the room page, over HTTP: with real calls, and against who is no host."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from pydantic import SecretStr

from sipkit.app import create_app
from sipkit.invitations import grant, invite
from sipkit.phrases import ENGLISH
from sipkit.room_page import DEEDS
from sipkit.rooms import Room
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from tests.standins.room_visitor import Answer, Visitor, through_app, through_http
from tests.test_doctor import pem
from tests.test_hosting import SECONDS, called, requests_to, said, there
from tests.test_room_page import ACCOUNT, SESSION

NUMBER = "12025550123"
LEG = "63f61863-4a51-4f6b-86e1-46edebio0391"
Enter = Callable[..., Visitor]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a sandbox with an empty data folder."""
    return Settings.load(mode="sandbox", home=tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store."""
    store = Store.open(f"sqlite:///{tmp_path / 'sipkit.db'}", ACCOUNT.environment)
    yield store
    store.close()


@pytest.fixture
def room(store: Store) -> Room:
    """An open room, with a phone in it."""
    room = store.open_room("standup", lambda: SESSION)
    store.caller_seen(LEG, NUMBER, "joined", room.id)
    return room


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    """The app; nothing answers at its account's addresses, so a request that is tried is an error of 503."""
    return create_app(settings, replace(ACCOUNT, private_key=SecretStr(pem())), store)


@pytest.fixture
def enter(app: Flask, store: Store, room: Room) -> Enter:
    """`enter(role="guest")`: open the page by a new invitation."""

    def enter(role: str = "guest", at: Room = room) -> Visitor:
        made = invite(store, at, grant(store, at, role, "owner"), "12025550100", "http://h", "http://h")
        return Visitor(through_app(app), made.url)

    return enter


def do(visitor: Visitor, deed: str, **body: Any) -> Answer:
    """Do something to the only phone that a host sees."""
    (phone,) = visitor.state().json["hosting"]["phones"]
    return visitor.post(f"phones/{phone['id']}/{deed}", body)


def test_a_phone_from_the_lobby_to_the_door(hall: Switchboard) -> None:
    """From the page a host admits, mutes, asks to unmute, renames and removes a phone; two hosts ask for it once."""
    room = hall.open_room("paged")
    hall.use_lobby(room)
    hall.dial_out(room)
    links = [hall.invite(room, "host").local_url for _ in range(2)]
    hosts = [Visitor(through_http("http://" + urlsplit(link).netloc), link) for link in links]

    def both(deed: str) -> list[str]:
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda host: do(host, deed), hosts))
        assert {answer.status for answer in answers} == {200}
        return sorted(answer.json["words"] for answer in answers)

    phone = called(hall, room.pin, NUMBER)
    (caller,) = there(hall, room, "waiting")
    who = f"Phone {caller.masked_number}"
    assert both("admit") == [f"{who} was admitted already.", f"{who} was admitted."]
    there(hall, room, "joined")
    assert both("mute") == [f"{who} is heard by nobody already.", f"{who} was muted."]
    assert both("ask-to-unmute") == [f"{who} was asked already.", f"{who} was asked to unmute itself."]
    assert said(hall, ENGLISH.text("unmute_asked", key="star 6"))
    assert hall.callers(room)[0].muted
    assert do(hosts[0], "rename", name="Grace").json["hosting"]["phones"][0]["name"] == "Grace"
    both("remove")
    phone.wait_for("ended", SECONDS)
    assert requests_to(hall, caller) == ["transfer", "mute", "talk", "hangup"]
    hall.close_room(room)


def test_guests_see_and_do_nothing_of_it(enter: Enter, store: Store, room: Room) -> None:
    """A guest's page has no list of phones and no door; each deed that it asks for all the same gets 403."""
    guest = enter()
    assert 'id="hosting"' not in guest.page.text
    assert set(guest.state().json) == {"visit", "ticket", "call", "unanswered", "callers"}
    phone = store.callers(room)[0].alias
    for what in ("admit", "mute", "ask-to-unmute", "lower-hand", "remove", "rename"):
        assert guest.post(f"phones/{phone}/{what}", {"name": "Mallory"}).status == 403
    assert guest.post("door", {"locked": True}).status == 403
    assert store.callers(room)[0].name == ""
    assert not store.rooms()[0].locked


def test_a_host_sees_no_number_and_no_leg(enter: Enter, store: Store) -> None:
    """A phone is four digits and an alias, in the page, its state and its answers."""
    host = enter("host")
    store.set_hand(LEG, up=True)
    texts = [host.page.text, host.state().text, do(host, "rename", name="Ada").text, do(host, "lower-hand").text]
    for text in texts:
        assert NUMBER not in text
        assert LEG not in text
    assert json.loads(texts[2])["words"] == "Phone •••0123 is called Ada now."
    assert json.loads(texts[3])["words"] == "Ada (phone •••0123) has its hand down again."
    (phone,) = json.loads(texts[3])["hosting"]["phones"]
    assert (phone["name"], phone["number"], phone["hand"]) == ("Ada", "•••0123", False)


def test_what_is_wrong_is_said_in_json(enter: Enter, store: Store) -> None:
    """Unknown phones and deeds, another room's phone, bad names and bad doors: 4xx, and nothing is done."""
    host = enter("host")
    for name in ("", " ", "x" * 65, "two\nlines", 7, None, ["Ada"]):
        assert do(host, "rename", name=name).status == 400
    assert do(host, "rename").status == 400
    assert do(host, "fire").status == 404
    for phone in ("0" * 12, LEG, "..", "%00"):
        assert host.post(f"phones/{phone}/mute").status == 404
    other = store.open_room("retro", lambda: "OTHER")
    elsewhere = enter("host", other)
    assert elsewhere.post(f"phones/{store.caller(LEG).alias}/mute").status == 404  # type: ignore[union-attr]
    for body in ({}, {"locked": 1}, {"locked": "yes"}, {"lobby": None}, {"pin": True}):
        refused = host.post("door", body)
        assert refused.status == 400
        assert "error" in refused.json
    assert store.caller(LEG).name == ""  # type: ignore[union-attr]


def test_the_door(enter: Enter, store: Store) -> None:
    """Each switch is set to what is asked for, once or twice, and the timeline has each change once."""
    host = enter("host")
    for name in ("locked", "lobby", "waits_for_host"):
        for on in (True, True, False):
            assert host.post("door", {name: on}).json["hosting"][name] is on
            assert getattr(store.rooms()[0], name) is on
    assert sum(event.kind == "room" for event in store.events()) == 6


def test_a_platform_that_does_not_answer(enter: Enter, store: Store) -> None:
    """What could not be done is not kept as done: the host is told, and may press again at once."""
    host = enter("host")
    assert do(host, "mute").status == 503
    assert not store.caller(LEG).muted  # type: ignore[union-attr]
    store.set_caller(LEG, muted=True)
    for deed in ("ask-to-unmute", "remove"):
        for _ in range(2):
            refused = do(host, deed)
            assert refused.status == 503
            assert "Voice API" in refused.json["error"]
    (phone,) = host.state().json["hosting"]["phones"]
    assert (phone["muted"], phone["asked"]) == (True, False)


def test_half_of_the_threads_are_left_for_webhooks(app: Flask, enter: Enter) -> None:
    """While as many requests to the platform are under way as may be, another deed is told to come again."""
    host, calls = enter("host"), app.extensions["sipkit.rooms"].calls
    with calls.hand(), calls.hand():
        refused = do(host, "mute")
        assert refused.status == 409
        assert "busy" in refused.json["error"]
        assert do(host, "rename", name="Ada").status == 200
    assert do(host, "mute").status == 503


def test_a_rooms_deeds_are_counted(enter: Enter) -> None:
    """However many pages its hosts have open, so many deeds are done in a minute, and no more."""
    statuses = []
    for _ in range(2):
        host = enter("host")
        path = f"phones/{host.state().json['hosting']['phones'][0]['id']}/lower-hand"
        statuses += [host.post(path).status for _ in range(DEEDS.uses // 2)]
    assert set(statuses) == {200}
    assert enter("host").post("door", {"locked": True}).status == 429
