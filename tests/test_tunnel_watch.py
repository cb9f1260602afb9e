"""The public address changes, ends, or is left behind by a killed kernel: the application follows, and is given back.

As if live: the webhook server, a real reverse tunnel through an SSH server on loopback, and the sandbox's
Application API in Vonage's place.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sipkit import numbers, voice
from sipkit.cloud import Account, cloud_for
from sipkit.errors import PlatformError, PlatformUnreachable, ServerError, StoreError
from sipkit.front_door import FrontDoor
from sipkit.numbers import OwnedNumber, owned_number
from sipkit.pointing import Pointing
from sipkit.processes import FileLock
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.switchboard import Switchboard
from sipkit.tunnel import NoTunnel
from sipkit.tunnel_watch import TunnelWatch
from tests.standins.holders import folder
from tests.standins.ssh_relay import Relay

__all__ = ["folder"]  # a fixture: pytest finds it by its name here

ORIGINAL = "https://original.example.com"
OTHER = "12025550188"
WaitUntil = Callable[..., Any]


@pytest.fixture
def settings(
    folder: Settings, sandbox: SandboxInfo, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Live settings whose hosts are the sandbox's and whose tunnel leads through the relay."""
    config = tmp_path / "ssh_config"
    config.write_text(f"Host *\n  HostName 127.0.0.1\n  Port {relay.port}\n  IdentityFile {relay.key}\n")
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {relay.client} -F {config} -o IdentitiesOnly=yes "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    values = {
        "TUNNEL": "ssh",
        "SSH_TUNNEL": "nokey@localhost.run",
        "VOICE_API_URL": sandbox.https_url,
        "ACCOUNT_API_URL": sandbox.https_url,
        "API_CA_FILE": sandbox.ca_file,
        "VOICE_API_KEY": sandbox.voice_api_key,
        "VOICE_API_SECRET": sandbox.voice_api_secret,
        "VONAGE_APPLICATION_ID": sandbox.application_id,
        "VIDEO_ENVIRONMENT": "opentok",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """A relay that speaks like localhost.run."""
    folder = tmp_path / "relay"
    folder.mkdir()
    relay = Relay(folder, "x tunneled with tls termination, {}\n".format)
    relay.start()
    yield relay
    relay.stop()


@pytest.fixture
def account(settings: Settings) -> Iterator[Account]:
    """The account, whose application asks an address of somebody's; put back afterwards."""
    account = cloud_for(settings).account()
    first = voice.point_application(account, ORIGINAL)
    yield account
    voice.restore_application(account, first)


def asked(account: Account) -> str | None:
    """The answer URL of the application now."""
    return voice.answer_address(voice._voice(voice._ask(account, "GET")))


@pytest.fixture
def store(settings: Settings, account: Account) -> Iterator[Store]:
    """The folder's store."""
    with closing(Store.open(settings.store_url, account.environment, settings.pin_length)) as store:
        yield store


@pytest.fixture
def door(settings: Settings, account: Account, store: Store) -> Iterator[FrontDoor]:
    """A front door that looks at its tunnel all the time; closed afterwards."""
    door = FrontDoor(settings, store, lambda: account, "kernel", watch_every=0.05)
    yield door
    door.close()


def test_address_changes(door: FrontDoor, relay: Relay, account: Account, store: Store, wait_until: WaitUntil) -> None:
    """The relay gives another address in the same session: within 2 s the application asks there."""
    door.open()
    assert asked(account) == f"{relay.public}/voice-answer"
    another = relay.public.replace("127.0.0.1", "localhost")
    relay.say(f"y tunneled with tls termination, {another}")
    wait_until(lambda: asked(account) == f"{another}/voice-answer", 5)
    moved = wait_until(lambda: [each for each in store.events() if each.kind == "tunnel"], 5)
    assert moved[-1].data["seconds"] <= 2
    assert store.fact("public_url") == another
    assert door.addresses()[0] == another


def test_tunnel_ends(door: FrontDoor, relay: Relay, account: Account, store: Store, wait_until: WaitUntil) -> None:
    """The relay goes away and comes back: told in the timeline, opened anew, and the application follows."""
    door.open()
    former = relay.public
    relay.hang_up()
    wait_until(lambda: any("could not be opened anew" in each.text for each in store.events()), 10)
    relay.start()
    wait_until(lambda: asked(account) not in {f"{former}/voice-answer", None}, 10)
    assert asked(account) == f"{relay.public}/voice-answer"
    wait_until(lambda: any("open again" in each.text for each in store.events()), 5)
    told = [each.text for each in store.events() if each.kind == "tunnel"]
    assert len(told) == len(set(told))


def test_closing_restores(door: FrontDoor, account: Account, store: Store) -> None:
    """The last to close gives the application its former webhooks, for good: a look that comes late changes nothing."""
    door.open()
    door.close()
    assert asked(account) == f"{ORIGINAL}/voice-answer"
    assert not door.restore_application()
    door._moved("https://late.example.com")
    assert asked(account) == f"{ORIGINAL}/voice-answer"


def test_kernels_take_turns(
    account: Account, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another kernel of the folder changes the application, nobody reads or changes it; later it works."""
    pointing = Pointing(store, settings.home)
    monkeypatch.setattr("sipkit.pointing._PATIENCE", 0.05)
    turn = FileLock(settings.home / "pointing.lock")
    assert turn.acquire()
    with pytest.raises(PlatformError, match="Another notebook"):
        pointing.point(account, "https://a.example.com")
    with pytest.raises(PlatformError, match="Another notebook"):
        pointing.restore(account)
    assert (asked(account), pointing.former(account)) == (f"{ORIGINAL}/voice-answer", None)
    turn.release()
    assert pointing.point(account, "https://a.example.com")
    assert pointing.restore(account, unless=lambda: True) is False
    assert asked(account) == "https://a.example.com/voice-answer"
    assert pointing.restore(account)
    assert asked(account) == f"{ORIGINAL}/voice-answer"


def test_closing_the_board_restores(account: Account) -> None:
    """A board that is closed gives the application back, too, as it is the last."""
    with Switchboard.from_env() as board:
        board.start_webhook_server()
        assert asked(account) != f"{ORIGINAL}/voice-answer"
    assert asked(account) == f"{ORIGINAL}/voice-answer"


def test_lost_answer_to_the_pointing(door: FrontDoor, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application is changed and the answer is lost: no dial is let out, and closing restores it."""
    ask = voice._ask

    def loses(account: Account, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = ask(account, method, body)
        if method == "PUT":
            raise PlatformUnreachable("lost")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(voice, "_ask", loses)
        with pytest.raises(PlatformUnreachable):
            door.open()
    assert door.server.alive
    with pytest.raises(ServerError, match="not opened to its end"):
        door.require_open()
    door.open()
    door.require_open()
    with monkeypatch.context() as patch:
        patch.setattr("sipkit.front_door.require_arrival", lost_arrival)
        with pytest.raises(PlatformUnreachable):
            door.open()
    with pytest.raises(ServerError, match="not opened to its end"):
        door.require_open()
    door.close()
    assert asked(account) == f"{ORIGINAL}/voice-answer"


def lost_arrival(*_: object) -> None:
    """Stand for an address that leads nowhere."""
    raise PlatformUnreachable("nobody there")


def test_note_belongs_to_the_application(account: Account, store: Store, settings: Settings) -> None:
    """Another application or environment neither hides the note nor takes its place."""
    pointing = Pointing(store, settings.home)
    pointing.point(account, "https://ours.example.com")
    assert pointing.former(replace(account, application_id="another")) is None
    with closing(Store.open(settings.store_url, "live:another", settings.pin_length)) as other:
        assert not Pointing(other, settings.home).restore(account, unless=lambda: True)
        assert Pointing(other, settings.home).restore(account)
    assert asked(account) == f"{ORIGINAL}/voice-answer"
    assert pointing.former(account) is None


def test_note_of_an_earlier_version(account: Account, store: Store, settings: Settings) -> None:
    """The bare voice capability of an earlier version is given back, if the application still asks our address."""
    pointing = Pointing(store, settings.home)
    former = voice._voice(voice._ask(account, "GET"))
    voice.point_application(account, "https://ours.example.com")
    store.set_fact("public_url", "https://ours.example.com")
    store.set_fact("voice_before_sipkit", json.dumps(former))
    assert pointing.restore(account)
    assert asked(account) == f"{ORIGINAL}/voice-answer"
    assert not pointing.restore(account)


def test_watch_goes_on(wait_until: WaitUntil, caplog: pytest.LogCaptureFixture) -> None:
    """A store or disk that fails during a look ends the look, not the watch; it is logged."""
    tunnel, looks = NoTunnel(), []

    def health() -> Any:
        looks.append(1)
        raise StoreError("disk full") if len(looks) % 2 else OSError

    tunnel.may_change, tunnel.health = True, health  # type: ignore[misc,method-assign]
    watch = TunnelWatch(tunnel, lambda: 1, lambda _: None, lambda _: None, 0.01)
    watch.start()
    wait_until(lambda: len(looks) > 3, 5)
    watch.stop()
    assert "A look at the tunnel failed (StoreError)" in caplog.text
    assert "disk full" not in caplog.text


KERNEL = """
import sys, threading
from sipkit.cloud import cloud_for
from sipkit.front_door import FrontDoor
from sipkit.settings import Settings
from sipkit.store import Store
settings = Settings.load()
account = cloud_for(settings).account()
door = FrontDoor(settings, Store.open(settings.store_url, account.environment, 4), lambda: account, "killed")
door.open()
print("open", flush=True)
threading.Event().wait()
"""


def test_killed_kernel(door: FrontDoor, relay: Relay, account: Account, store: Store) -> None:
    """Kill -9 leaves a dead address in the application; the next start and close give back what was there first."""
    with subprocess.Popen([sys.executable, "-c", KERNEL], stdout=subprocess.PIPE) as kernel:
        assert kernel.stdout is not None
        assert kernel.stdout.readline() == b"open\n"
        kernel.send_signal(signal.SIGKILL)
    dead = f"{relay.public}/voice-answer"
    assert asked(account) == dead
    relay.hang_up()
    relay.start()
    door.open()
    assert asked(account) == f"{relay.public}/voice-answer" != dead
    door.close()
    assert asked(account) == f"{ORIGINAL}/voice-answer"


def test_somebody_else_points_it(account: Account, store: Store, settings: Settings) -> None:
    """Pointed elsewhere while we had it: left as it is at the end, and kept as the former one at the next start."""
    pointing = Pointing(store, settings.home)
    pointing.point(account, "https://ours.example.com")
    voice.point_application(account, "https://theirs.example.com")
    assert not pointing.restore(account)
    assert pointing.former(account) is not None
    assert asked(account) == "https://theirs.example.com/voice-answer"
    pointing.point(account, "https://ours.example.com")
    voice.point_application(account, "https://others.example.com")
    pointing.point(account, "https://ours.example.com")
    assert pointing.restore(account)
    assert asked(account) == "https://others.example.com/voice-answer"


def test_crash_between_note_and_change(
    account: Account, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note is written before the application is changed: a kernel that dies in between loses nothing."""
    ask = voice._ask

    def dies(account: Account, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if method == "PUT":
            ask(account, method, body)
            raise KeyboardInterrupt
        return ask(account, method, body)

    with monkeypatch.context() as patch:
        patch.setattr(voice, "_ask", dies)
        with pytest.raises(KeyboardInterrupt):
            Pointing(store, settings.home).point(account, "https://ours.example.com")
    assert Pointing(store, settings.home).restore(account)
    assert asked(account) == f"{ORIGINAL}/voice-answer"


def test_number_is_led_here_unless_it_leads_elsewhere(account: Account, store: Store, settings: Settings) -> None:
    """A number without application is linked; one with a callback of its own is told, and left."""
    pointing = Pointing(store, settings.home)
    mine = owned_number(account, account.conference_number)
    assert mine is not None
    try:
        update_number(account, mine)
        pointing.lead_number(account)
        update_number(account, mine, voiceCallbackType="tel", voiceCallbackValue=OTHER)
        pointing.lead_number(account)
        unlinked = owned_number(account, account.conference_number)
        update_number(account, mine, app_id=account.application_id, voiceCallbackType="tel", voiceCallbackValue=OTHER)
        pointing.lead_number(account)
        pointing.lead_number(replace(account, conference_number=OTHER))
        told = [each.text for each in store.events() if each.kind == "voice"]
    finally:
        update_number(account, mine, app_id=account.application_id)
    assert unlinked is not None
    assert not unlinked.application_id
    expected = ("now leads", "own tel callback", "own tel callback", "does not own")
    assert [part in text for part, text in zip(expected, told, strict=True)] == [True] * 4


def update_number(account: Account, number: OwnedNumber, **fields: str) -> None:
    """Change a number as the dashboard does."""
    fields |= {"country": number.country, "msisdn": number.msisdn}
    numbers._ask(account, "POST", "/number/update", fields)
