"""The panels of a notebook where something is missing: the machine is another one, the room's port, the microphone.

And the keys that a telephone has for the middle of a call, and the yes that a billed call waits for. One JupyterLab
shows all of it.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Playwright, Route, expect

from sipkit.sandbox import launcher
from tests.standins import jupyterlab
from tests.standins.browser import CHROMIUM_ARGS, Pages, page_of, wait_page_plays
from tests.standins.jupyterlab import run_all
from tests.standins.lab import Lab, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CALL_MS = 20_000
SILENCE_MS = 15_000
"""The room's page is waited for 5 s; the rest is for a slow machine."""
OTHER_HOST = "hub.example"
FAKE_DEVICE = "--use-fake-device-for-media-stream"
ROOM_HZ = 620
CUT_OFF = re.compile("/room/cut%20off[?]")
BOARD = "from sipkit import Switchboard\nboard = Switchboard.from_env()\nserver = board.start_webhook_server()"
PHONE = "from sipkit.widgets import PhonePanel\nphone = PhonePanel(board)\nphone"
ROOM = "from sipkit.widgets import RoomView\nRoomView(board, '{}')"
BRIDGE = (
    "room = board.open_room('annex')\nboard.dial_out(room)\nboard.wait_for_bridge(room, 'answered', timeout=15)\n"
    f"hums = board.participant(room, tone_hz={ROOM_HZ})"
)
JOIN = (
    "from sipkit.lessons import voice\nphone.call.click()\nphone.wait_for('answered')\n"
    "phone.phone.wait_until_heard(voice)\nphone.press(room.pin + '#')\ncallers = board.wait_for_callers(room, 1)"
)
DIRECT = (
    "from sipkit.widgets import DirectCallPanel\n"
    "Switchboard.mode = property(lambda board: 'live')  # to be asked, as live\nDirectCallPanel(board, 'annex')"
)
COSTS = (
    "from sipkit.widgets import CallPanel, CostPanel\nfrom IPython.display import display\n"
    "board.set_budget(room, 0.1)\ndisplay(CallPanel(board, room), CostPanel(board, room))"
)
NUMBER = "12025550123"
NOTEBOOKS = {
    "afar": [BOARD, PHONE, ROOM.format("annex")],
    "here": [BOARD, PHONE, ROOM.format("cut off"), ROOM.format("slow")],
    "keys": [BOARD, BRIDGE, PHONE, JOIN],
    "direct": [BOARD, DIRECT],
    "costs": [BOARD, BRIDGE, COSTS],
}


class Jupyter(NamedTuple):
    """A running JupyterLab.

    Attributes:
        address: of a notebook, with a place for its file's name.
        home: the data folder of its notebooks.
    """

    address: str
    home: Path


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """One JupyterLab, which lets itself be called by other names, as one behind a proxy does."""
    folder = tmp_path_factory.mktemp("jupyterlab")
    (folder / "config").mkdir()
    settings = {"ServerApp": {"allow_remote_access": True}}
    (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(settings))
    with jupyterlab.serving(folder) as address:
        for name, cells in NOTEBOOKS.items():
            (folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook(cells)))
        yield Jupyter(address, folder / "home")


def notebook(cells: list[str]) -> dict[str, object]:
    """A notebook of these cells, as its file has it."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    code: dict[str, object] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    written = [{**code, "id": f"cell-{place}", "source": source} for place, source in enumerate(cells)]
    return {"cells": written, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def bare_browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """Chromium on a machine without a microphone, which knows another name for this machine."""
    browser = playwright.chromium.launch(
        executable_path=chromium,
        args=[
            *(each for each in CHROMIUM_ARGS if each != FAKE_DEVICE),
            f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1",
            "--no-proxy-server",
        ],
        # Where there is one all the same, neither of the two ways to it leads anywhere.
        env={**os.environ, "PULSE_SERVER": "unix:/dev/null", "ALSA_CONFIG_PATH": "/dev/null"},
    )
    yield browser
    browser.close()


@pytest.fixture
def afar(jupyter: Jupyter, bare_browser: Browser) -> Iterator[Page]:
    """A notebook opened under another host's name."""
    here = urlsplit(jupyter.address)
    with page_of(bare_browser) as page:
        run_all(page, jupyter.address.replace(here.netloc, f"{OTHER_HOST}:{here.port}"), "afar.ipynb")
        yield page


class Here(NamedTuple):
    """A notebook opened under this machine's name, to which not everything gets through.

    Attributes:
        page: the notebook. In it, the room "cut off" cannot be reached until `page` forgets the route CUT_OFF.
        held: the request for the page of the room "slow", which waits to be let through.
    """

    page: Page
    held: list[Route]


@pytest.fixture(scope="module")
def here(jupyter: Jupyter, bare_browser: Browser) -> Iterator[Here]:
    """That notebook, run once for the tests of this file."""
    with page_of(bare_browser) as page:
        here = Here(page, [])

        def hold(route: Route) -> None:
            here.held.append(route)

        page.route(CUT_OFF, lambda route: route.abort("connectionrefused"))
        page.route(re.compile("/room/slow[?]"), hold)
        run_all(page, jupyter.address, "here.ipynb")
        yield here


def receiver(page: Page) -> Locator:
    """The receiver of the phone panel."""
    return page.get_by_role("region", name="Receiver")


def room_view(page: Page, room: str) -> Locator:
    """The view of a room's page."""
    return page.get_by_role("region", name=f"Room {room}")


def test_from_another_machine_both_panels_say_what_cannot_work(afar: Page) -> None:
    """Opened under another host's name neither panel stays empty or hangs: each says why, and what to do."""
    assert urlsplit(afar.url).hostname == OTHER_HOST
    receiver(afar).get_by_role("checkbox").check()
    expect(receiver(afar)).to_have_attribute("data-why", "elsewhere")
    expect(receiver(afar)).to_contain_text("This page comes from another machine")
    expect(receiver(afar)).to_contain_text("make lab")
    view = room_view(afar, "annex")
    expect(view.get_by_role("alert")).to_contain_text("This notebook comes from another machine")
    expect(view.get_by_role("alert")).to_contain_text("make lab")
    expect(view.locator("iframe")).to_have_count(0)
    expect(view.get_by_role("link", name="Open in a tab of its own")).to_be_hidden()


def test_a_missing_microphone_is_explained(here: Here) -> None:
    """A machine without a microphone gets words and what to do; the receiver is ready all the same, for listening."""
    receiver(here.page).get_by_role("checkbox").check()
    expect(receiver(here.page)).to_contain_text("The browser finds no microphone. Connect one")
    expect(receiver(here.page)).to_have_attribute("data-state", "ready")
    expect(receiver(here.page).get_by_role("button", name="Mute")).to_be_disabled()


def test_a_room_that_cannot_be_reached_says_what_to_do(here: Here) -> None:
    """A page that never loads leaves words, not an empty frame; once its port is forwarded, Try again brings it."""
    view = room_view(here.page, "cut off")
    alert, frame, again = view.get_by_role("alert"), view.locator("iframe"), view.get_by_role("button")
    expect(alert).to_contain_text("does not answer", timeout=SILENCE_MS)
    expect(alert).to_contain_text(re.compile(r"ssh -L.*Forwarding port \d+ too", re.DOTALL))
    expect(frame).to_be_hidden()
    here.page.evaluate("new Promise(done => { addEventListener('message', done); postMessage({sipkit: 'room'}); })")
    expect(frame).to_be_hidden()  # only the frame's own page is believed

    here.page.unroute(CUT_OFF)
    again.click()
    expect(view.frame_locator("iframe").get_by_role("button", name="Join")).to_be_visible(timeout=SILENCE_MS)
    expect(alert).to_be_hidden()
    expect(again).to_be_hidden()


def test_a_room_that_comes_late_takes_the_words_back(here: Here) -> None:
    """A slow machine is not a forwarded port: the frame goes on loading behind the words, and replaces them."""
    view = room_view(here.page, "slow")
    expect(view.get_by_role("alert")).to_contain_text("does not answer", timeout=SILENCE_MS)
    expect(view.locator("iframe")).to_be_hidden()
    [route] = here.held
    route.continue_()
    expect(view.frame_locator("iframe").get_by_role("button", name="Join")).to_be_visible(timeout=SILENCE_MS)
    expect(view.get_by_role("alert")).to_be_hidden()


def test_keys_are_pressed_in_the_middle_of_a_call(jupyter: Jupyter, new_page: Pages) -> None:
    """In the conversation, the browser being the phone, *6 is keyed: the platform gets both digits, the call stays."""
    page = new_page()
    page.add_init_script("measure.useDevices(890, 'black')")
    run_all(page, jupyter.address, "keys.ipynb")
    receiver(page).get_by_role("checkbox").check()
    expect(receiver(page)).to_have_attribute("data-state", "talking", timeout=CALL_MS)
    wait_page_plays(page, ROOM_HZ)
    info = launcher.read(jupyter.home / "sandbox")
    assert info is not None
    lab = Lab(info)
    try:
        before = lab.legs()
        since = lab.now()
        for key in "*6":
            page.get_by_role("button", name=key, exact=True).click()
        wait_for(lambda: len(lab.trace(since, "dtmf")) == 2, what="two digits in the trace")
        assert lab.legs() == before
    finally:
        lab.close()
    expect(page.get_by_role("region", name="Sandbox phone").get_by_role("status")).to_have_text("answered")
    expect(receiver(page)).to_have_attribute("data-state", "talking")
    wait_page_plays(page, ROOM_HZ)


def test_a_direct_call_waits_for_its_yes(jupyter: Jupyter, new_page: Pages) -> None:
    """A number is typed and called: what would be billed is asked first, a No places nothing, a Yes rings the phone."""
    page = new_page()
    run_all(page, jupyter.address, "direct.ipynb")
    info = launcher.read(jupyter.home / "sandbox")
    assert info is not None
    lab = Lab(info)
    panel = page.locator(".sipkit-panel", has=page.get_by_role("region", name="Direct call from room annex"))
    number, question = panel.get_by_role("textbox"), panel.get_by_role("alert").first

    def press(name: str) -> None:
        panel.get_by_role("button", name=re.compile(rf"(^|\W){name}$")).click()

    try:
        rung = lab.ask("POST", "/phones/expect", json={"number": NUMBER}).json()
        for answer, state in (("No", "no call"), ("Yes, place it", "the phone is called")):
            number.fill(f"+{NUMBER}")
            press("Call")
            expect(question).to_have_text(f"This places a real, billed call to +{NUMBER}.")
            expect(number).to_have_value("")
            assert lab.ask("GET", f"/phones/{rung['id']}").json()["state"] == "waiting"
            press(answer)
            expect(panel.get_by_role("status")).to_have_text(state, timeout=CALL_MS)
            expect(question).to_be_hidden()
        expect(panel).to_contain_text("The called phone •••0123: answered", timeout=CALL_MS)
        press("Hang up")
        expect(panel.get_by_role("status")).to_have_text("no call", timeout=CALL_MS)
    finally:
        lab.close()


def test_what_a_call_costs_is_seen_and_saved(jupyter: Jupyter, new_page: Pages) -> None:
    """The sum, the budget, each leg and the plot are there in words too, and the page saves the CSV by itself.

    While the sandbox is silent the call panel says so.
    """
    page = new_page()
    run_all(page, jupyter.address, "costs.ipynb")
    panel = page.get_by_role("region", name="Costs of room annex")
    expect(panel.get_by_role("status")).to_have_text("being charged", timeout=CALL_MS)
    expect(panel).to_contain_text(re.compile(r"about 0\.0\d+ USD and 0\.0\d+ EUR"))
    budget = re.compile("Budget: 0.1 in each currency; [0-9]+ % used")
    expect(panel.get_by_role("progressbar", name=budget)).to_be_visible()
    expect(panel.get_by_role("img", name=re.compile("The sum over time: .* USD after"))).to_be_visible()
    panel.get_by_text(re.compile(r"Each leg \(")).click()
    expect(panel.get_by_role("row", name=re.compile("sip the bridge .* about .* USD, running"))).to_be_visible()
    call = page.get_by_role("region", name="Call panel of room annex")
    expect(call).to_contain_text(re.compile("about .* so far"))
    with page.expect_download() as saving:
        panel.get_by_role("button", name="Export CSV").click()
    assert saving.value.suggested_filename == "costs of annex.csv"
    assert saving.value.path().read_text("utf-8").startswith("room,kind,who,leg,began,ended")
    info = launcher.read(jupyter.home / "sandbox")
    assert info is not None
    os.kill(info.pid, signal.SIGSTOP)
    expect(call.get_by_role("alert")).to_contain_text("does not answer", timeout=CALL_MS)
    os.kill(info.pid, signal.SIGCONT)
    expect(call.get_by_role("alert")).to_be_hidden(timeout=CALL_MS)
