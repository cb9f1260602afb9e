"""`make live-check` as if live: the sandbox's credentials at its https address, signatures on, a real reverse tunnel.

Nothing in the code knows that it is not Vonage: the settings are those of a live account, with other hosts.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from sipkit import live_check
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.switchboard import Switchboard
from tests.standins.ssh_relay import Relay

ROOT = Path(__file__).resolve().parent.parent

Environ = Callable[[str], dict[str, str]]


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """An SSH server that forwards a port back, and the words in which it tells the address."""
    made = Relay(tmp_path, lambda public: f"{public.rpartition('/')[2]} tunneled with tls termination, {public}\n")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def as_if_live(sandbox: SandboxInfo, relay: Relay, tmp_path: Path) -> Environ:
    """`as_if_live("opentok")` gives the environment of a live account whose platform is the sandbox."""
    ssh = shutil.which("ssh")
    if ssh is None:
        pytest.skip("ssh is not installed (Debian package: openssh-client)")
    programs = tmp_path / "bin"
    programs.mkdir()
    # The system's own client, with the test's key in place of the user's.
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {ssh} -F none -o IdentitiesOnly=yes -i {relay.key} "$@"\n')
    (programs / "ssh").chmod(0o755)
    account = {
        "VOICE_API_KEY": sandbox.voice_api_key,
        "VOICE_API_SECRET": sandbox.voice_api_secret,
        "VONAGE_APPLICATION_ID": sandbox.application_id,
        "SIGNATURE_SECRET": sandbox.signature_secret,
        "CONFERENCE_NUMBER": sandbox.number,
        "VIDEO_API_URL": sandbox.https_url,
        "VOICE_API_URL": sandbox.https_url,
        "ACCOUNT_API_URL": sandbox.https_url,
        "API_CA_FILE": sandbox.ca_file,
        "TUNNEL": "ssh",
        "SSH_TUNNEL": f"learner@127.0.0.1:{relay.port}",
    }
    video = {
        "opentok": {
            "VIDEO_API_KEY": sandbox.video_api_key,
            "VIDEO_API_SECRET": sandbox.video_api_secret,
            # The opentok SDK can be told of no authority; the library beneath it reads this.
            "REQUESTS_CA_BUNDLE": sandbox.ca_file,
        },
        "unified": {"VONAGE_PRIVATE_KEY": sandbox.private_key_file},
    }

    def environ(video_environment: str) -> dict[str, str]:
        paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        home = {"SIPKIT_MODE": "live", "SIPKIT_HOME": str(tmp_path / "data"), "SIPKIT_PROJECT_ROOT": str(tmp_path)}
        return {**os.environ, **paths, **home, **account, **video[video_environment]}

    return environ


def legs(sandbox: SandboxInfo) -> list[object]:
    """The calls that are up in the sandbox."""
    address = f"{sandbox.api_url}/sandbox/ledger"
    told = requests.get(address, auth=(sandbox.voice_api_key, sandbox.voice_api_secret), timeout=10).json()
    return list(told["legs"])


def answer_url(sandbox: SandboxInfo) -> str | None:
    """Where the sandbox's application asks what to do with a call."""
    address = f"{sandbox.api_url}/v2/applications/{sandbox.application_id}"
    told = requests.get(address, auth=(sandbox.voice_api_key, sandbox.voice_api_secret), timeout=10).json()
    url: str | None = told["capabilities"]["voice"]["webhooks"].get("answer_url", {}).get("address")
    return url


@pytest.mark.slow
@pytest.mark.parametrize("video_environment", ["opentok", "unified"])
def test_one_bounded_call_as_if_live(sandbox: SandboxInfo, as_if_live: Environ, video_environment: str) -> None:
    """The call is answered through the tunnel, with signed webhooks, and ends; nothing is up, all is put back."""
    before = answer_url(sandbox)
    environ = {**as_if_live(video_environment), "LIVE_CHECK_YES": "1"}
    command = [sys.executable, "-m", "sipkit.live_check"]
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"✔ the call was answered after \d+\.\d s\n✔ the call has ended", done.stdout)
    assert "billed:\n  the bridge" in done.stdout
    assert legs(sandbox) == []
    assert answer_url(sandbox) == before
    for secret in (sandbox.voice_api_secret, sandbox.video_api_secret, sandbox.signature_secret, sandbox.number):
        assert secret not in done.stdout + done.stderr


def test_a_tunnel_cut_in_a_call(
    sandbox: SandboxInfo, relay: Relay, as_if_live: Environ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can reach us any more; we still reach the platform, and nothing stays connected."""
    for name, value in as_if_live("unified").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GUARD_PROCESS", "false")
    with Switchboard.from_env() as board:
        board.start_webhook_server()
        room = board.open_room("cut off")
        board.dial_out(room)
        board.wait_for_bridge(room, "answered", 15)
        relay.hang_up()
    assert legs(sandbox) == []


@pytest.mark.parametrize("typed", ["", "yes", "no", None])
def test_nothing_is_placed_unless_the_word_is_typed(
    sandbox: SandboxInfo, as_if_live: Environ, monkeypatch: pytest.MonkeyPatch, typed: str | None
) -> None:
    """Anything but the word, and no answer at all, ends it before anything is changed or billed."""
    before = answer_url(sandbox)

    def ask(question: str) -> str:
        assert "billed call" in question
        if typed is None:
            raise EOFError
        return typed

    with monkeypatch.context() as patch:
        for name, value in as_if_live("opentok").items():
            patch.setenv(name, value)
        patch.delenv("LIVE_CHECK_YES", raising=False)
        assert live_check.main(ask) == 2
    assert (legs(sandbox), answer_url(sandbox)) == ([], before)


def test_a_notebook_keeps_its_webhooks(
    board: Switchboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a notebook of the folder holds the server, the check uses it and leaves its webhooks in place."""
    restored: list[Switchboard] = []
    monkeypatch.setattr(live_check, "_restore", restored.append)
    board.start_webhook_server()
    assert live_check.main() == 0, capsys.readouterr().out
    assert restored == []


def test_no_call_is_placed_when_the_doctor_finds_a_fault(
    sandbox: SandboxInfo, as_if_live: Environ, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a wrong secret nobody is even asked."""
    for name, value in {**as_if_live("opentok"), "VOICE_API_SECRET": "x" * 20}.items():
        monkeypatch.setenv(name, value)
    assert live_check.main(lambda _: pytest.fail("asked")) == 1
    told = capsys.readouterr().out
    assert "✘ account credentials" in told
    assert told.endswith("no call is placed before these are mended\n")
