"""A store in PostgreSQL whose server is gone, refuses, or comes back; and what its errors do not show."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, func, select

from sipkit.errors import StoreError
from sipkit.replays import Answer
from sipkit.store import Store, postgresql
from tests.standins.postgres import PASSWORD, USER, Postgres, programs
from tests.standins.siege import Siege

ENVIRONMENT = "sandbox:KEY"
QUICKLY = 10.0  # seconds, on a machine that does other things besides


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that may be stopped and killed."""
    found = programs()
    if found is None:
        pytest.skip("initdb is not installed (Debian package: postgresql)")
    server = Postgres(found, durable=True)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def url(server: Postgres) -> Iterator[str]:
    """A store that is not there yet."""
    with server.database() as url:
        yield url


@pytest.mark.parametrize(
    ("part", "wrong", "says"),
    [
        (PASSWORD, "wrong-secret", "does not know this user and password"),
        (f"{USER}:{PASSWORD}", "stranger:wrong-secret", "does not know this user and password"),
        (f":{PASSWORD}", "", "wants a password"),
        ("/store_", "/no_store_", "has no such database"),
        ("PORT", "1", "cannot be reached"),
        ("127.0.0.1", "nowhere.invalid", "cannot be reached"),
    ],
)
def test_a_url_that_leads_nowhere(server: Postgres, url: str, part: str, wrong: str, says: str) -> None:
    """A wrong password, a missing database and a server that is not there are told at once, with nothing of the URL."""
    before = time.monotonic()
    with pytest.raises(StoreError, match=says) as caught:
        Store.open(url.replace(part.replace("PORT", str(server.port)), wrong), ENVIRONMENT)
    assert time.monotonic() - before < QUICKLY
    told = f"{caught.value} {caught.value.__cause__}"
    for secret in ("secret", PASSWORD, "stranger", "127.0.0.1", "nowhere", "store_"):
        assert secret not in told


def test_a_server_that_does_not_answer(url: str, server: Postgres) -> None:
    """A server that takes the connection and says nothing is given up after some seconds, not after minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(StoreError, match="cannot be reached"):
            Store.open(f"{url.replace(str(server.port), str(silent.getsockname()[1]))}?connect_timeout=2", ENVIRONMENT)
        assert time.monotonic() - before < QUICKLY


def test_a_missing_driver_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver is not installed, which is nobody's by default, the error says how to get it."""
    monkeypatch.setattr(postgresql, "find_spec", lambda _: None)
    with pytest.raises(StoreError, match="driver") as caught:
        Store.open(url, ENVIRONMENT)
    assert 'pip install "sipkit-notebooks[postgresql]"' in str(caught.value)


def test_a_restarted_server(server: Postgres, url: str) -> None:
    """While the server is away calls fail at once; when it is back the next one works, and what was told is there."""
    store = Store.open(url, ENVIRONMENT)
    room = store.open_room("standup", lambda: "SESSION")
    bridge, _ = store.claim_bridge(room, "me")
    server.stop()
    with pytest.raises(StoreError):
        store.rooms()
    with pytest.raises(StoreError, match="cannot be reached"):
        store.rooms()
    server.start()
    assert store.rooms() == [room]
    assert store.living_bridge(room) == bridge
    store.close()


def test_a_killed_server(server: Postgres, url: str) -> None:
    """After kill -9 of the postmaster and all its children nothing that was told is missing, lock-outs included."""
    store = Store.open(url, ENVIRONMENT)
    room = store.open_room("standup", lambda: "SESSION")
    for _ in range(3):
        store.wrong_pin("12025550123", None)
    kept = store.answered("id", "digest", lambda: Answer(200, "first"))
    server.kill()
    with pytest.raises(StoreError):
        store.rooms()
    server.start()
    assert store.rooms() == [room]
    assert store.pause_of("12025550123") > 0
    assert store.answered("id", "digest", lambda: Answer(200, "second")) == kept
    store.close()


def test_a_killed_connection(server: Postgres, url: str) -> None:
    """A connection that the server ends in the middle of a transaction undoes it; the next call has a new one."""
    store = Store.open(url, ENVIRONMENT)

    def work(conn: Connection) -> None:
        store.record("test", "written and undone")
        with server.administrator() as sql:
            sql.execute(f"SELECT pg_terminate_backend({conn.scalar(select(func.pg_backend_pid()))})")
        store.record("test", "too late")

    with pytest.raises(StoreError):
        store.whole(work)
    assert store.events() == []
    store.record("test", "the next one")
    assert [each.text for each in store.events()] == ["the next one"]
    store.close()


def test_a_process_that_stands_still_stops_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stops in the middle of a transaction is undone by the server, and the others go on."""
    monkeypatch.setattr(postgresql, "IDLE_SECONDS", 0.3)
    still, other = Store.open(url, ENVIRONMENT), Store.open(url, ENVIRONMENT)
    begun, go_on = threading.Event(), threading.Event()

    def stand_still(_conn: Connection) -> None:
        still.wrong_try("leg")
        begun.set()
        assert go_on.wait(20)
        still.wrong_try("leg")

    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(still.whole, stand_still)
        assert begun.wait(20)
        assert other.wrong_try("leg") == 1
        go_on.set()
        with pytest.raises(StoreError):
            stopped.result(20)
    assert other.wrong_try("leg") == 2
    still.close()
    other.close()


def test_a_siege_of_the_server_itself(server: Postgres, url: str) -> None:
    """With writers at work one of the server's processes is killed, then the whole server: nothing told is missing."""
    with Siege(url) as siege:
        siege.send(2)
        siege.wait(20)
        server.kill_backend(random.Random(1))
        siege.wait(20)
        siege.kill_one()
        server.kill()
        server.start()
        siege.wait(20)
        siege.kill_one()
        siege.check_all()
        siege.check_whole()
        server.check(url)
