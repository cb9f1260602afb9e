"""Lessons as a learner meets them: a real JupyterLab in a real Chromium, its buttons pressed with the mouse.

SIPKIT_SCREENSHOTS=1 keeps the pictures of the README and the documentation.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, Locator, Page, expect

from tests.standins import jupyterlab
from tests.standins.browser import LOUD, Pages, keep_picture, wait_page_plays, wait_page_silent
from tests.standins.jupyterlab import READABLE, choose_theme, contrast, run_all

CALL_MS = 20_000
A_PIN = re.compile(r"^[1-9]\d{5}$")
WINDOW = {"width": 1280, "height": 900}

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One JupyterLab for all lessons, as learners keep theirs open; gives the address of a lesson."""
    with jupyterlab.serving(tmp_path_factory.mktemp("jupyterlab")) as address:
        yield address


def call_panel(page: Page, room: str) -> Locator:
    """The panel's whole box, found by the accessible name of its view."""
    return page.locator(".sipkit-panel", has=page.get_by_role("region", name=f"Call panel of room {room}"))


def test_dial_out_and_hang_up_are_pressed_in_jupyterlab(lab: str, new_page: Pages) -> None:
    """Run All reaches the bottom, then the buttons dial and hang up, the state follows, and the PIN is in view."""
    page = new_page(viewport=WINDOW)
    run_all(page, lab, "03-dial-out-and-hang-up.ipynb")
    panel = call_panel(page, "standup")
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
    keep_picture(page, panel, "lesson-03.png")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        choose_theme(page, theme)
        assert contrast(panel.locator(".sipkit-big").first) > READABLE, theme
        assert contrast(panel.locator(".sipkit-state")) > READABLE, theme
        assert contrast(log.locator(".sipkit-event-text").first) > READABLE, theme

    hang_up.click()
    expect(status).to_have_text("no call", timeout=CALL_MS)
    expect(dial).to_be_enabled()
    expect(panel.get_by_role("alert")).to_be_hidden()


# In one JupyterLab page are the telephone and, in a frame, the room: each gets a voice and a picture of its own.
ROOM_HZ, PHONE_HZ = 500, 1130
TWO_VOICES = f"""
const inTheRoom = location.pathname.startsWith("/room/");
measure.useDevices(inTheRoom ? {ROOM_HZ} : {PHONE_HZ}, inTheRoom ? "teal" : "black");
"""

REFUSE = """
() => {
  window.allowed = navigator.mediaDevices.getUserMedia;
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("Permission denied", "NotAllowedError"));
}
"""
ALLOW = "() => { navigator.mediaDevices.getUserMedia = window.allowed; }"


@pytest.fixture
def page(new_page: Pages) -> Page:
    """A browser window whose microphones are tones."""
    page = new_page(viewport=WINDOW)
    page.add_init_script(TWO_VOICES)
    return page


class Telephone:
    """The phone panel of a lesson, pressed as a learner does."""

    def __init__(self, page: Page) -> None:
        self.panel = page.locator(".sipkit-panel", has=page.get_by_role("region", name="Sandbox phone"))
        self.status = self.panel.get_by_role("status")
        self.use = self.panel.get_by_role("checkbox", name="Use my microphone and speaker")
        self.receiver = self.panel.locator(".sipkit-receiver")

    def press(self, name: str) -> None:
        """Press a button or a key; a button's icon is part of what it is called."""
        self.panel.get_by_role("button", name=re.compile(rf"(^|\W){re.escape(name)}$")).click()

    def key(self, digits: str) -> None:
        """Press keys, one after the other."""
        for digit in digits:
            self.press(digit)


def test_the_browser_is_the_phone_in_lesson_04(lab: str, page: Page) -> None:
    """Run All reaches the bottom; then the panel's phone, with the page's microphone, calls, hears and keys the PIN.

    First the microphone is refused: the panel says why and what to do, and one can call and listen all the same.
    """
    run_all(page, lab, "04-call-in-with-a-pin.ipynb")
    call, phone = call_panel(page, "town hall"), Telephone(page)
    call.get_by_role("button", name="Dial out").click()
    expect(call.get_by_role("status")).to_have_text("connected", timeout=CALL_MS)

    page.evaluate(REFUSE)
    phone.use.check()
    expect(phone.receiver).to_contain_text("The browser refused the microphone.")
    phone.press("Call")
    expect(phone.receiver).to_have_attribute("data-state", "listening", timeout=CALL_MS)
    wait_page_plays(page)
    phone.press("Hang up")
    expect(phone.status).to_have_text("the call ended", timeout=CALL_MS)
    phone.use.uncheck()
    page.evaluate(ALLOW)

    phone.use.check()
    expect(phone.receiver).to_have_attribute("data-state", "ready")
    phone.press("Call")
    expect(phone.status).to_have_text("answered", timeout=CALL_MS)
    expect(phone.receiver).to_have_attribute("data-state", "talking", timeout=CALL_MS)
    wait_page_plays(page)  # the prompt
    pin = call.locator(".sipkit-big").last.inner_text()
    phone.key(f"{pin}#")
    expect(call.get_by_text("1 phone in the conversation")).to_be_visible(timeout=CALL_MS)
    keep_picture(page, phone.panel, "lesson-04.png")

    phone.press("Hang up")
    expect(phone.status).to_have_text("the call ended", timeout=CALL_MS)
    expect(phone.receiver).to_have_attribute("data-state", "ready")
    wait_page_silent(page, seconds=1)
    call.get_by_role("button", name="Hang up").click()
    expect(call.get_by_role("status")).to_have_text("no call", timeout=CALL_MS)


def test_lesson_05_writes_the_settings_and_asks_the_doctor(lab: str, new_page: Pages) -> None:
    """The form writes what is typed into `.env`, for its owner only, and keeps nothing; the doctor looks again."""
    settings = Path(os.environ["SIPKIT_PROJECT_ROOT"]) / ".env"
    assert not settings.exists()
    page = new_page(viewport=WINDOW | {"height": 1100})  # the whole card in one picture
    run_all(page, lab, "05-go-live.ipynb")
    doctor = page.locator(".sipkit-panel", has=page.get_by_role("button", name="Examine again"))
    expect(doctor).to_contain_text("healthy")
    rows = doctor.locator("tr").count()
    assert rows > 20
    keep_picture(page, doctor, "lesson-05.png")

    form = page.locator(".sipkit-panel", has=page.get_by_role("button", name="Write .env"))
    secret = form.get_by_label("account: signature secret")
    secret.fill("typed-once-and-gone")
    form.get_by_role("button", name="Write .env").click()
    try:
        expect(form).to_contain_text("Written: SIGNATURE_SECRET.")
        expect(secret).to_have_value("")
        assert "SIGNATURE_SECRET=typed-once-and-gone" in settings.read_text("utf-8")
        assert settings.stat().st_mode & 0o777 == 0o600
    finally:
        settings.unlink()
    doctor.get_by_role("button", name="Examine again").click()
    expect(doctor.get_by_role("button")).to_be_disabled()
    expect(doctor.get_by_role("button")).to_be_enabled(timeout=CALL_MS)
    assert doctor.locator("tr").count() == rows
    agreed = page.locator(".sipkit-panel", has=page.get_by_role("button", name="Yes, place it"))
    expect(agreed).to_contain_text("Confirmed.")


def tile_hears(room: FrameLocator, hz: float) -> None:
    """Wait until the phone line's tile in the room's frame plays a tone."""
    media = room.locator("#tiles figure[data-kind=phone] :is(video, audio)").first
    media.evaluate("(element, [hz, loud]) => measure.waitTone(element, hz, loud, 5)", [hz, LOUD])


def test_one_talks_to_oneself_in_lesson_06(lab: str, page: Page) -> None:
    """Room and phone in one notebook: joined, dialled, called and keyed by hand, each hears the other's microphone."""
    run_all(page, lab, "06-join-from-the-browser.ipynb")
    phone = Telephone(page)
    view = page.locator(".sipkit-room", has=page.get_by_role("region", name="Room studio"))
    room = view.frame_locator("iframe")
    room.get_by_role("button", name="Join").click()
    expect(room.locator("main")).to_have_attribute("data-session", "connected", timeout=CALL_MS)
    room.get_by_role("button", name="Dial out").click()
    expect(room.locator("main")).to_have_attribute("data-state", "connected", timeout=CALL_MS)
    expect(view.locator(".sipkit-head").get_by_role("status")).to_have_text("connected", timeout=CALL_MS)

    phone.use.check()
    phone.press("Call")
    expect(phone.receiver).to_have_attribute("data-state", "talking", timeout=CALL_MS)
    wait_page_plays(page)  # the prompt
    phone.key(re.sub(r"\D", "", room.locator("#pin").inner_text()) + "#")
    expect(room.locator("#roster li[data-kind=caller]")).to_have_count(1, timeout=CALL_MS)
    wait_page_plays(page, ROOM_HZ)
    tile_hears(room, PHONE_HZ)
    keep_picture(page, view, "lesson-06.png")

    room.get_by_role("button", name="Hang up").click()
    expect(phone.status).to_have_text("the call ended", timeout=CALL_MS)
    wait_page_silent(page, seconds=1)
    # By the keyboard: the page is taller than its frame, and the mouse may find JupyterLab's status bar in its way.
    room.get_by_role("button", name="Leave").press("Enter")
    expect(room.locator("main")).to_have_attribute("data-session", "disconnected")
