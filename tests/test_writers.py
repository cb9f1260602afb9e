"""Writers of a SQLite store: how they wait for each other, and how durable what they write is."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from sipkit.errors import StoreError
from sipkit.store import Store
from sipkit.store.schema import DURABLE, QUICK

NORMAL, FULL = 1, 2
"""sqlite.org/pragma.html, "synchronous"."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store in `tmp_path / "db"`."""
    store = Store.open(f"sqlite:///{tmp_path / 'db'}", "sandbox:KEY")
    yield store
    store.close()


def test_threads_lose_their_patience_together(store: Store, tmp_path: Path) -> None:
    """Four threads that wait for another program's lock are all told after the time of one, and then it works again."""

    def write(_number: int) -> bool:
        try:
            with store.patience(1.0):
                store.record("test", "written")
        except StoreError as error:
            return "locked" in error.fix
        return False

    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(write, range(4))) == [True] * 4
        assert time.monotonic() - begun < 3.5  # one after the other they would take four seconds
        other.execute("ROLLBACK")
    store.record("test", "the next one")
    assert [event.text for event in store.events()] == ["the next one"]


def test_who_has_its_turn_writes_before_all_others(store: Store) -> None:
    """Whoever takes its turn before it writes goes first, with as many writes as it likes; then the others do."""
    with ThreadPoolExecutor(1) as pool:
        with store.writing_turn():
            other = pool.submit(store.record, "test", "the other one's")
            for text in ("first", "second"):
                store.record("test", text)
            with pytest.raises(TimeoutError):
                other.result(0.05)
        other.result(20)
    assert [event.text for event in store.events()] == ["first", "second", "the other one's"]


def test_waiting_for_a_turn_takes_of_the_same_patience(store: Store, tmp_path: Path) -> None:
    """Who has waited for its turn in vain does not wait as long again for another program."""
    taken, go_on = threading.Event(), threading.Event()

    def sit() -> None:
        with store.writing_turn():
            taken.set()
            assert go_on.wait(20)

    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        sitting = pool.submit(sit)
        assert taken.wait(20)
        begun = time.monotonic()
        with pytest.raises(StoreError), store.patience(1.0), store.writing_turn():
            store.record("test", "too late")
        assert 1.0 <= time.monotonic() - begun < 1.9
        go_on.set()
        sitting.result(20)


@pytest.mark.skipif(os.name == "nt", reason="Windows interrupts no thread")
def test_who_is_interrupted_waits_no_longer(store: Store) -> None:
    """The stop button ends a wait for one's turn, and nobody waits afterwards for the one who has gone."""
    taken, go_on = threading.Event(), threading.Event()

    def sit() -> None:
        with store.writing_turn():
            taken.set()
            assert go_on.wait(20)

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ThreadPoolExecutor(1) as pool:
            sitting = pool.submit(sit)
            assert taken.wait(20)
            main = threading.main_thread().ident
            threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT]).start()
            with pytest.raises(KeyboardInterrupt):
                store.record("test", "never")
            go_on.set()
            sitting.result(20)
    finally:
        signal.signal(signal.SIGINT, usual)
    with store.patience(2.0):
        store.record("test", "afterwards")
    assert [event.text for event in store.events()] == ["afterwards"]


def test_a_writer_comes_in_when_the_other_program_ends(store: Store, tmp_path: Path) -> None:
    """Who waits for another program's transaction is let in after it, with what that one wrote."""
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(store.record, "test", "after all")
            other.execute("COMMIT")
            assert waiting.result(20).text == "after all"


@pytest.mark.parametrize(("parts", "levels"), [((QUICK, QUICK), [NORMAL]), ((QUICK, DURABLE), [NORMAL, FULL])])
def test_a_whole_is_as_durable_as_its_parts(store: Store, parts: tuple[str, ...], levels: list[int]) -> None:
    """It does not wait for the disk, until a part must survive a power failure: then it is undone and begun anew."""
    seen: list[int] = []

    def work(conn: Connection) -> None:
        seen.append(conn.exec_driver_sql("PRAGMA synchronous").scalar_one())
        store.record("test", "once")
        for access in parts:
            store.run(access, lambda _conn: None)

    store.whole(work)
    assert seen == levels
    assert [event.text for event in store.events()] == ["once"]
