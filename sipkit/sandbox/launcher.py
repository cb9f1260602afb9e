"""Start, adopt, hold and stop the sandbox's process. The one part of the sandbox that the kit imports.

Standard library only and quick to import. It speaks plain HTTP over a socket to 127.0.0.1, so that no proxy
of the environment can get in between.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from sipkit.sandbox.files import POLL_SECONDS, FileLock, LockTimeout, private_folder
from sipkit.sandbox.processes import alive, kill, reap

IDLE_EXIT_SECONDS = 600
ANSWER_SECONDS = 5.0
CHUNK_BYTES = 65536
SILENT_SECONDS = 10.0
"""A sandbox that lives but does not answer for so long is replaced."""


class SandboxStartError(Exception):
    """The sandbox did not come up; the text says why and ends with its log's last lines."""


@dataclass(frozen=True)
class SandboxInfo:
    """How to reach a running sandbox: the line it prints when ready, and which process it is.

    Attributes:
        create_time: the birth mark of process `pid` (see `processes.birth_mark`).
        instance: differs at every start.
    """

    api_url: str
    https_url: str
    sip_udp: str
    sip_tcp: str
    sip_tls: str
    ca_file: str
    number: str
    video_api_key: str
    video_api_secret: str = field(repr=False)
    voice_api_key: str
    voice_api_secret: str = field(repr=False)
    application_id: str
    private_key_file: str
    signature_secret: str = field(repr=False)
    carrier_user: str
    carrier_password: str = field(repr=False)
    pid: int
    create_time: str
    instance: str

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Read the state file's content; unknown fields are left out.

        Raises:
            KeyError: a field is missing.
        """
        return cls(**{each.name: state[each.name] for each in fields(cls)})


def read(home: Path) -> SandboxInfo | None:
    """What the home's state file says, whether or not that sandbox still lives; None when there is none."""
    try:
        return SandboxInfo.from_state(json.loads((home / "sandbox.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ensure(home: Path, *, timeout: float = 30.0) -> SandboxInfo:
    """The running sandbox of `home`: the one that is there, else a new one. A few ms when it is there.

    Args:
        home: the sandbox's folder; created when missing.
        timeout: seconds until a new sandbox must answer.

    Raises:
        SandboxStartError: it died, or did not answer in time.
    """
    info = read(home)
    if info is not None and healthy(info):
        return info
    reap()
    deadline = time.monotonic() + timeout
    try:
        home = private_folder(home)
        with FileLock(home / "start.lock", timeout=timeout):
            return _adopt_or_start(home, deadline)
    except LockTimeout:
        raise SandboxStartError(
            f"the sandbox did not start: another process has been starting it for {timeout:.0f} s"
        ) from None
    except OSError as error:
        raise SandboxStartError(f"the sandbox did not start in {home}: {error.strerror or error}") from error


def stop(home: Path, *, timeout: float = 10.0) -> bool:
    """End the home's sandbox: SIGTERM, and SIGKILL after `timeout` seconds. False when none was running."""
    info = read(home)
    if info is None or not alive(info.pid, info.create_time):
        return False
    kill(info.pid, signal.SIGTERM)
    if not _gone(info, timeout):
        kill(info.pid, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows knows no SIGKILL
        _gone(info, timeout)
    reap()
    return True


class Hold:
    """An open request that keeps the sandbox from leaving. Close it, or let the process die."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over `connection`, on which the sandbox has begun its answer."""
        self._socket = connection
        self._socket.settimeout(0)  # never wait
        self._lock = threading.Lock()
        self._alive = True

    @property
    def alive(self) -> bool:
        """Does the sandbox still keep its end open? Never waits."""
        with self._lock:
            while self._alive:
                # The sandbox sends a space a second. Read them away: unread ones hide that it has gone.
                try:
                    self._alive = bool(self._socket.recv(CHUNK_BYTES))
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:
                    self._alive = False
            return self._alive

    def close(self) -> None:
        """Let the sandbox go; it leaves when nobody holds it for ten minutes. Safe to call twice."""
        with self._lock:
            self._alive = False
            self._socket.close()

    def __enter__(self) -> Self:
        """Hold for the length of a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self.close()


def hold(info: SandboxInfo) -> Hold:
    """Keep the sandbox from leaving for as long as the returned hold is open.

    Raises:
        SandboxStartError: it does not answer, or refuses.
    """
    try:
        connection = _request(info, "/sandbox/hold", info.voice_api_key, info.voice_api_secret)
        head = _read_head(connection)
    except OSError as error:
        raise SandboxStartError(f"the sandbox cannot be held: {error.strerror or error}") from error
    if _status(head) != HTTPStatus.OK:
        connection.close()
        raise SandboxStartError(f"the sandbox cannot be held: it answered {_status(head)}")
    return Hold(connection)


def _adopt_or_start(home: Path, deadline: float) -> SandboxInfo:
    """With the start lock held: adopt what lives, replace what lives but is silent, else start."""
    silent_at = min(deadline, time.monotonic() + SILENT_SECONDS)
    while (info := read(home)) is not None and alive(info.pid, info.create_time):
        if healthy(info):
            return info
        if time.monotonic() >= silent_at:
            stop(home)
            break
        time.sleep(POLL_SECONDS)
    return _start(home, deadline)


def _start(home: Path, deadline: float) -> SandboxInfo:
    log = home / "sandbox.log"
    options = ["--home", str(home), "--idle-exit", str(IDLE_EXIT_SECONDS)]
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log_file:
        child = subprocess.Popen(
            [sys.executable, "-m", "sipkit.sandbox", "serve", *options],
            cwd=home,  # not the learner's folder, which must stay free to be moved or deleted
            env=_child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # its ready line holds secrets; the state file tells the same
            stderr=log_file,
            **_OWN_SESSION,
        )
    while time.monotonic() < deadline:
        ended = reap(child)
        info = read(home)
        # Not only our child counts: one started by hand meanwhile is as good, and makes ours give way.
        if info is not None and healthy(info):
            return info
        if ended is not None:
            raise SandboxStartError(f"the sandbox ended at once with code {ended}{_tail(log)}")
        time.sleep(POLL_SECONDS)
    child.terminate()
    raise SandboxStartError(f"the sandbox did not answer in time{_tail(log)}")


# The stop button of a notebook interrupts the kernel's whole process group: stay out of it.
_OWN_SESSION: dict[str, Any] = {"start_new_session": True}
if sys.platform == "win32":  # pragma: no cover
    _OWN_SESSION = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}


def _child_environment() -> dict[str, str]:
    """Ours, with the folder of the sipkit that runs here in front: the child must be the same version."""
    source = str(Path(__file__).resolve().parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([source, path] if path else [source])}


def _gone(info: SandboxInfo, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while alive(info.pid, info.create_time):
        reap()
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _tail(log: Path, lines: int = 15) -> str:
    try:
        text = log.read_text(errors="replace").strip()
    except OSError:
        return ""
    return ":\n" + "\n".join(text.splitlines()[-lines:]) if text else " (its log is empty)"


def healthy(info: SandboxInfo) -> bool:
    """Does this very sandbox answer? Another program on its old port does not know the instance."""
    if not alive(info.pid, info.create_time):
        return False
    try:
        with _request(info, "/sandbox/health") as connection:
            head = _read_head(connection)
            body = head.partition(b"\r\n\r\n")[2]
            while more := connection.recv(CHUNK_BYTES):
                body += more
        answer = json.loads(body)
        return _status(head) == HTTPStatus.OK and answer["ok"] is True and answer["instance"] == info.instance
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _request(info: SandboxInfo, path: str, user: str = "", password: str = "") -> socket.socket:
    """Send a GET and return the socket to read the answer from (Python's sockets are not inherited)."""
    url = urlsplit(info.api_url)
    host, port = url.hostname or "127.0.0.1", url.port or 80
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    if user:
        lines.append("Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    connection = socket.create_connection((host, port), timeout=ANSWER_SECONDS)
    try:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
    except OSError:
        connection.close()
        raise
    return connection


def _read_head(connection: socket.socket) -> bytes:
    """Read until the headers are whole; some of the body may be behind them."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(CHUNK_BYTES)
        if not more or len(head) > CHUNK_BYTES:
            connection.close()
            raise ConnectionError("it closed the connection")
        head += more
    return head


def _status(head: bytes) -> int:
    """The status code of an HTTP answer's first line; 0 if that is no HTTP."""
    words = head.split(b" ", 2)
    return int(words[1]) if words[0].startswith(b"HTTP/") and words[1:] and words[1].isdigit() else 0
