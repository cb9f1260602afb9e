"""The store's clock: one for all processes, whatever a machine's own is set to."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipkit.store import Store
from sipkit.store.replay_book import Answer

ENVIRONMENT = "sandbox:1"
DAY = 86400.0


@pytest.fixture
def url(store_url: str) -> str:
    """The store's address."""
    return store_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A new store."""
    store = Store.open(url, ENVIRONMENT)
    yield store
    store.close()


def elsewhere(url: str) -> float:
    """The time as another process sees it."""
    code = f"from sipkit.store import Store; print(Store.open({url!r}, {ENVIRONMENT!r}).time())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def test_it_is_the_time(store: Store) -> None:
    """A new store's time is that of the machine."""
    assert store.time() == pytest.approx(time.time(), abs=2.0)


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="only Linux tells its start apart")
def test_a_jump_of_the_machines_clock_changes_nothing(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set forward or back by days, the machine's clock opens no pause, expires no PIN, and dates no event wrongly."""
    room = store.open_room("standup", lambda: "SESSION")
    for _ in range(3):
        store.wrong_pin("12025550123", None)
    before, really = store.time(), time.time()
    for jump in (5 * DAY, -5 * DAY):
        monkeypatch.setattr("time.time", lambda jump=jump: really + jump)
        again = Store.open(url, ENVIRONMENT)
        for each in (store, again):
            assert before <= each.time() < before + 30
            assert before <= each.time_about() < before + 30
            assert 0 < each.pause_of("12025550123") <= 60
            assert each.room_by_pin(room.pin) == room
        again.close()
    assert store.record("test", "now").at.timestamp() == pytest.approx(really, abs=30)


ELSEWHERE = """
import time
really = time.time
time.time = lambda: really() + {jump}
from sipkit.store import Store
from sipkit.store.replay_book import Answer
from sipkit.store.replay_book import Answer
store = Store.open({url!r}, {environment!r})
print(
    0 < store.pause_of("12025550123") <= 60,
    store.room_by_pin({pin!r}) is not None,
    not store.use_ticket("ticket", {now} + 60),
    store.answered("id", "digest", lambda: Answer(200, "again")).body == "first",
    not store.leads("watch", "another", 12.0),
    store.allow("key", 1, 60) > 0,
    abs(store.time() - {now}) < 60,
)
"""


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="only Linux tells its start apart")
@pytest.mark.parametrize("jump", [5 * DAY, -5 * DAY])
def test_a_process_whose_clock_is_days_off_agrees_with_all(store: Store, url: str, jump: float) -> None:
    """It unlocks no caller, expires no PIN, takes no ticket and answers no webhook twice, and takes no lead over."""
    room = store.open_room("standup", lambda: "SESSION")
    for _ in range(3):
        store.wrong_pin("12025550123", None)
    now = store.time()
    assert store.use_ticket("ticket", now + 60)
    store.answered("id", "digest", lambda: Answer(200, "first"))
    assert store.leads("watch", "one", 600.0)
    assert store.allow("key", 1, 60) == 0.0
    code = ELSEWHERE.format(jump=jump, url=url, environment=ENVIRONMENT, pin=room.pin, now=now)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 7


def test_time_is_moved_for_all(store: Store, url: str) -> None:
    """What `advance_clock` does is seen by every process, and kept."""
    store.advance_clock(DAY)
    store.advance_clock(60)
    assert store.time() == pytest.approx(time.time() + DAY + 60, abs=5)
    assert elsewhere(url) == pytest.approx(store.time(), abs=5)
