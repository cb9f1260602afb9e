"""A real Chromium for tests, pages to show it, and what one measures in them.

In every page `measure` (tests/browser/measure.js) is there before the page's own scripts are.
"""

import contextlib
import logging
import mimetypes
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Playwright

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A microphone and a camera that are there, allowed, and make themselves heard and seen.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
ROOT = Path(__file__).resolve().parents[2]
MEASURE = ROOT / "tests" / "browser" / "measure.js"
LOUD = -40.0
"""A tone at least this strong is heard (dBFS); the tones made here are at -15 dBFS."""
QUIET = -60.0
"""Weaker than this is silence (dBFS): G.711's own noise on silence is below it."""

_log = logging.getLogger(__name__)


def launch(playwright: Playwright, chromium: str, *more: str) -> Browser:
    """Start Chromium without a window; `more` are further command-line arguments."""
    alone = [] if _on_a_network() else ["--allow-loopback-in-peer-connection"]
    return playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_ARGS, *alone, *more])


def _on_a_network() -> bool:
    """Whether this machine has any address but its own loopback's: without one Chromium has no way for media."""
    up = [name for name, state in psutil.net_if_stats().items() if state.isup]
    addresses = [each.address for name in up for each in psutil.net_if_addrs().get(name, []) if each.family == AF_INET]
    return any(not address.startswith("127.") for address in addresses)


class Pages:
    """Opens pages that share nothing (each has cookies and storage of its own), and notes what they complain of.

    Attributes:
        complaints: errors of the console and uncaught errors of all pages, in order.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def __call__(self, **options: Any) -> Page:
        """Open an empty page in a context of its own (`options` are Browser.new_context's)."""
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        context.add_init_script(path=MEASURE)
        page = context.new_page()
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self._note(f"uncaught {error.name}: {error.message}"))
        return page

    def _note_message(self, message: ConsoleMessage) -> None:
        path = urlsplit(message.location.get("url", "")).path
        # Browsers ask any server for its icon, and a page is not to blame for their asking.
        if message.type == "error" and path != "/favicon.ico":
            self._note(f"{message.text} ({path})")

    def _note(self, complaint: str) -> None:
        # pytest shows the log of a test that failed.
        _log.warning("page: %s", complaint)
        self.complaints.append(complaint)

    def close(self) -> None:
        """Close every page opened here."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()


@contextlib.contextmanager
def page_of(browser: Browser, **options: Any) -> Iterator[Page]:
    """One page in a context of its own, closed afterwards."""
    pages = Pages(browser)
    try:
        yield pages(**options)
    finally:
        pages.close()


@contextlib.contextmanager
def serve_pages(content: Path | Mapping[str, str | bytes]) -> Iterator[str]:
    """Serve a folder, or texts by path ("a.html"), on 127.0.0.1; gives the address, which ends in a slash."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = urlsplit(self.path).path.lstrip("/") or "index.html"
            body = _content_of(content, name)
            self.send_response(404 if body is None else 200)
            kind = mimetypes.guess_type(name)[0] or "text/html"
            self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _content_of(content: Path | Mapping[str, str | bytes], name: str) -> bytes | None:
    if isinstance(content, Path):
        path = (content / name).resolve()
        return path.read_bytes() if path.is_relative_to(content.resolve()) and path.is_file() else None
    found = content.get(name)
    return found.encode() if isinstance(found, str) else found


ServePages = Callable[[Path | Mapping[str, str | bytes]], str]
"""The type of the fixture `serve_pages`."""


class Heard(NamedTuple):
    """What an element of a page plays: its dominant tone in Hz (0 in silence) and its level in dBFS."""

    hz: float
    level: float


def heard(page: Page, selector: str) -> Heard:
    """Measure a fifth of a second of what an <audio> or <video> element plays."""
    found = page.locator(selector).evaluate("element => measure.tone(element)")
    return Heard(found["hz"], found["level"])


def wait_tone(page: Page, selector: str, hz: float, seconds: float = 5.0) -> float:
    """Wait until an element plays a tone louder than LOUD; returns the seconds that took.

    Raises:
        playwright.sync_api.Error: it did not; says what was heard instead.
    """
    found: float = page.locator(selector).evaluate(
        "(element, [hz, loud, seconds]) => measure.waitTone(element, hz, loud, seconds)", [hz, LOUD, seconds]
    )
    return found


def wait_silence(page: Page, selector: str, seconds: float = 5.0) -> float:
    """Wait until an element plays nothing louder than QUIET; returns the seconds that took.

    Raises:
        playwright.sync_api.Error: it went on playing; says what was heard.
    """
    found: float = page.locator(selector).evaluate(
        "(element, [quiet, seconds]) => measure.waitSilence(element, quiet, seconds)", [QUIET, seconds]
    )
    return found


def wait_page_plays(page: Page, hz: float | None = None, seconds: float = 5.0) -> None:
    """Wait until the page's script plays something, or a tone, through elements that need not be in the page.

    Raises:
        playwright.sync_api.Error: it did not; says what was heard instead.
    """
    if hz is None:
        page.evaluate("([loud, seconds]) => measure.waitSoundOfPage(loud, seconds)", [LOUD, seconds])
    else:
        page.evaluate("([hz, loud, seconds]) => measure.waitToneOfPage(hz, loud, seconds)", [hz, LOUD, seconds])


def wait_page_silent(page: Page, seconds: float = 5.0) -> None:
    """Wait until the page's script plays nothing louder than QUIET through elements of its own.

    Raises:
        playwright.sync_api.Error: it went on playing; says what was heard.
    """
    page.evaluate("([quiet, seconds]) => measure.waitSilenceOfPage(quiet, seconds)", [QUIET, seconds])


def wait_frames(page: Page, selector: str, count: int = 5, seconds: float = 5.0) -> None:
    """Wait until a <video> element has shown so many more decoded frames.

    Raises:
        playwright.sync_api.Error: it did not.
    """
    page.locator(selector).evaluate(
        "(video, [count, seconds]) => measure.waitFrames(video, count, seconds)", [count, seconds]
    )


def colour(page: Page, selector: str) -> tuple[int, int, int]:
    """Return the mean colour of a <video> element's picture: red, green and blue from 0 to 255."""
    red, green, blue = page.locator(selector).evaluate("video => measure.colour(video)")
    return red, green, blue


def keep_picture(page: Page, shown: Locator, name: str) -> None:
    """Take a picture for the documentation, when SIPKIT_SCREENSHOTS=1 asks for it.

    Args:
        page: what is photographed, as far as its window shows it.
        shown: what has to be in the picture.
        name: of the file.
    """
    if os.environ.get("SIPKIT_SCREENSHOTS") != "1":
        return
    shown.scroll_into_view_if_needed()
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / name)
