"""A platform in bad moods: what may be up is never taken for hung up, and one answer that fails costs nobody else."""

from collections.abc import Iterator
from functools import partial

import pytest

from sipkit import watch as watching
from sipkit.errors import PlatformUnreachable
from sipkit.rooms import Room
from sipkit.stocktaking import Stocktaking
from sipkit.switchboard import Switchboard
from sipkit.watch import ROLE, ROLE_SECONDS, Watch
from tests.standins.boards import connections, go_on, kernel, now, said
from tests.standins.odd_platform import Mood, OddPlatform, Says, odd_platform

SECONDS = 15.0
DUE = 301.0
"""Seconds after which a call with nobody in it is to be hung up."""

MOODS: dict[str, Mood] = {
    "500": Says(500, "oops"),
    "429": Says(429),
    "429 later": Says(429, headers={"Retry-After": "30"}),
    "closes": "closes",
}

HANGING_UP = "DELETE /connection/"
LISTING = "GET /connection$"


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests, whose webhook server's own watch does nothing."""
    hall._store.advance_clock(ROLE_SECONDS + 1)
    hall.wait_for(lambda: hall._store.leads(ROLE, "test", 10**6), SECONDS, "the role")
    return hall


@pytest.fixture
def watch(board: Switchboard) -> Watch:
    """A watch that leads, and takes no stock meanwhile."""
    watch = Watch(board._settings, board._store, board._account, "test")
    watch._next_stocktaking = float("inf")
    return watch


@pytest.fixture
def platform(board: Switchboard) -> Iterator[OddPlatform]:
    """The platform, without a mood yet."""
    with odd_platform(board._cloud, board._cloud.account()) as platform:
        yield platform


def due(board: Switchboard, watch: Watch, *names: str) -> list[Room]:
    """Rooms whose calls the guard hangs up in its next round."""
    rooms = [board.open_room(name) for name in names]
    for room in rooms:
        board.dial_out(room)
        board.wait_for_bridge(room, "answered", SECONDS)
    watch.round()
    board._store.advance_clock(DUE)
    return rooms


def told(board: Switchboard, room: Room) -> list[str]:
    """What the timeline says of what does not work."""
    return [event.text for event in board.events(room) if "could not be seen to" in event.text]


def gone(board: Switchboard, room: Room) -> bool:
    """Whether the room's session has no SIP leg."""
    return not connections(board, room.session_id)


def test_a_hang_up_that_fails_is_tried_again(board: Switchboard, watch: Watch, platform: OddPlatform) -> None:
    """Whatever the platform answers, or not: the call stays on record until it is down, and the timeline says it once.

    The last answer is lost, not the request: then the next round finds that nothing is up.
    """
    (room,) = due(board, watch, "moody")
    for mood in MOODS.values():
        platform.moods[HANGING_UP] = mood
        watch.round()
        assert board.bridge(room) is not None
        assert connections(board, room.session_id)
    assert len(told(board, room)) == 1
    platform.moods[HANGING_UP] = "loses"
    watch.round()
    board.wait_for(partial(gone, board, room), SECONDS, "the call to be down")
    platform.moods.clear()
    watch.round()
    assert board.bridge(room) is None
    board.close_room(room)


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
def test_a_limit_holds_though_the_platform_does_not_tell(
    board: Switchboard, watch: Watch, platform: OddPlatform, mood: Mood
) -> None:
    """A platform that cannot say who is in a session ends no call too early, and lets none go on for ever."""
    room = board.open_room(f"not told {len(board.events())}")
    store = board._store
    bridge, _ = store.claim_bridge(room, board.owner)
    store.bridge_dialed(bridge.id, "made up", "made up")
    platform.moods[LISTING] = mood
    watch.round()
    store.advance_clock(179 * 60)
    watch.round()
    assert board.bridge(room) is not None
    assert [event.text for event in board.events(room) if "will be hung up" in event.text]
    store.advance_clock(61)
    watch.round()
    assert board.bridge(room) is None
    board.close_room(room)


def test_a_silent_platform_keeps_nobody_waiting(
    board: Switchboard, watch: Watch, platform: OddPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one hang-up gets no answer all others are done, in that round and in the next, and it is not sent twice."""
    monkeypatch.setattr(watching, "ROUND", 2.0)
    slow, quick = due(board, watch, "slow", "quick")
    bridge = board.bridge(slow)
    assert bridge is not None
    silent = f"DELETE /connection/{bridge.connection_id}"
    platform.moods[silent] = "hangs"
    watch.round()
    assert board.bridge(quick) is None
    assert board.bridge(slow) is not None
    watch.round()
    assert sum(str(bridge.connection_id) in asked for asked in platform.asked) == 1
    del platform.moods[silent]
    platform.let.set()
    board.wait_for(lambda: not watch._under_way, SECONDS, "the request to end")
    watch.round()
    assert board.bridge(slow) is None
    for room in (slow, quick):
        board.close_room(room)


@pytest.mark.parametrize("mood", [*MOODS.values(), Says(404, "<h1>"), Says(200, "{}"), Says(200, "<h1>")])
def test_no_stock_is_taken_of_nothing(board: Switchboard, platform: OddPlatform, mood: Mood) -> None:
    """A list of calls that did not come, or makes no sense, says of nobody that it has gone."""
    room = board.open_room("counted")
    board._store.caller_seen("e" * 32, "12025550123", "joined", room.id)
    stock = Stocktaking(board._settings, board._store, board._account)
    platform.moods["GET /v1/calls"] = mood
    with pytest.raises(PlatformUnreachable, match="list the calls"):
        stock.look()
    assert [caller.state for caller in board.callers(room) if caller.leg_uuid == "e" * 32] == ["joined"]


def test_a_room_is_closed_though_its_phones_cannot_be_told(board: Switchboard, platform: OddPlatform) -> None:
    """A Voice API that fails keeps up no call that costs money: it is asked once, and phones leave with the bridge."""
    room = board.open_room("closing")
    board.dial_out(room)
    phones = [board.phone() for _ in range(2)]
    for phone in phones:
        phone.wait_for("answered")
        phone.keys(f"{room.pin}#")
    board.wait_for_callers(room, 2, SECONDS)
    board.wait_for_bridge(room, "answered", SECONDS)
    moving = "PUT /v1/calls/"
    platform.moods[moving] = Says(500, "oops")
    board.close_room(room)
    assert sum(request.startswith(moving) for request in platform.asked) == 1
    for phone in phones:
        phone.wait_for("ended", SECONDS)
    assert gone(board, room)


def test_hanging_up_many_is_no_burst(board: Switchboard) -> None:
    """Two notebooks hang up everything at once, two bridges and twenty phones: the platform refuses nothing.

    No second has more than the fifteen requests that it takes.
    """
    store = board._store
    rooms = [board.open_room(name) for name in ("many", "more")]
    for room in rooms:
        board.dial_out(room)
        board.wait_for_bridge(room, "answered", SECONDS)
    for number in range(20):
        store.caller_seen(f"{number:032x}", "12025550123", "asked")
    since = now(board)
    code = """
        say(ready=True)
        sys.stdin.readline()
        board.hang_up_everything()
        say(done=True)
    """
    with kernel(code, board._settings.home) as other:
        said(other)
        go_on(other)
        board.hang_up_everything()
        assert said(other) == {"done": True}
    assert store.phones_there() == []
    for room in rooms:
        board.wait_for(partial(gone, board, room), SECONDS, "the call to be down")
        board.close_room(room)
    requests = [event for event in board.trace().events(since) if event["kind"] == "rest"]
    assert len(requests) >= 22
    assert not [event for event in requests if event["status"] == 429]
    times = sorted(event["t"] for event in requests)
    assert max(sum(begin <= each < begin + 1 for each in times) for begin in times) <= 15
