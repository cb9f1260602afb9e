"""`make bench`: the figures the README states, measured on this machine, and how noisy this machine was.

Everything is real: a sandbox, the kit's webhook server, and phones of a process that shares no code with
either (callers.py). Medians are given because shared machines are noisy; the first rows measure the noise.

    python bench/run.py [--only NAME ...] [--legs 200] [--seconds 20] [--dials 100] [--clicks 40]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from sipkit.control import SandboxTrace
from sipkit.sandbox import launcher
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.switchboard import Switchboard

ROOT = Path(__file__).resolve().parent.parent
ROOM_OF = 4
WARM_UP_DIALS = 3
PROMPT_CALLS = 10
WINDOWS = 3  # of many_legs; their median counts
DEADLINE = 60.0  # seconds for any one thing that is waited for


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


class Crowd:
    """The independent phones' process (callers.py), told what to do in JSON lines."""

    def __init__(self, bench: Bench, keys: list[str], rate: float) -> None:
        command = [sys.executable, str(Path(__file__).with_name("callers.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        info = bench.info
        self.tell(
            sip=info.sip_udp, number=info.number, user=info.carrier_user, password=info.carrier_password,
            keys=keys, rate=rate,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.tell(do="hang-up")
                self.wait_for("ended")
        finally:
            if self._process.stdin:
                self._process.stdin.close()
            self._process.wait(DEADLINE)

    def tell(self, **order: object) -> None:
        """Give one order."""
        assert self._process.stdin  # noqa: S101 - it was opened as a pipe
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next message of that name; an ended process is an error."""
        assert self._process.stdout  # noqa: S101 - it was opened as a pipe
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["event"] == event:
                return message
        raise RuntimeError(f"the phones' process ended before {event!r}")


def noise() -> Iterable[Row]:
    """How late this machine wakes somebody who wanted to sleep one millisecond."""
    late = []
    for _ in range(1000):
        begin = time.perf_counter()
        time.sleep(0.001)
        late.append((time.perf_counter() - begin - 0.001) * 1000)
    yield Row("noise: overshoot of a 1 ms sleep, median", statistics.median(late), "ms")
    yield Row("noise: overshoot of a 1 ms sleep, p99", percentile(late, 99), "ms")
    yield Row("noise: load of the last minute", os.getloadavg()[0], "")


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


def imports() -> Iterable[Row]:
    """A first cell should not make anybody wait."""
    code = "import time; t = time.perf_counter(); from sipkit import Switchboard; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(9)
    ]
    yield Row("from sipkit import Switchboard, median of 9", statistics.median(times), "s", 0.6)


def dial_out(bench: Bench) -> Iterable[Row]:
    """From the call of dial_out to the bridge's leg being in the conversation, by the trace's clock."""
    room = bench.board.open_room("dial-out")
    times = []
    for n in range(WARM_UP_DIALS + bench.dials):
        since = last_event(bench.trace)
        asked = time.time()
        bench.board.dial_out(room)
        joined = bench.trace.wait_for(in_conversation(room.session_id), DEADLINE, since=since)
        if n >= WARM_UP_DIALS:
            times.append((joined["t"] - asked) * 1000)
        bench.board.hang_up(room)
        wait_until(lambda: not any(bench.trace.ledger().values()), "an empty ledger")
    yield Row(f"dial_out to the leg in the conversation, p50 of {len(times)}", statistics.median(times), "ms", 50)
    yield Row(f"dial_out to the leg in the conversation, p95 of {len(times)}", percentile(times, 95), "ms")


def prompt(bench: Bench) -> Iterable[Row]:
    """From the 200 OK to the first loud sample of the prompt, seen by the phone."""
    with Crowd(bench, [""] * PROMPT_CALLS, rate=1) as crowd:
        told = crowd.wait_for("keyed")
    times = told["prompt_ms"]
    yield Row(f"prompt starts after answer, median of {len(times)}", statistics.median(times), "ms", 300)
    yield Row(f"prompt starts after answer, slowest of {len(times)}", max(times), "ms")


def mouth_to_ear(bench: Bench) -> Iterable[Row]:
    """From the first sample of a burst spoken into one phone to the same sample arriving at the other.

    The 20 ms it takes to fill a packet are in; the receiving phone's own jitter buffer is not.
    """
    room = bench.board.open_room("mouth-to-ear")
    with Crowd(bench, [f"{room.pin}#"] * 2, rate=5) as crowd:
        wait_for_legs(bench, 2)
        crowd.tell(do="clicks", count=bench.clicks)
        delays = crowd.wait_for("clicks")["delays_ms"]
    yield Row(f"mouth to ear, phone to phone, p50 of {bench.clicks}", statistics.median(delays), "ms")
    yield Row(f"mouth to ear, phone to phone, p95 of {bench.clicks}", percentile(delays, 95), "ms", 80)


def many_legs(bench: Bench) -> Iterable[Row]:
    """Rooms of four, everybody talking: is each packet still 20 ms after the one before?"""
    rooms = [bench.board.open_room(f"crowd-{n}") for n in range(-(-bench.legs // ROOM_OF))]
    keys = [f"{rooms[n // ROOM_OF].pin}#" for n in range(bench.legs)]
    sandbox = psutil.Process(bench.info.pid)
    seen: list[dict[str, float]] = []
    with Crowd(bench, keys, rate=20) as crowd:
        wait_for_legs(bench, bench.legs)
        before, begin = sandbox.cpu_times(), time.monotonic()
        with Sleeper() as sleeper:
            for _ in range(WINDOWS):
                crowd.tell(do="measure", seconds=bench.seconds)
                seen.append(crowd.wait_for("measured"))
        after, took = sandbox.cpu_times(), time.monotonic() - begin
    cpu = (after.user + after.system - before.user - before.system) / took * 100
    received, lost = (sum(window[name] for window in seen) for name in ("packets", "lost"))
    title = f"{bench.legs} PCMU legs in rooms of {ROOM_OF}"
    spacing = f"{title}: inter-arrival deviation"

    def middle(name: str) -> float:
        return statistics.median(window[name] for window in seen)

    yield Row(f"{spacing}, p50, median of {WINDOWS}", middle("p50_ms"), "ms")
    yield Row(f"{spacing}, p99, median of {WINDOWS}", middle("p99_ms"), "ms", 10)
    yield Row(f"{spacing}, worst of all", max(window["max_ms"] for window in seen), "ms")
    yield Row(f"{title}: packets lost", 100 * lost / (received + lost), "%")
    yield Row(f"{title}: the sandbox's CPU, of one core", cpu, "%")
    yield Row("noise meanwhile: overshoot of a 20 ms sleep, p99", percentile(sleeper.late, 99), "ms")
    yield Row("noise meanwhile: overshoot of a 20 ms sleep, worst", max(sleeper.late), "ms")


def lessons() -> Iterable[Row]:
    """Strict nbval of every lesson, as `make test` runs it."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadscope", "--nbval",
        "--nbval-current-env", "--nbval-cell-timeout=60",
        "--nbval-sanitize-with=tests/nbval_sanitize.cfg", "notebooks",
    ]  # fmt: skip
    begin = time.monotonic()
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    took = time.monotonic() - begin
    if run.returncode:
        raise RuntimeError(f"nbval failed:\n{run.stdout[-2000:]}")
    yield Row("strict nbval of all lessons", took, "s", 60)


ALONE: dict[str, Callable[[], Iterable[Row]]] = {"noise": noise, "imports": imports, "lessons": lessons}
WITH_SANDBOX: dict[str, Callable[[Bench], Iterable[Row]]] = {
    "dial_out": dial_out,
    "prompt": prompt,
    "mouth_to_ear": mouth_to_ear,
    "many_legs": many_legs,
}


def main() -> int:
    """Measure what was asked for and print each row as it is known; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description="Measure sipkit's figures.")
    parser.add_argument("--only", nargs="+", choices=[*ALONE, *WITH_SANDBOX], default=[*ALONE, *WITH_SANDBOX])
    parser.add_argument("--legs", type=int, default=200, help="phones at once in many_legs")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each window of many_legs")
    parser.add_argument("--dials", type=int, default=100, help="calls of dial_out")
    parser.add_argument("--clicks", type=int, default=40, help="bursts of mouth_to_ear")
    wanted = parser.parse_args()
    rows: list[Row] = []
    for name in wanted.only:
        if name in ALONE:
            rows += printed(ALONE[name]())
    together = [name for name in wanted.only if name in WITH_SANDBOX]
    if together:
        rows += with_sandbox(together, wanted)
    return int(any(row.goal is not None and row.value > row.goal for row in rows))


def with_sandbox(names: list[str], wanted: argparse.Namespace) -> list[Row]:
    """Run these measurements on a new data folder with a sandbox and a webhook server of its own."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sipkit-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            with Switchboard.from_env(mode="sandbox", home=home) as board:
                board.start_webhook_server()
                info = launcher.ensure(home / "sandbox")
                amounts = (wanted.legs, wanted.seconds, wanted.dials, wanted.clicks)
                bench = Bench(board, info, SandboxTrace(info), *amounts)
                for name in names:
                    rows += printed(WITH_SANDBOX[name](bench))
                    wait_until(lambda: not any(bench.trace.ledger().values()), "an empty ledger")
        finally:
            launcher.stop(home / "sandbox")
    return rows


def printed(rows: Iterable[Row]) -> list[Row]:
    """Print rows as they come."""
    kept = []
    for row in rows:
        print(row, flush=True)
        kept.append(row)
    return kept


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


if __name__ == "__main__":
    sys.exit(main())
