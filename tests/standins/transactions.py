"""Watches all of a test run: no transaction of a store stays open while its thread waits for a platform's answer."""

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from sqlalchemy import event
from sqlalchemy.pool import Pool


class Watcher:
    """Counts the store's connections that each thread has taken.

    Attributes:
        seen: Where a request was sent by a thread that had one.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._taken = threading.local()

    def _take(self, *_: Any) -> None:
        self._taken.count = getattr(self._taken, "count", 0) + 1

    def _give_back(self, *_: Any) -> None:
        self._taken.count = getattr(self._taken, "count", 1) - 1

    @contextmanager
    def watching(self) -> Iterator["Watcher"]:
        """Watch until the end of the block."""
        really = requests.adapters.HTTPAdapter.send

        def send(adapter: requests.adapters.HTTPAdapter, *arguments: Any, **options: Any) -> requests.Response:
            if getattr(self._taken, "count", 0):
                self.seen.append("".join(traceback.format_stack(limit=12)))
            return really(adapter, *arguments, **options)

        event.listen(Pool, "checkout", self._take)
        event.listen(Pool, "checkin", self._give_back)
        requests.adapters.HTTPAdapter.send = send  # type: ignore[assignment, method-assign]
        try:
            yield self
        finally:
            requests.adapters.HTTPAdapter.send = really  # type: ignore[method-assign]
            event.remove(Pool, "checkout", self._take)
            event.remove(Pool, "checkin", self._give_back)
