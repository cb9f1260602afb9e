"""The `sipkit` command: each sub-command as a person runs it, in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests

from sipkit import demo
from sipkit.switchboard import Switchboard

ROOT = Path(__file__).resolve().parent.parent
SIPKIT = [sys.executable, "-m", "sipkit.cli"]


def environ(home: Path) -> dict[str, str]:
    """This environment with a data folder of its own."""
    return {**os.environ, "SIPKIT_HOME": str(home), "SIPKIT_MODE": "sandbox", "PYTHONPATH": str(ROOT)}


def start(arguments: list[str], home: Path) -> subprocess.Popen[str]:
    """Start `sipkit` with a pipe from its standard output."""
    return subprocess.Popen([*SIPKIT, *arguments], cwd=home, env=environ(home), stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """What it prints first."""
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> str:
    """Ask it to end, as `kill` does, and return what it printed last; it must end well."""
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    return rest


@pytest.mark.slow
def test_demo_proves_the_whole_call(tmp_path: Path) -> None:
    """`sipkit demo` exits 0 after proving each step from recordings and events, and leaves nothing behind."""
    run = subprocess.run(
        [*SIPKIT, "demo"], cwd=tmp_path, env=environ(tmp_path), check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "✘" not in run.stdout
    assert re.search(r"✔ the phone heard 440 Hz: 4[34]\d Hz", run.stdout)
    assert re.search(r"✔ the session's participant heard 1000 Hz: (99\d|100\d) Hz", run.stdout)
    assert "✔ the ledger shows no leg and no connection" in run.stdout
    assert re.search(r"^the whole demo +\d+\.\d s", run.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_demo_can_tell_tones_apart() -> None:
    """The measure behind the demo's proofs: a tone is what it is, and silence and noise are no tone."""
    seconds = np.arange(8000) / 8000
    tone = 0.1 * np.sin(2 * np.pi * 440 * seconds)
    hz, share = demo.strongest_tone(tone)
    assert hz == pytest.approx(440, abs=1)
    assert share > 0.99
    assert demo.level(tone) == pytest.approx(-23, abs=0.1)
    noise = np.random.default_rng(1).normal(0, 0.1, 8000)
    assert demo.strongest_tone(noise)[1] < demo.PURE
    silence = np.zeros(8000)
    assert demo.strongest_tone(silence)[1] == 0
    assert demo.level(silence) < demo.AUDIBLE_DBFS


def test_demo_fails_when_a_step_is_not_proven(capsys: pytest.CaptureFixture[str]) -> None:
    """What does not hold is never printed as proven; it ends the demo."""
    with pytest.raises(demo.NotProven, match="the moon is cheese"):
        demo.Story().prove(False, "the moon is cheese")
    assert "cheese" not in capsys.readouterr().out


def test_sandbox_serve_is_the_sandbox_itself(tmp_path: Path) -> None:
    """`sipkit sandbox serve` prints the sandbox's line of JSON and ends on SIGTERM, as the sandbox does."""
    with start(["sandbox", "serve", "--home", str(tmp_path / "sandbox")], tmp_path) as process:
        told = json.loads(first_line(process))
        state = json.loads((tmp_path / "sandbox" / "sandbox.json").read_text())
        rest = end(process)
    assert told["number"] == "12025550100"
    assert state["api_url"] == told["api_url"]
    assert rest == ""


def test_server_serves_until_told_to_stop(sandbox_env: Path) -> None:
    """`sipkit server` prints where it listens and ends on SIGTERM."""
    with start(["server"], sandbox_env) as process:
        line = first_line(process)
        end(process)
    assert re.search(r"http://127\.0\.0\.1:\d+", line)


def invited(arguments: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    """Run `sipkit invite`."""
    command = [*SIPKIT, "invite", *arguments]
    return subprocess.run(command, cwd=home, env=environ(home), check=False, capture_output=True, text=True)


def test_invite_prints_a_link_into_a_room(board: Switchboard, sandbox_env: Path) -> None:
    """`sipkit invite ROOM` prints one line, a link that the running server takes; by another address if told so."""
    board.open_room("standup")
    server = board.start_webhook_server()
    run = invited(["standup", "--host"], sandbox_env)
    link = run.stdout.strip()
    assert link.startswith(f"{server.url}/room/standup?invitation=")
    page = requests.get(link, timeout=10)
    assert page.status_code == 200
    assert 'id="dial-out"' in page.text
    link = invited(["standup", "--url", "https://calls.example"], sandbox_env).stdout
    assert link.startswith("https://calls.example/room/standup?invitation=")


def test_invite_says_what_is_missing(board: Switchboard, sandbox_env: Path) -> None:
    """A room that is not open, and a server that does not run, are told with what to do."""
    board.open_room("standup")
    hopeless = ["standup", "--hours", "-1", "--url", "http://h"]
    for arguments, words in ((["nowhere"], "Open it first"), (["standup"], "--url"), (hopeless, "at most 30 days")):
        run = invited(arguments, sandbox_env)
        assert run.returncode == 1
        assert words in run.stderr
        assert run.stdout == ""


@pytest.mark.parametrize("words", [[], ["dial"], ["demo", "--fast"], ["server", "--port", "many"]])
def test_bad_words_get_the_usage(words: list[str], tmp_path: Path) -> None:
    """What the command does not know ends with status 2 and the usage, not with a traceback."""
    run = subprocess.run(
        [*SIPKIT, *words], cwd=tmp_path, env=environ(tmp_path), check=False, capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "usage: sipkit" in run.stderr
    assert "Traceback" not in run.stderr
