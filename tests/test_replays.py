"""The same signed request twice: one effect and one answer, whichever worker gets it, even if the first one died."""

import hashlib
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import requests
from sqlalchemy import insert

from sipkit import replays
from sipkit.errors import SignatureRefused, StoreError
from sipkit.replays import Answer, answered_once
from sipkit.settings import Settings
from sipkit.store import Store, replay_book, schema
from sipkit.store.schema import QUICK, tickets
from tests.standins.holders import ROOT, folder

__all__ = ["folder"]  # a fixture: pytest finds it by its name here

ENVIRONMENT = "live:100"
LATER = 3600.0  # seconds


@pytest.fixture
def url(store_url: str) -> str:
    """Where a new store is."""
    return store_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """One worker's view of the store."""
    store = Store.open(url, ENVIRONMENT)
    yield store
    store.close()


@pytest.fixture
def other(store: Store, url: str) -> Iterator[Store]:
    """Another worker's view of the same store."""
    other = Store.open(url, ENVIRONMENT)
    yield other
    other.close()


def answer(body: str, status: int = 200) -> Callable[[], Answer]:
    """Work that gives this answer."""
    return lambda: Answer(status, body)


def never() -> Answer:
    """Work that must not be done a second time."""
    pytest.fail("the work was done again")


def counting(store: Store, then: Callable[[], Any] = lambda: None) -> Callable[[], Answer]:
    """Work with an effect: the answer says how many wrong PINs there were, this one included."""

    def work() -> Answer:
        tries = store.wrong_try("leg")
        then()
        return Answer(200, f"{tries}")

    return work


def test_the_first_answer_comes_again(store: Store, other: Store) -> None:
    """The same id with the same contents gets the first answer from every worker, without the work being done."""
    assert answered_once(store, "id", "digest", answer("first")) == Answer(200, "first")
    assert answered_once(store, "id", "digest", never) == Answer(200, "first")
    assert answered_once(other, "id", "digest", never) == Answer(200, "first")
    assert answered_once(other, "other id", "digest", answer("second", 400)) == Answer(400, "second")


def test_the_same_id_for_another_request_is_refused(store: Store, other: Store) -> None:
    """An id that was used, with another payload, method or address, is a stranger's."""
    first = replays.digest_of("POST", "voice-dtmf", "hash")
    answered_once(store, "id", first, answer("first"))
    for digest in (
        replays.digest_of("POST", "voice-dtmf", "other hash"),
        replays.digest_of("GET", "voice-dtmf", "hash"),
        replays.digest_of("POST", "voice-answer", "hash"),
    ):
        with pytest.raises(SignatureRefused, match="used before"):
            answered_once(other, "id", digest, never)


def test_a_slow_worker_is_waited_for(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes while the first request is answered waits, and gets that answer, though hours pass on the clock."""
    working, asking, go_on = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        working.set()
        assert go_on.wait(10)

    def first() -> Answer:
        return answered_once(store, "id", "digest", counting(store, hold))

    def second() -> Answer:
        asking.set()
        return answered_once(other, "id", "digest", never)

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(first)
        assert working.wait(10)
        monkeypatch.setattr(time, "time", lambda: 2 * LATER)
        waiting = pool.submit(second)
        assert asking.wait(10)
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        go_on.set()
        assert slow.result(10) == waiting.result(10) == Answer(200, "1")


def test_a_worker_that_died_has_done_nothing(store: Store, url: str) -> None:
    """A worker killed between effect and answer leaves neither; the next one does the work, at once and once."""
    code = f"""
        import os
        from sipkit.store import Store
        store = Store.open({url!r}, {ENVIRONMENT!r})
        def work():
            assert store.wrong_try("leg") == 1
            store.record("voice-dtmf", "A phone typed digits.")
            os.kill(os.getpid(), 9)
        store.answered("id", "digest", work)
    """
    dead = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, timeout=60, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert store.events() == []
    assert answered_once(store, "id", "digest", counting(store)) == Answer(200, "1")
    assert answered_once(store, "id", "digest", never) == Answer(200, "1")


def test_one_of_many_does_the_work(store: Store, other: Store) -> None:
    """Of many who are asked at once one does the work, and all get its answer."""
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(answered_once, each, "id", "digest", counting(each)) for each in [store, other] * 4]
        assert {each.result(20) for each in answers} == {Answer(200, "1")}
    assert store.wrong_try("leg") == 2


def test_a_failure_of_ours_is_undone(store: Store) -> None:
    """Work that raises has no effect and is not taken for answered: the platform's second try may go well."""

    def broken() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        answered_once(store, "id", "digest", counting(store, broken))
    assert answered_once(store, "id", "digest", counting(store)) == Answer(200, "1")


def test_an_answer_that_cannot_be_kept_has_no_effect(store: Store) -> None:
    """If the store fails after the work, nothing of it has happened, so nothing happens twice."""

    def lose_table() -> None:
        store.run(QUICK, lambda conn: conn.exec_driver_sql("DROP TABLE replays"))

    with pytest.raises(StoreError):
        answered_once(store, "id", "digest", counting(store, lose_table))
    assert answered_once(store, "id", "digest", counting(store)) == Answer(200, "1")


def test_a_lost_race_begins_the_whole_anew(store: Store) -> None:
    """If another process was quicker at some unique place, all that was done is undone and done again."""
    races: list[int] = []

    def lose_once() -> None:
        races.append(1)
        ticket = insert(tickets).values(environment=ENVIRONMENT, key="taken", until=0.0)
        for _ in range(3 - len(races)):  # twice in the first race
            store.run(QUICK, lambda conn: conn.execute(ticket))

    assert answered_once(store, "id", "digest", counting(store, lose_once)) == Answer(200, "1")
    assert len(races) == 2


def test_an_older_kits_claim_without_answer(store: Store) -> None:
    """A row that an earlier version left without an answer is answered at once."""
    row = insert(schema.replays).values(environment=ENVIRONMENT, jti="id", hash="digest", received_at=time.time())
    store.run(QUICK, lambda conn: conn.execute(row))
    assert answered_once(store, "id", "digest", answer("first")) == Answer(200, "first")
    assert answered_once(store, "id", "digest", never) == Answer(200, "first")


def test_old_answers_are_swept(store: Store) -> None:
    """An answer is kept while its token is good, and gone at the first new request after that."""
    answered_once(store, "old", "digest", answer("answer"))
    store.advance_clock(replay_book.KEPT_SECONDS - 1)
    assert answered_once(store, "old", "digest", never) == Answer(200, "answer")
    store.advance_clock(2)
    answered_once(store, "new", "digest", answer(""))
    assert answered_once(store, "old", "another digest", answer("other")) == Answer(200, "other")


def test_what_was_forgotten_is_refused(store: Store, other: Store) -> None:
    """A token much older than the newest one is refused in every worker, whatever any clock of ours says by then."""
    signed = 1_700_000_000
    assert answered_once(store, "old", "digest", answer("first"), signed) == Answer(200, "first")
    answered_once(store, "new", "digest", answer(""), signed + replay_book.KEPT_SECONDS)
    assert answered_once(other, "old", "digest", never, signed) == Answer(200, "first")
    answered_once(other, "newer", "digest", answer(""), signed + replay_book.KEPT_SECONDS + 1)
    store.advance_clock(-LATER)
    for jti in ("old", "never seen"):
        with pytest.raises(SignatureRefused):
            answered_once(store, jti, "digest", never, signed)


# Two real servers

NUMBER = "12025550123"


@pytest.fixture
def servers(folder: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two webhook servers started by hand, on one store; their addresses."""
    monkeypatch.setenv("SERVER_URL", "https://calls.example.com")
    environ = Settings.load().child_environ()
    command = [sys.executable, "webhook_server.py", "--port", "0"]
    options: Any = {"env": environ, "cwd": ROOT, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **options) for _ in range(2)]
    urls = []
    for process in processes:
        assert process.stdout is not None
        urls.append(process.stdout.readline().partition("on ")[2].split()[0])
    yield urls
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


def signed(settings: Settings, body: bytes, **changes: Any) -> dict[str, str]:
    """The headers of a request that the platform signed."""
    claims = {
        "iat": int(time.time()),
        "jti": str(uuid.uuid4()),
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "api_key": settings.voice_api_key,
        "application_id": settings.vonage_application_id or "any",
        **changes,
    }
    assert settings.signature_secret is not None
    token = jwt.encode(claims, settings.signature_secret.get_secret_value())
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def test_two_servers_count_a_wrong_pin_once(servers: list[str], folder: Settings) -> None:
    """The platform's second try at another worker, even at the same moment, is no second wrong PIN of the caller."""
    keys = {"uuid": "leg", "from": NUMBER, "dtmf": {"digits": "4711", "timed_out": False}}
    body = json.dumps(keys).encode()
    headers = signed(folder, body)
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(requests.post, f"{servers[n % 2]}/voice-dtmf", data=body, headers=headers, timeout=20)
            for n in range(8)
        ]
        answers = [each.result() for each in sent]
    assert {each.status_code for each in answers} == {200}
    assert len({each.text for each in answers}) == 1
    store = Store.open(folder.store_url, ENVIRONMENT)
    assert store.wrong_try("leg") == 2  # so one was counted before this one
    tries = [event for event in store.events() if "no room's PIN" in event.text]
    assert len(tries) == 1
    store.close()
    other = json.dumps({**keys, "from": "12025550199"}).encode()
    jti = jwt.decode(headers["Authorization"].partition(" ")[2], options={"verify_signature": False})["jti"]
    for url in servers:
        refused = requests.post(f"{url}/voice-dtmf", data=other, headers=signed(folder, other, jti=jti), timeout=20)
        assert refused.status_code == 401
        assert "used before" in refused.text
