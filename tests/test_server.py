"""The notebook's webhook server, as a real process held by real processes.

The servers here run with a live account's settings that are made up: such a server starts without the
sandbox and talks to nobody. Where calls matter (a killed kernel's bridges), the sandbox is real.
"""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from sipkit import lifeline
from sipkit.errors import PortTaken, ServerDidNotStart, ServerError
from sipkit.lifeline import Lifeline, LifelineKeeper
from sipkit.processes import FileLock, ProcessMark
from sipkit.server import WebhookServer
from sipkit.server_state import EXIT_LOCKED, ServerState
from sipkit.settings import Settings
from sipkit.store import Store

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_client.manager import KernelManager

    from sipkit.sandbox.launcher import SandboxInfo

ROOT = Path(__file__).parent.parent
WaitUntil = Callable[..., Any]

# What a notebook does, in a process that can be killed: holds the server, tells where it is, and stays.
HOLDER = """
import sys, threading
from sipkit.server import WebhookServer
from sipkit.settings import Settings
server = WebhookServer(Settings.load(), sys.argv[1]).start()
print(server.pid, server.port, server.adopted, flush=True)
{then}
threading.Event().wait()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a live account that does not exist, on a new data folder; no server is left after the test."""
    values = {
        "SIPKIT_MODE": "live",
        "SIPKIT_HOME": str(tmp_path / "data"),
        "SIPKIT_PROJECT_ROOT": str(ROOT),
        "VIDEO_API_KEY": "100",
        "VIDEO_API_SECRET": "video-secret-of-a-test",
        "VOICE_API_KEY": "abcdef01",
        "VOICE_API_SECRET": "voice-secret-of-a-test",
        "CONFERENCE_NUMBER": "12025550100",
        "SIGNATURE_SECRET": "signature-secret-of-a-test-32-characters",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    yield settings
    for process in servers_of(settings):
        process.kill()
        psutil.wait_procs([process], timeout=5)


def servers_of(settings: Settings) -> list[psutil.Process]:
    """Every living server process of a data folder, found without its state file."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = "sipkit.serving" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
            if ours and process.environ().get("SIPKIT_HOME") == str(settings.home):
                found.append(process)
    return found


def listens(port: int) -> bool:
    """Whether anybody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(port: int, method: str = "GET", path: str = "/healthz", body: bytes | None = None) -> tuple[int, Any]:
    """One request; its status and its JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@contextlib.contextmanager
def holder(owner: str, then: str = "") -> "Iterator[tuple[subprocess.Popen[str], int, int, bool]]":
    """A process that holds the server: itself, the server's pid and port, and whether it adopted it."""
    code = HOLDER.format(then=then)
    with subprocess.Popen(
        [sys.executable, "-c", code, owner],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            pid, port, adopted = process.stdout.readline().split()
            yield process, int(pid), int(port), adopted == "True"
        finally:
            process.kill()


# Start, adopt, replace


def test_start_serves_and_tells_where(folder: Settings) -> None:
    """After start the server answers /healthz with the id of its state file, which only its owner can read."""
    server = WebhookServer(folder, "kernel")
    assert not server.alive
    with pytest.raises(ServerError, match="start_webhook_server"):
        _ = server.url
    server.start()
    status, health = ask(server.port)
    state = ServerState.read(folder.home / "server.json")
    assert state is not None
    assert status == 200
    assert health["instance"] == state.instance
    assert health["pid"] == server.pid == state.pid
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert server.alive
    assert not server.adopted
    assert (folder.home / "server.json").stat().st_mode & 0o777 == 0o600
    assert state.lifeline_token not in repr(state) + repr(server)
    server.stop()


def test_last_stop_ends_the_server(folder: Settings) -> None:
    """Stop by the last holder: no process, no listener, no state file, no zombie; stopping again is nothing."""
    server = WebhookServer(folder, "kernel").start()
    pid, port = server.pid, server.port
    server.stop()
    assert not servers_of(folder)
    assert not listens(port)
    assert not (folder.home / "server.json").exists()
    assert not server.alive
    assert pid not in {child.pid for child in psutil.Process().children()}
    server.stop()


def test_running_the_cell_again_adopts(folder: Settings) -> None:
    """The same object, and a new one with the same settings, adopt the healthy server."""
    first = WebhookServer(folder, "kernel").start()
    pid = first.pid
    assert first.start().adopted
    second = WebhookServer(folder, "kernel").start()
    assert (second.pid, second.adopted) == (pid, True)
    first.stop()
    assert second.alive
    second.stop()
    assert not servers_of(folder)


def test_other_settings_replace_the_server(folder: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with other settings is replaced: one server afterwards, on the port that calls know."""
    first = WebhookServer(folder, "one").start()
    pid, port = first.pid, first.port
    monkeypatch.setenv("PIN_LENGTH", "6")
    second = WebhookServer(Settings.load(), "two").start()
    assert not second.adopted
    assert [process.pid for process in servers_of(folder)] == [second.pid] != [pid]
    assert second.port == port
    assert not first.alive
    state = ServerState.read(folder.home / "server.json")
    assert state is not None
    assert state.owners == ("one", "two")  # the new server hangs up for the old one's holders, too
    second.stop()
    first.stop()


def test_silent_server_is_replaced(folder: Settings) -> None:
    """A server that lives but does not answer is ended and replaced."""
    first = WebhookServer(folder, "kernel").start()
    os.kill(first.pid, signal.SIGSTOP)
    second = WebhookServer(folder, "kernel").start()
    assert second.pid != first.pid
    assert [process.pid for process in servers_of(folder)] == [second.pid]
    second.stop()
    first.stop()


def test_wished_port(folder: Settings, wait_until: WaitUntil) -> None:
    """A wished port is taken exactly; wishing another one moves the server."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as finder:
            ports.append(finder.getsockname()[1])
    server = WebhookServer(folder, "kernel").start(ports[0])
    assert server.port == ports[0]
    assert server.start(ports[0]).adopted
    assert server.start(ports[1]).port == ports[1]
    assert not listens(ports[0])
    assert len(servers_of(folder)) == 1
    server.stop()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_foreign_program_on_the_port(folder: Settings, address: str) -> None:
    """A port that another program serves is an error with a fix, and the running server is left alone."""
    server = WebhookServer(folder, "kernel").start()
    pid = server.pid
    with socket.create_server((address, 0)) as foreign, pytest.raises(PortTaken, match="Fix: "):
        server.start(foreign.getsockname()[1])
    assert server.alive
    assert server.pid == pid
    server.stop()
    with socket.create_server((address, 0)) as foreign, pytest.raises(PortTaken):
        server.start(foreign.getsockname()[1])
    assert not servers_of(folder)


def test_server_shares_its_port_with_nobody(folder: Settings) -> None:
    """Not even a program that asks for SO_REUSEPORT, as granian does, can listen beside it."""
    server = WebhookServer(folder, "kernel").start()
    with socket.socket() as second:
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            second.bind(("127.0.0.1", server.port))
    server.stop()


def test_two_starters_agree(folder: Settings) -> None:
    """Four kernels that start at the same moment hold one and the same server."""
    with contextlib.ExitStack() as stack:
        found: list[tuple[int, int, bool]] = []

        def start(owner: str) -> None:
            _, pid, port, adopted = stack.enter_context(holder(owner))
            found.append((pid, port, adopted))

        threads = [threading.Thread(target=start, args=(f"kernel-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len({(pid, port) for pid, port, _ in found}) == 1
        assert sorted(adopted for *_, adopted in found) == [False, True, True, True]
        assert [process.pid for process in servers_of(folder)] == [found[0][0]]


def test_second_process_of_a_folder_refuses(folder: Settings) -> None:
    """A server started past the state file's back does not come up beside the first."""
    server = WebhookServer(folder, "kernel").start()
    second = subprocess.run(
        [sys.executable, "-m", "sipkit.serving", "--instance", "second"],
        env=folder.child_environ(),
        cwd=ROOT,
        timeout=30,
        check=False,
        capture_output=True,
    )
    assert second.returncode == EXIT_LOCKED
    assert server.alive
    server.stop()


def test_server_that_cannot_start_says_why(folder: Settings) -> None:
    """A server that leaves at once is reported at once, with the end of its log."""
    folder.home.mkdir(parents=True)
    (folder.home / "sipkit.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(ServerDidNotStart, match="It said:"):
        WebhookServer(folder, "kernel").start()
    assert not servers_of(folder)


# Who keeps it alive, and how it ends


def test_killed_holder_takes_the_server_along(folder: Settings, wait_until: WaitUntil) -> None:
    """Kill -9 of the only holder: within seconds there is no server, no listener and no state file."""
    with holder("kernel") as (process, pid, port, _):
        assert listens(port)
        process.kill()
        wait_until(lambda: not psutil.pid_exists(pid), 10, "the server to leave")
    assert not listens(port)
    assert not servers_of(folder)
    assert not (folder.home / "server.json").exists()


def test_server_stays_for_the_other_holder(folder: Settings, wait_until: WaitUntil) -> None:
    """With two holders, the death of one changes nothing for the other."""
    server = WebhookServer(folder, "here").start()
    with holder("there") as (process, pid, _, adopted):
        assert adopted
        assert pid == server.pid
        process.kill()
        process.wait()
    # The server has heard of the death when it tells the next one to go that he is the last.
    assert server.alive
    server.stop()
    assert not psutil.pid_exists(pid)


def test_stop_button_does_not_reach_the_server(folder: Settings) -> None:
    """SIGINT to the holder's whole process group, which is what Jupyter's interrupt is, leaves it serving."""
    then = "import signal; signal.signal(2, lambda *_: print('hit', flush=True)); print('ready', flush=True)"
    with holder("kernel", then) as (process, pid, port, _):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "hit\n"
        assert ask(port)[1]["pid"] == pid


def test_forked_child_of_a_holder_does_not_hold(folder: Settings, wait_until: WaitUntil) -> None:
    """A child that a kernel forked inherits its sockets, but must not keep the server when the kernel dies."""
    fork = "import os, time\nchild = os.fork()\nif not child: time.sleep(60)\nprint(child, flush=True)"
    with holder("kernel", then=fork) as (process, pid, _, _):
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        wait_until(lambda: not psutil.pid_exists(pid), 10, "the server to leave")
        assert child.is_running()
        child.kill()


def test_killed_server_leaves_nothing_and_the_next_carries_on(folder: Settings, wait_until: WaitUntil) -> None:
    """Kill -9 of the server: no process of it is left and nobody listens; the next one has the same rooms."""
    with contextlib.closing(Store.open(folder.store_url, "live:100", 4)) as store:
        room = store.open_room("standup", lambda: "session-1")
        server = WebhookServer(folder, "kernel").start()
        pid, port = server.pid, server.port
        assert psutil.Process(pid).children(recursive=True) == []
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not listens(port), 5, "the port to be free")
        assert not servers_of(folder)
        wait_until(lambda: not psutil.pid_exists(pid), 5, "the zombie to be read")
        assert not server.alive
        server.start()
        assert server.port == port
        assert server.pid != pid
        assert ask(port)[1]["environment"] == "live:100"
        assert store.room_by_pin(room.pin) == room
        server.stop()


def test_sigterm_ends_it_in_order(folder: Settings, wait_until: WaitUntil) -> None:
    """SIGTERM: the state file goes, and so does the process."""
    server = WebhookServer(folder, "kernel").start()
    pid = server.pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not psutil.pid_exists(pid), 10, "the server to leave")
    assert not (folder.home / "server.json").exists()
    assert "leaving" in server.log()
    server.stop()


def test_unused_server_leaves(wait_until: WaitUntil) -> None:
    """A server that nobody comes to hold says farewell by itself."""
    keeper = LifelineKeeper()
    keeper.start(first_holder_within=0.05)
    assert keeper.farewells.get(timeout=5) == lifeline.LEAVE
    with pytest.raises(OSError, match="did not accept"):
        Lifeline.take(keeper.port, keeper.token, "late")
    keeper.refuse()


def test_lifeline_needs_the_token() -> None:
    """A stranger who finds the port neither holds the server nor ends it."""
    keeper = LifelineKeeper()
    keeper.start(first_holder_within=60)
    for word in ("stranger", lifeline.LEAVE, lifeline.HAND_OVER):
        with pytest.raises(OSError, match="did not accept"):
            Lifeline.take(keeper.port, "guess", word)
    assert keeper.owners == []
    held = Lifeline.take(keeper.port, keeper.token, "kernel")
    assert keeper.owners == ["kernel"]
    assert held.release()
    assert keeper.farewells.get(timeout=5) == lifeline.LEAVE
    assert keeper.farewells.empty()
    keeper.refuse()


def test_holders_are_counted() -> None:
    """Only the last to let go is told so, also when others only vanish."""
    keeper = LifelineKeeper(owners=["before"])
    keeper.start(first_holder_within=60)
    one, two, three = (Lifeline.take(keeper.port, keeper.token, name) for name in ("one", "two", "three"))
    assert not one.release()
    two.drop()
    assert keeper.farewells.empty()
    three.drop()
    assert keeper.farewells.get(timeout=5) == lifeline.LEAVE
    assert keeper.owners == ["before", "one", "three", "two"]
    keeper.refuse()


def test_owner_that_cannot_be_written_down_is_refused() -> None:
    """When the state file cannot be written, the holder is told at once instead of being forgotten later."""

    def full(owners: list[str]) -> None:
        raise OSError(28, "No space left on device")

    keeper = LifelineKeeper(on_owner=full)
    keeper.start(first_holder_within=60)
    with pytest.raises(OSError, match="did not accept"):
        Lifeline.take(keeper.port, keeper.token, "kernel")
    keeper.refuse()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x"}', '{"pid": 1'])
def test_broken_state_file_is_no_state(tmp_path: Path, text: str) -> None:
    """Whatever is in server.json, reading it gives a state or none, never an error."""
    path = tmp_path / "server.json"
    path.write_text(text)
    assert ServerState.read(path) is None


def test_pid_of_a_stranger_is_not_ours() -> None:
    """A mark with our pid but another creation time is another process: neither alive nor ended."""
    ours = ProcessMark.of()
    stranger = ProcessMark(ours.pid, ours.create_time - 60)
    assert ours.alive
    assert not stranger.alive
    stranger.kill()  # would end the test run
    assert stranger.wait(0)


def test_file_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """A lock keeps others out, within a process too, and is free when its holder was killed."""
    path = tmp_path / "lock"
    code = (
        "import sys, threading, pathlib; from sipkit.processes import FileLock;"
        "lock = FileLock(pathlib.Path(sys.argv[1]));"
        "print(lock.acquire(), flush=True); threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        lock = FileLock(path)
        assert not lock.acquire(0.05)
        process.kill()
    assert lock.acquire(5)
    assert not FileLock(path).acquire()
    lock.release()
    assert FileLock(path).acquire()


# A real kernel

LESSON = """
from sipkit import Switchboard
board = Switchboard.from_env()
room = board.open_room("standup")
server = board.start_webhook_server()
board.dial_out(room)
board.wait_for_bridge(room, "answered", 20)
print(server.pid, server.port)
"""


@contextlib.contextmanager
def kernel() -> "Iterator[tuple[KernelManager, BlockingKernelClient]]":
    """A Python kernel as Jupyter starts it, and a client of it; the kernel is gone afterwards."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(startup_timeout=60, cwd=str(ROOT))
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def run_cell(client: "BlockingKernelClient", code: str) -> str:
    """Run one cell; what it printed. A cell that fails, fails the test."""
    printed: list[str] = []

    def take(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    reply = client.execute_interactive(code, timeout=90, output_hook=take)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(printed)


def ledger(sandbox: "SandboxInfo") -> dict[str, list[dict[str, Any]]]:
    """The legs and connections that are up at the sandbox."""
    where = sandbox.api_url.partition("://")[2]
    login = base64.b64encode(f"{sandbox.voice_api_key}:{sandbox.voice_api_secret}".encode()).decode()
    connection = http.client.HTTPConnection(where, timeout=5)
    connection.request("GET", "/sandbox/ledger", headers={"Authorization": f"Basic {login}"})
    told: dict[str, list[dict[str, Any]]] = json.loads(connection.getresponse().read())
    connection.close()
    return told


def test_killed_kernel_leaves_no_server_and_no_bridge(
    sandbox: "SandboxInfo", sandbox_env: Path, wait_until: WaitUntil
) -> None:
    """The stop button changes nothing; kill -9 of the kernel hangs up its bridge and ends its server."""
    settings = Settings.load()
    with kernel() as (manager, client):
        pid, port = map(int, run_cell(client, LESSON).split()[-2:])
        assert manager.provisioner is not None
        manager.interrupt_kernel()
        assert run_cell(client, "print(server.alive)") == "True\n"
        assert ledger(sandbox)["legs"]
        os.kill(manager.provisioner.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        wait_until(lambda: not psutil.pid_exists(pid), 15, "the server to leave")
        wait_until(lambda: not any(ledger(sandbox).values()), 15, "the sandbox to be empty")
    assert not listens(port)
    assert not servers_of(settings)
    with contextlib.closing(Store.open(settings.store_url, f"sandbox:{sandbox.video_api_key}", 4)) as store:
        assert store.living_bridges() == []
        assert "The notebook went away" in " ".join(event.text for event in store.events())


# What it says


def test_log_is_readable_and_holds_no_query(folder: Settings) -> None:
    """The access log has a line per request, without its query string."""
    server = WebhookServer(folder, "kernel").start()
    ask(server.port, "GET", "/healthz?dtmf=4711")
    text = server.log()
    assert "GET /healthz 200" in text
    assert "4711" not in text
    assert (folder.home / "server.log").stat().st_mode & 0o777 == 0o600
    assert len(server.log(lines=1).splitlines()) == 1
    server.stop()


def test_what_never_reaches_the_app_is_refused_in_json(folder: Settings) -> None:
    """Too large for the app, too large for the server before it, no HTTP at all: JSON, and it lives on."""
    server = WebhookServer(folder, "kernel").start()
    for size in (70_000, 1_500_000):
        status, answer = ask(server.port, "POST", "/voice-answer", b"x" * size)
        assert status == 413
        assert "error" in answer
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as visitor:
        visitor.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        said = b"".join(iter(lambda: visitor.recv(4096), b""))
    assert said.startswith(b"HTTP/1.0 400")
    assert b"application/json" in said
    assert server.alive
    server.stop()


# By hand, and by other servers


def from_command_line(command: list[str], settings: Settings) -> "subprocess.Popen[str]":
    """A command of the README, started in the project's folder."""
    return subprocess.Popen(
        [sys.executable, "-m", *command] if command[0] != "webhook_server.py" else [sys.executable, *command],
        env=settings.child_environ(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_by_hand(folder: Settings, number: int) -> None:
    """`python webhook_server.py` says its address in one line, serves beside the notebook's server, and ends."""
    notebooks = WebhookServer(folder, "kernel").start()
    with from_command_line(["webhook_server.py", "--port", "0"], folder) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.partition("http://127.0.0.1:")[2].split()[0])
        assert ask(port)[0] == 200
        assert port != notebooks.port
        process.send_signal(number)
        assert process.wait(10) == 0
    assert notebooks.alive
    notebooks.stop()


def test_by_hand_on_a_taken_port(folder: Settings) -> None:
    """A taken port is one plain line and an exit code, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = str(foreign.getsockname()[1])
        with from_command_line(["webhook_server.py", "--port", port], folder) as process:
            said, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert port in said
    assert "Traceback" not in said


@pytest.mark.parametrize("server", ["granian", "flask"])
def test_other_servers_run_the_app(folder: Settings, server: str, wait_until: WaitUntil) -> None:
    """Granian and flask run serve the same app from the command line."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    command = (
        ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "webhook_server:app"]
        if server == "granian"
        else ["flask", "--app", "webhook_server", "run", "--port", str(port)]
    )
    with from_command_line(command, folder) as process:
        try:
            wait_until(lambda: process.poll() is not None or listens(port), 30, "the server to listen")
            assert ask(port)[1]["ok"] is True
        finally:
            process.terminate()
            process.wait(10)
