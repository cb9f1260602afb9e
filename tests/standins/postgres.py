"""A real PostgreSQL server of our own: made, started and killed in a folder, with the system's programs."""

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import psycopg

from tests.standins.lab import wait_for

USER: Final = "sipkit"
PASSWORD: Final = "password-of-a-test"
START_SECONDS: Final = 60.0

_DEBIAN: Final = Path("/usr/lib/postgresql")  # Debian keeps the server's programs off PATH, one folder a version


def programs() -> Path | None:
    """Return the folder of the server's programs, or None where there is no PostgreSQL."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


class Postgres:
    """One server in a folder of its own. It refuses to run as root, so root lets the user `postgres` run it.

    Args:
        programs: The folder of the server's programs.
        durable: Whether a commit waits for the disk, as it must where a test kills the server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    def __init__(self, programs: Path, *, durable: bool) -> None:
        self._programs = programs
        self._durable = durable
        self._folder = Path(tempfile.mkdtemp(prefix="sipkit-postgres-"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._numbers = itertools.count()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)  # the folder is private
        making = [f"--pwfile={secret}", "-A", "scram-sha-256", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", *making)

    def start(self) -> None:
        """Start it, and wait until it takes connections; after a kill it recovers first."""
        settings = {"listen_addresses": "127.0.0.1", "max_connections": 200, "fsync": "on" if self._durable else "off"}
        options = [f"-p {self.port} -k ''", *(f"-c {name}={value}" for name, value in settings.items())]
        waiting = ["-w", "-t", f"{START_SECONDS:.0f}", "-l", str(self._folder / "log")]
        self._run("pg_ctl", *waiting, "-o", " ".join(options), "start")

    def stop(self) -> None:
        """Stop it as an administrator would who does not wait for anybody: all connections end."""
        self._run("pg_ctl", "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """End the whole server by kill -9, the postmaster first: as a power cut does, but for the disk's cache."""
        everybody = [psutil.Process(self._pid()), *map(psutil.Process, self.backends())]
        for process in everybody:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_for(lambda: not any(map(_lives, everybody)), what="the server's processes to end")
        # A bare container's init reads nobody's exit code, so the dead postmaster would be taken for a living one.
        (self._folder / "data" / "postmaster.pid").unlink()

    def backends(self) -> list[int]:
        """Return the process ids of the server's connections and helpers."""
        return [process.pid for process in psutil.Process(self._pid()).children()]

    def remove(self) -> None:
        """Stop it if it runs, and remove all of it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str, password: str = PASSWORD) -> str:
        """Return the URL of a database for `Store.open`."""
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """A new, empty database until the end of the block: its URL. Whoever is still connected then is cut off."""
        name = f"store_{next(self._numbers)}"
        with self.administrator() as sql:
            sql.execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        with self.administrator() as sql:
            sql.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def administrator(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Connect as the server's superuser."""
        url = self.url("postgres").replace("+psycopg", "")
        return psycopg.connect(url, autocommit=True)

    def _pid(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def _run(self, program: str, *arguments: str) -> None:
        where = ["-D", str(self._folder / "data")]
        command = [*self._as_user, str(self._programs / program), *where, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=self._folder)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
