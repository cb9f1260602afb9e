"""Bridges against a real sandbox, when the platform's answers, or this machine's clock, cannot be trusted."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, update

from sipkit.errors import DialUncertain, PlatformError
from sipkit.refusals import says_session_gone
from sipkit.rooms import Bridge, Room
from sipkit.settings import Settings
from sipkit.store.schema import bridges
from sipkit.switchboard import Switchboard
from sipkit.video import OpenTokVideo
from tests.standins.boards import legs
from tests.standins.odd_platform import Says, odd_platform

WaitUntil = Callable[..., Any]

NO_STREAM = Says(404)
SESSION_GONE = Says(404, json.dumps({"code": -1, "message": "The session does not exist"}))
LOST_GATEWAY = Says(404, "<h1>Not Found</h1> /v2/project/1/session/2/connection was not found on this server")


def sip_connections(board: Switchboard, room: Room) -> list[str]:
    """The ids of the SIP connections that are alive in the room's session."""
    found = board.trace().ledger()["connections"]
    return [each["id"] for each in found if each["sessionId"] == room.session_id and each["kind"] == "sip"]


def connected(board: Switchboard) -> tuple[Room, Bridge]:
    """A room whose bridge is up."""
    room = board.open_room("standup")
    board.start_webhook_server()
    board.dial_out(room)
    bridge = board.wait_for_bridge(room, "answered")
    assert bridge is not None
    return room, bridge


def test_a_bridge_the_platform_does_not_list_is_hung_up_before_another_is_dialled(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream list that lacks a living leg's stream never makes two legs: the first is ended, then one is dialled."""
    room, first = connected(board)
    monkeypatch.setattr("sipkit.bridges.YOUNG", 0.0)
    with odd_platform(board._cloud, board._cloud.account()) as platform:
        platform.moods["GET /stream$"] = NO_STREAM
        second = board.dial_out(room)
    assert second.id != first.id
    assert sip_connections(board, room) == [second.connection_id]
    assert any("was hung up" in event.text for event in board.events(room) if event.kind == "bridge")
    board.hang_up(room)


def test_a_gateways_404_does_not_renew_a_room(board: Switchboard) -> None:
    """A 404 with the asked address in its body says nothing about the session: room and call stay as they are."""
    room, bridge = connected(board)
    with odd_platform(board._cloud, board._cloud.account()) as platform:
        platform.moods["GET /connection$"] = LOST_GATEWAY
        assert board.open_room("standup") == room
    assert sip_connections(board, room) == [bridge.connection_id]
    assert board.bridge(room) == bridge
    board.hang_up(room)


def test_a_room_is_not_renewed_over_a_living_bridge(board: Switchboard, wait_until: WaitUntil) -> None:
    """If the platform says that the session is gone, its leg is disconnected before the room gets a new session."""
    room, _ = connected(board)
    with odd_platform(board._cloud, board._cloud.account()) as platform:
        platform.moods["GET /connection$"] = SESSION_GONE
        renewed = board.open_room("standup")
    assert renewed.reopened
    assert renewed.session_id != room.session_id
    assert sip_connections(board, room) == []
    assert board.bridge(renewed) is None
    wait_until(lambda: board.trace().ledger()["legs"] == [], what="no leg")


def test_who_comes_late_with_a_renewal_ends_nothing(board: Switchboard) -> None:
    """If another process renewed the room and dialled meanwhile, its session and its call stay."""
    room, bridge = connected(board)
    renewed = board._bridges.renew(replace(room, session_id="the one before"))
    assert (renewed.session_id, renewed.reopened) == (room.session_id, True)
    assert sip_connections(board, room) == [bridge.connection_id]
    assert board.bridge(room) == bridge
    board.hang_up(room)


def test_a_lost_dial_keeps_its_room_in_its_session(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the leg of a dial may exist and its id is not known, the room is not renewed, and the timeline says why."""
    room = board.open_room("standup")
    board._store.claim_bridge(room, board.owner)
    with odd_platform(board._cloud, board._cloud.account()) as platform:
        platform.moods["GET /connection$"] = SESSION_GONE
        assert board.open_room("standup") == room
        assert "keeps its session" in board.events(room)[-1].text
        monkeypatch.setattr("sipkit.bridges.PATIENCE", 0.0)
        assert "none came of the dial" in board.hang_up(room).reason
        assert board.open_room("standup").reopened


def test_a_wrong_clock_forgets_no_leg(board: Switchboard, settings: Settings, wait_until: WaitUntil) -> None:
    """If connections are listed but none began with the lost dial, bridge and room stay on record, saying why."""
    room = board.open_room("standup")
    board.start_webhook_server()
    bridge, _ = board._store.claim_bridge(room, board.owner)
    connection_id = board._video().dial(room.session_id, bridge.nonce).connection_id
    board.wait_for_bridge(room, "answered")  # a leg that nobody waits for would be hung up
    tell_clock(settings, bridge, time.time() - 3600)
    result = board.hang_up(room)
    assert not result.hung_up
    assert "clock" in result.reason
    assert board.bridge(room) is not None
    assert sip_connections(board, room) == [connection_id]
    with pytest.raises(DialUncertain):
        board._bridges.dial(room)
    with pytest.raises(PlatformError, match="clock"):
        board.close_room(room)
    assert board.room("standup").id == room.id
    tell_clock(settings, bridge, time.time())
    assert board.hang_up(room).hung_up
    wait_until(lambda: not sip_connections(board, room), what="no connection")


def tell_clock(settings: Settings, bridge: Bridge, dialed_at: float) -> None:
    """Make a bridge look as if this machine's clock had shown `dialed_at` when it was dialled (Unix seconds).

    And as if nothing had been heard of its leg, so that only the time can tell.
    """
    engine = create_engine(settings.store_url)
    with engine.begin() as conn:
        conn.execute(update(bridges).where(bridges.c.id == bridge.id).values(dialed_at=dialed_at, leg_uuid=None))
    engine.dispose()


def test_a_leg_no_call_can_outlive_is_forgotten(board: Switchboard, settings: Settings) -> None:
    """After the platform's longest call a lost dial holds its room no longer, whoever else is connected."""
    room = board.open_room("standup")
    bridge, _ = board._store.claim_bridge(room, board.owner)
    person = board.participant(room)
    tell_clock(settings, bridge, time.time() - 7 * 3600)
    result = board.hang_up(room)
    assert (result.hung_up, board.bridge(room)) == (False, None)
    assert "No SIP call lasts" in result.reason
    person.leave()


class _DialDone(list[int]):
    """The rooms being dialled, of which one is done in the very moment somebody looks."""

    def __init__(self, done: Callable[[], object]) -> None:
        super().__init__()
        self._done = done

    def __contains__(self, room_id: object) -> bool:
        self._done()
        return super().__contains__(room_id)


def test_a_dial_that_ends_while_somebody_looks_is_not_lost(board: Switchboard, wait_until: WaitUntil) -> None:
    """A hang-up that read the bridge just before its dial was answered reads again, and hangs up that leg."""
    room = board.open_room("standup")
    board.start_webhook_server()
    dialed = board._video().dial(room.session_id)
    wait_until(lambda: legs(board, room.session_id), what="a leg that stays, as no bridge is on record yet")
    bridge, _ = board._store.claim_bridge(room, board.owner)
    told = lambda: board._store.bridge_dialed(bridge.id, dialed.connection_id, dialed.stream_id)  # noqa: E731
    board._bridges._dialing = _DialDone(told)
    assert board.hang_up(room).reason == "The bridge was hung up."
    assert sip_connections(board, room) == []


def test_a_leg_that_answered_but_is_not_connected_yet_is_asked_for_again(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """The answer webhook comes before the leg joins: a hang-up in between does not free the record, but asks again."""
    room, _ = connected(board)
    disconnect = OpenTokVideo.force_disconnect
    asked: list[str] = []

    def not_yet(video: OpenTokVideo, session_id: str, connection_id: str) -> bool:
        asked.append(connection_id)
        return len(asked) > 1 and disconnect(video, session_id, connection_id)

    monkeypatch.setattr(OpenTokVideo, "force_disconnect", not_yet)
    monkeypatch.setattr("sipkit.bridges.UNKNOWN_YET", 60.0)
    monkeypatch.setattr("sipkit.voice_calls.can_call", lambda _account: False)
    assert board.hang_up(room).hung_up
    assert len(asked) == 2
    wait_until(lambda: board.trace().ledger()["legs"] == [], what="no leg")


@pytest.mark.parametrize("how", ["hang_up", "dial_out"])
def test_a_leg_that_never_was_connected_is_hung_up_itself(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil, how: str
) -> None:
    """If the platform knows no connection, the leg that answered for the dial is ended before the record is."""
    room, bridge = connected(board)
    monkeypatch.setattr("sipkit.bridges.UNKNOWN_YET", 0.0)
    monkeypatch.setattr("sipkit.bridges.YOUNG", 0.0)
    monkeypatch.setattr(OpenTokVideo, "stream_alive", lambda *_: False)
    with monkeypatch.context() as patch:
        patch.setattr(OpenTokVideo, "force_disconnect", lambda *_: False)
        if how == "hang_up":
            assert board.hang_up(room).hung_up
            assert board.bridge(room) is None
        else:
            assert board.dial_out(room).id != bridge.id
    wait_until(lambda: bridge.connection_id not in sip_connections(board, room), what="the first one's end")


@pytest.mark.parametrize(
    ("body", "gone"),
    [
        ('{"code": -1, "message": "The session does not exist"}', True),
        ('{"code": 404, "description": "Session 1_MX4 not found"}', True),
        ('{"message": "Not Found", "path": "/v2/project/1/session/2/connection"}', False),
        ('{"message": "/v2/project/1/session/2/connection was not found"}', False),
        ('{"message": "Not found", "description": "an answer of the session border"}', False),
        ("<h1>Not Found</h1> /v2/project/1/session/2/connection", False),
        ('["the session does not exist"]', False),
        ("", False),
    ],
)
def test_only_the_platforms_own_words_say_that_a_session_is_gone(body: str, gone: bool) -> None:
    """The error JSON's message or description says it in words; addresses and pages of gateways do not count."""
    assert says_session_gone(body) is gone


def test_a_waiting_phone_that_is_gone_is_asked_for_once(board: Switchboard) -> None:
    """A phone of the lobby whose last news was lost is not up any more, says the platform; the store then knows."""
    room, _ = connected(board)
    store = board._store
    store.caller_seen("a-leg-that-is-gone", "12025550123", "waiting", room.id)
    board.hang_up(room)
    assert store.waiting(room.id) == []
    gone = store.caller("a-leg-that-is-gone")
    assert gone is not None
    assert gone.state == "left"
