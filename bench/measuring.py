"""What every measurement of `make bench` stands on: a row of the table, the sandbox measured, patience, arithmetic."""

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import psutil

from sipkit.control import SandboxTrace
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.switchboard import Switchboard

DEADLINE = 60.0  # seconds for any one thing that is waited for
LONGEST_DELAY = 0.45  # seconds; bursts are 0.5 s apart


class Skipped(Exception):
    """This cannot be measured here and now; the text says why."""


@contextmanager
def skippable(what: str) -> Iterator[None]:
    """Say what is not measured, and why, and go on."""
    try:
        yield
    except Skipped as reason:
        print(f"{what}: skipped, {reason}", flush=True)


@dataclass(frozen=True)
class Row:
    """One line of the table; `goal` is the most the value should be, None if nothing was promised."""

    name: str
    value: float
    unit: str
    goal: float | None = None

    def __str__(self) -> str:
        wanted = "" if self.goal is None else f"<= {self.goal:g} {self.unit}"
        verdict = "" if self.goal is None else "ok" if self.value <= self.goal else "MISSED"
        return f"{self.name:<70} {self.value:>10.2f} {self.unit:<4} {wanted:>12}  {verdict}"


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: a board with its server, and the sandbox it works on."""

    board: Switchboard
    info: SandboxInfo
    trace: SandboxTrace
    legs: int
    seconds: float
    dials: int
    clicks: int


class Sleeper(threading.Thread):
    """Sleeps 20 ms at a time and notes how late it wakes: what this machine does to anybody's tick."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.late: list[float] = []
        self._enough = threading.Event()

    def run(self) -> None:
        """Until told that it is enough."""
        while not self._enough.is_set():
            begin = time.perf_counter()
            time.sleep(0.020)
            self.late.append((time.perf_counter() - begin - 0.020) * 1000)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()


class Spending:
    """The CPU time a process takes while this is open; `percent` is of one core."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.seconds = 0.0
        self.percent = math.nan

    def __enter__(self) -> Self:
        self._before, self._began = self._process.cpu_times(), time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        after, took = self._process.cpu_times(), time.monotonic() - self._began
        self.seconds = after.user + after.system - self._before.user - self._before.system
        self.percent = self.seconds / took * 100


def delays(spoken: list[float], heard: list[float]) -> list[float]:
    """How long each burst took from mouth to ear, in ms; a burst that was not heard is left out.

    Args:
        spoken: when each began, in Unix seconds, in order.
        heard: when a sound began at the other end, on the same clock.

    Raises:
        Skipped: less than nine in ten were heard, as on a machine that is too busy; no figure would be honest then.
    """
    found = [min((ear - mouth for ear in heard if 0 <= ear - mouth < LONGEST_DELAY), default=None) for mouth in spoken]
    taken = [delay * 1000 for delay in found if delay is not None]
    if len(taken) < 0.9 * len(spoken) or not taken:
        raise Skipped(f"only {len(taken)} of {len(spoken)} bursts were heard within {LONGEST_DELAY:g} s")
    return taken


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` % of the values do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def in_conversation(session_id: str) -> Callable[[dict[str, Any]], bool]:
    """Tells the trace event of a leg that entered the conversation of that session."""
    return lambda event: event.get("state") == "in conversation" and event.get("conversation") == session_id


def last_event(trace: SandboxTrace) -> int:
    """The number of the newest event."""
    return max((int(event["seq"]) for event in trace.events()), default=0)


def wait_for_legs(bench: Bench, count: int) -> None:
    """Wait until that many legs are in conversations."""

    def there() -> bool:
        return sum(bool(leg["conversation"]) for leg in bench.trace.ledger()["legs"]) >= count

    wait_until(there, f"{count} legs in conversations")


def wait_until(predicate: Callable[[], bool], what: str) -> None:
    """Ask until it is true, every 50 ms."""
    deadline = time.monotonic() + DEADLINE
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {DEADLINE:g} s for {what}")
        time.sleep(0.05)
