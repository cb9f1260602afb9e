"""Bad days of the store: callers hear an apology in time, the panel says why, and it works again by itself."""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import delete

from sipkit import app as sipkit_app
from sipkit.errors import StoreError
from sipkit.rooms import Room
from sipkit.store import Store, postgresql
from sipkit.store.replay_book import Answer
from sipkit.store.schema import DURABLE, READ, facts
from sipkit.switchboard import Switchboard
from sipkit.webhooks import late
from sipkit.widgets import CallPanel
from tests.standins.boards import now
from tests.standins.forger import Forger, Sent, app_of_an_account
from tests.standins.postgres import Postgres

if sys.platform != "win32":
    import resource

SECRET = "a-signature-secret-of-32-letters"
ENVIRONMENT = "sandbox:1"
PLATFORMS_PATIENCE = 5.0
"""Seconds the platform waits for an answer webhook (Application API, `socket_timeout`)."""

WaitUntil = Callable[..., Any]
Cause = Callable[[Path], Any]


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Somebody else writes and does not come to an end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def gone(file: Path) -> Iterator[None]:
    """The file is somewhere else for a while, as on a drive that was taken out."""
    away = file.with_name("away.db")
    file.rename(away)
    yield
    away.rename(file)


@contextmanager
def replaced(file: Path, contents: bytes) -> Iterator[None]:
    """Another file stands in its place for a while, and its companions are away with it."""
    away = file.with_name("away")
    away.mkdir()
    for each in file.parent.glob(f"{file.name}*"):
        each.rename(away / each.name)
    file.write_bytes(contents)
    yield
    for each in file.parent.glob(f"{file.name}*"):
        each.unlink()
    for each in away.iterdir():
        each.rename(file.with_name(each.name))
    away.rmdir()


def emptied(file: Path) -> Any:
    """An empty file stands in its place, as `touch` or a copy that failed leaves one."""
    return replaced(file, b"")


def damaged(file: Path) -> Any:
    """Its pages are overwritten, all but the first."""
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return replaced(file, file.read_bytes()[:4096] + os.urandom(file.stat().st_size - 4096))


@contextmanager
def full_for(pid: int) -> Iterator[None]:
    """No byte more goes into any file of a process."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


# In this process: each cause, and what the error says


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The store's file."""
    return tmp_path / "db"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The app on a store of its own, with little patience, that notes late news in an hour."""
    monkeypatch.setattr(sipkit_app, "PATIENCE", 0.2)
    monkeypatch.setattr(late, "AGAIN", 3600.0)
    return app_of_an_account(tmp_path, SECRET)


@pytest.fixture
def store(app: Flask) -> Store:
    """Its store."""
    found: Store = app.extensions["sipkit"].store
    return found


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


@contextmanager
def by_pragma(store: Store, pragma: str, usual: str) -> Iterator[None]:
    """SQLite itself refuses, by its own means, on the one connection that this thread uses."""
    store.close()  # whatever other connections were kept
    store.run(READ, lambda conn: conn.exec_driver_sql(pragma))
    yield
    store.run(READ, lambda conn: conn.exec_driver_sql(usual))


@contextmanager
def full(store: Store) -> Iterator[None]:
    """There is no room for another page, and the last ones are full."""
    with by_pragma(store, "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1073741823"):
        fills: tuple[Callable[[str], object], ...] = (
            lambda word: store.answered(word, "x", lambda: Answer(200, "")),
            lambda word: store.caller_seen(word, "", "calling"),
            lambda word: store.record("test", word),
        )
        for fill in fills:
            with suppress(StoreError):
                for number in range(1000):
                    fill(f"{number}")
        yield


CAUSES: dict[str, tuple[str, Callable[[Store, Path], Any]]] = {
    "locked": ("keeps the store locked", lambda _store, file: locked(file)),
    "full": ("Make space", lambda store, _file: full(store)),
    "read-only": (
        "writable",
        lambda store, _file: by_pragma(store, "PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    ),
    "gone": ("moved or deleted", lambda _store, file: gone(file)),
    "emptied": ("replaced by one without its tables", lambda _store, file: emptied(file)),
    "damaged": ("damaged", lambda _store, file: damaged(file)),
}
"""What happens to a store: a word of the fix, and how it happens."""


def rows(file: Path) -> dict[str, int]:
    """How many rows each table has."""
    with closing(sqlite3.connect(file)) as conn:
        tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: conn.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608


def of_a_call() -> list[Sent]:
    """What the platform asks and tells of a call, signed."""
    forger, call = Forger(SECRET, "KEY", "APP"), {"uuid": "one", "from": "12025550123"}
    sent = (
        Sent("POST", "voice-answer", call, ""),
        Sent("POST", "voice-dtmf", {**call, "dtmf": "000000"}, ""),
        Sent("POST", "voice-events", {"uuid": "two", "from": "12025550124", "status": "ringing"}, ""),
    )
    return [forger.signed(each) for each in sent]


def let_down(app: Flask, sent: list[Sent]) -> bool:
    """Whether each request of a call is answered, and what is said is an apology."""
    answers = [each.send(app) for each in sent]
    assert {status for status, _ in answers} == {200}
    apologies = ["Sorry, something went wrong" in text for _, text in answers]
    assert '"ok":false' in answers[2][1] or not any(apologies)
    return apologies == [True, True, False]


def answered(app: Flask, sent: list[Sent]) -> bool:
    """Whether the requests are answered as if for the first time: the wrong PIN is the call's first."""
    answers = [each.send(app)[1] for each in sent]
    return '"input"' in answers[0] and "2 more tries" in answers[1] and '"ok":true' in answers[2]


@pytest.mark.parametrize("cause", CAUSES)
def test_a_caller_hears_an_apology_and_the_next_one_a_prompt(
    app: Flask, store: Store, room: Room, file: Path, cause: str
) -> None:
    """Whatever ails the store: an apology in the answer, nothing half-written, and the error tells its fix.

    The very request that failed, repeated by the platform when the cause is gone, is answered as if for the first time.
    """
    fix, happens = CAUSES[cause]
    sent = of_a_call()
    with happens(store, file):
        before = rows(file) if cause in {"locked", "full", "read-only"} else {}
        assert let_down(app, sent)
        with store.patience(0.1), pytest.raises(StoreError) as caught:
            store.set_fact("test", "x" * 20_000)
        assert fix in caught.value.fix
        assert before == (rows(file) if before else {})
    assert answered(app, sent)
    assert store.room("standup") == room
    with closing(sqlite3.connect(file)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_news_that_came_meanwhile_are_noted_afterwards(
    app: Flask, store: Store, room: Room, file: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """A phone that hangs up while the store is locked has left when it works again, once, whoever repeats that."""
    monkeypatch.setattr(late, "AGAIN", 0.05)
    store.caller_seen("leg", "12025550123", "joined", room.id)
    gone = {"uuid": "leg", "from": "12025550123", "status": "completed", "duration": "61", "price": "0.02"}
    sent = Forger(SECRET, "KEY", "APP").signed(Sent("POST", "voice-events", gone, ""))
    with locked(file):
        assert ['"ok":false' in sent.send(app)[1] for _ in range(2)] == [True, True]
        assert [caller.state for caller in store.callers(room)] == ["joined"]
    wait_until(lambda: store.callers(room)[0].state == "left", what="the late news")
    assert '"ok":true' in sent.send(app)[1]
    assert [event.text for event in store.events(room)] == ["Phone •••0123: completed, after 61 s."]
    assert [str(charge.told) for charge in store.charges(room)[0]] == ["0.02"]


def test_a_store_without_this_machines_clock_is_another_one(app: Flask, store: Store, room: Room) -> None:
    """A store that has no anchor for the clock was not opened here: the fix says so, and callers hear an apology."""
    store.run(DURABLE, lambda conn: conn.execute(delete(facts).where(facts.c.key.startswith("clock:"))))
    assert let_down(app, of_a_call())
    with pytest.raises(StoreError) as caught:
        store.time()
    assert "replaced" in caught.value.fix


def test_every_wait_ends_before_the_platforms_does() -> None:
    """Whatever a request waits for in the store, it gives up while the platform still listens."""
    assert max(sipkit_app.PATIENCE, postgresql.LOCK_SECONDS, postgresql.CONNECT_SECONDS) < PLATFORMS_PATIENCE - 1


@contextmanager
def stopped(server: Postgres, _url: str) -> Iterator[None]:
    """The database server is stopped, and started again."""
    server.stop()
    yield
    server.start()


@contextmanager
def table_locked(_server: Postgres, url: str) -> Iterator[None]:
    """Somebody has locked a table, as some ways of tidying do."""
    with psycopg.connect(url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE replays")
        yield


@pytest.mark.parametrize(("happens", "fix"), [(stopped, "runs and can be reached"), (table_locked, "locked")])
def test_the_same_with_postgresql(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, happens: Callable[..., Any], fix: str
) -> None:
    """A database server that is away, or a table that somebody keeps: an apology, and no restart of ours afterwards."""
    monkeypatch.setattr(postgresql, "LOCK_SECONDS", 0.2)
    with postgres.database() as url:
        app = app_of_an_account(tmp_path, SECRET, url)
        store: Store = app.extensions["sipkit"].store
        sent = of_a_call()
        with happens(postgres, url):
            assert let_down(app, sent)
            with pytest.raises(StoreError) as caught:
                store.answered("id", "digest", lambda: Answer(200, ""))
            assert fix in caught.value.fix
        assert answered(app, sent)
        store.close()


# With a real server, a real phone and the panel


def full_disk(board: Switchboard) -> Any:
    """No byte more goes into any file of the server."""
    assert board.server is not None
    return full_for(board.server.pid)


def store_file(board: Switchboard) -> Path:
    """The board's store."""
    return Path(str(board._settings.store_url).removeprefix("sqlite:///"))


DAYS: dict[str, Callable[[Switchboard], Any]] = {
    "locked": lambda board: locked(store_file(board)),
    "full": full_disk,
    "gone": lambda board: gone(store_file(board)),
}


def answers(board: Switchboard, since: int) -> list[dict[str, Any]]:
    """The answer webhooks of calls to which something is being said now."""
    events = board.trace().events(since)
    told = {event["leg"] for event in events if event["kind"] == "ncco" and event["action"] == "talk"}
    asked = [event for event in events if event["kind"] == "webhook" and "/voice-answer" in event["url"]]
    return [event for event in asked if event["leg"] in told]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
@pytest.mark.parametrize("day", DAYS)
def test_a_phone_hears_it_and_the_panel_says_why(hall: Switchboard, wait_until: WaitUntil, day: str) -> None:
    """Who calls then hears an apology before the platform's patience ends; the panel shows why, and when it is over."""
    panel = CallPanel(hall, day)
    begun = max(event.id for event in hall.events())

    def noted(words: str) -> bool:
        return any(words in event.text for event in hall.events(since=begun))

    def call() -> None:
        since = now(hall)
        phone = hall.phone()
        asked = wait_until(lambda: answers(hall, since), timeout=15, what="words for the phone")
        assert [(each["status"], each["attempt"]) for each in asked] == [(200, 1)]
        phone.hang_up()

    with DAYS[day](hall):
        call()
        wait_until(lambda: "The store does not work" in panel.state.error, what="the banner")
        assert "Fix: " in panel.state.error
    wait_until(lambda: not panel.state.error, timeout=15, what="the banner's end")
    wait_until(lambda: noted("Requests answered with an apology"), what="the apology in the timeline")
    assert not noted("it is asked for a PIN")
    call()
    assert noted("it is asked for a PIN")
    panel.close()
