"""The servers that `webhook_path` measures: the tutorial's in Express, and the kit's under granian on either store."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

from measuring import DEADLINE, Skipped, wait_until
from sipkit.store import Store
from webhook_app import session_id

HERE = Path(__file__).parent
THREADS = 4
"""Of each worker: so many requests may wait for something before the next one has to."""

LONGEST = 900
"""Seconds after which a server ends by itself, whatever became of who started it."""

ROOMS = 10


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        name: What the table calls it.
        port: Where it listens on 127.0.0.1.
        pins: The PINs of its rooms.
        process: Whose CPU time, with that of its children, is the server's.
        store: Its store; None where it has none.
        connections: The only number of connections at which it is measured; None: at all.
    """

    name: str
    port: int
    pins: list[str]
    process: psutil.Process
    store: Store | None = None
    connections: int | None = None

    def cpu_seconds(self) -> float:
        """The CPU time of all its processes until now."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in family)


@contextmanager
def express() -> Iterator[Served]:
    """One process of the tutorial's server, its rooms in memory.

    Raises:
        Skipped: There is no node here, or Express is not installed.
    """
    node = shutil.which("node")
    if node is None or not (HERE / "express" / "node_modules").is_dir():
        raise Skipped("it needs node and `npm ci` in bench/express")
    rooms = {f"{n}05172": f"session-{n}" for n in range(1, ROOMS + 1)}
    environ = os.environ | {"NODE_ENV": "production", "ROOMS": json.dumps(rooms)}
    with _running([node, "express/app.cjs"], environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        port = int(process.stdout.readline())
        yield Served("Express", port, [*rooms], _own(process))


@contextmanager
def ours(name: str, home: Path, environ: dict[str, str], store: Store, workers: int) -> Iterator[Served]:
    """The kit's app under granian.

    Args:
        name: What the table calls it.
        home: Its data folder.
        environ: What `webhook_app` needs to know.
        store: The store it works on; its rooms are opened here.
        workers: Processes.
    """
    pins = [store.open_room(f"room-{n}", session_id).pin for n in range(ROOMS)]
    environ |= {"SIPKIT_HOME": str(home)}
    with _granian("webhook_app:app", environ, workers) as (process, port):
        yield Served(name, port, pins, _own(process), store)


@contextmanager
def least(name: str, file: Path, secret: str, workers: int, connections: int) -> Iterator[Served]:
    """The app of `webhook_least` under granian, on a file of its own; else as `ours`."""
    environ = {"BENCH_FILE": str(file), "BENCH_SECRET": secret}
    with _granian("webhook_least:app", environ, workers) as (process, port):
        yield Served(name, port, ["105172"], _own(process), connections=connections)


@contextmanager
def _granian(app: str, environ: dict[str, str], workers: int) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run an app of this folder under granian; gives the process and its port once it answers."""
    port = _free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--workers", str(workers)]
    command += ["--blocking-threads", str(THREADS), "--no-ws", "--log-level", "warning", app]
    path = os.pathsep.join((str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")))
    environ = environ | {"SERVER_URL": f"http://127.0.0.1:{port}", "PYTHONPATH": path}
    with _running(command, os.environ | environ) as process:
        wait_until(lambda: _answers(port), f"{app} to answer")
        yield process, port


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL of its own, its settings as they come; gives a URL to add a database's name to, ``one`` or ``two``.

    Raises:
        Skipped: It, or the driver, is not installed.
    """
    try:
        import psycopg
    except ImportError:
        raise Skipped("psycopg is not installed") from None
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        raise Skipped("PostgreSQL is not installed")
    # It refuses to be run by root.
    user = next((name for name in ("postgres", "nobody") if _known(name)), None) if os.geteuid() == 0 else None
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="sipkit-bench-", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        make = ["initdb", "-D", data, "-A", "trust", "-U", "bench", "--no-sync", "-E", "UTF8"]
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder)
        serve = ["postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        # Lost races are nothing to tell: whoever loses one runs its transaction again.
        with _running([*serve, "-c", "log_min_messages=panic"], {}, user=user):

            def made() -> bool:
                with suppress(psycopg.OperationalError):  # it is starting up
                    where = f"host=127.0.0.1 port={port} user=bench dbname=postgres"
                    with psycopg.connect(where, autocommit=True) as conn:
                        for name in ("one", "two"):
                            conn.execute(f"CREATE DATABASE {name}")
                        return True
                return False

            wait_until(made, "PostgreSQL to answer")
            yield f"postgresql+psycopg://bench@127.0.0.1:{port}/"


@contextmanager
def _running(
    command: list[str], environ: dict[str, str], stdout: int | None = None, user: str | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run a program until the end of the block, and never longer than `LONGEST`."""
    bounded = ["timeout", "--kill-after=5", str(LONGEST), *command]
    with subprocess.Popen(bounded, cwd=HERE, env=environ or None, stdout=stdout, text=True, user=user) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _own(process: "subprocess.Popen[str]") -> psutil.Process:
    """The server below `timeout`."""
    return psutil.Process(process.pid).children()[0]


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _known(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False
