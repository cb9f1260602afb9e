"""The same signed request twice: one effect and one answer, whichever worker gets it, even if the first one died."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from sipkit import replays
from sipkit.errors import SignatureRefused, StoreError
from sipkit.replays import answered_once
from sipkit.settings import Settings
from sipkit.store import Store, replay_book
from tests.standins.holders import ROOT, folder

__all__ = ["folder"]  # a fixture: pytest finds it by its name here

ENVIRONMENT = "live:100"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where a new store is."""
    return f"sqlite:///{tmp_path / 'replays.db'}"


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


def never() -> tuple[int, str]:
    """Work that must not be done a second time."""
    pytest.fail("the work was done again")


def test_the_first_answer_comes_again(store: Store, other: Store) -> None:
    """The same id with the same contents gets the first answer from every worker, without the work being done."""
    assert answered_once(store, "id", "digest", lambda: (200, "first")) == (200, "first")
    assert answered_once(store, "id", "digest", never) == (200, "first")
    assert answered_once(other, "id", "digest", never) == (200, "first")
    assert answered_once(other, "other id", "digest", lambda: (400, "second")) == (400, "second")


def test_the_same_id_for_another_request_is_refused(store: Store, other: Store) -> None:
    """An id that was used, with another payload, method or address, is a stranger's."""
    first = replays.digest_of("POST", "voice-dtmf", "hash")
    answered_once(store, "id", first, lambda: (200, "first"))
    for digest in (
        replays.digest_of("POST", "voice-dtmf", "other hash"),
        replays.digest_of("GET", "voice-dtmf", "hash"),
        replays.digest_of("POST", "voice-answer", "hash"),
    ):
        with pytest.raises(SignatureRefused, match="used before"):
            answered_once(other, "id", digest, never)


def test_a_duplicate_waits_for_the_first_answer(store: Store, other: Store) -> None:
    """Who comes while the first request is being answered waits, and gets that answer."""
    working, go_on = threading.Event(), threading.Event()

    def work() -> tuple[int, str]:
        working.set()
        assert go_on.wait(10)
        return 200, "first"

    with ThreadPoolExecutor() as pool:
        first = pool.submit(answered_once, store, "id", "digest", work)
        assert working.wait(10)
        second = pool.submit(answered_once, other, "id", "digest", never)
        assert other.first_answer("id", "digest").state == "pending"
        assert not second.done()
        go_on.set()
        assert first.result(10) == second.result(10) == (200, "first")


def test_a_worker_that_died_loses_no_call(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim without an answer is taken over after a while; what the dead one sends later changes nothing."""
    monkeypatch.setattr(replay_book, "ABANDONED_AFTER", 0.1)
    dead = store.first_answer("id", "digest")
    assert dead.state == "ours"
    assert answered_once(other, "id", "digest", lambda: (200, "second")) == (200, "second")
    store.keep_answer("id", dead.claimed_at, 200, "late")
    assert answered_once(store, "id", "digest", never) == (200, "second")


def test_a_claim_is_taken_over_by_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many who wait for a dead worker one does the work, and all get its answer."""
    monkeypatch.setattr(replay_book, "ABANDONED_AFTER", 0.2)
    store.first_answer("id", "digest")
    done: list[int] = []

    def work() -> tuple[int, str]:
        done.append(1)
        return 200, "answer"

    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(answered_once, store, "id", "digest", work) for _ in range(6)]
        assert {each.result(10) for each in answers} == {(200, "answer")}
    assert len(done) == 1


def test_a_failure_of_ours_is_tried_again(store: Store) -> None:
    """A request whose work raised is not taken for answered: the platform's second try may go well."""

    def broken() -> tuple[int, str]:
        raise StoreError("full")

    with pytest.raises(StoreError):
        answered_once(store, "id", "digest", broken)
    assert answered_once(store, "id", "digest", lambda: (200, "answer")) == (200, "answer")


def test_waiting_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for an answer that does not come."""
    monkeypatch.setattr(replays, "_PATIENCE", 0.05)
    store.first_answer("id", "digest")
    with pytest.raises(StoreError, match="waited in vain"):
        answered_once(store, "id", "digest", never)


def test_old_answers_are_swept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is kept while its token is good, and gone at the first new request after that."""
    answered_once(store, "old", "digest", lambda: (200, "answer"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + replay_book.KEPT_SECONDS - 1)
    assert answered_once(store, "old", "digest", never) == (200, "answer")
    monkeypatch.setattr(time, "time", lambda: now + replay_book.KEPT_SECONDS + 1)
    answered_once(store, "new", "digest", lambda: (200, ""))
    assert store.first_answer("old", "another digest").state == "ours"


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
