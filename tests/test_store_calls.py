"""The store's bridges by the nonces of their dials and by the numbers they call, and older stores brought forward."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Connection, create_engine, inspect, update

from sipkit.errors import StoreError
from sipkit.rooms import Room
from sipkit.store import Store
from sipkit.store.caller_book import A_MOMENT
from sipkit.store.schema import DURABLE, bridges, facts

ENVIRONMENT = "sandbox:KEY"
NUMBER = "12025550123"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A new, empty store."""
    store = Store.open(store_url, ENVIRONMENT)
    yield store
    store.close()


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


def test_a_leg_is_known_by_its_dial(store: Store, room: Room) -> None:
    """A nonce finds the bridge it was dialled with, gives it the leg once, and is refused to another leg."""
    bridge, _ = store.claim_bridge(room, "me")
    assert bridge.nonce
    assert store.bridge_of_nonce(bridge.nonce) == bridge
    assert store.bridge_of_nonce("") is None
    assert store.bridge_of_nonce("made up") is None
    assert store.bridge_answered("SESSION", "stranger", "made up") is None
    answered = store.bridge_answered("SESSION", "leg", bridge.nonce)
    assert answered == store.living_bridge(room)
    assert answered is not None
    assert (answered.state, answered.leg_uuid) == ("answered", "leg")
    assert store.bridge_answered("SESSION", "leg", bridge.nonce) == answered
    assert store.bridge_answered("SESSION", "second", bridge.nonce) is None
    store.end_bridge(bridge.id, "hung up")
    again = store.bridge_answered("SESSION", "leg", bridge.nonce)
    assert again is not None
    assert not again.living
    assert bridge.nonce not in repr(bridge)


def test_direct_calls_stand_beside_the_bridge(store: Store, room: Room) -> None:
    """A room has one living call to a number, and each is told from the bridge and from the others by its nonce."""
    bridge, _ = store.claim_bridge(room, "me")
    first, ours = store.claim_bridge(room, "me", number=NUMBER)
    assert ours
    assert store.claim_bridge(room, "you", number=NUMBER) == (first, False)
    second, _ = store.claim_bridge(room, "me", number="12025550124")
    assert store.living_calls(room) == [first, second]
    assert store.living_bridge(room) == bridge
    assert NUMBER not in repr(first)
    assert first.masked_number == "•••0123"
    assert store.bridge_answered("SESSION", "phone", second.nonce) is not None
    assert store.bridge_answered("SESSION", "leg") is not None
    assert store.bridge_of_leg("phone") == store.bridge_of_nonce(second.nonce)
    assert store.end_bridge_of_leg("phone", "completed") is not None
    assert store.living_calls(room) == [first]
    assert store.end_bridge(bridge.id, "hung up")
    assert store.renew_session("standup", "SESSION", "NEXT") == room  # a call lives in it
    assert store.end_bridge(first.id, "hung up")
    assert store.renew_session("standup", "SESSION", "NEXT").session_id == "NEXT"


def test_a_call_that_ends_takes_nobody_along(store: Store, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever typed the PIN leaves with the room's bridge, not with a direct call."""
    monkeypatch.setattr("sipkit.store.caller_book.NEWS_WITHIN", 0.0)
    call, _ = store.claim_bridge(room, "me", number=NUMBER)
    store.bridge_answered("SESSION", "phone", call.nonce)
    store.caller_seen("leg", NUMBER, "joined", room.id)
    assert store.end_bridge(call.id, "hung up")
    assert [caller.state for caller in store.callers(room)] == ["joined"]


def test_a_hosts_deed_is_claimed_once(store: Store, room: Room) -> None:
    """Of many who want the same of a phone at once one may; taken back, or a moment later, somebody may again."""
    store.caller_seen("leg", "12025550123", "waiting", room.id)

    def claims(claim: Callable[[str], bool]) -> int:
        with ThreadPoolExecutor(8) as hosts:
            return sum(hosts.map(claim, ["leg"] * 8))

    def ask(leg: str) -> bool:
        return store.ask_unmute(leg, on=True)

    assert (claims(store.mute_caller), claims(ask)) == (0, 0)  # nobody hears a phone that waits
    assert claims(store.admit_caller) == 1
    assert claims(ask) == 0  # it is not muted
    assert claims(store.mute_caller) == 1
    assert claims(ask) == 1
    store.ask_unmute("leg", on=False)
    assert (claims(ask), claims(store.remove_caller)) == (1, 1)
    store.advance_clock(A_MOMENT + 1)
    assert (claims(ask), claims(store.remove_caller)) == (1, 1)
    store.set_caller("leg", removed_at=None)
    assert claims(store.remove_caller) == 1
    assert claims(lambda leg: store.set_hand(leg, up=True)) == 1
    assert claims(lambda leg: store.set_hand(leg, up=False)) == 1
    store.caller_left("leg")
    store.set_caller("leg", removed_at=None, muted=False)
    assert [claims(claim) for claim in (store.admit_caller, store.mute_caller, ask, store.remove_caller)] == [0] * 4
    with ThreadPoolExecutor(8) as hosts:
        assert sum(hosts.map(lambda _host: store.set_room(room, locked=True), range(8))) == 1


def test_a_store_of_version_1_is_brought_forward(store: Store, room: Room, store_url: str) -> None:
    """What the first version wrote is kept: rooms, and a living bridge, whose dialler was its owner."""
    bridge, _ = store.claim_bridge(room, "me")
    store.close()
    back_to("1", store_url)
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store.open(store_url, ENVIRONMENT), range(4)))
    for each in stores:
        assert each.room(room.name) == replace(room, pin_until=None)  # opened before PINs had an end
        kept = each.living_bridge(room)
        assert kept == replace(bridge, nonce="")  # dialled before there were nonces
        assert kept is not None
        assert kept.dialler == "me"
        each.close()
    with contextlib.closing(Store.open(store_url, ENVIRONMENT)) as again:
        assert again.use_ticket("a", time.time() + 60)


def test_a_store_of_version_2_is_brought_forward(store: Store, room: Room, store_url: str) -> None:
    """A bridge that lives on across the change is found, ended and followed by another, and calls can be made."""
    bridge, _ = store.claim_bridge(room, "me")
    store.close()
    back_to("2", store_url)
    with contextlib.closing(Store.open(store_url, ENVIRONMENT)) as newer:
        assert newer.claim_bridge(room, "you") == (replace(bridge, nonce=""), False)
        assert newer.bridge_answered("SESSION", "leg") is not None
        assert newer.end_bridge(bridge.id, "hung up")
        following, ours = newer.claim_bridge(room, "you")
        called, too = newer.claim_bridge(room, "you", number=NUMBER)
        assert ours
        assert too
        assert newer.living_bridges() == [following, called]
        with pytest.raises(StoreError):  # the constraint of a new store is in this one, too
            newer.run(DURABLE, lambda conn: conn.execute(update(bridges).values(nonce="the same for all")))


def test_a_store_of_version_3_is_brought_forward(store: Store, room: Room, store_url: str) -> None:
    """An open room's PIN from before there were several lets in, and can be changed; a closed room's does not."""
    gone = store.open_room("gone", lambda: "S2")
    store.close_room("gone")
    store.close()
    back_to("3", store_url)
    with contextlib.closing(Store.open(store_url, ENVIRONMENT)) as newer:
        kept = replace(room, pin_until=None)  # opened before PINs had an end
        assert newer.rooms() == [kept]
        assert newer.room_by_pin(room.pin) == kept
        assert newer.room_by_pin(gone.pin) is None
        fresh = newer.make_pin(kept)
        assert newer.room_by_pin(room.pin) is None
        assert newer.room_by_pin(fresh.digits) is not None
        assert newer.open_room("gone", lambda: "S3").pin


def test_a_store_of_version_4_is_brought_forward(store: Store, room: Room, store_url: str) -> None:
    """A bridge that was up across the change is charged for from its answer on, and its room can be given a budget."""
    bridge, _ = store.claim_bridge(room, "me")
    store.close()
    back_to("4", store_url)
    with contextlib.closing(Store.open(store_url, ENVIRONMENT)) as newer:
        assert newer.rooms() == [room]
        assert newer.bridge_answered("SESSION", "leg", bridge.nonce) is not None
        assert [charge.kind for charge in newer.charges(room)[0]] == ["sip", "inbound"]
        newer.set_room(room, budget=0.5)
        assert newer.rooms() == [replace(room, budget=0.5)]


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
def test_an_older_store_gets_all_tables(store: Store, room: Room, store_url: str, version: str) -> None:
    """A store of any older version has, once opened, every column and every unique index of a new one."""
    store.close()
    new = shape(store_url)
    back_to(version, store_url)
    assert shape(store_url) != new
    Store.open(store_url, ENVIRONMENT).close()
    assert shape(store_url) >= new


def shape(url: str) -> set[tuple[str, ...]]:
    """The columns and unique indexes of a store's tables."""
    engine = create_engine(url)
    look = inspect(engine)
    columns = {(table, each["name"]) for table in look.get_table_names() for each in look.get_columns(table)}
    unique = {
        (table, *map(str, each["column_names"]), "unique")
        for table in look.get_table_names()
        for each in look.get_indexes(table)
        if each["unique"]
    }
    engine.dispose()
    return columns | unique


def back_to(version: str, url: str) -> None:
    """Make the tables as an older version had them, one version after the other."""
    engine = create_engine(url)
    with engine.begin() as conn:
        for older, step in _BACK.items():
            if older >= version:
                step(conn)
                conn.execute(update(facts).where(facts.c.key == "schema").values(value=older))
    engine.dispose()


def _to_4(conn: Connection) -> None:
    _drop(conn, "rooms", "budget")
    conn.exec_driver_sql("DROP INDEX callers_of_room")
    conn.exec_driver_sql("CREATE INDEX ix_callers_room_id ON callers (room_id)")
    conn.exec_driver_sql("CREATE INDEX events_of_environment ON events (environment, id)")


def _to_3(conn: Connection) -> None:
    conn.exec_driver_sql("ALTER TABLE rooms ADD COLUMN pin VARCHAR(10)")
    # A constraint then; so it cannot be dropped in SQLite.
    conn.exec_driver_sql("CREATE UNIQUE INDEX one_pin ON rooms (environment, pin)")
    conn.exec_driver_sql("UPDATE rooms SET pin = (SELECT open_pin FROM pins WHERE room_id = rooms.id)")
    for table in ("pins", "lockouts", "leases", "leaders", "charges"):
        conn.exec_driver_sql(f"DROP TABLE {table}")
    _drop(conn, "rooms", "lobby", "locked", "waits_for_host", "language")
    _drop(conn, "callers", "pin_id", "name", "host", "muted", "hand_at", "unmute_asked_at", "waiting_at", "removed_at")


def _to_2(conn: Connection) -> None:
    conn.exec_driver_sql("DROP TABLE replays")
    for index in ("one_living_call", "one_bridge_per_nonce"):
        conn.exec_driver_sql(f"DROP INDEX {index}")
    _drop(conn, "bridges", "living_call", "number", "caller_id", "nonce")


def _to_1(conn: Connection) -> None:
    _drop(conn, "bridges", "dialler")
    for table in ("tickets", "allowances"):
        conn.exec_driver_sql(f"DROP TABLE {table}")


def _drop(conn: Connection, table: str, *columns: str) -> None:
    for column in columns:
        conn.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")


_BACK = {"4": _to_4, "3": _to_3, "2": _to_2, "1": _to_1}
"""What undoes each step of `sipkit.store.migrations`, the latest first."""
