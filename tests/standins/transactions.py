"""Watches all of a test run: no transaction of a store stays open while its thread waits for a platform's answer."""

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from sqlalchemy import Connection, Engine, event


class Watcher:
    """Knows which transactions each thread has begun and not ended.

    Attributes:
        seen: Where a request was sent by a thread that had one.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._open = threading.local()

    def _begin(self, conn: Connection) -> None:
        self._open.__dict__[str(id(conn))] = conn

    def _end(self, conn: Connection) -> None:
        self._open.__dict__.pop(str(id(conn)), None)

    @contextmanager
    def watching(self) -> Iterator["Watcher"]:
        """Watch until the end of the block."""
        really = requests.adapters.HTTPAdapter.send

        def send(adapter: requests.adapters.HTTPAdapter, *arguments: Any, **options: Any) -> requests.Response:
            if any(conn.in_transaction() for conn in self._open.__dict__.values()):  # one that did not begin is none
                self.seen.append("".join(traceback.format_stack(limit=12)))
            return really(adapter, *arguments, **options)

        events = (("begin", self._begin), ("commit", self._end), ("rollback", self._end))
        for name, listener in events:
            event.listen(Engine, name, listener)
        requests.adapters.HTTPAdapter.send = send  # type: ignore[assignment, method-assign]
        try:
            yield self
        finally:
            requests.adapters.HTTPAdapter.send = really  # type: ignore[method-assign]
            for name, listener in events:
                event.remove(Engine, name, listener)
