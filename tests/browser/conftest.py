"""Fixtures of tests in a real Chromium.

The browser is started once a file and not once a run: playwright keeps an event loop in the thread of the
tests, and tests elsewhere want to start one of their own.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins import browser as harness
from tests.standins.browser import Pages, ServePages
from tests.standins.lab import Lab, wait_for
from tests.standins.probed_sandbox import Place
from tests.standins.vendor_pages import Empty, Project, open_empty


@pytest.fixture(scope="module")
def playwright(chromium: str) -> Iterator[Playwright]:
    """Playwright, for this file's tests."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """The system's Chromium, without a window, with a microphone and a camera that are made up."""
    browser = harness.launch(playwright, chromium)
    yield browser
    browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Pages]:
    """`new_page()` opens a page that shares nothing with the others; `new_page.complaints` has their errors."""
    pages = Pages(browser)
    yield pages
    pages.close()


@pytest.fixture
def serve_pages() -> Iterator[ServePages]:
    """`serve_pages(folder or {"a.html": "..."})` serves them until the test ends, and returns the address."""
    with contextlib.ExitStack() as servers:
        yield lambda content: servers.enter_context(harness.serve_pages(content))


@pytest.fixture
def project(sandbox: SandboxInfo) -> Project:
    """The server side of pages made in the vendor's style: sessions and tokens."""
    return Project(sandbox)


@pytest.fixture
def empty(project: Project, new_page: Pages, serve_pages: ServePages) -> Empty:
    """`empty(session)` opens the empty page with a token for a session; its devices are a tone and a colour.

    With `clock` the page's time can be moved; other options are the browser context's.
    """

    def empty(
        session: str,
        role: str = "publisher",
        *,
        host: str = "",
        page: Page | None = None,
        clock: bool = False,
        **options: Any,
    ) -> Page:
        page = page or new_page(**options)
        if clock:
            page.clock.install()
        open_empty(page, serve_pages(project.page("blank.html", session, project.token(session, role), host=host)))
        return page

    return empty


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A sandbox, a switchboard and a webhook server of this file alone, for tests that end or count them."""
    home = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("SIPKIT_HOME", str(home))
        environ.setenv("SIPKIT_MODE", "sandbox")
        with Place.of(home) as place:
            yield place


@pytest.fixture(scope="module")
def _ledger(sandbox: SandboxInfo) -> Iterator[Lab]:
    lab = Lab(sandbox)
    yield lab
    lab.close()


@pytest.fixture
def lab(_ledger: Lab, new_page: Pages) -> Iterator[Lab]:
    """The sandbox's ledger and trace; after the test nobody is left in a session."""
    yield _ledger
    new_page.close()
    wait_for(lambda: not _ledger.ledger()["connections"], what="an empty ledger")
