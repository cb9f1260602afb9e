"""The pace of requests to the platform, shared by all who share a store."""

import threading
import time
from contextlib import closing
from pathlib import Path

from sipkit.pace import take_turn
from sipkit.store import Store

PLATFORM_TAKES = 15
"""Requests in any second (Voice API, Troubleshooting, Capacity)."""


def test_turns_are_shared(tmp_path: Path) -> None:
    """Of twenty-four turns that two processes take at once no second has more than the platform takes."""
    times: list[float] = []

    def take() -> None:
        with closing(Store.open(f"sqlite:///{tmp_path / 'shared.db'}", "test")) as store:
            for _ in range(12):
                take_turn(store)
                times.append(time.monotonic())

    takers = [threading.Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    times.sort()
    assert len(times) == 24
    assert max(sum(begin <= each < begin + 1 for each in times) for begin in times) <= PLATFORM_TAKES
