"""How the webhook server ends, and what it takes along: real holders, a real kernel, a real sandbox."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from sipkit.cloud import cloud_for
from sipkit.processes import ProcessMark
from sipkit.server import WebhookServer
from sipkit.serving import hang_up_bridges
from sipkit.settings import Settings
from sipkit.store import Store

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_client.manager import KernelManager

    from sipkit.sandbox.launcher import SandboxInfo

from tests.standins.holders import ROOT, WaitUntil, folder, health, holder, listens, runs, servers_of

__all__ = ["folder"]  # a fixture: pytest finds it by its name here


def test_killed_holder_takes_the_server_along(folder: Settings, wait_until: WaitUntil) -> None:
    """Kill -9 of the only holder: within seconds there is no server, no listener and no state file."""
    with holder("kernel") as (process, pid, port, _):
        assert listens(port)
        process.kill()
        wait_until(lambda: not runs(pid), 10, "the server to leave")
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
    assert not runs(pid)


def test_stop_button_does_not_reach_the_server(folder: Settings) -> None:
    """SIGINT to the holder's whole process group, which is what Jupyter's interrupt is, leaves it serving."""
    then = "import signal; signal.signal(2, lambda *_: print('hit', flush=True)); print('ready', flush=True)"
    with holder("kernel", then) as (process, pid, port, _):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "hit\n"
        assert health(port)["pid"] == pid


def test_forked_child_of_a_holder_does_not_hold(folder: Settings, wait_until: WaitUntil) -> None:
    """A child that a kernel forked inherits its sockets, but must not keep the server when the kernel dies."""
    fork = "import os, time\nchild = os.fork()\nif not child: time.sleep(60)\nprint(child, flush=True)"
    with holder("kernel", then=fork) as (process, pid, _, _):
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        wait_until(lambda: not runs(pid), 10, "the server to leave")
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
        assert health(port)["environment"].startswith("live:")
        assert store.room_by_pin(room.pin) == room
        server.stop()


def test_sigterm_ends_it_in_order(folder: Settings, wait_until: WaitUntil) -> None:
    """SIGTERM: the state file goes, and so does the process."""
    server = WebhookServer(folder, "kernel").start()
    pid = server.pid
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not runs(pid), 10, "the server to leave")
    assert not (folder.home / "server.json").exists()
    assert "leaving" in server.log()
    server.stop()


def test_ngrok_agent_of_a_killed_kernel_is_ended(folder: Settings, wait_until: WaitUntil) -> None:
    """The agent that a killed kernel has left behind, as tunnel.json tells, ends with the server."""
    with (
        subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"]) as agent,
        holder("kernel") as (process, *_),
    ):
        mark = ProcessMark.of(agent.pid)
        record = {"pid": mark.pid, "create_time": mark.create_time, "api_url": "http://127.0.0.1:1", "url": "-"}
        (folder.home / "tunnel.json").write_text(json.dumps(record))
        process.kill()
        wait_until(lambda: agent.poll() is not None, 10, "the agent to end")
        wait_until(lambda: not (folder.home / "tunnel.json").exists(), 5, "the record to go")


@pytest.mark.parametrize("silent", [True, False])
def test_bridge_that_cannot_be_hung_up_is_on_record(folder: Settings, *, silent: bool) -> None:
    """A platform that is away, or never answers, costs the deadline at most, and the timeline says so."""
    with (
        socket.create_server(("127.0.0.1", 0)) as platform,
        contextlib.closing(Store.open(folder.store_url, "live:100", 4)) as store,
    ):
        account = replace(cloud_for(folder).account(), video_api_url=f"http://127.0.0.1:{platform.getsockname()[1]}")
        if not silent:
            platform.close()
        room = store.open_room("standup", lambda: "session-1")
        bridge, _ = store.claim_bridge(room, "kernel")
        store.bridge_dialed(bridge.id, "connection-1", "stream-1")
        began = time.monotonic()
        assert hang_up_bridges(lambda: account, store, ["kernel", "nobody"], within=0.6) == 0
        assert time.monotonic() - began < 3
        assert [living.id for living in store.living_bridges()] == [bridge.id]
        assert "could not be hung up" in store.events(room)[-1].text


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


def ledger(sandbox: "SandboxInfo") -> set[str]:
    """The legs and connections that are up at the sandbox, by id; other tests of this worker may have left some."""
    where = sandbox.api_url.partition("://")[2]
    login = base64.b64encode(f"{sandbox.voice_api_key}:{sandbox.voice_api_secret}".encode()).decode()
    connection = http.client.HTTPConnection(where, timeout=5)
    connection.request("GET", "/sandbox/ledger", headers={"Authorization": f"Basic {login}"})
    told = json.loads(connection.getresponse().read())
    connection.close()
    return {leg["uuid"] for leg in told["legs"]} | {each["id"] for each in told["connections"]}


def test_killed_dialler_leaves_no_bridge_while_another_notebook_stays(
    sandbox: "SandboxInfo", sandbox_env: Path, wait_until: WaitUntil
) -> None:
    """Kill -9 of the kernel that dialled ends its leg, although another one holds the server, which stays."""
    then, before = "import threading; threading.Event().wait()", ledger(sandbox)
    with (
        holder("another") as (other, pid, port, _),
        subprocess.Popen(
            [sys.executable, "-u", "-c", LESSON + then], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as dialler,
    ):
        assert dialler.stdout is not None
        assert dialler.stdout.readline().split() == [str(pid), str(port)]
        wait_until(lambda: len(ledger(sandbox) - before) == 2, 10, "the bridge's connection and leg")
        dialler.kill()
        wait_until(lambda: not ledger(sandbox) - before, 15, "the bridge to be gone")
        assert other.poll() is None
        assert health(port)["pid"] == pid
        with contextlib.closing(Store.open(Settings.load().store_url, f"sandbox:{sandbox.video_api_key}", 4)) as store:
            wait_until(lambda: not store.living_bridges(), 5, "the bridge's end on record")
            went = "The notebook went away"
            wait_until(lambda: [event for event in store.events() if went in event.text], 5, "the timeline to say why")
        other.kill()
        wait_until(lambda: not runs(pid), 15, "the server to leave with its last holder")


CUT_OFF = """
import os
from sipkit.video import OpenTokVideo
dial = OpenTokVideo.dial
OpenTokVideo.dial = lambda *given: (dial(*given), os.kill(os.getpid(), 9))
"""


def test_dial_cut_off_by_a_kill_leaves_no_bridge_while_another_notebook_stays(
    sandbox: "SandboxInfo", sandbox_env: Path, wait_until: WaitUntil
) -> None:
    """Kill -9 between the dial and its answer: the server, which stays, looks for the leg until it is down."""
    before = ledger(sandbox)
    with holder("another") as (_, pid, port, _):
        subprocess.run([sys.executable, "-c", CUT_OFF + LESSON], cwd=ROOT, timeout=60, check=False)
        with contextlib.closing(Store.open(Settings.load().store_url, f"sandbox:{sandbox.video_api_key}", 4)) as store:
            wait_until(lambda: not store.living_bridges(), 15, "the bridge's end on record")
            wait_until(lambda: not ledger(sandbox) - before, 15, "the bridge to be gone")
            assert "none came of the dial" not in " ".join(event.text for event in store.events())
        assert health(port)["pid"] == pid


def test_killed_kernel_leaves_no_server_and_no_bridge(
    sandbox: "SandboxInfo", sandbox_env: Path, wait_until: WaitUntil
) -> None:
    """The stop button changes nothing; kill -9 of the kernel hangs up its bridge and ends its server."""
    settings, before = Settings.load(), ledger(sandbox)
    with kernel() as (manager, client):
        pid, port = map(int, run_cell(client, LESSON).split()[-2:])
        assert manager.provisioner is not None
        manager.interrupt_kernel()
        assert run_cell(client, "print(server.alive)") == "True\n"
        assert ledger(sandbox) - before
        os.kill(manager.provisioner.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        wait_until(lambda: not runs(pid), 15, "the server to leave")
        wait_until(lambda: not ledger(sandbox) - before, 15, "the bridge to be gone")
    assert not listens(port)
    assert not servers_of(settings)
    with contextlib.closing(Store.open(settings.store_url, f"sandbox:{sandbox.video_api_key}", 4)) as store:
        assert store.living_bridges() == []
        assert "The notebook went away" in " ".join(event.text for event in store.events())
