"""What the webhook server's life hangs on: the lifeline, marks of processes, locks on files."""

import queue
import subprocess
import sys
from pathlib import Path

import pytest

from sipkit import lifeline
from sipkit.lifeline import Lifeline, LifelineKeeper
from sipkit.processes import FileLock, ProcessMark


def test_unused_server_leaves() -> None:
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


def test_the_last_connection_of_an_owner_is_told() -> None:
    """Of two connections of one owner only the second's end is told, with a bye or without, while others stay."""
    gone: queue.SimpleQueue[str] = queue.SimpleQueue()
    keeper = LifelineKeeper(on_gone=gone.put)
    keeper.start(first_holder_within=60)
    stays = Lifeline.take(keeper.port, keeper.token, "stays")
    one, two, polite = (Lifeline.take(keeper.port, keeper.token, name) for name in ("dials", "dials", "polite"))
    assert not one.release()
    assert not polite.release()
    assert gone.get(timeout=5) == "polite"
    assert keeper.holds("dials")
    two.drop()
    assert gone.get(timeout=5) == "dials"
    assert not keeper.holds("dials")
    assert keeper.holds("stays")
    again = Lifeline.take(keeper.port, keeper.token, "dials")
    assert not again.release()
    assert gone.get(timeout=5) == "dials"
    stays.drop()
    assert keeper.farewells.get(timeout=5) == lifeline.LEAVE  # which is about all owners
    assert gone.empty()
    keeper.refuse()


def test_an_owner_somebody_dials_for_is_known() -> None:
    """Who holds no connection but is dialled for is written down like a holder, until the server leaves."""
    told: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    keeper = LifelineKeeper(["before"], on_owner=told.put)
    keeper.start(first_holder_within=60)
    held = Lifeline.take(keeper.port, keeper.token, "kernel")
    assert told.get(timeout=5) == ["before", "kernel"]
    assert keeper.know("kernel")
    assert keeper.know("guest")
    assert told.get(timeout=5) == ["before", "guest", "kernel"]
    assert not keeper.holds("guest")
    held.drop()
    assert keeper.farewells.get(timeout=5) == lifeline.LEAVE
    assert not keeper.know("late")
    assert keeper.owners == ["before", "guest", "kernel"]
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
