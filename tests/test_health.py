"""A dead sandbox or a silent platform is shown in the panels within five seconds, and no longer than it lasts."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sipkit import health
from sipkit.sandbox import launcher
from sipkit.switchboard import Switchboard
from sipkit.widgets import CallPanel, HostPanel
from tests.standins.odd_platform import Mood, OddPlatform, Says, odd_platform

WITHIN = 5.0


def test_a_sandbox_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]) -> None:
    """Both panels say that the sandbox is silent, or has ended, and why that matters, for as long as it is so."""
    monkeypatch.setenv("SIPKIT_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SIPKIT_MODE", "sandbox")
    folder = tmp_path / "data" / "sandbox"
    with Switchboard.from_env() as board:
        panels = [CallPanel(board, "shown"), HostPanel(board, "shown")]
        info = launcher.read(folder)
        assert info is not None

        def shown(words: str) -> None:
            for panel in panels:
                wait_until(lambda panel=panel: words in panel.view.notice, WITHIN, words)

        def well() -> None:
            for panel in panels:
                wait_until(lambda panel=panel: panel.view.notice == "", 2 * WITHIN, "the banner to go")

        assert [panel.view.notice for panel in panels] == ["", ""]
        os.kill(info.pid, signal.SIGSTOP)
        shown("does not answer")
        os.kill(info.pid, signal.SIGCONT)
        well()
        os.kill(info.pid, signal.SIGKILL)
        shown("The sandbox has ended, and with it every call in it.\nFix: It is started anew when it is needed")
        assert board.number  # whatever is asked of it starts it anew
        well()
        for panel in panels:
            panel.close()
    launcher.stop(folder)


@pytest.fixture
def moody(hall: Switchboard, monkeypatch: pytest.MonkeyPatch) -> Iterator[OddPlatform]:
    """The hall's platform, asked as Vonage is; and asked all the time, as the moods are many."""
    monkeypatch.setattr(health, "EVERY", 0.05)
    monkeypatch.setattr(health, "SILENCE", 0.5)
    monkeypatch.setattr(hall._cloud, "check", lambda ask: ask())
    with odd_platform(hall._cloud, hall._cloud.account()) as platform:
        yield platform


@pytest.mark.parametrize("mood", [Says(500), Says(429), Says(403), "closes", "hangs"])
def test_an_unreachable_platform(
    hall: Switchboard, moody: OddPlatform, mood: Mood, wait_until: Callable[..., Any]
) -> None:
    """Live, the session's own connection list is asked for: an answer that is none is told, until there is one."""
    panel = CallPanel(hall, "shown")
    wait_until(lambda: any(asked.endswith("/connection") for asked in moody.asked), WITHIN, "a look")
    wait_until(lambda: panel.view.notice == "", WITHIN, "no banner")
    moody.moods["GET /connection$"] = mood
    words = "refused" if mood == Says(403) else "does not answer" if mood == "hangs" else "could not"
    wait_until(lambda: words in panel.view.notice, WITHIN, "the banner")
    moody.moods.clear()
    moody.let.set()
    wait_until(lambda: panel.view.notice == "", WITHIN, "the banner to go")
    panel.close()


def test_nobody_asks_when_nobody_looks(monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]) -> None:
    """With no panel open the platform is left alone; the next one begins again."""
    monkeypatch.setattr(health, "EVERY", 0.05)
    monkeypatch.setattr(health, "WANTED_FOR", 0.2)
    looks: list[int] = []
    looker = health.Health(lambda: looks.append(1))
    for _ in range(2):
        before = len(looks)
        looker.trouble()
        wait_until(lambda before=before: len(looks) > before, WITHIN, "a look")
        wait_until(lambda: looker._thread is None, WITHIN, "the end of looking")


def test_the_guards_warning_is_in_the_panel(hall: Switchboard, wait_until: Callable[..., Any]) -> None:
    """Who looks at the panel learns a minute before that the call will be hung up, and why, while that is so."""
    room = hall.open_room("warned")
    store = hall._store
    bridge, _ = store.claim_bridge(room, hall.owner)
    panel = HostPanel(hall, room)
    store.bridge_seen(bridge, browser=False, phone=False)
    store.bridge_warned(bridge, "nobody")
    wait_until(lambda: "hung up in less than a minute: nobody is in it" in panel.view.notice, WITHIN, "the warning")
    store.bridge_seen(bridge, browser=False, phone=True)
    wait_until(lambda: panel.view.notice == "", WITHIN, "the warning to go")
    panel.close()
    store.end_bridge(bridge.id, "the test is over")
