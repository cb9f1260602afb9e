"""Two processes that write at once, in PostgreSQL: every interleaving ends as if one had come after the other.

The first one is stopped before each of its statements in turn, and before its commit; the second one then does all of
its work, or as much as it can before it has to wait; then the first one goes on. SQLite's writers stand in a queue, so
there is nothing to interleave.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple, Self

import psycopg
import pytest
from sqlalchemy import event, insert, select, update

from sipkit.errors import RoomNotFound
from sipkit.replays import Answer
from sipkit.rooms import Room
from sipkit.store import Store, schema
from sipkit.store.schema import QUICK, READ
from sipkit.timeline import Event
from tests.standins.postgres import Postgres

ENVIRONMENT = "sandbox:KEY"
NUMBER = "12025550123"
SECONDS = 20.0
WAITERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

Work = Callable[[Store, str], Any]
"""What one of the two does to what has this name."""


class Stop:
    """Stops the work of a store once: before its statement of this number, or the commit after its last one.

    Attributes:
        reached: Set once it has stopped.
        go_on: Set it to let the work go on.
    """

    def __init__(self, store: Store, statement: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._engine, self._left = store._engine, statement

    def __enter__(self) -> Self:
        event.listen(self._engine, "before_cursor_execute", self._step)
        event.listen(self._engine, "commit", self._step)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._step)
        event.remove(self._engine, "commit", self._step)

    def _step(self, *_: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            assert self.go_on.wait(SECONDS)


class Outcome(NamedTuple):
    """What an interleaving came to."""

    name: str
    first: Any
    second: Any


class Race:
    """Two processes' views of one store.

    Attributes:
        store: Of the process that is stopped.
        other: Of the one that overtakes it.
    """

    def __init__(self, url: str, watcher: "psycopg.Connection[Any]") -> None:
        self.store, self.other = Store.open(url, ENVIRONMENT), Store.open(url, ENVIRONMENT)
        self._watcher = watcher

    def run(self, first: Work, second: Work, prepare: Work = lambda *_: None) -> Iterator[Outcome]:
        """Run the two in every interleaving, each on something of a new name, and give what they came to."""
        for statement in count(1):
            name = f"{first.__name__} {statement}"
            prepare(self.store, name)
            with Stop(self.store, statement) as stop, ThreadPoolExecutor(2) as pool:
                one = pool.submit(first, self.store, name)
                one.add_done_callback(lambda _, stop=stop: stop.reached.set())  # type: ignore[misc]
                assert stop.reached.wait(SECONDS)
                if one.done():
                    one.result()
                    assert statement > 3, "it was never stopped"
                    return
                two = pool.submit(second, self.other, name)
                self._await(two)
                stop.go_on.set()
                yield Outcome(name, one.result(SECONDS), two.result(SECONDS))

    def _await(self, work: "Future[Any]") -> None:
        """Wait until work has ended, or waits itself."""
        ended = threading.Event()
        work.add_done_callback(lambda _: ended.set())
        while not ended.wait(0.002) and self._watcher.execute(WAITERS).fetchone() == (0,):
            pass


@pytest.fixture
def race(postgres: Postgres) -> Iterator[Race]:
    """A race in a store of its own."""
    with postgres.database() as url, psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as watcher:
        race = Race(url, watcher)
        yield race
        race.store.close()
        race.other.close()


def opened(store: Store, name: str) -> Room:
    """Open the room of this name."""
    return store.open_room(name, lambda: f"SESSION {name}")


def room(store: Store, name: str) -> Room:
    """The open room of this name."""
    found = store.room(name)
    assert found is not None
    return found


def written(store: Store, statement: Any) -> None:
    """Run one statement."""
    store.run(QUICK, lambda conn: conn.execute(statement))


# The turnstile


@pytest.mark.parametrize("before", ["nothing", "a window", "a window that is over"])
def test_no_use_is_forgotten(race: Race, before: str) -> None:
    """Two uses at once count as two, and neither is refused as long as there is one left."""

    def prepare(store: Store, name: str) -> None:
        row = {"environment": ENVIRONMENT, "key": name}
        if before == "a window":
            written(store, insert(schema.allowances).values(**row, used=1, until=store.time() + 600))
        elif before == "a window that is over":
            written(store, insert(schema.allowances).values(**row, used=3, until=store.time() - 1))

    def use(store: Store, name: str) -> float:
        return store.allow(name, 3, 600.0)

    for name, one, two in race.run(use, use, prepare):
        assert (one, two) == (0.0, 0.0)
        left = 0 if before == "a window" else 1
        assert [race.store.allow(name, 3, 600.0) == 0.0 for _ in range(2)] == [left > 0, False]


def test_a_ticket_passes_once(race: Race) -> None:
    """One of two who bring the same ticket is let through."""

    def use(store: Store, name: str) -> bool:
        return store.use_ticket(name, 4e9)

    for _, one, two in race.run(use, use):
        assert sorted([one, two]) == [False, True]


def test_one_leads(race: Race) -> None:
    """One of two who ask for a role gets it, whether it was free, or somebody's who let it lapse."""
    for lapsed in (False, True):

        def prepare(store: Store, name: str, *, lapsed: bool = lapsed) -> None:
            if lapsed:
                store.leads(f"{name} {lapsed}", "former", -1.0)

        def lead(store: Store, name: str, *, lapsed: bool = lapsed) -> bool:
            return store.leads(f"{name} {lapsed}", str(id(store)), 600.0)

        for _, one, two in race.run(lead, lead, prepare):
            assert sorted([one, two]) == [False, True]


# Rooms and PINs


@pytest.mark.parametrize("expired", [False, True])
def test_two_openers_get_one_room_and_one_pin(race: Race, expired: bool) -> None:
    """Both get the same room with the same PIN, which lets in, also where the former PIN has just expired."""

    def prepare(store: Store, name: str) -> None:
        if expired:
            old = opened(store, name)
            written(store, update(schema.pins).where(schema.pins.c.room_id == old.id).values(expires_at=1.0))

    for _, one, two in race.run(opened, opened, prepare):
        assert one == two
        assert race.store.room_by_pin(one.pin) == one


def test_two_new_pins_leave_one(race: Race) -> None:
    """Of two PINs made at once, the later one replaces the other."""

    def make(store: Store, name: str) -> Any:
        return store.make_pin(room(store, name))

    for name, one, two in race.run(make, make, opened):
        [left] = race.store.pins(room(race.store, name))
        assert left in (one, two)


@pytest.mark.parametrize("kind", ["new PIN", "reopened"])
def test_a_closed_room_keeps_no_pin(race: Race, kind: str) -> None:
    """A PIN that is made while its room is closed does not outlive it: its digits are free again."""

    def prepare(store: Store, name: str) -> None:
        old = opened(store, name)
        written(store, update(schema.pins).where(schema.pins.c.room_id == old.id).values(expires_at=1.0))

    def make(store: Store, name: str) -> None:
        if kind == "reopened":
            opened(store, name)
        elif (found := store.room(name)) is not None:
            with contextlib.suppress(RoomNotFound):
                store.make_pin(found)

    def close(store: Store, name: str) -> None:
        store.close_room(name)

    closed = schema.rooms.c.open_name.is_(None)
    kept = select(schema.pins.c.id).join(schema.rooms).where(closed, schema.pins.c.open_pin.is_not(None))
    for first, second in ((make, close), (close, make)):
        for _ in race.run(first, second, prepare):
            assert race.store.run(READ, lambda conn: conn.scalars(kept).all()) == []


def test_two_renewals_agree_on_the_session(race: Race) -> None:
    """Whoever finds a session lost gets the one that stays."""

    def renew(store: Store, name: str) -> str:
        return store.renew_session(name, f"SESSION {name}", f"NEXT {id(store)}").session_id

    for name, one, two in race.run(renew, renew, opened):
        assert one == two == room(race.store, name).session_id


# Bridges


def test_one_dials(race: Race) -> None:
    """One of two who want to dial may; both get the same bridge."""

    def dial(store: Store, name: str) -> Any:
        return store.claim_bridge(room(store, name), str(id(store)))

    for _, one, two in race.run(dial, dial, opened):
        assert one[0] == two[0]
        assert sorted([one[1], two[1]]) == [False, True]


def called(store: Store, name: str) -> None:
    """Open a room and dial from it."""
    store.claim_bridge(opened(store, name), "me")


def test_one_leg_answers(race: Race) -> None:
    """Of two legs that say they came of one dial, one is the bridge's, and stays it."""

    def answer(store: Store, name: str) -> Any:
        return store.bridge_answered(f"SESSION {name}", f"leg {name} {id(store)}")

    for name, one, two in race.run(answer, answer, called):
        [bridge] = [each for each in (one, two) if each is not None]
        assert race.store.living_bridge(room(race.store, name)) == bridge


def test_the_same_leg_answers_twice(race: Race) -> None:
    """A leg's answer webhook that comes twice is the same leg's both times."""

    def answer(store: Store, name: str) -> Any:
        return store.bridge_answered(f"SESSION {name}", f"leg {name}")

    for _, one, two in race.run(answer, answer, called):
        assert one == two
        assert one is not None


def test_a_leg_that_answers_and_leaves_at_once(race: Race) -> None:
    """The bridge of a leg whose first and last news come together is over, whichever was quicker."""

    def answer(store: Store, name: str) -> None:
        store.bridge_answered(f"SESSION {name}", f"leg {name}")

    def leave(store: Store, name: str) -> None:
        store.caller_left(f"leg {name}")

    for first, second in ((answer, leave), (leave, answer)):
        for name, *_ in race.run(first, second, called):
            assert race.store.living_bridge(room(race.store, name)) is None


def test_an_ended_bridge_stays_ended(race: Race) -> None:
    """The dial's answer does not bring a bridge back that was hung up at that moment."""

    def dialed(store: Store, name: str) -> None:
        for bridge in store.living_bridges():
            store.bridge_dialed(bridge.id, "CONNECTION", None)

    def end(store: Store, name: str) -> None:
        for bridge in store.living_bridges():
            store.end_bridge(bridge.id, "hung up")

    for first, second in ((dialed, end), (end, dialed)):
        for name, *_ in race.run(first, second, called):
            assert race.store.living_bridge(room(race.store, name)) is None


# Charges


def running(store: Store) -> list[str]:
    """What is charged for and has no end."""
    open_ones = select(schema.charges.c.kind).where(schema.charges.c.ended_at.is_(None))
    return list(store.run(READ, lambda conn: conn.scalars(open_ones)))


def test_nothing_is_charged_for_beyond_a_bridge(race: Race) -> None:
    """A bridge that answers while it is hung up, and participants seen at that moment, are charged for no longer."""

    def answer(store: Store, name: str) -> None:
        store.bridge_answered(f"SESSION {name}", f"leg {name}")

    def see(store: Store, name: str) -> None:
        store.participants_seen(room(store, name).id, [f"ADA {name}"])

    def end(store: Store, name: str) -> None:
        for bridge in store.living_bridges():
            store.end_bridge(bridge.id, "hung up")

    for first, second in ((answer, end), (end, answer), (see, end), (end, see)):
        for _ in race.run(first, second, called):
            assert running(race.store) == []
        end(race.store, "the last one")


def test_the_last_of_two_ends_the_participants(race: Race) -> None:
    """A room's bridge and direct call that end at once leave no participant charged for."""

    def prepare(store: Store, name: str) -> None:
        called(store, name)
        store.claim_bridge(room(store, name), "me", number=NUMBER)
        store.participants_seen(room(store, name).id, [f"ADA {name}"])

    def end(direct: str) -> Work:
        def work(store: Store, name: str) -> None:
            for bridge in store.living_bridges():
                if (bridge.number or "") == direct:
                    store.end_bridge(bridge.id, "hung up")

        return work

    for _ in race.run(end(""), end(NUMBER), prepare):
        assert running(race.store) == []


def test_what_the_platform_charges_stays(race: Race) -> None:
    """Of two last news of a leg, the one that names the price counts."""
    prices = select(schema.charges.c.price).distinct()

    def told(store: Store, name: str) -> None:
        store.leg_gone(name, "inbound", None, 60, Decimal("0.25"))

    def untold(store: Store, name: str) -> None:
        store.leg_gone(name, "inbound", None, 60, None)

    def answered(store: Store, name: str) -> None:
        store.leg_answered(name, "inbound", None)

    for first, second in ((told, untold), (untold, told)):
        for _ in race.run(first, second, answered):
            assert race.store.run(READ, lambda conn: conn.scalars(prices).all()) == [0.25]


# Callers


@pytest.mark.parametrize("known", [False, True])
def test_nothing_comes_after_left(race: Race, known: bool) -> None:
    """A phone that left has left, whatever else is told of it at that moment."""

    def prepare(store: Store, name: str) -> None:
        written(store, schema.callers.delete())
        if known:
            store.caller_seen(name, NUMBER, "asked")

    def join(store: Store, name: str) -> None:
        store.caller_seen(name, NUMBER, "joined")

    def leave(store: Store, name: str) -> None:
        store.caller_left(name)

    for first, second in ((join, leave), (leave, join)):
        for name, *_ in race.run(first, second, prepare):
            caller = race.store.caller(name)
            assert caller is not None
            assert (caller.state, caller.number) == ("left", NUMBER)


def test_each_wrong_try_counts(race: Race) -> None:
    """Two wrong PINs of one leg are its first and its second."""
    for _, one, two in race.run(Store.wrong_try, Store.wrong_try):
        assert sorted([one, two]) == [1, 2]


def test_keys_that_come_at_once_are_one_deed(race: Race) -> None:
    """Of two keys whose requests come at once, in whatever order, one finds what both of them are."""

    def key(pressed: str, at: float) -> Work:
        def press(store: Store, name: str) -> str | None:
            return store.keyed(name, pressed, at, lambda keys: ("mute", 2) if keys == "*6" else None)

        return press

    for one, two in ((key("*", 1.0), key("6", 1.2)), (key("6", 1.2), key("*", 1.0))):
        for _, first, second in race.run(one, two, Store.forget_keys):
            assert [first, second].count("mute") == 1


def test_the_last_seat_is_given_once(race: Race) -> None:
    """Of two phones that want the last place of a room, one gets it."""

    def sit(store: Store, name: str) -> bool:
        room_id = room(store, name).id

        def work(_conn: Any) -> bool:
            free = store.joined(room_id) < 1
            if free:
                store.caller_seen(f"{name} {id(store)}", NUMBER, "joined", room_id)
            return free

        return store.whole(work)

    for _, one, two in race.run(sit, sit, opened):
        assert sorted([one, two]) == [False, True]


def test_one_host_admits(race: Race) -> None:
    """Of two hosts who admit a phone at once, one asks the platform to."""

    def wait(store: Store, name: str) -> None:
        store.caller_seen(name, NUMBER, "waiting")

    for _, one, two in race.run(Store.admit_caller, Store.admit_caller, wait):
        assert sorted([one, two]) == [False, True]


# Wrong PINs


@pytest.mark.parametrize("before", ["nothing", "one", "forgotten"])
def test_each_wrong_pin_counts(race: Race, before: str) -> None:
    """Two wrong PINs of one caller at once count as two, for the caller and for the whole number."""

    def prepare(store: Store, name: str) -> None:
        store.forgive()
        if before != "nothing":
            store.wrong_pin(NUMBER, None)
        if before == "forgotten":
            written(store, update(schema.lockouts).values(kept_until=1.0))

    def err(store: Store, name: str) -> None:
        store.wrong_pin(NUMBER, None)

    levels = select(schema.lockouts.c.level).order_by(schema.lockouts.c.level)
    # The caller's third begins a pause, and counting begins anew.
    expected = [0.0, 3.0, 3.0] if before == "one" else [2.0, 2.0, 2.0]
    for _ in race.run(err, err, prepare):
        found = race.store.run(READ, lambda conn: conn.scalars(levels).all())
        assert found == pytest.approx(expected, abs=0.2)


# Requests, facts, the timeline and the clock


@pytest.mark.parametrize("before", ["nothing", "an older kit's claim", "old answers"])
def test_a_request_is_answered_once(race: Race, before: str) -> None:
    """The same request at two workers has one effect and one answer."""

    def prepare(store: Store, name: str) -> None:
        row = {"environment": ENVIRONMENT, "hash": "digest"}
        if before == "an older kit's claim":
            written(store, insert(schema.replays).values(jti=name, received_at=store.time(), **row))
        elif before == "old answers":
            written(store, insert(schema.replays).values(jti=f"old {name}", received_at=1.0, status=200, **row))

    def ask(store: Store, name: str) -> Answer | None:
        return store.answered(name, "digest", lambda: Answer(200, f"{store.wrong_try(name)}"))

    for _, one, two in race.run(ask, ask, prepare):
        assert one == two == Answer(200, "1")


def test_the_first_fact_is_settled(race: Race) -> None:
    """Both get the value that is kept; of two that may change, one is kept."""

    def settle(store: Store, name: str) -> str:
        store.set_fact(f"other {name}", str(id(store)))
        return store.settled_fact(name, str(id(store)))

    for name, one, two in race.run(settle, settle):
        assert one == two == race.store.fact(name)


def test_no_entry_is_skipped(race: Race) -> None:
    """Who reads the timeline on from its last entry sees every entry, though one was being written meanwhile."""

    def record(store: Store, name: str) -> None:
        store.record("test", f"first of {name}")

    def record_and_read(store: Store, name: str) -> list[Event]:
        store.record("test", f"second of {name}")
        return store.events()

    for _, _, seen in race.run(record, record_and_read):
        assert [*seen, *race.store.events(since=seen[-1].id)] == race.store.events()


def test_time_is_moved_by_all_who_move_it(race: Race) -> None:
    """Two who move the clock at once move it twice."""

    def advance(store: Store, name: str) -> None:
        store.advance_clock(1000.0)

    before = race.store.time()
    for number, _ in enumerate(race.run(advance, advance), 1):
        assert race.other.time() - before == pytest.approx(2000.0 * number, abs=60)
