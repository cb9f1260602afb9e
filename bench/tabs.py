"""Real Chromium with a page of the bench in as many tabs as wanted (tab.js has what they do)."""

import contextlib
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from measuring import Bench, Skipped
from sipkit.rooms import Room

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).resolve().parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
TONES = (500, 700, 900, 1100, 1300, 1500)  # Hz
CLOCK_TRIES = 50

PAGE = """<!doctype html>
<html lang="en">
<title>bench</title>
<div id="tiles"></div>
<script src="tab.js"></script>
<script src="{script}"></script>
<script>
  const how = Object.fromEntries(new URLSearchParams(location.search));
  if (how.session) tab.join({{...how, sound: "microphone", video: true}});
</script>
"""


@dataclass(frozen=True)
class Shift:
    """A page's clock against this process's: add `seconds` to the page's; wrong by at most `error` seconds."""

    seconds: float
    error: float


class Tabs:
    """Chromium, one for a measurement; every tab has cookies and storage of its own."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._open = contextlib.ExitStack()
        self.pages: list[Page] = []

    def __enter__(self) -> Self:
        chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
        if chromium is None:
            raise Skipped("there is no Chromium (Debian package: chromium)")
        sys.path.append(str(HERE.parent))
        try:
            from playwright.sync_api import sync_playwright

            from tests.standins.browser import launch, serve_pages
        except ImportError as missing:
            raise Skipped(f"{missing.name} is not installed (`make bench` installs it)") from None
        with contextlib.ExitStack() as opened:
            script = f"{self._bench.info.api_url}/v2/js/opentok.min.js"
            content = {"index.html": PAGE.format(script=script), "tab.js": (HERE / "tab.js").read_text()}
            self._address = opened.enter_context(serve_pages(content))
            self._browser = launch(opened.enter_context(sync_playwright()), chromium)
            opened.callback(self._browser.close)
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def open(self, query: Mapping[str, str] | None = None) -> "Page":
        """Open a tab; with `credentials` as its query the page joins by itself, with microphone and camera."""
        page = self._browser.new_page()
        self.pages.append(page)
        page.goto(f"{self._address}?{urlencode(query)}" if query else self._address)
        return page

    def close(self, page: "Page") -> None:
        """Close one tab."""
        self.pages.remove(page)
        page.context.close()

    def close_all(self) -> None:
        """Close every tab."""
        for page in list(self.pages):
            self.close(page)

    def credentials(self, room: Room) -> dict[str, str]:
        """What a page needs to enter a room's session."""
        token = self._bench.board.token(room)
        return {"project": self._bench.info.video_api_key, "session": room.session_id, "token": token}

    def join(self, room: Room, sound: str = "tone", *, video: bool = False) -> "Page":
        """Open a tab that joins a room's session, and return when its stream is there."""
        page = self.open()
        page.evaluate("how => tab.join(how).then(() => null)", self.how(room, sound, video=video))
        return page

    def how(self, room: Room, sound: str = "tone", *, video: bool = False) -> dict[str, Any]:
        """The argument of tab.js' join."""
        return {**self.credentials(room), "sound": sound, "hz": TONES[len(self.pages) % len(TONES)], "video": video}


def clock_of(page: "Page") -> Shift:
    """Compare a page's performance.now() with Unix time: the question with the quickest answer counts.

    The page read its clock between the question and the answer, so half of that time is the greatest error.
    """
    shifts = []
    for _ in range(CLOCK_TRIES):
        asked = time.time()
        told = page.evaluate("performance.now()") / 1000
        answered = time.time()
        shifts.append(Shift((asked + answered) / 2 - told, (answered - asked) / 2))
    return min(shifts, key=lambda shift: shift.error)
