"""The room page over HTTP: what visitors get, what it lets them do, and what it says when they cannot."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from pydantic import SecretStr

from sipkit.app import create_app
from sipkit.errors import ServerError, StoreError
from sipkit.http_server import http_server, listen, with_access_log
from sipkit.invitations import NO_BOARD, Seal, grant, invite
from sipkit.room_page import policy
from sipkit.rooms import Room
from sipkit.settings import Settings, VideoEnvironment
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from tests.standins.room_visitor import Visitor, through_app, through_http
from tests.standins.slow_platform import SlowPlatform, slow_platform
from tests.test_webhooks import ACCOUNT as WEBHOOKS_ACCOUNT
from tests.test_webhooks import Platform

ACCOUNT = replace(WEBHOOKS_ACCOUNT, video_api_secret=SecretStr("a-video-secret-of-forty-letters-and-more"))

SESSION = "1_MX40NjAwMDAwMX5-MTcwMDAwMDAwMDAwMH5hYmN-fg"  # names project 46000001, as a token's maker checks
VIEWS = Path(policy.__file__).parent / "static"


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
def app(settings: Settings, store: Store) -> Flask:
    """The app; nothing answers at its account's addresses."""
    return create_app(settings, ACCOUNT, store)


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: SESSION)


WaitUntil = Callable[..., Any]
Enter = Callable[..., Visitor]


@pytest.fixture
def enter(app: Flask, store: Store, room: Room) -> Enter:
    """`enter(role="guest", room=..., **granted)`: open the page by a new invitation."""

    def enter(role: str = "guest", at: Room = room, **granted: Any) -> Visitor:
        made = invite(store, at, grant(store, at, role, "owner", **granted), "12025550100", "http://h", "http://h")
        return Visitor(through_app(app), made.url)

    return enter


def test_the_page_has_what_its_script_and_the_tests_hold_on_to(enter: Enter) -> None:
    """The hooks of the page are there: state, session, buttons, roster, tiles, error."""
    text = enter("host").page.text
    for hook in ('data-state="idle"', 'data-session="disconnected"', 'id="roster"', 'id="tiles"', 'role="alert"'):
        assert hook in text
    for name in ("dial-out", "hang-up", "mute", "camera", "leave", "join"):
        assert f'<button id="{name}"' in text


def test_hosts_see_the_pin_and_the_calls_buttons(enter: Enter, room: Room) -> None:
    """A host sees number and PIN, can tap both, and has Dial out and Hang up; a guest sees the number."""
    host, guest = enter("host").page.text, enter("guest").page.text
    assert f"tel:+12025550100,,{room.pin}%23" in host
    assert f'<dd id="pin">{room.pin}' in host
    for text in (guest, json.dumps(enter("guest").state().json)):
        assert f",,{room.pin}" not in text
        assert 'id="pin"' not in text
        assert "dial-out" not in text
    assert "+12025550100" in guest


def test_an_invitation_says_whether_the_pin_is_shown(enter: Enter, room: Room) -> None:
    """A guest may be shown the PIN, and a host may be not."""
    assert f'<dd id="pin">{room.pin}' in enter("guest", show_pin=True).page.text
    assert 'id="pin"' not in enter("host", show_pin=False).page.text


def test_a_page_keeps_to_itself(enter: Enter) -> None:
    """Nobody keeps the page, no address leaks from it, no foreign script runs in it, and few may frame it."""
    headers = enter().page.headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Permissions-Policy"].startswith("camera=(self), microphone=(self)")
    assert "Set-Cookie" not in headers
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == "'self' http://127.0.0.1:1"
    assert rules["connect-src"] == "'self' http://127.0.0.1:1 ws://127.0.0.1:1"
    assert rules["style-src"] == "'self'"
    assert rules["frame-ancestors"] == "'self' " + " ".join(
        f"{scheme}://{host}:*" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1")
    )
    assert "unsafe" not in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("environment", "script"),
    [
        ("opentok", "https://static.opentok.com/v2/js/opentok.min.js"),
        ("unified", "https://video.standard.vonage.com/v2/js/opentok.min.js"),
    ],
)
def test_live_the_page_loads_the_vendors_script(
    settings: Settings, store: Store, room: Room, environment: VideoEnvironment, script: str
) -> None:
    """The same page loads the script of the account's environment, and may talk to the vendor's servers only."""
    app = create_app(settings, replace(ACCOUNT, mode="live", video_environment=environment), store)
    made = invite(store, room, grant(store, room, "guest", "owner"), "1202", "http://h", "http://h")
    visitor = Visitor(through_app(app), made.url)
    assert visitor.config["script"] == script
    policy_text = visitor.page.headers["Content-Security-Policy"]
    assert f"script-src 'self' {script.partition('/v2')[0]};" in policy_text
    assert "wss://*.tokbox.com" in policy_text
    assert "127.0.0.1" not in policy_text.partition("connect-src")[2].partition(";")[0]


def test_style_and_script_are_files(app: Flask) -> None:
    """Every file the page is made of is served as what it is, and is asked for again when it was edited."""
    client = app.test_client()
    for file in VIEWS.iterdir():
        with client.get(f"/static/room/{file.name}") as answer:
            pass
        assert answer.status_code == 200
        assert answer.mimetype in {"text/css", "text/javascript"}
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/static/room/../__init__.py").status_code == 404
    assert client.get("/static/room/nothing.js").status_code == 404


def test_the_page_has_no_script_or_style_inside(enter: Enter) -> None:
    """All code is in files, so that the policy needs no exception."""
    text = enter("host").page.text
    assert text.count("<script") == 1
    assert "<style" not in text
    assert "style=" not in text
    assert " on" + "click=" not in text


@pytest.mark.parametrize(("role", "video_role"), [("guest", "publisher"), ("host", "moderator")])
def test_a_token_is_made_for_each_visit(enter: Enter, role: str, video_role: str) -> None:
    """Guests may publish, hosts moderate; the token says who it is and lets in for five minutes."""
    visitor = enter(role)
    answer = visitor.post("token", {"name": "  Ada \u202e Lovelace "}).json
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert claims["role"] == video_role
    assert json.loads(claims["connection_data"]) == {"name": "Ada Lovelace", "role": role}
    assert claims["session_id"] == answer["session"] == SESSION
    assert 200 < claims["exp"] - time.time() <= 301
    assert answer["key"] == ACCOUNT.video_api_key
    assert visitor.post("token", {"name": "Ada"}).json["token"] != answer["token"]


@pytest.mark.parametrize("name", [None, "", 5, "\n", ["x"]])
def test_who_gives_no_name_has_one(enter: Enter, name: Any) -> None:
    """A visitor without a name is called by the role."""
    assert enter("guest").post("token", {"name": name}).json["name"] == "Guest"
    assert enter("host").post("token", {"name": name}).json["name"] == "Host"


def test_the_state_tells_of_callers_by_their_last_digits(enter: Enter, store: Store, room: Room) -> None:
    """Who typed the PIN and is there is on the roster, masked; who left is not."""
    visitor = enter()
    store.caller_seen("leg-1", "12025550123", "joined", room.id)
    store.caller_seen("leg-2", "12025550199", "joined", room.id)
    store.caller_left("leg-2")
    told = visitor.state()
    assert [caller["number"] for caller in told.json["callers"]] == ["•••0123"]
    assert "2025550123" not in told.text
    assert "leg-1" not in told.text


def test_the_state_tells_how_far_the_call_is(enter: Enter, store: Store, room: Room) -> None:
    """Nothing, dialling, connected, nothing: as the store has it."""
    visitor = enter()
    seen = [visitor.state().json["call"]]
    bridge, _ = store.claim_bridge(room, "owner")
    seen.append(visitor.state().json["call"])
    store.bridge_dialed(bridge.id, "connection", "stream")
    store.bridge_answered(SESSION, "leg")
    seen.append(visitor.state().json["call"])
    store.end_bridge(bridge.id, "hung up")
    seen.append(visitor.state().json["call"])
    assert seen == ["idle", "dialing", "connected", "idle"]


def test_a_visit_goes_on_as_long_as_it_polls(enter: Enter, store: Store) -> None:
    """Each state renews the visit; one that was away for more than five minutes must be loaded again."""
    visitor = enter()
    for _ in range(3):
        store.advance_clock(240)
        assert visitor.state().status == 200
    store.advance_clock(360)
    refused = visitor.state()
    assert refused.status == 401
    assert "Load it again" in refused.json["error"]


def test_a_visit_ends_with_its_invitation(enter: Enter, store: Store) -> None:
    """However often it is renewed, a visit lasts no longer than what let it in."""
    visitor = enter(expires_in=120)
    store.advance_clock(100)
    assert visitor.state().status == 200
    store.advance_clock(30)
    refused = visitor.state()
    assert refused.status == 401
    assert "expired" in refused.json["error"]


def test_a_closed_room_says_so(enter: Enter, store: Store, room: Room, app: Flask) -> None:
    """Its link gives a plain page with what to do, its open page is told; the next room of the name is another."""
    visitor = enter("host")
    made = invite(store, room, grant(store, room, "host", "owner"), "1202", "http://h", "http://h")
    store.close_room(room.name)
    store.open_room(room.name, lambda: SESSION)
    page = Visitor(through_app(app), made.url).page
    assert page.status == 410
    assert "closed" in page.text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert visitor.state().status == 410
    assert visitor.send("GET", f"{visitor.path}/state", {"X-Sipkit-Visit": visitor.visit}, None).status == 410


def test_an_expired_link_says_what_to_do(store: Store, app: Flask, room: Room) -> None:
    """Its holder did nothing wrong and is told to ask for a new one."""
    made = invite(store, room, grant(store, room, "guest", "owner", expires_in=60), "1202", "http://h", "http://h")
    store.advance_clock(61)
    page = Visitor(through_app(app), made.url).page
    assert page.status == 410
    assert "expired" in page.text
    assert "Ask the host for a new link" in page.text


def test_a_failure_of_ours_is_said_in_words(
    enter: Enter, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken store is a 503 with what to do; a bug is one without its text, which may quote anything."""
    visitor = enter("host")
    monkeypatch.setattr(store, "room_by_id", lambda _id: (_ for _ in ()).throw(StoreError("The store is full.")))
    refused = visitor.state()
    assert refused.status == 503
    assert "The store is full. Check that the data folder" in refused.json["error"]
    monkeypatch.setattr(store, "room_by_id", lambda _id: int("secret 1234"))
    assert visitor.state().status == 503
    assert "1234" not in visitor.state().text + caplog.text


def test_guests_are_not_told_how_to_mend_the_server(
    app: Flask, store: Store, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failure of ours means for the server is for hosts, on the page and in its answers; guests ask them."""
    links = [
        invite(store, room, grant(store, room, role, "owner"), "1202", "http://h", "http://h").url
        for role in ("guest", "host")
    ]
    guest, host = (Visitor(through_app(app), link) for link in links)
    monkeypatch.setattr(store, "room_by_id", lambda _id: (_ for _ in ()).throw(StoreError("The store is full.")))
    told = {"guest": guest.state().text, "host": host.state().text}
    shown = [Visitor(through_app(app), link).page for link in links]
    assert [page.status for page in shown] == [503, 503]
    for text in (told["guest"], shown[0].text):
        assert "tell the host" in text
        assert "store" not in text
        assert "folder" not in text
    for text in (told["host"], shown[1].text):
        assert "The store is full. Check that the data folder" in text


def test_the_page_reads_well_aloud(enter: Enter) -> None:
    """The hash key is text that a screen reader reads; the buttons below are a group, which promises no arrow keys."""
    text = enter("host").page.text
    assert 'role="toolbar"' not in text
    assert '<div id="controls" role="group" aria-label=' in text
    assert "<span aria-label" not in text
    assert '<span class="hash" aria-label' not in text
    assert '<span class="visually-hidden"> then the hash key</span>' in text


def test_other_methods_and_paths(enter: Enter) -> None:
    """What calls or ends a call is never done by a GET; unknown paths are one line of JSON."""
    visitor = enter("host")
    for action in ("dial-out", "hang-up", "token"):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = visitor.send(method, f"{visitor.path}/{action}", {"X-Sipkit-Visit": visitor.visit}, None)
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"
    assert visitor.send("GET", f"{visitor.path}/nothing", {}, None).status == 404
    assert visitor.send("GET", "/room/", {}, None).status == 404
    assert visitor.send("POST", visitor.path, {}, b"{}").status == 405


def test_the_page_starts_without_the_sdks() -> None:
    """The server is up before anybody needs opentok or the vonage client, so the app loads neither."""
    code = "import sys, sipkit.app; print({'opentok', 'vonage', 'vonage_video', 'segno'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


# With a platform that answers when it is let


@pytest.fixture
def slow() -> Iterator[SlowPlatform]:
    """The platform."""
    with slow_platform() as platform:
        yield platform


Dialling = Callable[..., Flask]


@pytest.fixture
def dialling(settings: Settings, store: Store, slow: SlowPlatform) -> Dialling:
    """`dialling(require_end=...)`: an app whose pages dial at that platform."""

    def dialling(require_end: Callable[[str], None] = lambda _owner: None) -> Flask:
        app = create_app(settings, replace(ACCOUNT, video_api_url=slow.url), store, require_end=require_end)
        store.set_fact("public_url", "https://calls.example")
        return app

    return dialling


def host_of(store: Store, room: Room, send: Any) -> Visitor:
    """A host's page."""
    return Visitor(send, invite(store, room, grant(store, room, "host", "owner"), "1202", "http://h", "http://h").url)


def test_a_webhook_is_answered_while_hosts_press_and_the_platform_is_slow(
    dialling: Dialling, slow: SlowPlatform, store: Store, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four hang-ups at once during a dial leave the server a thread for that very call's webhook.

    One waits for the dial, the others are told so, and the one that waited hangs up.
    """
    monkeypatch.setattr("sipkit.room_page.calls._HANG_UP_PATIENCE", 20.0)
    app = dialling()
    sock = listen(0)
    server = http_server(sock, with_access_log(app, logging.getLogger(__name__)))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    slow.let.clear()
    host = host_of(store, room, through_http(url))
    tickets = [host.ticket() for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        try:
            dial = pool.submit(host.post, "dial-out", {"ticket": tickets[0]})
            assert slow.asked.wait(10)
            presses = [pool.submit(host.post, "hang-up", {"ticket": ticket}) for ticket in tickets[1:]]
            dialled = store.living_bridge(room)
            assert dialled is not None
            headers = {"SipHeader_X-OpenTok-SessionId": SESSION, "SipHeader_X-Sipkit-Dial": dialled.nonce}
            body = json.dumps({"uuid": "leg", **headers}).encode()
            signed = {"Content-Type": "application/json", **Platform(app).token(body)}
            began = time.monotonic()
            answer = through_http(url)("POST", "/voice-answer", signed, body)
            assert time.monotonic() - began < 10
            assert answer.status == 200
            assert answer.json[0]["action"] == "conversation"
            assert not dial.done()
            refused = {press for press in presses if wait([press], 0.0).done}
            while len(refused) < 3:
                refused |= wait({*presses} - refused, 10, FIRST_COMPLETED).done
            assert [press.result().status for press in refused] == 3 * [409]
            assert all("being worked on" in press.result().json["error"] for press in refused)
            assert not dial.done()
        finally:
            slow.let.set()
    assert dial.result().json["call"] == "connected"
    [waited] = {*presses} - refused
    assert waited.result().json["hung_up"] is True
    server.task_dispatcher.shutdown(timeout=1)


def test_the_page_knows_a_call_that_nobody_answered_from_one_that_was_hung_up(
    dialling: Dialling, store: Store, room: Room
) -> None:
    """A dial that ends by itself before its answer is told as unanswered; an answered or hung-up one is not."""
    host = host_of(store, room, through_app(dialling()))
    assert host.state().json["unanswered"] is False

    def dialled(end: Callable[[int], object]) -> bool:
        assert host.post("dial-out").json["call"] == "dialing"
        bridge = store.living_bridge(room)
        assert bridge is not None
        assert host.state().json["unanswered"] is False
        end(bridge.id)
        told = host.state().json
        assert told["call"] == "idle"
        return bool(told["unanswered"])

    def answered(bridge_id: int) -> None:
        store.bridge_answered(SESSION, "leg")
        store.end_bridge(bridge_id, "the phone side said completed")

    assert dialled(lambda bridge_id: store.end_bridge(bridge_id, "the platform no longer lists its stream"))
    assert not dialled(lambda _id: host.post("hang-up"))
    assert not dialled(answered)


class Leaving:
    """A board that lets go of the server in the middle of a dial."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, _owner: str) -> None:
        """Be there the first time only."""
        self.asked += 1
        if self.asked > 1:
            raise ServerError("Nobody is there any more.")


def test_a_dial_whose_owner_leaves_meanwhile_is_hung_up(
    dialling: Dialling, slow: SlowPlatform, store: Store, room: Room
) -> None:
    """What the page dialled for somebody who is gone by now, it hangs up itself, and says why."""
    host = host_of(store, room, through_app(dialling(Leaving())))
    refused = host.post("dial-out")
    assert refused.status == 503
    assert "Nobody is there" in refused.json["error"]
    assert store.living_bridge(room) is None
    assert len(slow.disconnected) == 1


def test_a_bridge_of_the_board_is_not_the_pages_to_hang_up(
    dialling: Dialling, slow: SlowPlatform, store: Store, room: Room
) -> None:
    """A press that finds a living bridge which the board dialled leaves it up, whoever leaves meanwhile."""
    bridge, _ = store.claim_bridge(room, "owner")
    store.bridge_dialed(bridge.id, "connection-of-the-board", "stream")
    store.bridge_answered(SESSION, "leg")
    leaving = Leaving()
    host = host_of(store, room, through_app(dialling(leaving)))
    assert host.post("dial-out").json["call"] == "connected"
    assert leaving.asked == 1
    assert store.living_bridge(room) is not None
    assert slow.disconnected == []


def test_a_room_whose_budget_is_spent_is_not_dialled(
    dialling: Dialling, slow: SlowPlatform, store: Store, room: Room
) -> None:
    """The host is told what was spent, and how there is more; no bridge comes of it."""
    store.leg_gone("leg", "inbound", room.id, 7, Decimal("0.25"))
    store.set_room(room, budget=0.2)
    refused = host_of(store, room, through_app(dialling(lambda _owner: None))).post("dial-out")
    assert refused.status == 503
    assert "0.2500 EUR" in refused.json["error"]
    assert "board.set_budget" in refused.json["error"]
    assert not slow.asked.is_set()
    assert store.living_bridge(room) is None


def test_a_server_that_cannot_tell_its_end_dials_nothing(
    settings: Settings, store: Store, room: Room, slow: SlowPlatform
) -> None:
    """Under granian or flask, which make the app with nothing but itself, the page says where it would dial."""
    app = create_app(settings, replace(ACCOUNT, video_api_url=slow.url), store)
    store.set_fact("public_url", "https://calls.example")
    refused = host_of(store, room, through_app(app)).post("dial-out")
    assert refused.status == 503
    assert "board.dial_out" in refused.json["error"]
    assert "webhook_server.py" in refused.json["error"]
    assert not slow.asked.is_set()
    assert store.living_bridge(room) is None


# With a real server and a real sandbox


@pytest.fixture
def host(board: Switchboard) -> Visitor:
    """A host's page of a real server; the room is called standup."""
    board.open_room("standup")
    server = board.start_webhook_server()
    return Visitor(through_http(server.url), board.invite("standup", "host").local_url)


def test_a_host_dials_out_and_hangs_up(board: Switchboard, host: Visitor, wait_until: WaitUntil) -> None:
    """The page's buttons make and end the bridge that the board sees, and say so; twice is no error."""
    assert host.post("dial-out").json["call"] in {"dialing", "connected"}
    bridge = board.wait_for_bridge("standup", "answered")
    assert bridge is not None
    assert bridge.owner == board.owner
    assert bridge.dialler != board.owner
    assert host.state().json["call"] == "connected"
    assert host.post("dial-out").json["call"] == "connected"
    assert board.dial_out("standup") == bridge
    ended = host.post("hang-up").json
    assert ended["hung_up"] is True
    assert ended["call"] == "idle"
    board.wait_for_bridge("standup", "ended")
    again = host.post("hang-up")
    assert again.status == 200
    assert again.json["hung_up"] is False
    assert "nothing to hang up" in again.json["words"]


def test_a_page_dials_while_the_kernel_is_busy(board: Switchboard, host: Visitor, wait_until: WaitUntil) -> None:
    """The call comes up in the server's process: this one does nothing but ask for the page's state."""
    host.post("dial-out")
    wait_until(lambda: host.state().json["call"] == "connected", 10, "the call to be connected")
    board.hang_up("standup")
    assert host.state().json["call"] == "idle"


def test_a_bridge_of_the_page_ends_with_its_board(board: Switchboard, host: Visitor) -> None:
    """A board that closes hangs up what was dialled by its invitations, too."""
    host.post("dial-out")
    bridge = board.wait_for_bridge("standup", "answered")
    store = Store.open(board._settings.store_url, board._cloud.account().environment)
    board.close()
    assert bridge is not None
    ended = store.bridge(bridge.id)
    store.close()
    assert ended is not None
    assert not ended.living


def test_a_caller_is_on_the_roster(board: Switchboard, host: Visitor, wait_until: WaitUntil) -> None:
    """A phone that typed the PIN is on the page's roster until it hangs up."""
    host.post("dial-out")
    board.wait_for_bridge("standup", "answered")
    phone = board.phone(from_="12025550177")
    phone.wait_for("answered")
    phone.listen()
    phone.keys(f"{board.room('standup').pin}#")
    wait_until(lambda: [each["number"] for each in host.state().json["callers"]] == ["•••0177"], 10, "the caller")
    phone.hang_up()
    wait_until(lambda: host.state().json["callers"] == [], 10, "the caller to leave")
    host.post("hang-up")


def test_the_servers_log_holds_no_link(board: Switchboard, host: Visitor) -> None:
    """The access log names the room's page, and neither invitation, visit nor ticket."""
    ticket = host.ticket()
    host.post("token", {"name": "Ada", "ticket": ticket})
    assert board.server is not None
    log = board.server.log(200)
    assert "GET /room/standup 200" in log
    assert "POST /room/standup/token 200" in log
    for secret in (ticket, host.visit, host.config["visit"], "invitation"):
        assert secret not in log


def test_a_closed_boards_link_dials_no_more(board: Switchboard, host: Visitor) -> None:
    """While another notebook keeps the server, a host of a closed board is told why nothing is dialled; others dial."""
    with Switchboard.from_env() as former:
        server = former.start_webhook_server()
        left = Visitor(through_http(server.url), former.invite("standup", "host").local_url)
    refused = left.post("dial-out")
    assert refused.status == 503
    assert "does not hold the webhook server any more" in refused.json["error"]
    assert "board.start_webhook_server()" in refused.json["error"]
    assert left.state().json["call"] == "idle"
    assert not any(event.kind == "dial" for event in board.events())
    assert host.post("dial-out").status == 200
    assert left.post("hang-up").json["hung_up"] is True


def test_a_call_of_the_command_lines_link_ends_with_the_server(board: Switchboard, host: Visitor) -> None:
    """A link that no board made dials; the server knows of the call, and hangs it up at its end."""
    room = board.room("standup")
    old = Seal(board._store).invitation(grant(board._store, room, "host", NO_BOARD))
    assert board.server is not None
    visitor = Visitor(through_http(board.server.url), f"http://h/room/standup?invitation={old}")
    visitor.post("dial-out")
    bridge = board.wait_for_bridge(room, "answered")
    assert bridge is not None
    assert bridge.owner == NO_BOARD
    url, environment = board._settings.store_url, board._cloud.account().environment
    board.close()
    after = Store.open(url, environment)
    ended = after.bridge(bridge.id)
    after.close()
    assert ended is not None
    assert not ended.living
