"""The launcher: one sandbox per folder, adopted when it lives, started when not, kept while held."""

import base64
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox import launcher
from sipkit.sandbox.files import FileLock
from sipkit.sandbox.home import Home
from sipkit.sandbox.launcher import SandboxInfo, SandboxStartError
from sipkit.sandbox.processes import alive, birth_mark, reap

START_SECONDS = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose sandbox, if one was started, is stopped afterwards."""
    folder = tmp_path / "sandbox"
    yield folder
    launcher.stop(folder)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, SandboxInfo]]:
    """A sandbox started by the launcher, and its folder."""
    folder = tmp_path_factory.mktemp("running") / "sandbox"
    yield folder, launcher.ensure(folder, timeout=START_SECONDS)
    launcher.stop(folder)


# ---------------------------------------------------------------- a real sandbox


def test_a_started_sandbox_is_found_again_in_a_moment(running: tuple[Path, SandboxInfo]) -> None:
    """`ensure` adopts the living one, in a few milliseconds, and starts no second."""
    folder, info = running
    assert info.pid != os.getpid()
    times = []
    for _ in range(20):
        started = time.perf_counter()
        assert launcher.ensure(folder) == info
        times.append(time.perf_counter() - started)
    assert sorted(times)[10] < 0.05, times
    assert launcher.read(folder) == info


def test_proxies_of_the_environment_are_not_asked(
    running: tuple[Path, SandboxInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy for everything, set by a company's image, does not get between kernel and sandbox."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    folder, info = running
    assert launcher.ensure(folder) == info
    with launcher.hold(info) as held:
        assert held.alive


def test_a_hold_lives_until_it_is_closed(running: tuple[Path, SandboxInfo]) -> None:
    """Two holds are independent; closing twice is harmless."""
    _, info = running
    first, second = launcher.hold(info), launcher.hold(info)
    assert first.alive
    assert second.alive
    first.close()
    first.close()
    assert not first.alive
    assert second.alive
    second.close()


def test_a_hold_with_a_wrong_password_is_refused(running: tuple[Path, SandboxInfo]) -> None:
    """The control API asks for the account's credentials; the error does not repeat them."""
    _, info = running
    with pytest.raises(SandboxStartError, match="401") as refused:
        launcher.hold(replace(info, voice_api_secret="wrong-secret"))
    assert "wrong-secret" not in str(refused.value)


def test_starters_at_once_agree_on_one_sandbox(folder: Path) -> None:
    """Four processes ensure a sandbox in one new folder: one is started, all get it."""
    program = (
        "import sys; from pathlib import Path; from sipkit.sandbox import launcher\n"
        f"info = launcher.ensure(Path(sys.argv[1]), timeout={START_SECONDS})\n"
        "print(info.instance, info.pid, info.api_url)"
    )

    def start(_: int) -> str:
        command = [sys.executable, "-c", program, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=START_SECONDS).stdout

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, range(4)))) == 1


def test_a_killed_sandbox_is_started_anew_with_the_same_identity(folder: Path, wait_until: Callable[..., Any]) -> None:
    """The state file that kill -9 leaves behind is not believed; the new sandbox has the old one's credentials."""
    first = launcher.ensure(folder, timeout=START_SECONDS)
    held = launcher.hold(first)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not held.alive, what="the hold to see that the sandbox died")
    held.close()
    assert launcher.read(folder) == first
    second = launcher.ensure(folder, timeout=START_SECONDS)
    assert second.instance != first.instance
    assert second.pid != first.pid
    assert second.video_api_secret == first.video_api_secret
    assert launcher.stop(folder)
    assert launcher.read(folder) is None
    assert not alive(second.pid, second.create_time)
    assert not launcher.stop(folder)


def test_a_held_sandbox_stays_and_one_let_go_leaves(folder: Path, wait_until: Callable[..., Any]) -> None:
    """Idle time counts only while nobody holds: here one second of it is enough to leave."""
    command = [sys.executable, "-m", "sipkit.sandbox", "serve", "--home", str(folder), "--idle-exit", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        info = wait_until(lambda: launcher.read(folder), START_SECONDS, "the sandbox to be ready")
        with launcher.hold(info) as held:
            three_idle_times = time.monotonic() + 3
            wait_until(lambda: not held.alive or time.monotonic() > three_idle_times, what="idle time to pass")
            assert held.alive
            assert process.poll() is None
        assert wait_until(lambda: process.poll() is not None, what="the sandbox to leave")
    assert process.returncode == 0
    assert launcher.read(folder) is None


@pytest.mark.skipif(os.name != "posix", reason="SIGSTOP is POSIX")
def test_a_sandbox_that_lives_but_does_not_answer_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen sandbox is ended and another one started; it is never doubled."""
    monkeypatch.setattr(launcher, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(launcher, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(launcher.stop, "__kwdefaults__", {"timeout": 1.0})
    first = launcher.ensure(folder, timeout=START_SECONDS)
    os.kill(first.pid, signal.SIGSTOP)
    second = launcher.ensure(folder, timeout=START_SECONDS)
    assert second.pid != first.pid
    assert not alive(first.pid, first.create_time)


def test_a_sandbox_that_cannot_start_tells_why(folder: Path) -> None:
    """Its log's last lines are in the error: here, credentials that are damaged."""
    home = Home.open(folder)
    (home.path / "credentials.json").write_text("{")
    with pytest.raises(SandboxStartError, match=r"(?s)ended at once.*delete the folder"):
        launcher.ensure(folder, timeout=START_SECONDS)


def test_the_log_and_the_command_line_hold_no_secret(running: tuple[Path, SandboxInfo]) -> None:
    """The ready line, full of secrets, goes to the private state file only."""
    folder, info = running
    secrets = [value for name, value in asdict(info).items() if "secret" in name or "password" in name]
    log = (folder / "sandbox.log").read_text()
    command = Path(f"/proc/{info.pid}/cmdline")
    told = log + (command.read_text() if command.exists() else "")
    assert not any(secret in told for secret in secrets)
    assert not any(secret in repr(info) for secret in secrets)


# ---------------------------------------------------------------- without one


class Impostor:
    """An HTTP server on a free port of this process that answers every request with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(65536))
                connection.sendall(self._answer)

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


def state(**changes: Any) -> SandboxInfo:
    """The state of a sandbox that seems to be this process."""
    names = list(inspect.signature(SandboxInfo).parameters)
    mine = {"pid": os.getpid(), "create_time": birth_mark(os.getpid()), "instance": "mine"}
    return SandboxInfo(**(dict.fromkeys(names, "-") | mine | changes))


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (b'HTTP/1.1 200 OK\r\n\r\n{"ok": true, "instance": "mine", "pid": 1}', True),
        (b'HTTP/1.1 200 OK\r\n\r\n{"ok": true, "instance": "other", "pid": 1}', False),
        (b'HTTP/1.1 200 OK\r\n\r\n{"ok": false, "instance": "mine"}', False),
        (b'HTTP/1.1 503 No\r\n\r\n{"ok": true, "instance": "mine"}', False),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", False),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", False),
        (b"SSH-2.0-OpenSSH\r\n\r\n", False),
        (b"", False),
    ],
)
def test_only_the_very_sandbox_of_the_state_file_is_believed(answer: bytes, healthy: bool) -> None:
    """Another program on the old port, or another instance, is not adopted."""
    impostor = Impostor(answer)
    assert launcher.healthy(state(api_url=impostor.url)) is healthy
    impostor.close()
    assert impostor.requests[0].startswith(b"GET /sandbox/health HTTP/1.1\r\n")


def test_a_process_id_used_again_is_not_the_sandbox() -> None:
    """The birth mark tells two processes of one id apart, before anything is sent."""
    assert alive(os.getpid(), birth_mark(os.getpid()))
    assert not alive(os.getpid(), "another birth")
    assert not launcher.healthy(state(create_time="another birth"))


def test_an_ended_child_is_dead_even_before_it_is_collected(wait_until: Callable[..., Any]) -> None:
    """A zombie answers signals but is no process any more; `reap` collects it."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    birth = birth_mark(child.pid)
    wait_until(lambda: not alive(child.pid, birth), what="the child to count as dead")
    assert wait_until(lambda: reap(child) is not None, what="its exit code")
    assert birth_mark(2**22 + 1) is None


def test_a_dropped_hold_is_seen_behind_unread_spaces() -> None:
    """What the sandbox sent before it went does not hide that it went."""
    impostor = Impostor(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 5000)
    held = launcher.hold(state(api_url=impostor.url, voice_api_key="user", voice_api_secret="hush"))
    impostor.close()
    assert not held.alive
    held.close()
    expected = base64.b64encode(b"user:hush").decode()
    assert f"Authorization: Basic {expected}".encode() in impostor.requests[0]


def test_a_hold_on_nothing_is_a_clear_error() -> None:
    """No listener on the port: an error that names the sandbox, not a bare ConnectionRefusedError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SandboxStartError, match="cannot be held"):
        launcher.hold(state(api_url=url))


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null", json.dumps({"api_url": "x"})])
def test_a_missing_or_damaged_state_file_is_no_sandbox(tmp_path: Path, content: str | None) -> None:
    """`read` gives None for it, and `stop` has nothing to stop."""
    if content is not None:
        (tmp_path / "sandbox.json").write_text(content)
    assert launcher.read(tmp_path) is None
    assert not launcher.stop(tmp_path)


def test_waiting_for_another_starter_ends_at_the_deadline(tmp_path: Path) -> None:
    """A starter that hangs with the lock costs the second one its timeout, not for ever."""
    folder = tmp_path / "sandbox"
    folder.mkdir()
    with FileLock(folder / "start.lock"), pytest.raises(SandboxStartError, match="another process"):
        launcher.ensure(folder, timeout=0.2)


def test_the_launcher_is_quick_to_import() -> None:
    """Kernels import it: nothing of the sandbox, aiohttp or cryptography comes with it."""
    program = "import sys, sipkit.sandbox.launcher; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"aiohttp", "asyncio", "cryptography", "trustme", "numpy", "ssl", "sipkit.sandbox.home"}
