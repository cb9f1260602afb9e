"""The receiver of a phone panel, over the real sandbox and a real kernel; real pages have their own tests."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from sipkit.errors import PhoneError, WaitTimeout
from sipkit.lessons.sound import note, tone, voice
from sipkit.phones import SandboxPhone
from sipkit.rooms import Room
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.switchboard import Switchboard
from sipkit.widgets import PhonePanel, receiver
from sipkit.widgets.receiver import Receiver
from sipkit.widgets.refresh import stop_all
from tests.standins.raw_browser import RawBrowser

ROOT = Path(__file__).resolve().parent.parent
CALL_SECONDS = 15.0
KERNEL_SECONDS = 60.0
LOOKS, LOOK_SECONDS = 500, 0.02
PACKETS = 25
"""Packets of 20 ms that make half a second."""


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room whose calls would be answered; no thread looks at the board afterwards."""
    board.start_webhook_server()
    yield board.open_room("receivers")
    stop_all(board)


@pytest.fixture
def panel(board: Switchboard, room: Room) -> Iterator[PhonePanel]:
    """A phone panel whose phone is in a call."""
    panel = PhonePanel(board)
    panel.call.click()
    panel.wait_for("answered", CALL_SECONDS)
    yield panel
    panel.hang_up.click()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What receivers send to their pages."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(Receiver, "send", lambda _self, content: sent.append(content))
    return sent


def browser_at(lift: Callable[[str], str], packets: int = PACKETS) -> int:
    """Let a browser take a receiver with its offer, and listen until so many packets came; return how many did."""

    async def listen() -> int:
        browser = RawBrowser()
        try:
            await browser.connect(await asyncio.to_thread(lift, browser.offer))
            for _ in range(LOOKS):
                if len(browser.received) >= packets:
                    break
                await asyncio.sleep(LOOK_SECONDS)
            return len(browser.received)
        finally:
            browser.close()

    return asyncio.run(listen())


class TestSandboxPhone:
    """The receiver of a phone, held by a browser."""

    @pytest.mark.usefixtures("room")
    def test_a_browser_hears_what_the_phone_hears(self, board: Switchboard) -> None:
        """The answer to an offer leads to sound; a second browser takes the first one's place; down is down."""
        phone = board.phone().wait_for("answered")
        assert browser_at(phone.receiver) >= PACKETS
        assert browser_at(phone.receiver) >= PACKETS
        phone.lay_down()
        phone.lay_down()
        assert phone.state == "answered"
        phone.hang_up()

    @pytest.mark.usefixtures("room")
    def test_it_is_lifted_only_with_an_offer_and_in_a_call(self, board: Switchboard) -> None:
        """A bad offer is refused with its reason while the call goes on; a phone that hung up has no receiver."""
        phone = board.phone().wait_for("answered")
        with pytest.raises(PhoneError, match="offer"):
            phone.receiver("Hello, I am a browser!")
        assert phone.state == "answered"
        phone.hang_up()
        with pytest.raises(PhoneError, match="ended"):
            phone.receiver(RawBrowser().offer)

    def test_a_sound_is_played_from_memory_too(self, board: Switchboard, room: Room) -> None:
        """A WAV file need not lie on this disk: what an upload holds is heard in the session."""
        board.dial_out(room)
        board.wait_for_bridge(room, "answered", CALL_SECONDS)
        listener = board.participant(room)
        panel = PhonePanel(board)
        panel.call.click()
        panel.wait_for("answered", CALL_SECONDS)
        assert panel.phone is not None
        panel.phone.wait_until_heard(voice)
        panel.press(f"{room.pin}#")
        board.wait_for_callers(room, 1, CALL_SECONDS)
        for hz in (620, 880):
            panel.file.value = (upload("note.wav", tone(hz, 2)),)
            assert panel.file.value == ()
            listener.wait_until_heard(note(hz))
        panel.file.value = (upload("note.txt", b"no sound"),)
        assert "The sandbox says" in panel.view.error
        assert panel.state.state == "answered"
        panel.hang_up.click()


def upload(name: str, content: bytes) -> dict[str, Any]:
    """A file as the page hands it to the kernel."""
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return {"name": name, "type": "", "size": len(content), "last_modified": when, "content": memoryview(content)}


class TestMessages:
    """What the page says to the kernel, and what it is answered."""

    def test_an_offer_is_answered(self, panel: PhonePanel, told: list[dict[str, Any]]) -> None:
        """The answer carries the id of the offer, and leads to the sound of the phone."""

        def lift(offer: str) -> str:
            panel.receiver._read(None, {"offer": offer, "call": 1, "id": "a"}, [])
            assert told[-1]["id"] == "a"
            return str(told[-1]["answer"])

        assert browser_at(lift) >= PACKETS
        panel.receiver._read(None, {"down": True, "call": 1}, [])
        assert len(told) == 1

    def test_what_the_sandbox_refuses_is_told_with_its_fix(self, panel: PhonePanel, told: list[dict[str, Any]]) -> None:
        """The page hears why; the phone's own state and banner are the call's, and stay as they are."""
        panel.receiver._read(None, {"offer": "nonsense", "call": 1, "id": "a"}, [])
        assert told[0]["id"] == "a"
        assert "The sandbox says" in told[0]["refused"]
        assert "\nFix: " in told[0]["refused"]
        assert (panel.state.state, panel.view.error) == ("answered", "")

    def test_the_receiver_of_an_earlier_call_is_not_lifted(self, panel: PhonePanel, told: list[dict[str, Any]]) -> None:
        """An offer that waited for the kernel until its call was over finds no phone, and its end harms no other."""
        panel.hang_up.click()
        panel.wait_for("ended", CALL_SECONDS)
        panel.call.click()
        assert panel.view.calls == 2
        panel.receiver._read(None, {"offer": RawBrowser().offer, "call": 1, "id": "a"}, [])
        assert "That call is over" in told[0]["refused"]
        panel.receiver._read(None, {"down": True, "call": 1}, [])
        assert len(told) == 1

    def test_before_the_first_call_there_is_no_receiver(self, board: Switchboard, told: list[dict[str, Any]]) -> None:
        """Whoever offers too early is told to call first."""
        panel = PhonePanel(board)
        panel.receiver._read(None, {"offer": RawBrowser().offer, "call": 0, "id": "a"}, [])
        assert "Press Call first" in told[0]["refused"]
        panel.close()

    def test_a_failure_nobody_foresaw_is_answered_too(
        self, panel: PhonePanel, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A page that waits must get an answer, whatever happens; it does not get the exception's text."""

        def burn(_phone: SandboxPhone, _offer: str) -> str:
            raise RuntimeError("secret smoke")

        monkeypatch.setattr(SandboxPhone, "receiver", burn)
        panel.receiver._read(None, {"offer": "v=0", "call": 1, "id": "a"}, [])
        assert told == [{"id": "a", "refused": "The kernel met a RuntimeError."}]

    @pytest.mark.parametrize(
        "content",
        [
            "offer",
            None,
            {},
            {"offer": "v=0"},
            {"offer": "v=0", "call": "1"},
            {"offer": ["v=0"], "call": 1},
            {"offer": "v" * (receiver.LONGEST_OFFER + 1), "call": 1},
            {"call": 1},
        ],
    )
    def test_what_is_no_message_is_ignored(self, board: Switchboard, told: list[dict[str, Any]], content: Any) -> None:
        """Whatever else a page sends does nothing."""
        panel = PhonePanel(board)
        panel.receiver._read(None, content, [])
        assert told == []
        panel.close()


def test_the_page_tells_how_it_goes(board: Switchboard) -> None:
    """Its state can be waited for, a failure ends the wait, and its text is the same in every notebook."""
    panel = PhonePanel(board)
    assert repr(panel.receiver) == "Receiver(state='off')"
    panel.receiver.set_state({"state": "talking"})
    assert panel.receiver.wait_for("talking", 1) == "talking"
    panel.receiver.set_state({"state": "failed", "why": "refused"})
    begin = time.monotonic()
    with pytest.raises(WaitTimeout):
        panel.receiver.wait_for("talking", 30)
    assert time.monotonic() - begin < 5
    panel.close()


SETUP = """
from sipkit.switchboard import Switchboard
from sipkit.widgets import PhonePanel
board = Switchboard.from_env()
board.start_webhook_server()
panel = PhonePanel(board)
panel.call.click()
state = panel.wait_for("answered")
"""


class Kernel:
    """A kernel with a phone panel whose phone is in a call, and the page's side of it."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self.receiver: str = ""

    def prepare(self) -> None:
        """Call with a phone."""
        reply = self._client.execute_interactive(
            SETUP, timeout=KERNEL_SECONDS, user_expressions={"id": "panel.receiver.model_id"}, output_hook=forget
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        self.receiver = reply["content"]["user_expressions"]["id"]["data"]["text/plain"].strip("'")

    def run(self, code: str) -> str:
        """Begin a cell; return the id under which its end is told."""
        return str(self._client.execute(code))

    def tell(self, data: dict[str, Any], subshell: str | None = None) -> None:
        """Send what the page sends to the receiver, on a subshell if it has one."""
        message = self._client.session.msg("comm_msg", {"comm_id": self.receiver, "data": data})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)

    def offer(self, call: int, subshell: str | None = None) -> None:
        """Offer to lift the receiver of a call."""
        content = {"offer": RawBrowser().offer, "call": call, "id": "a"}
        self.tell({"method": "custom", "content": content}, subshell)

    def update(self, state: str, subshell: str) -> None:
        """Tell the receiver's state, and see that the kernel has taken it."""
        self.tell({"method": "update", "state": {"state": state}, "buffer_paths": []}, subshell)
        self._follow(lambda data: data.get("method") == "echo_update" and data["state"] == {"state": state})

    def wait_for_call(self, number: int) -> None:
        """Wait until the page has heard of a call."""
        self._follow(lambda data: data.get("state", {}).get("calls") == number)

    def _follow(self, done: Callable[[dict[str, Any]], bool]) -> None:
        """Read what the kernel says to the page until it is done."""
        while not done(self._client.get_iopub_msg(timeout=KERNEL_SECONDS)["content"].get("data", {})):
            pass

    def subshell(self) -> str:
        """Make a subshell, as JupyterLab does for the messages of widgets."""
        message = self._client.session.msg("create_subshell_request", {})
        self._client.control_channel.send(message)
        reply = self._client.control_channel.get_msg(timeout=KERNEL_SECONDS)
        return str(reply["content"]["subshell_id"])

    def news(self, cell: str) -> Iterator[str]:
        """Follow what the kernel publishes: `answer` for the answer to an offer, `end` for the end of a cell."""
        while True:
            message = self._client.get_iopub_msg(timeout=KERNEL_SECONDS)
            content = message["content"]
            data = content.get("data", {})
            if message["msg_type"] == "comm_msg" and data.get("method") == "custom":
                assert data["content"]["id"] == "a"
                assert data["content"]["answer"].startswith("v=0")
                yield "answer"
            elif message["parent_header"].get("msg_id") == cell and content.get("execution_state") == "idle":
                yield "end"


def forget(_message: dict[str, Any]) -> None:
    """Take no notice."""


@pytest.fixture
def kernel(sandbox_env: Path) -> Iterator[Kernel]:
    """A real kernel on the running sandbox."""
    manager = KernelManager(kernel_name="python3")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    manager.start_kernel(env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=KERNEL_SECONDS)
        kernel = Kernel(client)
        kernel.prepare()
        yield kernel
        reply = client.execute_interactive("board.close()", timeout=KERNEL_SECONDS, output_hook=forget)
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.slow
def test_a_kernel_that_runs_a_cell_answers_when_it_has_ended(kernel: Kernel) -> None:
    """Without subshells an offer waits in the kernel's queue, and is answered as soon as the cell is over."""
    cell = kernel.run("panel.receiver.wait_for('talking', 1)")
    kernel.offer(1)
    news = kernel.news(cell)
    assert [next(news), next(news)] == ["end", "answer"]


@pytest.mark.slow
def test_with_a_subshell_a_running_cell_is_no_hindrance(kernel: Kernel) -> None:
    """JupyterLab gives widgets a subshell: a cell can call and wait until the page talks, as lessons do.

    Before, the box was ticked; nothing the cell does to the panel may make ipykernel hand the offer to the cell's loop.
    """
    subshell = kernel.subshell()
    kernel.update("ready", subshell)
    cell = kernel.run(f"panel.hang_up.click()\npanel.call.click()\npanel.receiver.wait_for('talking', {CALL_SECONDS})")
    kernel.wait_for_call(2)
    kernel.offer(2, subshell)
    news = kernel.news(cell)
    assert next(news) == "answer"
    kernel.update("talking", subshell)
    assert next(news) == "end"


def test_no_secret_of_the_sandbox_reaches_the_page(
    panel: PhonePanel, told: list[dict[str, Any]], sandbox: SandboxInfo
) -> None:
    """The page gets an answer to its offer; neither that nor the traits have a password or the API's address."""
    panel.receiver._read(None, {"offer": RawBrowser().offer, "call": 1, "id": "a"}, [])
    seen = json.dumps([told, panel.receiver.get_state(), panel.view.get_state()], default=str)
    secrets = (sandbox.voice_api_key, sandbox.voice_api_secret, sandbox.video_api_secret, sandbox.api_url)
    assert not any(secret in seen for secret in secrets)
