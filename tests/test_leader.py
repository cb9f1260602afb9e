"""Of all processes that watch a store one acts, and when it is killed another one does, in both kinds of store."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit.store import Store
from sipkit.watch import PERIOD, ROLE_SECONDS
from tests.standins.holders import ROOT

ENVIRONMENT = "sandbox:KEY"
WITHIN = 15.0  # seconds by the store's clock

# A real watch, whose rounds follow each other quickly and whose look is only told.
WATCHER = """
import sys
from sipkit import watch
from sipkit.settings import Settings
from sipkit.store import Store

watch.PERIOD = 0.05

class Telling(watch.Watch):
    def _look(self, bridge, room):
        print("looked", flush=True)

watching = Telling(Settings.load(), Store.open(sys.argv[1], sys.argv[2]), lambda: None, sys.argv[3])
watching._company.round = lambda browsers: None
watching._next_stocktaking = float("inf")
watching.go_on()
"""


class Watcher:
    """A process that watches.

    Attributes:
        process: It.
    """

    def __init__(self, url: str, name: str, folder: Path) -> None:
        self._told = folder / name
        command = [sys.executable, "-c", WATCHER, url, ENVIRONMENT, name]
        with self._told.open("wb") as told:
            environ = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(command, stdout=told, cwd=ROOT, env=environ)

    @property
    def looks(self) -> int:
        """How often it has looked."""
        return self._told.read_bytes().count(b"\n")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store with a living bridge, so that there is something to watch."""
    store = Store.open(store_url, ENVIRONMENT)
    store.claim_bridge(store.open_room("standup", lambda: "SESSION"), "me")
    yield store
    store.close()


@pytest.fixture
def watchers(store: Store, store_url: str, tmp_path: Path) -> Iterator[list[Watcher]]:
    """Two watchers of it."""
    watchers = [Watcher(store_url, name, tmp_path) for name in ("a", "b")]
    yield watchers
    for each in watchers:
        each.process.kill()
        each.process.wait()


def test_the_lease_moves(store: Store, watchers: list[Watcher], wait_until: Callable[..., Any]) -> None:
    """One of two looks again and again; after its kill -9 the other one does, within 15 seconds of the store's time."""
    leader = wait_until(lambda: next((each for each in watchers if each.looks > 3), None), 60, "a leader")
    [other] = [each for each in watchers if each is not leader]
    assert other.looks == 0
    leader.process.kill()
    leader.process.wait()
    died = store.time()
    store.advance_clock(ROLE_SECONDS - (store.time() - died))
    wait_until(lambda: other.looks, WITHIN, "the other one to lead")
    assert store.time() - died < WITHIN
    assert ROLE_SECONDS + PERIOD < WITHIN  # here the rounds follow each other more quickly
