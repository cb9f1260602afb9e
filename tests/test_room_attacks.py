"""The room page under attack: nobody is let in who was not invited, and nothing is called twice."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from sipkit.app import create_app
from sipkit.invitations import grant, invite, room_path
from sipkit.room_page import DIALS, LOADS, TOKENS
from sipkit.rooms import Room
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from tests.standins.room_visitor import Answer, Visitor, path_of, through_app, through_http
from tests.test_room_page import ACCOUNT, SESSION

OWN = "http://127.0.0.1:5000"  # as `through_app` calls its server
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

Enter = Callable[..., Visitor]


def dialling_app(settings: Settings, store: Store) -> Flask:
    """An app whose pages may dial."""
    return create_app(settings, ACCOUNT, store, require_end=lambda _owner: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a sandbox with an empty data folder."""
    return Settings.load(mode="sandbox", home=tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the store is."""
    return f"sqlite:///{tmp_path / 'sipkit.db'}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A new store."""
    store = Store.open(url, ACCOUNT.environment)
    yield store
    store.close()


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    """The app; nothing answers at its account's addresses, so a dial that is tried is an error of 503."""
    app = dialling_app(settings, store)
    store.set_fact("public_url", "https://calls.example")
    return app


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: SESSION)


def link(store: Store, room: Room, role: str = "guest", **granted: Any) -> str:
    """A new invitation's link."""
    return invite(store, room, grant(store, room, role, "owner", **granted), "12025550100", OWN, OWN).url


@pytest.fixture
def enter(app: Flask, store: Store, room: Room) -> Enter:
    """`enter(role="guest")`: open the page by a new invitation."""
    return lambda role="guest", at=room: Visitor(through_app(app), link(store, at, role))


def dials_tried(store: Store) -> int:
    """How many dials the server tried; each leaves its word in the timeline."""
    return sum(event.kind == "dial" for event in store.events())


def test_links_that_open_nothing_look_alike(app: Flask, store: Store, room: Room, tmp_path: Path) -> None:
    """No link, forged, altered, of another project, for another room, for no room: one page, which tells nothing."""
    send = through_app(app)
    other = store.open_room("retro", lambda: "OTHER")
    right = link(store, room)
    token = right.rpartition("=")[2]
    stranger = Store.open(f"sqlite:///{tmp_path / 'other.db'}", ACCOUNT.environment)
    theirs = stranger.open_room("standup", lambda: SESSION)
    attempts = [
        "/room/standup",
        "/room/standup?invitation=",
        "/room/nowhere?invitation=x.y.z",
        f"/room/standup?invitation={token[:-8]}AAAAAAAA",
        f"/room/standup?invitation={token[1:]}",
        f"/room/standup?invitation={'A' * 5000}",
        path_of(link(stranger, theirs, "host")),
        f"/room/retro?invitation={token}",
        f"/room/nowhere?invitation={token}",
        path_of(link(store, other)).replace("retro", "standup"),
    ]
    answers = [send("GET", attempt, {}, None) for attempt in attempts]
    assert {answer.status for answer in answers} == {403}
    assert len({answer.text for answer in answers}) == 1
    assert "standup" not in answers[0].text
    assert "script-src 'self';" in answers[0].headers["Content-Security-Policy"]
    assert re.findall(r'<script [^>]*src="([^"]*)"', answers[0].text) == ["/static/room/again.js"]
    assert send("GET", path_of(right), {}, None).status == 200
    stranger.close()


def test_signed_for_something_else_opens_nothing(app: Flask, store: Store, room: Room, enter: Enter) -> None:
    """Tokens of a visit, tickets and invitations do not stand in for each other."""
    visitor, send = enter("host"), through_app(app)
    ticket = visitor.ticket()
    invitation = link(store, room, "host").rpartition("=")[2]
    for token in (visitor.visit, ticket):
        assert send("GET", f"/room/standup?invitation={token}", {}, None).status == 403
    for token in (invitation, ticket, "", "x"):
        assert send("GET", f"{visitor.path}/state", {"X-Sipkit-Visit": token}, None).status == 401
    odd: list[Any] = [invitation, visitor.visit, "", "x", None, 7, ["x"]]
    for each in odd:
        assert visitor.post("dial-out", {"ticket": each}).status == 401
    assert dials_tried(store) == 0


def test_a_visit_of_one_room_is_nothing_in_another(store: Store, enter: Enter) -> None:
    """Its token names the room; the address cannot lead it elsewhere."""
    visitor = enter("host")
    store.open_room("retro", lambda: "OTHER")
    ticket = visitor.ticket()
    visitor.path = room_path("retro")
    assert visitor.state().status == 403
    assert visitor.post("dial-out", {"ticket": ticket}).status == 403
    assert dials_tried(store) == 0


@pytest.mark.parametrize("action", ["dial-out", "hang-up"])
def test_guests_do_not_call(enter: Enter, store: Store, action: str) -> None:
    """A guest's page that asks for what only hosts may is refused in words."""
    refused = enter("guest").post(action)
    assert refused.status == 403
    assert "Only a host" in refused.json["error"]
    assert dials_tried(store) == 0


def test_a_guest_does_not_become_a_host_by_a_hosts_ticket(enter: Enter, store: Store) -> None:
    """A ticket is good for its own visit only."""
    host, guest, other_host = enter("host"), enter("guest"), enter("host")
    ticket = host.ticket()
    assert guest.post("token", {"ticket": ticket}).status == 401
    assert other_host.post("dial-out", {"ticket": ticket}).status == 401
    assert dials_tried(store) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://calls.example.evil.example"},
        {"Origin": "http://calls.example"},
        {"Origin": "https://calls.example:444"},
        {"Origin": "http://127.0.0.1:8888"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data"},
    ],
)
def test_other_sites_pages_do_nothing(enter: Enter, store: Store, headers: dict[str, str]) -> None:
    """Even with visit and ticket at hand, a request that another site's page or form can send is refused."""
    refused = enter("host").post("dial-out", None, **headers)
    assert refused.status in {403, 415}
    assert dials_tried(store) == 0


@pytest.mark.parametrize("origin", [OWN, "https://calls.example", None])
def test_the_own_page_is_let_through(enter: Enter, store: Store, origin: str | None) -> None:
    """By the public address, by this machine's, and without an Origin: the dial is tried (and nobody answers)."""
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"} if origin else {}
    assert enter("host").post("dial-out", None, **headers).status == 503
    assert dials_tried(store) == 1


def test_without_the_visits_header_there_is_nothing(enter: Enter, store: Store) -> None:
    """No cookie and no address carries a right: a form or an image of another site has none."""
    visitor = enter("host")
    body = json.dumps({"ticket": visitor.ticket()}).encode()
    for headers in ({}, {"Cookie": f"visit={visitor.visit}"}, {"Authorization": f"Bearer {visitor.visit}"}):
        sent = {"Content-Type": "application/json", **headers}
        assert visitor.send("POST", f"{visitor.path}/dial-out?visit={visitor.visit}", sent, body).status == 401
    assert visitor.send("GET", f"{visitor.path}/dial-out?visit={visitor.visit}", {}, None).status == 405
    assert dials_tried(store) == 0


def test_a_replayed_post_changes_nothing(enter: Enter, settings: Settings, store: Store, url: str) -> None:
    """The same press, sent again, to this worker or another: counted once."""
    visitor = enter("host")
    ticket = visitor.ticket()
    assert visitor.post("dial-out", {"ticket": ticket}).status == 503  # tried: nobody answers at the platform
    second = Store.open(url, ACCOUNT.environment)
    for send in (visitor.send, through_app(dialling_app(settings, second))):
        visitor.send = send
        refused = visitor.post("dial-out", {"ticket": ticket})
        assert refused.status == 409
        assert "counted already" in refused.json["error"]
    second.close()
    assert dials_tried(store) == 1


def test_a_press_sent_many_times_at_once_counts_once(enter: Enter, settings: Settings, store: Store, url: str) -> None:
    """Forty copies of one POST race through two workers, and one passes."""
    visitor = enter("host")
    second = Store.open(url, ACCOUNT.environment)
    sends = [visitor.send, through_app(dialling_app(settings, second))]
    body = json.dumps({"ticket": visitor.ticket(), "name": "Ada"}).encode()
    headers = {"X-Sipkit-Visit": visitor.visit, "Content-Type": "application/json"}

    def copy(number: int) -> Answer:
        return sends[number % 2]("POST", f"{visitor.path}/token", headers, body)

    with ThreadPoolExecutor(8) as pool:
        statuses = [answer.status for answer in pool.map(copy, range(40))]
    second.close()
    assert sorted(statuses) == [200] + 39 * [409]


def test_old_tickets_are_worthless_and_forgotten(enter: Enter, store: Store) -> None:
    """A ticket is good for two minutes; the store keeps a used one no longer than that."""
    visitor = enter("host")
    early, late = visitor.ticket(), visitor.ticket()
    assert visitor.post("token", {"ticket": early}).status == 200
    store.advance_clock(125)
    refused = visitor.post("token", {"ticket": late})
    assert refused.status == 409
    assert "too late" in refused.json["error"]
    assert visitor.post("token").status == 200
    with store._engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM tickets").scalar() == 1


def test_bodies_that_are_no_objects(enter: Enter) -> None:
    """Whatever is sent instead of a JSON object gets one line back, and no more is read of it than 64 KiB."""
    visitor = enter("host")
    headers = {"X-Sipkit-Visit": visitor.visit, "Content-Type": "application/json"}
    for body in (b"", b"[]", b"null", b"{", b'"x"', b"\xff", b"[" * 20_000):
        assert visitor.send("POST", f"{visitor.path}/dial-out", headers, body).status == 400
    assert visitor.send("POST", f"{visitor.path}/dial-out", headers, b"x" * 70_000).status in {400, 413}


def test_names_are_text(app: Flask, store: Store) -> None:
    """A room's and a visitor's name are escaped in the page, whatever they hold."""
    room = store.open_room(XSS, lambda: SESSION)
    visitor = Visitor(through_app(app), link(store, room, name=XSS))
    assert visitor.page.status == 200
    assert "<img" not in visitor.page.text
    assert visitor.page.text.count("<script") == 1
    assert "alert(1)</script>" not in visitor.page.text
    assert visitor.config["room"] == XSS
    shown = re.search(r"<h1>(.*?)</h1>", visitor.page.text)
    assert shown is not None
    assert unescape(shown[1]) == XSS
    assert visitor.state().status == 200
    assert visitor.post("token", {"name": XSS}).json["name"] == XSS[:40]


def test_the_pages_script_writes_text_only() -> None:
    """No file of the page can turn a name into HTML or code."""
    for file in (Path(__file__).parents[1] / "sipkit" / "room_page" / "static").glob("*.js"):
        source = file.read_text()
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
            assert sink not in source, file.name


def test_too_often_is_told_to_wait(app: Flask, enter: Enter, store: Store, room: Room) -> None:
    """Loads of a link, polls and tokens of a visit, dials of a room are each limited, with the time to wait."""
    visitor = enter("host")
    statuses = [visitor.post("token").status for _ in range(TOKENS.uses + 1)]
    assert statuses == TOKENS.uses * [200] + [429]
    statuses = [visitor.state().status for _ in range(120)]
    assert statuses[-1] == 429
    refused = visitor.state()
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert "Try again in" in refused.json["error"]
    send, path = through_app(app), path_of(link(store, room, name="Ada"))
    statuses = [send("GET", path, {}, None).status for _ in range(LOADS.uses + 1)]
    assert statuses == LOADS.uses * [200] + [429]
    assert enter("guest").page.status == 200  # another link is not affected


def test_a_rooms_dials_are_counted_for_all_its_hosts_and_workers(
    enter: Enter, settings: Settings, store: Store, url: str
) -> None:
    """However many pages and processes press, a room is dialled a few times a minute."""
    second = Store.open(url, ACCOUNT.environment)
    other = dialling_app(settings, second)
    store.set_fact("public_url", "https://calls.example")
    statuses = []
    for number in range(DIALS.uses + 4):
        visitor = enter("host")
        if number % 2:
            visitor.send = through_app(other)
        statuses.append(visitor.post("dial-out").status)
    second.close()
    assert statuses == DIALS.uses * [503] + 4 * [429]
    assert dials_tried(store) == DIALS.uses


def test_limits_are_forgotten_in_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that is over leaves no row behind once another begins; a machine's clock set back locks nobody out."""
    assert store.allow("a", 1, 60) == 0.0
    assert 59 < store.allow("a", 1, 60) <= 60
    store.advance_clock(61)
    assert store.allow("b", 1, 60) == 0.0
    with store._engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM allowances").scalar() == 1
    monkeypatch.setattr("time.time", lambda: 3600.0)
    assert 59 < store.allow("b", 1, 60) <= 60


# With a real server and a real sandbox


def test_two_hundred_clicks_place_one_call(board: Switchboard) -> None:
    """Two hundred presses of Dial out, from ten pages at once: one call, each press answered in words."""
    room = board.open_room("standup")
    server = board.start_webhook_server()
    send = through_http(server.url)
    since = max((event["seq"] for event in board.trace().events()), default=0)
    hosts = [Visitor(send, board.invite(room, "host").local_url) for _ in range(10)]

    def click(number: int) -> Answer:
        return hosts[number % 10].post("dial-out")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(click, range(200)))
    assert {answer.status for answer in answers} <= {200, 409, 429}
    assert any(answer.status == 200 for answer in answers)
    assert all(answer.json.get("call") or answer.json["error"] for answer in answers)
    board.wait_for_bridge(room, "answered")
    ledger = board.trace().ledger()["connections"]
    assert len([each for each in ledger if each["sessionId"] == room.session_id and each["kind"] == "sip"]) == 1
    asked = [event for event in board.trace().events(since) if event["kind"] == "rest"]
    assert sum(str(event.get("path", "")).endswith("/dial") for event in asked) == 1
    assert board.server is not None
    assert board.server.alive
    board.hang_up(room)


def test_page_and_board_dial_one_call(board: Switchboard) -> None:
    """The page's press and the board's at the same moment make one leg, which either can end."""
    room = board.open_room("standup")
    server = board.start_webhook_server()
    hosts = [Visitor(through_http(server.url), board.invite(room, "host").local_url) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        presses = [pool.submit(host.post, "dial-out") for host in hosts]
        dialled = pool.submit(board.dial_out, room)
        assert {press.result().status for press in presses} <= {200, 409}
        bridge = dialled.result()
    board.wait_for_bridge(room, "answered")
    ledger = board.trace().ledger()["connections"]
    assert [each["id"] for each in ledger if each["sessionId"] == room.session_id and each["kind"] == "sip"] == [
        bridge.connection_id
    ]
    assert hosts[0].post("hang-up").json["hung_up"] is True
    assert board.bridge(room) is None
