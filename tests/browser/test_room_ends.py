"""How a stay ends without a goodbye: a closed tab, a dead or frozen browser, a dead sandbox. Nobody is left stuck."""

import contextlib
import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from playwright.sync_api import Playwright, expect

from sipkit.rooms import Room
from tests.standins import browser as harness
from tests.standins.browser import Pages, wait_tone
from tests.standins.probed_sandbox import Place
from tests.standins.room_guest import ADA, GRACE, LINUS, enter

pytestmark = [pytest.mark.browser, pytest.mark.slow]

GONE_WITHIN = 30.0
"""Seconds after which somebody whose network is gone is gone from the session."""
NOTICED_WITHIN = 15.0
"""Seconds after which the sandbox knows that a page does not answer: it pings every 10 s."""
SLACK = 10.0
"""Seconds it may take on top: it looks every few seconds, and this machine may be busy."""
AT_ONCE = 3.0


@pytest.fixture
def room(place: Place, request: pytest.FixtureRequest) -> Room:
    """A room of this test."""
    return place.board.open_room(request.node.name[:60])


def test_a_closed_tab_is_gone_at_once(place: Place, room: Room, new_page: Pages) -> None:
    """Who closes the tab mid-call, without a word, has left for everybody within seconds."""
    grace, ada = (enter(new_page, place.board, room, person) for person in (GRACE, ADA))
    wait_tone(grace.page, grace.video("Ada"), ADA.hz)
    session = ada.page.context.new_cdp_session(ada.page)
    target = session.send("Target.getTargetInfo")["targetInfo"]["targetId"]
    session.detach()
    browser = ada.page.context.browser
    assert browser is not None
    browser.new_browser_cdp_session().send("Target.closeTarget", {"targetId": target})
    place.wait_browsers(room, 1, AT_ONCE)
    expect(grace.tile("Ada")).to_have_count(0)
    expect(grace.roster.filter(has_text="Ada")).to_have_count(0)


@pytest.fixture
def mortal(playwright: Playwright, chromium: str) -> Iterator[Any]:
    """`mortal()` starts a browser to be harmed; gives its pages and its main process."""
    with contextlib.ExitStack() as ends:

        def start() -> tuple[Pages, psutil.Process]:
            # Chromium ignores what it does not know; the mark tells this one's processes from the others'.
            mark = f"--mark-of-a-test={secrets.token_hex(8)}"
            browser = harness.launch(playwright, chromium, mark)
            ends.callback(browser.close)
            pages = Pages(browser)
            [main] = [one for one in psutil.process_iter(["cmdline"]) if is_main(one, mark)]
            return pages, main

        yield start


def family(main: psutil.Process) -> list[psutil.Process]:
    """A browser's processes as they are now: its helpers come one by one."""
    return [main, *main.children(recursive=True)]


def tell(processes: list[psutil.Process], what: signal.Signals) -> None:
    """Send a signal to those of the processes that are still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(what)


def is_main(process: psutil.Process, mark: str) -> bool:
    """Whether a process is the marked Chromium itself, not one of its helpers."""
    line = process.info["cmdline"] or []
    return mark in line and not any(word.startswith("--type=") for word in line)


def test_dead_and_frozen_browsers_are_gone_in_time(place: Place, room: Room, new_page: Pages, mortal: Any) -> None:
    """Sound and picture of a killed browser and of one that stops answering are gone within 30 s, and so are both.

    (The frozen one may come back within 30 s of the moment its silence is noticed, which takes up to 15 s.)
    """
    grace = enter(new_page, place.board, room, GRACE)
    (dead_pages, dying), (frozen_pages, freezing) = mortal(), mortal()
    enter(dead_pages, place.board, room, ADA)
    linus = enter(frozen_pages, place.board, room, LINUS)
    for person in (ADA, LINUS):
        wait_tone(grace.page, grace.video(person.name), person.hz)
    assert len(place.browsers(room)) == 3
    frozen = family(freezing)
    try:
        began = time.monotonic()
        tell(frozen, signal.SIGSTOP)
        tell(family(dying), signal.SIGKILL)
        for person in (ADA, LINUS):
            left = began + GONE_WITHIN + SLACK - time.monotonic()
            expect(grace.tile(person.name)).to_have_count(0, timeout=left * 1000)
        place.wait_browsers(room, 2, AT_ONCE)
        left = began + NOTICED_WITHIN + GONE_WITHIN + SLACK - time.monotonic()
        place.wait_browsers(room, 1, left)
    finally:
        tell(frozen, signal.SIGCONT)
    expect(grace.roster).to_have_count(1)
    linus.expect_session("disconnected")
    expect(linus.page.locator("#session")).to_contain_text("The connection to the room was lost.")


def test_a_dead_sandbox_is_told_and_the_next_one_is_clean(place: Place, room: Room, new_page: Pages) -> None:
    """Pages tell in words that the sandbox was killed; started again it holds nobody, and people come back."""
    grace, ada = (enter(new_page, place.board, room, person) for person in (GRACE, ADA))
    wait_tone(grace.page, grace.video("Ada"), ADA.hz)
    place.sandbox.kill()
    words = [guest.page.locator("#session") for guest in (grace, ada)]
    for told in words:
        expect(told).to_contain_text("The connection was lost. Reconnecting", timeout=10_000)
    place.start_sandbox_again()
    for guest, told in zip((grace, ada), words, strict=True):
        guest.expect_session("disconnected", timeout=45_000)
        expect(told).to_contain_text("The connection to the room was lost.")
    assert place.lab.ledger()["connections"] == []
    for guest in (grace, ada):
        guest.page.reload()
        guest.join.click()
        guest.expect_session("connected")
    wait_tone(grace.page, grace.video("Ada"), ADA.hz)
    assert len(place.browsers(room)) == 2
