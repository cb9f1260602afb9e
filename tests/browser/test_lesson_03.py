"""Lesson 03 as a learner meets it: a real JupyterLab in a real Chromium, its buttons pressed with the mouse.

SIPKIT_SCREENSHOTS=1 keeps the picture of the README.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
LESSON = "03-dial-out-and-hang-up.ipynb"
START_SECONDS = 60.0
LESSON_SECONDS = 90.0
CALL_MS = 20_000
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LAB_SETTINGS: dict[str, dict[str, object]] = {
    # Every cell stays in the page, so that a test can look at one without scrolling to it first.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

READABLE = 4.5
"""The least contrast of normal text (WCAG 2.2, success criterion 1.4.3)."""
CONTRAST = """
node => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = node;
  while (channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const back = channels(getComputedStyle(behind).backgroundColor);
  const [r, g, b, alpha = 1] = channels(getComputedStyle(node).color);
  const front = [r, g, b].map((c, i) => c * alpha + back[i] * (1 - alpha));
  const [low, high] = [light(front), light(back)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
"""
A_PIN = re.compile(r"^[1-9]\d{3}$")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def lab(tmp_path: Path, wait_until: Callable[..., Any]) -> Iterator[str]:
    """A JupyterLab server of its own over a copy of the lessons, in the sandbox; gives its address with the token."""
    notebooks, runtime, home = tmp_path / "notebooks", tmp_path / "runtime", tmp_path / "home"
    copy_without_outputs(notebooks)
    for name, content in LAB_SETTINGS.items():
        settings = tmp_path / "settings" / f"{name}.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(content))
    token = secrets.token_hex(16)
    environ = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "SIPKIT_HOME": str(home),
        "SIPKIT_MODE": "sandbox",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "0",
        "ServerApp.root_dir": str(notebooks),
        "IdentityProvider.token": token,
    }
    command += [f"--{name}={value}" for name, value in options.items()]
    log_path = tmp_path / "lab.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=log, stderr=log)

    def address() -> str | None:
        if process.poll() is not None:
            pytest.fail(f"JupyterLab left with {process.returncode}:\n{log_path.read_text()[-4000:]}")
        states = [json.loads(path.read_text()) for path in runtime.glob("jpserver-*.json")]
        return f"{states[0]['url']}lab/tree/{{}}?token={token}&reset" if states else None

    try:
        yield wait_until(address, START_SECONDS, "JupyterLab's address")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_SECONDS)
        stop_sandbox(home)


def copy_without_outputs(folder: Path) -> None:
    """Copy the lessons as if they had never run: whatever a cell shows afterwards, it was shown by this run."""
    folder.mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text("utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
        (folder / path.name).write_text(json.dumps(notebook), "utf-8")


def stop_sandbox(home: Path) -> None:
    """End the sandbox that the lesson started."""
    from sipkit.sandbox import launcher

    if (home / "sandbox" / "sandbox.json").exists():
        launcher.stop(home / "sandbox")


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


def run_all(page: Page, address: str) -> None:
    """Open the lesson and choose Run > Run All Cells, as a learner does; return when the last cell has run."""
    page.goto(address.format(LESSON), wait_until="domcontentloaded")
    page.locator(".jp-Notebook").wait_for(timeout=START_SECONDS * 1000)
    # Too early, the menu would ask for a kernel instead of waiting for the one that is starting.
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START_SECONDS * 1000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    cells = page.locator(".jp-CodeCell")
    last = cells.last.locator(".jp-InputPrompt")
    expect(last).to_have_text(f"[{cells.count()}]:", timeout=LESSON_SECONDS * 1000)


def call_panel(page: Page) -> Locator:
    """The panel's whole box, found by the accessible name of its view."""
    return page.locator(".sipkit-panel", has=page.get_by_role("region", name="Call panel of room standup"))


def test_dial_out_and_hang_up_are_pressed_in_jupyterlab(lab: str, browser: Browser) -> None:
    """Run All reaches the bottom, then the buttons dial and hang up, the state follows, and the PIN is in view."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    run_all(page, lab)
    panel = call_panel(page)
    status = panel.get_by_role("status")
    dial, hang_up = (panel.get_by_role("button", name=name) for name in ("Dial out", "Hang up"))
    expect(status).to_have_text("no call")
    expect(hang_up).to_be_disabled()
    expect(panel.locator(".sipkit-big").last).to_have_text(A_PIN)

    dial.click()
    expect(status).to_have_text("connected", timeout=CALL_MS)
    expect(dial).to_be_disabled()
    expect(hang_up).to_be_enabled()
    log = page.get_by_role("log", name="Events of room standup")
    expect(log).to_contain_text("The session of room 'standup' calls the number.")
    keep_picture(page, panel)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        choose_theme(page, theme)
        assert contrast(panel.locator(".sipkit-big").first) > READABLE, theme
        assert contrast(panel.locator(".sipkit-state")) > READABLE, theme
        assert contrast(log.locator(".sipkit-event-text").first) > READABLE, theme

    hang_up.click()
    expect(status).to_have_text("no call", timeout=CALL_MS)
    expect(dial).to_be_enabled()
    expect(panel.get_by_role("alert")).to_be_hidden()


def choose_theme(page: Page, name: str) -> None:
    """Choose a theme from the Settings menu, and wait until the page wears it."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    # JupyterLab gives entries with a sub-menu no role.
    page.locator(".lm-Menu-itemLabel:text-is('Theme')").hover()
    page.locator(f".lm-Menu-itemLabel:text-is('{name}')").click()
    expect(page.locator(f"body[data-jp-theme-name='{name}']")).to_be_attached(timeout=10_000)


def contrast(text: Locator) -> float:
    """Measure the contrast between a text and what is behind it (WCAG 2.2, "contrast ratio": 1 to 21)."""
    found: float = text.evaluate(CONTRAST)
    return found


def keep_picture(page: Page, panel: Locator) -> None:
    """Take the README's picture when asked to."""
    if os.environ.get("SIPKIT_SCREENSHOTS") != "1":
        return
    panel.scroll_into_view_if_needed()
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / "lesson-03.png")
