"""The store: what it keeps, who wins a race, and what survives kill -9. Races are between real processes."""

import contextlib
import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from sqlalchemy import Connection, insert, update

from sipkit.errors import BadRoomName, PinSpaceExhausted, RoomNotFound, StoreError
from sipkit.pins import well_formed
from sipkit.rooms import Room
from sipkit.store import Store, schema
from sipkit.store.schema import QUICK
from tests.standins.siege import Siege
from tests.standins.transactions import Watcher

ENVIRONMENT = "sandbox:KEY"
NUMBER = "12025550123"
START_SECONDS = 60


@pytest.fixture
def url(store_url: str) -> str:
    """URL of a store that is not there yet, of either kind."""
    return store_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A new, empty store."""
    store = Store.open(url, ENVIRONMENT)
    yield store
    store.close()


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


def never() -> str:
    """Stand for a session that must not be asked for."""
    raise AssertionError("a session was asked for")


# Rooms


def test_open_room_is_idempotent_by_name(store: Store, room: Room) -> None:
    """Opening a room again returns it and asks for no new session; names differ by space around only."""
    assert store.open_room(" standup ", never) == room
    assert store.room("standup") == room
    assert store.rooms() == [room]
    assert len(room.pin) == 6


def test_a_room_named_like_a_pin_is_no_pin(store: Store, room: Room) -> None:
    """Names and PINs live in separate spaces."""
    twin = store.open_room(room.pin, lambda: "OTHER")
    assert store.room_by_pin(room.pin) == room
    assert store.room(room.pin) == twin


def test_found_by_pin_and_session_while_open(store: Store, room: Room) -> None:
    """A room is found by PIN and session until it is closed; then both are free again."""
    assert store.room_by_pin(room.pin) == store.room_by_session("SESSION") == room
    assert store.close_room("standup")
    assert not store.close_room("standup")
    assert store.room_by_pin(room.pin) is None
    assert store.room_by_session("SESSION") is None
    assert store.open_room("standup", lambda: "NEXT").id != room.id


def test_environments_do_not_see_each_other(store: Store, room: Room, url: str) -> None:
    """Rooms, PINs, bridges, callers, events and facts of another cloud or project are not seen."""
    other = Store.open(url, "live:46000001")
    store.claim_bridge(room, "me")
    store.caller_seen("leg", NUMBER, "joined", room.id)
    store.record("test", "Something happened.")
    store.set_fact("public_url", "http://127.0.0.1:1")
    assert other.rooms() == []
    assert other.room_by_pin(room.pin) is None
    assert other.room_by_session(room.session_id) is None
    assert other.living_bridges() == []
    assert other.bridge_answered(room.session_id, "leg") is None
    assert other.caller("leg") is None
    assert other.events() == []
    assert other.fact("public_url") is None
    assert other.open_room("standup", lambda: "LIVE").session_id == "LIVE"
    other.close()


def test_bad_names(store: Store) -> None:
    """A bad name is refused before any session is asked for, and cannot be looked up either."""
    with pytest.raises(BadRoomName):
        store.open_room("", never)
    with pytest.raises(BadRoomName):
        store.room("\ud800")


def test_exhausted_pins(store: Store) -> None:
    """With all PINs but one in use that one is found; then the space is exhausted, until a room closes."""
    store.pin_length = 4
    pins = [str(pin) for pin in range(1000, 10000) if well_formed(str(pin)) and pin != 4718]
    of_all = {"environment": ENVIRONMENT, "session_id": "S", "opened_at": 0.0}
    rooms = [{"id": int(pin), "name": f"r{pin}", "open_name": f"r{pin}", **of_all} for pin in pins]
    of_each = {"environment": ENVIRONMENT, "kind": "room", "name": "", "made_at": 0.0}
    kept = [{"room_id": int(pin), "pin": pin, "open_pin": pin, "open_role": f"{pin}:room:", **of_each} for pin in pins]

    def work(conn: Connection) -> None:
        conn.execute(insert(schema.rooms), rooms)
        conn.execute(insert(schema.pins), kept)

    store.run(QUICK, work)
    assert store.open_room("last", lambda: "S").pin == "4718"
    with pytest.raises(PinSpaceExhausted, match="6310"):
        store.open_room("one more", lambda: "S")
    assert store.room("one more") is None
    store.close_room("r1357")
    assert store.open_room("one more", lambda: "S").pin == "1357"


def test_longest_pin(store: Store, url: str) -> None:
    """Rooms opened with a greater PIN_LENGTH keep their PINs, and the store tells how long they are."""
    assert store.longest_pin() == 0
    longer = Store.open(url, ENVIRONMENT, pin_length=7)
    assert len(longer.open_room("old", lambda: "S").pin) == 7
    assert len(store.open_room("new", lambda: "S").pin) == 6
    assert store.longest_pin() == 7
    longer.close()


def test_renewed_session(store: Store, room: Room) -> None:
    """A renewed room keeps its PIN and says so; not while its bridge lives, and not twice for the same loss."""
    bridge, _ = store.claim_bridge(room, "me")
    assert store.renew_session("standup", "SESSION", "NEXT") == room
    assert store.living_bridge(room) == bridge
    assert store.end_bridge(bridge.id, "hung up")
    renewed = store.renew_session("standup", "SESSION", "NEXT")
    assert (renewed.session_id, renewed.pin, renewed.reopened) == ("NEXT", room.pin, True)
    assert store.renew_session("standup", "SESSION", "LATER") == renewed
    with pytest.raises(RoomNotFound):
        store.renew_session("retro", "SESSION", "NEXT")


# Bridges


def test_one_living_bridge_per_room(store: Store, room: Room) -> None:
    """The second claim gets the first one's bridge; after the end a new one can be claimed."""
    first, ours = store.claim_bridge(room, "me")
    assert ours
    assert store.claim_bridge(room, "you") == (first, False)
    assert store.end_bridge(first.id, "hung up")
    assert not store.end_bridge(first.id, "again")
    ended = store.bridge(first.id)
    assert ended is not None
    assert (ended.state, ended.reason, ended.living) == ("ended", "hung up", False)
    second, ours = store.claim_bridge(room, "you")
    assert ours
    assert second.id != first.id
    assert store.living_bridges(["me"]) == []
    assert store.living_bridges(["you"]) == store.living_bridges() == [second]
    assert store.room_of(second) == room


@pytest.mark.parametrize("answered_first", [False, True])
def test_bridge_comes_up(store: Store, room: Room, answered_first: bool) -> None:
    """The dial's answer and the answer webhook may come in either order, and the webhook twice."""
    bridge, _ = store.claim_bridge(room, "me")
    if answered_first:
        assert store.bridge_answered("SESSION", "leg") is not None
    dialed = store.bridge_dialed(bridge.id, "CONNECTION", "STREAM")
    assert dialed.state == ("answered" if answered_first else "dialed")
    answered = store.bridge_answered("SESSION", "leg")
    assert answered == store.living_bridge(room) == store.bridge_of_leg("leg")
    assert answered is not None
    assert (answered.state, answered.connection_id, answered.leg_uuid) == ("answered", "CONNECTION", "leg")


def test_late_dial_answer_finds_the_bridge_ended(store: Store, room: Room) -> None:
    """Hung up before the platform named the connection: whoever dialled learns that it must still hang up."""
    bridge, _ = store.claim_bridge(room, "me")
    store.end_bridge(bridge.id, "hung up")
    assert not store.bridge_dialed(bridge.id, "CONNECTION", None).living


def test_end_by_leg(store: Store, room: Room) -> None:
    """The end of its leg ends the bridge, once; an unknown leg is no bridge's."""
    store.claim_bridge(room, "me")
    store.bridge_answered("SESSION", "leg")
    ended = store.end_bridge_of_leg("leg", "completed")
    assert ended is not None
    assert (ended.reason, store.living_bridge(room)) == ("completed", None)
    assert store.end_bridge_of_leg("leg", "later") == ended
    assert store.end_bridge_of_leg("unknown", "completed") is None


def test_end_overtakes_answer(store: Store, room: Room) -> None:
    """A leg whose end is heard before its answer webhook ends the bridge it was dialled for."""
    store.claim_bridge(room, "me")
    store.caller_left("leg")
    answered = store.bridge_answered("SESSION", "leg")
    assert answered is not None
    assert not answered.living
    assert store.living_bridge(room) is None


def test_a_former_leg_does_not_end_a_new_bridge(store: Store, room: Room) -> None:
    """A leg that ended before the present bridge was dialled cannot be its leg."""
    store.caller_left("former")
    bridge, _ = store.claim_bridge(room, "me")
    assert store.bridge_answered("SESSION", "former") is None
    assert store.living_bridge(room) == bridge


def test_no_bridge_waits(store: Store, room: Room) -> None:
    """A second leg, or a leg of a room that nobody dialled from, belongs to no bridge."""
    assert store.bridge_answered("SESSION", "leg") is None
    assert store.bridge_answered("UNKNOWN", "leg") is None
    store.claim_bridge(room, "me")
    store.bridge_answered("SESSION", "leg")
    assert store.bridge_answered("SESSION", "second") is None


# Callers


def test_caller_states_only_move_forward(store: Store, room: Room) -> None:
    """Late and repeated news take nothing back, and nothing comes after `left`."""
    store.caller_seen("leg", NUMBER, "asked")
    joined = store.caller_seen("leg", "", "joined", room.id)
    assert (joined.state, joined.number, joined.left_at) == ("joined", NUMBER, None)
    assert store.caller_seen("leg", "other", "calling") == joined
    left, before = store.caller_left("leg")
    assert (left.state, left.joined_at, before) == ("left", joined.joined_at, "joined")
    assert left.left_at is not None
    assert store.caller_seen("leg", NUMBER, "joined", room.id) == left
    assert store.caller_left("leg") == (left, "left")
    assert store.callers(room) == [left]


def test_left_before_anything_else(store: Store, room: Room) -> None:
    """A leg whose end is heard first stays gone, though its room is learnt afterwards."""
    store.caller_left("leg")
    assert store.caller_seen("leg", NUMBER, "joined", room.id).state == "left"
    assert [caller.state for caller in store.callers(room)] == ["left"]


def test_callers_leave_with_the_bridge_when_no_news_comes(
    store: Store, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller whose leaving was told to a killed server counts as left a little after the bridge's end."""
    bridge, _ = store.claim_bridge(room, "owner")
    store.bridge_dialed(bridge.id, "CONNECTION", "STREAM")
    store.bridge_answered("SESSION", "bridge-leg")
    store.caller_seen("leg", NUMBER, "joined", room.id)
    assert store.end_bridge(bridge.id, "hung up")
    assert [caller.state for caller in store.callers(room)] == ["joined"]
    monkeypatch.setattr("sipkit.store.caller_book.NEWS_WITHIN", 0.0)
    [caller] = store.callers(room)
    assert (caller.state, caller.left_at is not None) == ("left", True)
    late = store.caller_seen("next", NUMBER, "joined", room.id)
    assert store.callers(room)[1] == late


def test_callers_of_a_room_only(store: Store, room: Room) -> None:
    """A caller belongs to the room whose PIN it typed, in the order of calling."""
    store.caller_seen("lost", NUMBER, "asked")
    for leg in ("b", "a"):
        store.caller_seen(leg, NUMBER, "joined", room.id)
    assert [caller.leg_uuid for caller in store.callers(room)] == ["b", "a"]


def test_tries_are_counted_per_leg(store: Store) -> None:
    """Wrong and silent tries are counted apart, leg by leg."""
    assert [store.wrong_try("a"), store.wrong_try("a"), store.silent_try("a"), store.wrong_try("b")] == [1, 2, 1, 1]


# Timeline and facts


def test_timeline_is_ordered_and_masked(store: Store, room: Room) -> None:
    """Entries come back in order, by room and from a place on, with nothing secret in them."""
    first = store.record("dial", f"Dialled {NUMBER}.", room.id, {"token": "T1==abc", "from": NUMBER})
    second = store.record("test", "Something else.")
    assert store.events() == [first, second]
    assert store.events(room) == [first]
    assert store.events(since=first.id) == [second]
    assert first.text == "Dialled •••0123."
    assert first.data == {"token": "•••", "from": "•••0123"}


def test_facts(store: Store) -> None:
    """A fact is the value set last; one set before a given time does not count."""
    assert store.fact("public_url") is None
    store.set_fact("public_url", "http://127.0.0.1:1")
    store.set_fact("public_url", "http://127.0.0.1:2")
    assert store.fact("public_url") == "http://127.0.0.1:2"
    assert store.fact("public_url", since=4e9) is None


def test_a_settled_fact_stays(store: Store) -> None:
    """The first value is kept, and given to everybody who comes with another one."""
    assert store.settled_fact("secret", "one") == "one"
    assert store.settled_fact("secret", "two") == "one"
    assert store.fact("secret") == "one"


# The turnstile


def test_a_ticket_passes_once(store: Store) -> None:
    """However many threads bring the same ticket, one passes; another ticket is another matter."""
    until = time.time() + 60
    with ThreadPoolExecutor(8) as pool:
        passed = list(pool.map(lambda _: store.use_ticket("a", until), range(40)))
    assert passed.count(True) == 1
    assert store.use_ticket("b", until)


def test_an_allowance_is_shared(store: Store, url: str) -> None:
    """Processes and threads that use the same thing at once use it as often as allowed, together."""
    other = Store.open(url, ENVIRONMENT)
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda number: (store, other)[number % 2].allow("a", 7, 60), range(40)))
    other.close()
    assert waits.count(0.0) == 7
    assert all(0 < wait <= 60 for wait in waits if wait)
    assert store.allow("b", 7, 60) == 0.0


def test_a_transaction_that_waits_for_the_platform_is_seen(store: Store, transactions: Watcher) -> None:
    """What watches over every test's transactions sees a request that is sent inside of one, and no other."""

    def ask() -> str:
        with contextlib.suppress(requests.ConnectionError):
            requests.get("http://127.0.0.1:1/", timeout=5)
        return "SESSION"

    store.open_room("standup", ask)
    assert transactions.seen == []
    store.whole(lambda _: ask())
    assert len(transactions.seen) == 1
    transactions.seen.clear()


# Files and failures


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_files_are_private(tmp_path: Path) -> None:
    """The folder and every file of a SQLite store belong to their owner only."""
    home = tmp_path / "home"
    store = Store.open(f"sqlite:///{home / 'sipkit.db'}", ENVIRONMENT)
    store.open_room("standup", lambda: "SESSION")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}
    store.close()


@pytest.mark.parametrize("bad", ["nonsense", "nosuchdb://u:secretvalue@h/d", "sqlite://", "sqlite:///:memory:"])
def test_bad_urls(bad: str) -> None:
    """A URL that is none, of an unknown database, or of no file is a typed error that does not show it."""
    with pytest.raises(StoreError) as caught:
        Store.open(bad, ENVIRONMENT)
    assert "secretvalue" not in str(caught.value)


def test_unusable_files(tmp_path: Path) -> None:
    """A folder in the file's place, a file in the folder's place, and garbage are typed errors."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x" * 5000)
    for path in (tmp_path / "folder", tmp_path / "file" / "sipkit.db", tmp_path / "file"):
        with pytest.raises(StoreError):
            Store.open(f"sqlite:///{path}", ENVIRONMENT)


def test_another_version_of_the_tables(store: Store, url: str) -> None:
    """A store of another version is refused with the way out, not misread."""
    newer = update(schema.facts).where(schema.facts.c.key == "schema").values(value="999")
    store.run(QUICK, lambda conn: conn.execute(newer))
    with pytest.raises(StoreError, match="version 999"):
        Store.open(url, ENVIRONMENT)


def test_errors_show_no_values(store: Store) -> None:
    """What the database says of a failed statement does not carry the statement's values."""
    store.run(QUICK, schema.callers.drop)
    with pytest.raises(StoreError) as caught:
        store.caller_seen("leg", NUMBER, "asked")
    assert NUMBER not in f"{caught.value} {caught.value.__cause__}"


def test_threads_share_a_store(store: Store) -> None:
    """Eight threads that open the same twenty rooms agree on every one."""
    found: list[Room] = []

    def work() -> None:
        found.extend(store.open_room(f"room {number}", lambda: "S") for number in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert len({room.id for room in found}) == len({room.pin for room in found}) == 20


# Processes

OPEN_ROOMS = """
import sys
from sipkit.store import Store
url, first, last, step = sys.argv[1], *map(int, sys.argv[2:])
store = Store.open(url, "sandbox:KEY", 4)
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, last, step):
    room = store.open_room(f"room {number}", lambda: f"SESSION {number}")
    print(room.name, room.session_id, room.pin, sep="\\t", flush=True)
"""

CLAIM = """
import os, sys
from sipkit.store import Store
store = Store.open(sys.argv[1], "sandbox:KEY", 4)
room = store.room("standup")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    bridge, ours = store.claim_bridge(room, str(os.getpid()))
    if ours:
        print(bridge.id, flush=True)
        store.end_bridge(bridge.id, "hung up")
print("done", flush=True)
"""


class Writer:
    """A process that runs a script on the store, once told to go."""

    def __init__(self, script: str, *arguments: str) -> None:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self.stdout = self.process.stdin, self.process.stdout

    def ready(self) -> None:
        """Wait until it has opened the store."""
        assert self.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Let it begin."""
        self._stdin.write("go\n")
        self._stdin.flush()

    def lines(self) -> list[str]:
        """Return what is left of its output, once it has ended well."""
        lines = self.stdout.read().splitlines()
        assert self.process.wait(START_SECONDS) == 0
        return lines


@pytest.fixture
def writer() -> Iterator[Callable[..., Writer]]:
    """Start writers; end those that are left."""
    writers: list[Writer] = []

    def start(script: str, *arguments: object) -> Writer:
        writers.append(Writer(script, *map(str, arguments)))
        return writers[-1]

    yield start
    for each in writers:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def test_eight_processes_open_hundreds_of_rooms(url: str, writer: Callable[..., Writer]) -> None:
    """Eight processes open 200 rooms at once, each room from two of them: no PIN is given twice.

    All of them also race to make the file and its tables.
    """
    # Process p and process p + 4 open the same 50 names, so every name is raced for.
    writers = [writer(OPEN_ROOMS, url, number % 4, 200, 4) for number in range(8)]
    for each in writers:
        each.ready()
    for each in writers:
        each.go()
    acked = [tuple(line.split("\t")) for each in writers for line in each.lines()]
    assert len(acked) == 400
    assert len(set(acked)) == 200, "two openers of one name disagree"
    assert Counter(pin for _, _, pin in set(acked)).most_common(1)[0][1] == 1
    store = Store.open(url, ENVIRONMENT)
    assert {(room.name, room.session_id, room.pin) for room in store.rooms()} == set(acked)
    store.close()


def test_processes_race_for_one_bridge(url: str, store: Store, room: Room, writer: Callable[..., Writer]) -> None:
    """Whatever the race, each bridge is won by exactly one process, and at most one lives at a time."""
    writers = [writer(CLAIM, url) for _ in range(4)]
    for each in writers:
        each.ready()
    for each in writers:
        each.go()
    won = [line for each in writers for line in each.lines() if line != "done"]
    assert len(won) >= len(writers)
    assert len(set(won)) == len(won)
    assert store.living_bridge(room) is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_kill_9_loses_nothing_acknowledged(url: str) -> None:
    """Rooms, PINs, bridges, wrong PINs and answers that were acknowledged are there after kill -9 of their writers.

    `make soak` does so a hundred times, with fifty thousand acknowledgements.
    """
    with Siege(url) as siege:
        siege.send(3)
        while siege.victims:
            siege.wait(30)
            siege.kill_one()
        siege.check_all()
        siege.check_whole()
        if url.startswith("sqlite"):
            siege.check_file()
        assert siege.acks.total() >= 90
        assert siege.acks.keys() >= {"room", "pin", "bridge", "leg", "wrong", "replay"}
