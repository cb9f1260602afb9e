"""Start, adopt and stop the webhook server from a notebook.

The server is a process of its own (`python -m sipkit.serving`), never a thread: a thread of the kernel
answers no webhook while a cell computes. It lives in its own process session, so the stop button does not
reach it, and it leaves when the last kernel that holds its lifeline is gone (see `lifeline`).

One data folder has one such server, and every kernel of that folder shares it:

    start()  --- is one running, healthy, and of the same settings and code? --- yes --> adopt it
                      | no: stop it, by pid and creation time; its bridges stay up for the next one
                      v
                 start a new one, wait until it answers /healthz with the instance id we gave it

What is known about it is in `server.json` (mode 0600: it holds the lifeline's token); two kernels that
start at once take turns through `server.start.lock`.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from sipkit import lifeline
from sipkit.errors import PortTaken, ServerDidNotStart, ServerError
from sipkit.http_server import HOST, listen
from sipkit.lifeline import Lifeline
from sipkit.processes import FileLock
from sipkit.server_state import EXIT_LOCKED, EXIT_PORT_TAKEN, ServerState, config_hash, project_of
from sipkit.settings import Settings

_START_PATIENCE = 40.0  # seconds: on a fresh data folder the server may have to start the sandbox first
_LEAVE_PATIENCE = 13.0  # seconds: it may spend 10 of them hanging up
_SILENT_PATIENCE = 3.0  # seconds, for one that does not even answer: it hangs up nothing
_POLL = 0.03  # seconds
_TAIL_BYTES = 65536
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent


class WebhookServer:
    """The webhook server as one kernel holds it.

    Args:
        settings: Where the data folder is, and what the server shall run with.
        owner: Who holds the server; the bridges this owner dialled are hung up when its last
            connection is gone.

    Attributes:
        adopted: Whether `start` found a running server instead of starting one.
    """

    def __init__(self, settings: Settings, owner: str) -> None:
        self._settings = settings
        self._owner = owner
        self._mutex = threading.RLock()
        self._state: ServerState | None = None
        self._lifeline: Lifeline | None = None
        self.adopted = False

    def __repr__(self) -> str:
        return f"WebhookServer({'running' if self._state else 'not running'})"

    @property
    def url(self) -> str:
        """Its address on this machine, such as `http://127.0.0.1:40213`."""
        return f"http://{HOST}:{self.port}"

    @property
    def port(self) -> int:
        """The port it really listens on."""
        return self._running.port

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    @property
    def instance(self) -> str:
        """The random id its `/healthz` gives."""
        return self._running.instance

    @property
    def public_url(self) -> str | None:
        """The address the platform reaches it by; None if it does not answer, or was told none."""
        return self._running.public_url()

    @property
    def alive(self) -> bool:
        """Whether the server we hold answers `/healthz`."""
        state = self._state
        return state is not None and state.healthy()

    @property
    def trouble(self) -> str:
        """Why it answers callers with apologies, and what to do; empty if it does not, or does not run."""
        return self._state.trouble() if self._state is not None else ""

    @property
    def _running(self) -> ServerState:
        if self._state is None:
            raise ServerError("The webhook server is not running.", "Start it: board.start_webhook_server().")
        return self._state

    @property
    def _state_path(self) -> Path:
        return self._settings.home / "server.json"

    @property
    def _log_path(self) -> Path:
        return self._settings.home / "server.log"

    def start(self, port: int | None = None, environment: str | None = None) -> Self:
        """Start the server, or adopt the one that runs.

        Args:
            port: Where it shall listen; 0 for any free port, None for what the settings say.
            environment: Which account's server is wanted (`Account.environment`); one of another account
                is replaced. The settings do not tell: a sandbox made anew is another account. None for any.

        Raises:
            PortTaken: Another program listens on that port.
            ServerDidNotStart: It left, or was not healthy in time; the message ends with its log.
        """
        wished = self._settings.webhook_port if port is None else port
        turn = FileLock(self._settings.home / "server.start.lock")
        with self._mutex:
            if not turn.acquire(_START_PATIENCE + _LEAVE_PATIENCE):
                raise ServerDidNotStart("Another notebook is starting the webhook server and does not finish.")
            try:
                return self._start(wished, environment)
            finally:
                turn.release()

    def _start(self, wished: int, environment: str | None) -> Self:
        config = config_hash(self._settings)
        state = ServerState.read(self._state_path)
        if state and state.process.alive:
            stranger = environment is not None and state.environment() not in (environment, None)
            if state.config == config and wished in (0, state.port) and not stranger and self._adopt(state):
                return self
            if wished not in (0, state.port):
                _refuse_taken(wished)  # before the old server is stopped: a refusal must change nothing
            self._retire(state, leave=stranger or state.project != project_of(self._settings))
        else:
            _refuse_taken(wished)
        self._let_go()
        self._launch(wished, config)
        return self

    def _adopt(self, state: ServerState) -> bool:
        if not state.healthy():
            return False
        if self._lifeline is None or self._state is None or self._state.instance != state.instance:
            self._let_go()
            try:
                self._lifeline = Lifeline.take(state.lifeline_port, state.lifeline_token, self._owner)
            except OSError:
                return False  # it is leaving just now
        self._state = state
        self.adopted = True
        return True

    def _retire(self, state: ServerState, *, leave: bool) -> None:
        """Stop a server that does not fit (any more).

        The next one takes over its bridges, unless it will talk to another account (`leave`): then
        nobody but the old server can hang them up.
        """
        word = lifeline.LEAVE if leave else lifeline.HAND_OVER
        try:
            lifeline.command(state.lifeline_port, state.lifeline_token, word)
        except TimeoutError:
            state.process.end(_SILENT_PATIENCE)
        except OSError:  # it takes no visitors: it is leaving already
            state.process.end(_LEAVE_PATIENCE)
        else:
            if not state.process.wait(_LEAVE_PATIENCE):
                state.process.kill()
                state.process.wait(_LEAVE_PATIENCE)

    def _launch(self, wished: int, config: str) -> None:
        instance = secrets.token_hex(8)
        child, log_start = self._spawn(wished, instance, config)
        deadline = time.monotonic() + _START_PATIENCE
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise self._why_it_left(child.returncode, wished, log_start)
            state = ServerState.read(self._state_path)
            if state and state.instance == instance and state.healthy():
                with contextlib.suppress(OSError):  # it died in this moment: the next round sees it
                    self._lifeline = Lifeline.take(state.lifeline_port, state.lifeline_token, self._owner)
                    self._state = state
                    self.adopted = False
                    return
            time.sleep(_POLL)
        child.kill()
        raise ServerDidNotStart(
            f"The webhook server was not ready within {_START_PATIENCE:.0f} s.{self._log_since(log_start)}"
        )

    def _spawn(self, wished: int, instance: str, config: str) -> "tuple[subprocess.Popen[bytes], int]":
        command = [sys.executable, "-m", "sipkit.serving"]
        command += ["--port", str(wished), "--instance", instance, "--config", config]
        # Its own session (on Windows: process group), or the kernel's interrupt would stop the server too.
        apart: dict[str, Any]
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        else:
            apart = {"start_new_session": True}
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            log_start = os.fstat(log).st_size
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._settings.home,  # not the learner's folder, which may be moved or deleted
                env=self._child_environ(instance),
                **apart,
            )
        finally:
            os.close(log)
        # Whoever stops it, and whenever: its parent must read the exit code, or a zombie stays.
        threading.Thread(target=child.wait, name="webhook-server-reaper", daemon=True).start()
        return child, log_start

    def _child_environ(self, instance: str) -> dict[str, str]:
        environ = {**self._settings.child_environ(), "SIPKIT_INSTANCE": instance}
        # It shall find the code that we run, installed or not.
        paths = [str(_PACKAGE_ROOT), environ.get("PYTHONPATH", "")]
        return {**environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def _why_it_left(self, code: int, wished: int, log_start: int) -> ServerError:
        if code == EXIT_PORT_TAKEN:
            return _port_taken(wished)
        if code == EXIT_LOCKED:
            return ServerDidNotStart(
                f"Another webhook server runs on the data folder {self._settings.home.name}, "
                "but server.json does not tell where.",
                "Stop it (a process `python -m sipkit.serving`), then start again.",
            )
        return ServerDidNotStart(f"The webhook server left with code {code}.{self._log_since(log_start)}")

    def _log_since(self, start: int) -> str:
        with contextlib.suppress(OSError), self._log_path.open("rb") as file:
            file.seek(start)
            if said := file.read(_TAIL_BYTES).decode("utf-8", "replace").strip():
                return " It said:\n" + "\n".join(said.splitlines()[-12:])
        return ""

    def log(self, lines: int = 50) -> str:
        """The last lines of the server's log."""
        with contextlib.suppress(OSError), self._log_path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = file.read().decode("utf-8", "replace").splitlines()
            return "\n".join(tail[-lines:] if lines > 0 else [])
        return ""

    def stop(self) -> None:
        """Let go of the server; the last one to let go waits until it has left.

        Safe to call twice, and at the end of the process.
        """
        with self._mutex:
            state, self._state = self._state, None
            held, self._lifeline = self._lifeline, None
            if held is None or state is None or not held.release():
                return
            if not state.process.wait(_LEAVE_PATIENCE):
                state.process.kill()
                state.process.wait(_LEAVE_PATIENCE)

    def _let_go(self) -> None:
        if self._lifeline is not None:
            self._lifeline.drop()
        self._lifeline = None
        self._state = None


def _refuse_taken(port: int) -> None:
    if port:
        try:
            listen(port).close()
        except (OSError, OverflowError) as error:
            raise _port_taken(port) from error


def _port_taken(port: int) -> PortTaken:
    return PortTaken(
        f"Port {port} on {HOST} is taken by another program, or may not be used.",
        "Stop that program, choose another port, or choose 0 for any free one.",
    )
