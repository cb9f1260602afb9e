"""`python -m sipkit.sandbox call`: a phone on the command line, against a real sandbox."""

import json
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.standins import ear
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab

ASK: list[dict[str, Any]] = [
    {"action": "talk", "text": "Please enter your pin.", "bargeIn": True},
    {"action": "input", "type": ["dtmf"], "dtmf": {"submitOnHash": True, "maxDigits": 5}},
]
RIGHT, WRONG, NOT_POSSIBLE = 0, 1, 2


def call(home: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run the command; returns its exit code, the JSON lines it printed, and what it said of errors."""
    command = [sys.executable, "-m", "sipkit.sandbox", "call", *words, "--home", str(home)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return run.returncode, [json.loads(line) for line in run.stdout.splitlines()], run.stderr


def test_a_call_that_keys_speaks_and_records(lab: Lab, app: AnsweringApp, sandbox_home: Path, tmp_path: Path) -> None:
    """It waits for the prompt, keys, plays, hangs up and records; every step is one line of JSON, without the keys."""
    app.on("/answer", ASK)
    app.on("/event", [{"action": "conversation", "name": "room"}])
    spoken, heard = tmp_path / "in.wav", tmp_path / "out.wav"
    spoken.write_bytes(ear.make_wav(ear.tone(500, 1)))
    words = (lab.info.number, "--keys", "1234#", "--wav", str(spoken), "--seconds", "1", "--record", str(heard))
    code, lines, errors = call(sandbox_home, *words)
    assert (code, errors) == (RIGHT, "")
    told = [line["event"] for line in lines]
    expected = ["calling", "answered", "prompt heard", "keys pressed", "playing", "ended", "recorded"]
    assert [event for event in told if event != "ringing"] == expected
    assert "1234" not in json.dumps(lines)
    assert [asked.fields["dtmf"]["digits"] for asked in app.asked() if "dtmf" in asked.fields] == ["1234"]
    with wave.open(str(heard)) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 1)
        assert file.getnframes() > 8000


def test_a_call_that_is_refused(lab: Lab, sandbox_home: Path) -> None:
    """A number nobody has ends the call with exit code 1, and the last line says why."""
    code, lines, _ = call(sandbox_home, "12025559999")
    assert code == WRONG
    assert lines[-1]["event"] == "ended"
    assert lines[-1]["reason"] == "404 Not Found"


@pytest.mark.parametrize("words", [("--keys", "12x"), ("--wav", "missing.wav"), ("--wav", "text.wav")])
def test_what_cannot_be_done_is_told(
    lab: Lab, app: AnsweringApp, sandbox_home: Path, tmp_path: Path, words: tuple[str, str]
) -> None:
    """Keys that no phone has, and files that are no recordings, are exit code 2 with one line; no leg is left."""
    app.on("/answer", ASK)
    (tmp_path / "text.wav").write_text("no sound")
    option, value = words
    value = str(tmp_path / value) if option == "--wav" else value
    code, _, errors = call(sandbox_home, lab.info.number, option, value)
    assert code == NOT_POSSIBLE
    assert len(errors.splitlines()) == 1
    lab.wait_legs(0)


def test_no_sandbox_to_call(tmp_path: Path) -> None:
    """Without a sandbox in that home the command says how to start one."""
    code, lines, errors = call(tmp_path, "12025550100")
    assert (code, lines) == (NOT_POSSIBLE, [])
    assert "sipkit.sandbox serve" in errors
