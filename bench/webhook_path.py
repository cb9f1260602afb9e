"""The webhook path against Express: signature, payload hash, book of answers, PIN desk, timeline, and none of it.

All servers take turns within each round, so a machine that is busy is busy for all of them. What is told is the median
of the rounds, and of each round the ratio to Express' figure of that very round. CPU time is that of the server's own
processes, read from /proc: wrk's is not in it, nor that of PostgreSQL.
"""

import json
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sqlalchemy import func, select

from measuring import Row, skippable
from sipkit.invitations import NO_BOARD, grant, invite
from sipkit.store import Store
from sipkit.store.schema import READ, replays
from webhook_app import account_of, session_id
from webhook_load import NUMBER, PER_CALL, Load, send, write_webhooks
from webhook_servers import Served, express, least, ours, postgresql

DIAL_SECONDS = 0.5
DIALS_AT_ONCE = 2
GOAL_AT = 8  # connections
P99_MS = 20.0
LEAST = "Flask, the signature, one row kept"
DIALLING = "SQLite, 1 worker, two dials under way"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        connections: How many clients there are at once, each with one request under way.
        rounds: How often every server has its turn.
        seconds: How long a turn is.
        stores: ``SQLite`` and ``PostgreSQL``, or one of them.
    """

    connections: tuple[int, ...] = (1, 8, 32)
    rounds: int = 4
    seconds: int = 2
    stores: tuple[str, ...] = ("SQLite", "PostgreSQL")


QUICK = Plan((8,), 1, 1, ("SQLite",))


@dataclass
class Figures:
    """What the rounds gave for one server and one number of connections; one value a round."""

    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def add(self, load: Load, cpu_us: float, ratio: float) -> None:
        """Keep the figures of a round."""
        for values, value in zip(
            (self.rates, self.ratios, self.p50_ms, self.p99_ms, self.cpu_us),
            (load.rate, ratio, load.p50_ms, load.p99_ms, cpu_us),
            strict=True,
        ):
            values.append(value)

    def cells(self) -> str:
        """The medians as cells of the table."""
        rate, ratio, p50, p99, cpu = (
            statistics.median(values) for values in (self.rates, self.ratios, self.p50_ms, self.p99_ms, self.cpu_us)
        )
        spread = f"[{min(self.ratios):.2f}-{max(self.ratios):.2f}]"
        return f"{rate:.0f} | {ratio:.2f} {spread} | {p50:.2f} | {p99:.1f} | {cpu:.0f}"


Table = dict[tuple[str, int], Figures]


def webhook_path(plan: Plan) -> Iterable[Row]:
    """Print the table in Markdown, then give the figures that were promised.

    Raises:
        Skipped: wrk, node or Express is missing.
    """
    secret = secrets.token_hex(16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipkit-bench-")))
        platform = stack.enter_context(_slow_platform())
        servers = [stack.enter_context(express())]
        for kind in plan.stores:
            with skippable(f"webhook_path with {kind}"):
                servers += _servers_of(stack, kind, folder, secret, platform)
        for workers in (1, 2):
            least_of = least(_named(LEAST, workers), folder / f"least-{workers}", secret, workers, GOAL_AT)
            servers.append(stack.enter_context(least_of))
        bench = _Rounds(folder / "webhooks", secret, plan, servers)
        table = bench.measured()
    print("| server | connections | requests/s | of Express' [range] | p50, ms | p99, ms | CPU, µs/request |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, connections), figures in table.items():
        print(f"| {name} | {connections} | {figures.cells()} |", flush=True)
    yield from _promised(table)


def _promised(table: Table) -> Iterable[Row]:
    """What issue and README promise, as rows: Express' figure over ours, for a goal is the most a row may be."""
    express_rates = table["Express", GOAL_AT].rates
    yield Row("noise: Express' fastest round over its slowest", max(express_rates) / min(express_rates), "")
    for name, most in (("SQLite, 1 worker", 2.0), ("SQLite, 2 workers", 1.0)):
        figures = table[name, GOAL_AT]
        title = f"webhooks, {name}, {GOAL_AT} connections"
        yield Row(f"{title}: Express' requests/s over ours", 1 / statistics.median(figures.ratios), "", most)
        yield Row(f"{title}: p99", statistics.median(figures.p99_ms), "ms", P99_MS)
        yield Row(f"{title}: CPU of one", statistics.median(figures.cpu_us), "us")
    for workers in (1, 2):
        ratios = table[_named(LEAST, workers), GOAL_AT].ratios
        yield Row(f"webhooks, {_named(LEAST, workers)}: Express' requests/s over it", 1 / statistics.median(ratios), "")
    yield Row(f"webhooks, {DIALLING}: p99", statistics.median(table[DIALLING, GOAL_AT].p99_ms), "ms", P99_MS)


class _Rounds:
    """Lets each server have its turn in each round."""

    def __init__(self, file: Path, secret: str, plan: Plan, servers: list[Served]) -> None:
        self._file = file
        self._secret = secret
        self._plan = plan
        self._servers = servers
        self._enough: dict[tuple[str, int], int] = {}

    def measured(self) -> Table:
        table: Table = {(each.name, n): Figures() for n in self._plan.connections for each in self._servers_at(n)}
        table[DIALLING, GOAL_AT] = Figures()
        for served in self._servers:
            self._turn(served, GOAL_AT, seconds=1)  # imports, pools and compilers get warm
        for _ in range(self._plan.rounds):
            for connections in self._plan.connections:
                rate = 0.0
                for served in self._servers_at(connections):
                    load, cpu_us = self._turn(served, connections, self._plan.seconds)
                    rate = rate or load.rate  # Express is the first
                    table[served.name, connections].add(load, cpu_us, load.rate / rate)
                    if connections == GOAL_AT and served.name == DIALLING.rpartition(",")[0]:
                        with _dials(served, self._plan.seconds):
                            load, cpu_us = self._turn(served, connections, self._plan.seconds)
                        table[DIALLING, connections].add(load, cpu_us, load.rate / rate)
        return table

    def _servers_at(self, connections: int) -> list[Served]:
        return [each for each in self._servers if each.connections in {None, connections}]

    def _turn(self, served: Served, connections: int, seconds: int) -> tuple[Load, float]:
        """Send what a server can take in so many seconds; its CPU time is in microseconds per request."""
        key = (served.name, connections)
        while True:
            enough = self._enough.get(key, 6000 * seconds)
            write_webhooks(self._file, served.pins, self._secret, enough)
            before, joined = served.cpu_seconds(), _joined(served)
            load = send(self._file, served.port, connections, seconds)
            cpu_us = (served.cpu_seconds() - before) / load.requests * 1e6
            if load.requests + connections > enough:
                self._enough[key] = 2 * enough  # it began to send them again
                continue
            self._enough[key] = int(load.rate * seconds * 1.5) + 1000
            if load.refused or load.broken:
                raise RuntimeError(f"{served.name}: {load.refused} refused, {load.broken} broken")
            if served.store is not None and _joined(served) - joined < load.requests // PER_CALL - connections:
                raise RuntimeError(f"{served.name}: not every right PIN led into its room")
            return load, cpu_us


def _joined(served: Served) -> int:
    """How many phones were let in."""
    if served.store is None:
        return 0
    query = select(func.count()).where(replays.c.body.contains("conversation"))
    return served.store.run(READ, lambda conn: int(conn.scalar(query) or 0))


def _servers_of(stack: ExitStack, kind: str, folder: Path, secret: str, platform: str) -> Iterator[Served]:
    """Start the kit's server on a store of a kind, with one worker and with two."""
    account = {"signature_secret": secret, "video_api_url": platform}
    base = stack.enter_context(postgresql()) if kind == "PostgreSQL" else f"sqlite:///{folder}/"
    for name, workers in (("one", 1), ("two", 2)):
        url = f"{base}{name}" if kind == "PostgreSQL" else f"{base}{name}.db"
        store = stack.enter_context(closing(Store.open(url, account_of(**account).environment)))
        environ = {"BENCH_ACCOUNT": json.dumps(account), "SIPKIT_STORE_URL": url}
        yield stack.enter_context(ours(_named(kind, workers), folder / f"{kind}-{name}", environ, store, workers))


def _named(kind: str, workers: int) -> str:
    return f"{kind}, {workers} worker{'s' if workers > 1 else ''}"


@contextmanager
def _dials(served: Served, seconds: float) -> Iterator[None]:
    """Keep two dials under way by the pages of rooms, each of another one, for so many seconds.

    Raises:
        RuntimeError: A dial was refused, or less than half of them were made.
    """
    from tests.standins.room_visitor import Visitor, through_http

    assert served.store is not None  # noqa: S101 - only ours dials
    base = f"http://127.0.0.1:{served.port}"
    visitors = []
    wanted = int(seconds / DIAL_SECONDS) * DIALS_AT_ONCE
    for _ in range(wanted):
        room = served.store.open_room(f"dial-{secrets.token_hex(6)}", session_id)
        invited = grant(served.store, room, "host", NO_BOARD)
        visitors.append(Visitor(through_http(base), invite(served.store, room, invited, NUMBER, base, base).url))
    ends = time.monotonic() + seconds
    dialled: list[int] = []

    def dial() -> None:
        while time.monotonic() < ends and visitors:
            with suppress(IndexError):
                dialled.append(visitors.pop().post("dial-out").status)

    hands = [threading.Thread(target=dial) for _ in range(DIALS_AT_ONCE)]
    for hand in hands:
        hand.start()
    try:
        yield
    finally:
        for hand in hands:
            hand.join()
    if set(dialled) != {200} or len(dialled) < wanted // 2:
        raise RuntimeError(f"{len(dialled)} of {wanted} dials, answered with {set(dialled)}")


class _SlowPlatform(BaseHTTPRequestHandler):
    """A video platform that takes half a second for a dial."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(DIAL_SECONDS)
        ids = {name: secrets.token_hex(8) for name in ("id", "connectionId", "streamId")}
        body = json.dumps(ids).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Say nothing."""


@contextmanager
def _slow_platform() -> Iterator[str]:
    """Its address, until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _SlowPlatform) as platform:
        thread = threading.Thread(target=platform.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{platform.server_address[1]}"
        finally:
            platform.shutdown()
            thread.join()
