"""`make bench`: the figures the README states, measured on this machine, and how noisy this machine was.

Everything is real: a sandbox, the kit's webhook server, and phones of a process that shares no code with
either (callers.py). Medians are given because shared machines are noisy; the first rows measure the noise.

    python bench/run.py [--only NAME ...] [--legs 200] [--seconds 20] [--dials 100] [--clicks 40] [--quick]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import browsers
from crowd import Crowd
from measuring import (
    DEADLINE,
    Bench,
    Row,
    Sleeper,
    Spending,
    delays,
    in_conversation,
    last_event,
    percentile,
    skippable,
    wait_for_legs,
    wait_until,
)
from sipkit.control import SandboxTrace
from sipkit.sandbox import launcher
from sipkit.switchboard import Switchboard
from webhook_path import QUICK, Plan, webhook_path
from webhooks import webhooks

ROOT = Path(__file__).resolve().parent.parent
ROOM_OF = 4
WARM_UP_DIALS = 3
PROMPT_CALLS = 10
WINDOWS = 3  # of many_legs; their median counts


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
        crowd.tell(do="hear", phone=1)
        crowd.tell(do="speak", phone=0, count=bench.clicks)
        spoken = crowd.wait_for("spoken")["at"]
        crowd.tell(do="heard")
        took = delays(spoken, crowd.wait_for("heard")["at"])
    yield Row(f"mouth to ear, phone to phone, p50 of {len(took)}", statistics.median(took), "ms")
    yield Row(f"mouth to ear, phone to phone, p95 of {len(took)}", percentile(took, 95), "ms", 80)


def many_legs(bench: Bench) -> Iterable[Row]:
    """Rooms of four, everybody talking: is each packet still 20 ms after the one before?"""
    rooms = [bench.board.open_room(f"crowd-{n}") for n in range(-(-bench.legs // ROOM_OF))]
    keys = [f"{rooms[n // ROOM_OF].pin}#" for n in range(bench.legs)]
    seen: list[dict[str, float]] = []
    with Crowd(bench, keys, rate=20) as crowd:
        wait_for_legs(bench, bench.legs)
        with Sleeper() as sleeper, Spending(bench.info.pid) as spent:
            for _ in range(WINDOWS):
                crowd.tell(do="measure", seconds=bench.seconds)
                seen.append(crowd.wait_for("measured"))
    received, lost = (sum(window[name] for window in seen) for name in ("packets", "lost"))
    title = f"{bench.legs} PCMU legs in rooms of {ROOM_OF}"
    spacing = f"{title}: inter-arrival deviation"

    def middle(name: str) -> float:
        return statistics.median(window[name] for window in seen)

    yield Row(f"{spacing}, p50, median of {WINDOWS}", middle("p50_ms"), "ms")
    yield Row(f"{spacing}, p99, median of {WINDOWS}", middle("p99_ms"), "ms", 10)
    yield Row(f"{spacing}, worst of all", max(window["max_ms"] for window in seen), "ms")
    yield Row(f"{title}: packets lost", 100 * lost / (received + lost), "%")
    yield Row(f"{title}: the sandbox's CPU, of one core", spent.percent, "%")
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


ALONE: dict[str, Callable[[argparse.Namespace], Iterable[Row]]] = {
    "noise": lambda _: noise(),
    "imports": lambda _: imports(),
    "webhooks": lambda _: webhooks(),
    "webhook_path": lambda wanted: webhook_path(QUICK if wanted.quick else Plan()),
    "lessons": lambda _: lessons(),
}
WITH_SANDBOX: dict[str, Callable[[Bench], Iterable[Row]]] = {
    "dial_out": dial_out,
    "prompt": prompt,
    "mouth_to_ear": mouth_to_ear,
    "many_legs": many_legs,
    **browsers.MEASUREMENTS,
}


def main() -> int:
    """Measure what was asked for and print each row as it is known; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description="Measure sipkit's figures.")
    parser.add_argument("--only", nargs="+", choices=[*ALONE, *WITH_SANDBOX], default=[*ALONE, *WITH_SANDBOX])
    parser.add_argument("--legs", type=int, default=200, help="phones at once in many_legs")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each window of many_legs")
    parser.add_argument("--dials", type=int, default=100, help="calls of dial_out")
    parser.add_argument("--clicks", type=int, default=40, help="bursts of mouth_to_ear")
    parser.add_argument("--quick", action="store_true", help="one short round of webhook_path, on SQLite only")
    wanted = parser.parse_args()
    rows: list[Row] = []
    for name in wanted.only:
        if name in ALONE:
            with skippable(name):
                rows += printed(ALONE[name](wanted))
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
                    with skippable(name):
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


if __name__ == "__main__":
    sys.exit(main())
