"""A tunnel kept up by a program that says its address: started apart, listened to, surely ended.

What it says goes to a file and not to a pipe: the program outlives a kernel that was killed, every kernel of
the data folder can read the address, and an address that changes later is in the same place.

    open()  --- does tunnel.json name a living program of this very command? --- yes --> use it
                   | no: end that program
                   v
              start it, and record it at once; wait until it says an address, or leaves, or the deadline is there
"""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from sipkit.errors import AgentMissing, TunnelError
from sipkit.processes import ProcessMark
from sipkit.tunnel_record import (
    DEADLINE,
    END_PATIENCE,
    Health,
    end_recorded_agent,
    record,
    recorded,
    recorded_process,
    server_runs,
    turn,
)

_LOOK = 0.05  # seconds between two looks at what it said
_LOG = "tunnel.log"
_LOG_BYTES = 262_144
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r")  # colours and cursor movements (ECMA-48, 5.4)


class ProgramTunnel(ABC):
    """What ssh's and cloudflared's tunnels have in common.

    Args:
        home: The data folder, whose kernels share the tunnel; without it the program is this object's alone.
    """

    may_change: ClassVar[bool] = True

    def __init__(self, home: Path | None) -> None:
        self._home = home
        self._alone: tempfile.TemporaryDirectory[str] | None = None
        self._process: ProcessMark | None = None
        self._port: int | None = None
        self.url: str | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'open' if self.url else 'closed'})"

    @abstractmethod
    def requirements(self) -> list[TunnelError]:
        """What is missing before the tunnel can be opened; empty when nothing is."""

    @abstractmethod
    def _command(self, port: int) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    def _address(self, said: str, quiet: float) -> str | None:
        """The public address in what the program said; `quiet` is for how many seconds it has said nothing."""

    @abstractmethod
    def _why(self, said: str) -> TunnelError | None:
        """What went wrong, if what the program said tells."""

    @abstractmethod
    def _no_address(self, deadline: float) -> TunnelError:
        """There is no address at the deadline."""

    @abstractmethod
    def _ended(self) -> TunnelError:
        """The program has left, and nothing it said tells why."""

    def open(self, port: int, deadline: float = DEADLINE) -> str:
        """Start the program, or use the one of this folder that already leads to this port.

        Args:
            port: Where the webhook server listens on 127.0.0.1.
            deadline: Seconds for all of it.

        Raises:
            TunnelError: There is no address; the kind of error says why, and no program of ours stays.
        """
        if self.url and self._port == port and self.health().alive:
            return self.url
        self.close()
        for problem in self.requirements():
            raise problem
        try:
            if self._home is None:
                process, url = self._start(port, deadline)
            else:
                with turn(self._home, deadline):
                    process, url = self._find_or_start(self._home, port, deadline)
        except OSError as error:
            saw = type(error).__name__
        else:
            self._process, self._port, self.url = process, port, url
            return url
        raise TunnelError(
            f"The tunnel's files could not be written in the data folder ({saw}).",
            "Check that the data folder (.sipkit or SIPKIT_HOME) is writable, has space, and is on a local disk.",
        )

    def health(self) -> Health:
        """Whether the program runs, and the address it said last."""
        if self._process is None:
            return Health(alive=False, url=None, saw="it is not open")
        said, quiet = self._said()
        if not self._process.alive:
            return Health(alive=False, url=None, saw=(self._why(said) or self._ended()).message)
        self.url = self._address(said, quiet) or self.url
        return Health(alive=True, url=self.url)

    def close(self) -> None:
        """Let go of the program; end it, unless the webhook server still runs, which ends it when it leaves."""
        process, self._process, self._port, self.url = self._process, None, None, None
        if process is not None and self._home is None:
            process.end(END_PATIENCE)
        elif process is not None and self._home is not None and not server_runs(self._home):
            end_recorded_agent(self._home)
        if self._alone is not None:
            self._alone.cleanup()
            self._alone = None

    def _find_or_start(self, home: Path, port: int, deadline: float) -> tuple[ProcessMark, str]:
        found = recorded_process(home)
        if found is not None and found.alive and recorded(home).get("command") == self._digest(port):
            said, quiet = self._said()
            # Of a tunnel that has said much only the end is read, and its address may be further up.
            url = self._address(said, quiet) or str(recorded(home).get("url", ""))
            if url:
                self._record(home, found, port, url=url)
                return found, url
        end_recorded_agent(home)
        return self._start(port, deadline)

    def _record(self, home: Path, mark: ProcessMark, port: int, **more: str) -> None:
        record(home, mark, command=self._digest(port), **more)

    def _digest(self, port: int) -> str:
        """Tells two commands apart without telling them: a relay's user name may be a token."""
        return hashlib.sha256("\0".join(self._command(port)).encode()).hexdigest()[:32]

    def _start(self, port: int, deadline: float) -> tuple[ProcessMark, str]:
        ends = time.monotonic() + deadline
        program = self._run(self._command(port))
        mark = ProcessMark.of(program.pid)
        left = threading.Event()

        def reap() -> None:  # whoever ends it, and whenever: its parent must read the exit code
            program.wait()
            left.set()

        threading.Thread(target=reap, name="tunnel-reaper", daemon=True).start()
        try:
            if self._home is not None:  # now: whoever is killed while it opens must leave no unknown program
                self._record(self._home, mark, port)
            url = self._wait_for_address(left, ends, deadline)
            if self._home is not None:
                self._record(self._home, mark, port, url=url)
        except BaseException:  # the stop button ends here, too
            mark.end(END_PATIENCE)
            if self._home is not None:
                end_recorded_agent(self._home)
            raise
        return mark, url

    def _wait_for_address(self, left: threading.Event, ends: float, deadline: float) -> str:
        while True:
            gone = left.wait(_LOOK)
            said, quiet = self._said()
            if gone:
                raise self._why(said) or self._ended()
            if url := self._address(said, quiet):
                return url
            if time.monotonic() >= ends:
                raise self._why(said) or self._no_address(deadline)

    def _run(self, command: list[str]) -> "subprocess.Popen[bytes]":
        apart: dict[str, Any]
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        else:
            apart = {"start_new_session": True}  # or the notebook's stop button would end the tunnel
        environ = {**os.environ, "LC_ALL": "C"}  # its errors are read, so they must be in English
        with contextlib.ExitStack() as closing:
            log = os.open(self._log_path(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            closing.callback(os.close, log)
            stdin = _silence(self._log_path().with_name(f"tunnel.{os.getpid()}.in"))
            closing.callback(os.close, stdin)
            try:
                return subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, env=environ, **apart)
            except OSError as error:
                name = Path(command[0]).name
                problem = f"The program {name} could not be run ({type(error).__name__})."
        raise AgentMissing(problem, "Install it anew, or choose another way with TUNNEL in .env.")

    def _log_path(self) -> Path:
        if self._home is not None:
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            return self._home / _LOG
        if self._alone is None:
            self._alone = tempfile.TemporaryDirectory(prefix="sipkit-tunnel-")
        return Path(self._alone.name) / _LOG

    def _said(self) -> tuple[str, float]:
        """What the program has said (the end of it), and for how many seconds it has been silent."""
        try:
            with self._log_path().open("rb") as log:
                status = os.fstat(log.fileno())
                log.seek(max(0, status.st_size - _LOG_BYTES))
                said = log.read().decode("utf-8", "replace")
        except OSError:
            return "", 0.0
        return _ESCAPES.sub("", said), time.time() - status.st_mtime


def _silence(path: Path) -> int:
    """A descriptor to read from that says nothing and never ends.

    At the end of their input many relays' shells leave, and the tunnel with them. A pipe opened for reading and
    writing at once has no end, even when whoever made it is gone (fifo(7)).
    """
    if sys.platform == "win32":
        return os.open(os.devnull, os.O_RDONLY)
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    try:
        return os.open(path, os.O_RDWR)
    finally:
        path.unlink()
