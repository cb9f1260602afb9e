"""A real JupyterLab over a copy of the lessons, and what a learner does in it."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.standins.lab import wait_for

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
LESSON_SECONDS = 90.0
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


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run a JupyterLab server in the sandbox; gives the address of a lesson, with a place for its file's name.

    Args:
        folder: an empty folder for the lessons' copies, the server's files and the lessons' data.

    Raises:
        AssertionError: it did not start within START_SECONDS.
    """
    notebooks, runtime, home = folder / "notebooks", folder / "runtime", folder / "home"
    copy_without_outputs(notebooks)
    for name, content in LAB_SETTINGS.items():
        settings = folder / "settings" / f"{name}.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(content))
    token = secrets.token_hex(16)
    environ = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
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
    log_path = folder / "lab.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=log, stderr=log)

    def address() -> str | None:
        if process.poll() is not None:
            pytest.fail(f"JupyterLab left with {process.returncode}:\n{log_path.read_text()[-4000:]}")
        try:
            states = [json.loads(path.read_text()) for path in runtime.glob("jpserver-*.json")]
        except ValueError:  # it is being written
            return None
        return f"{states[0]['url']}lab/tree/{{}}?token={token}&reset" if states else None

    try:
        yield wait_for(address, START_SECONDS, "JupyterLab's address")
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
    """End the sandbox that the lessons started."""
    from sipkit.sandbox import launcher

    if (home / "sandbox" / "sandbox.json").exists():
        launcher.stop(home / "sandbox")


def run_all(page: Page, address: str, lesson: str) -> None:
    """Open a lesson and choose Run > Run All Cells, as a learner does; return when the last cell has run.

    Args:
        page: an empty page.
        address: as `serving` gave it.
        lesson: the notebook's file name.
    """
    page.goto(address.format(lesson), wait_until="domcontentloaded")
    page.locator(".jp-Notebook").wait_for(timeout=START_SECONDS * 1000)
    # Too early, the menu would ask for a kernel instead of waiting for the one that is starting.
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START_SECONDS * 1000)
    cells = page.locator(".jp-CodeCell")
    last = cells.last.locator(".jp-InputPrompt")
    # A kernel that has run the lesson before counts on from there.
    done = f"[{max(map(_count, cells.locator('.jp-InputPrompt').all_inner_texts())) + cells.count()}]:"
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    deadline = time.monotonic() + LESSON_SECONDS
    while last.inner_text() != done:
        problems = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']")
        if problems.count():
            pytest.fail(f"{lesson} stopped: {problems.first.inner_text()[-3000:]}")
        assert time.monotonic() < deadline, f"{lesson} did not reach its end; its last cell says {last.inner_text()}"
        page.wait_for_timeout(50)  # lets the page's messages in; the condition above is what is waited for


def _count(prompt: str) -> int:
    """The number in a cell's prompt; 0 where it has not run."""
    return int(re.sub(r"\D", "", prompt) or 0)


def run_cell(page: Page, text: str) -> None:
    """Run the first code cell that contains `text` once more."""
    cell = page.locator(".jp-CodeCell", has_text=text).first
    cell.scroll_into_view_if_needed()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


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
