"""The panels, the player and the log, over a real switchboard and the real sandbox; the browser has its own test."""

import io
import math
import re
import threading
import time
import wave
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ipywidgets import Button, FileUpload

from sipkit import widgets
from sipkit.errors import SipkitError, WaitTimeout
from sipkit.lessons.sound import tone, voice
from sipkit.phones import Heard
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets import CallPanel, DirectCallPanel, EventLog, PhonePanel, Recording, RoomView, audio
from sipkit.widgets.call_panel import CallView
from sipkit.widgets.cost_panel import CostView
from sipkit.widgets.direct_call_panel import DirectCallView
from sipkit.widgets.host_panel import HostView
from sipkit.widgets.phone_panel import PhoneView
from sipkit.widgets.phone_state import in_words
from sipkit.widgets.receiver import Receiver
from sipkit.widgets.refresh import PERIOD, Refresher, stop_all
from sipkit.widgets.room_view import RoomFrame
from sipkit.widgets.state import Waitable, in_banner, in_passing

CALL_SECONDS = 15.0
FACES = Path(widgets.__file__).parent


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests; what is broken in a test is broken in its own room."""
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room whose calls would be answered; afterwards it is closed, and no thread looks at the board."""
    yield board.open_room("widgets")
    stop_all(board)
    board.close_room("widgets")


def shown(widget: Any) -> str:
    """The text a notebook stores for a displayed widget."""
    bundle = widget._repr_mimebundle_()
    # anywidget gives data and metadata, ipywidgets the data alone.
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return str(data["text/plain"])


class TestCallPanel:
    """Dial out, watch, hang up."""

    def test_buttons_dial_and_hang_up(self, board: Switchboard, room: Room) -> None:
        """Pressing Dial out brings the call up, Hang up ends it, and the enabled button is the one that makes sense."""
        panel = CallPanel(board, room)
        assert (panel.dial.disabled, panel.hang_up.disabled) == (False, True)
        panel.dial.click()
        assert panel.wait_for("connected", CALL_SECONDS) == "connected"
        assert (panel.dial.disabled, panel.hang_up.disabled) == (True, False)
        panel.hang_up.click()
        assert panel.wait_for("idle", CALL_SECONDS) == "idle"
        assert board.bridge(room) is None

    def test_a_second_press_places_no_second_call(self, board: Switchboard, room: Room) -> None:
        """A nervous double click finds the living bridge."""
        panel = CallPanel(board, room)
        panel.dial.click()
        first = board.bridge(room)
        panel.dial.click()
        second = board.bridge(room)
        assert first is not None
        assert second is not None
        assert first.id == second.id

    def test_shows_what_others_do(self, board: Switchboard, room: Room) -> None:
        """A call dialled and hung up elsewhere, and phones that come and go, show without anybody pressing here."""
        panel = CallPanel(board, room)
        board.dial_out(room)
        panel.wait_for("connected", CALL_SECONDS)
        phone = board.phone().wait_for("answered")
        phone.wait_until_heard(voice)
        phone.keys(f"{room.pin}#")
        board.wait_for(lambda: panel.view.callers == 1, CALL_SECONDS, "the caller to show")
        board.hang_up(room)
        panel.wait_for("idle", CALL_SECONDS)
        board.wait_for(lambda: panel.view.callers == 0, CALL_SECONDS, "the caller to have left")

    def test_an_error_shows_in_the_banner_and_is_printed_nowhere(
        self, own_board: Switchboard, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Without a webhook server dialling fails: the banner has the reason and the fix, the learner may try again."""
        panel = CallPanel(own_board, "no server")
        panel.dial.click()
        assert panel.state.state == "failed"
        assert "No webhook server" in panel.view.error
        assert "\nFix: " in panel.view.error
        assert not panel.dial.disabled
        assert capfd.readouterr() == ("", "")
        panel.close()

    def test_waiting_for_what_cannot_come_ends_at_once(self, own_board: Switchboard) -> None:
        """After a failure nobody waits for "connected" until the time is up, and the error has the fix."""
        panel = CallPanel(own_board, "no server")
        panel.dial.click()
        begin = time.monotonic()
        with pytest.raises(WaitTimeout, match="start_webhook_server"):
            panel.wait_for("connected", timeout=30)
        assert time.monotonic() - begin < 5
        panel.close()

    def test_a_call_that_stays_on_record_says_why(
        self, board: Switchboard, room: Room, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A hang-up that finds no leg of a lost dial yet shows the reason, and Hang up can be pressed again."""
        board._store.claim_bridge(room, board.owner)  # what a dial whose answer was lost leaves behind
        panel = CallPanel(board, room)
        panel.hang_up.click()
        assert "Try again" in panel.view.error
        assert panel.view.state == "dialing"
        assert not panel.hang_up.disabled
        monkeypatch.setattr("sipkit.bridges.PATIENCE", 0.0)
        panel.hang_up.click()
        assert (panel.view.state, panel.view.error) == ("idle", "")

    def test_a_call_that_nobody_answers_fails(self, board: Switchboard, room: Room) -> None:
        """A bridge that is gone before it was answered is a failure, not "idle" without a word."""
        panel = CallPanel(board, room)
        panel.close()  # no thread: each look is made here
        panel.state.state = "dialing"
        panel.state.refresh()
        assert panel.state.state == "failed"
        assert "before anybody answered" in panel.state.error

    def test_the_stored_text_has_the_labels_and_no_secret(self, board: Switchboard, room: Room) -> None:
        """What a notebook stores names the buttons and the state, and neither the PIN nor the number."""
        panel = CallPanel(board, room)
        assert shown(panel) == (
            "CallPanel(room='widgets', mode='sandbox', state='idle', buttons=['Dial out', 'Hang up (off)'])"
        )
        assert (panel.view.pin, panel.view.number) == (room.pin, f"+{board.number}")
        texts = [repr(each) for each in (panel, panel.view, panel.state, panel.dial, panel.hang_up)]
        assert not any(room.pin in text or board.number in text for text in texts)

    def test_closing_ends_the_thread_and_not_the_call(self, board: Switchboard, room: Room) -> None:
        """A closed panel looks no more; hanging up is another button."""
        panel = CallPanel(board, room)
        panel.dial.click()
        panel.wait_for("connected", CALL_SECONDS)
        refresher = panel._refresher
        assert refresher is not None
        panel.close()
        panel.close()
        assert not refresher.alive
        assert board.bridge(room) is not None


class TestPhonePanel:
    """A sandbox phone with a keypad."""

    def test_calls_keys_and_is_let_in(self, board: Switchboard, room: Room) -> None:
        """Call, keys and Whistle do what they say: wrong PIN stays outside, the right one joins and is heard."""
        board.dial_out(room)
        board.wait_for_bridge(room, "answered", CALL_SECONDS)
        listener = board.participant(room)
        panel = PhonePanel(board)
        assert panel.phone is None
        panel.call.click()
        panel.wait_for("answered", CALL_SECONDS)
        assert panel.phone is not None
        panel.phone.wait_until_heard(voice)
        panel.press(f"{room.pin}#")
        board.wait_for_callers(room, 1, CALL_SECONDS)
        panel.tone.click()
        listener.wait_until_heard(lambda heard: any(abs(hz - 440) < 15 for hz in heard.tones_hz))
        assert panel.view.keyed == f"{room.pin}#"
        panel.hang_up.click()
        assert panel.wait_for("ended", CALL_SECONDS) == "ended"
        listener.leave()

    @pytest.mark.usefixtures("room")
    def test_the_keypad_works_only_in_a_call(self, board: Switchboard) -> None:
        """Keys are grey until somebody answered; pressing one all the same explains what to do first."""
        panel = PhonePanel(board)
        assert all(key.disabled for key in panel.keypad.values())
        panel.press("1")
        assert "Press Call first" in panel.view.error
        panel.call.click()
        panel.wait_for("answered", CALL_SECONDS)
        assert panel.view.error == ""
        assert not any(key.disabled for key in panel.keypad.values())
        panel.hang_up.click()

    @pytest.mark.usefixtures("room")
    def test_a_phone_whose_sandbox_is_gone_can_call_anew(
        self, board: Switchboard, wait_until: Callable[..., Any]
    ) -> None:
        """A sandbox that does not answer, or has forgotten the phone, ends in `failed` with the fix, not in a call."""
        panel = PhonePanel(board)
        panel.call.click()
        panel.wait_for("answered", CALL_SECONDS)
        phone = panel.phone
        assert phone is not None
        path, phone._path = phone._path, "/sandbox/phones/forgotten"
        wait_until(lambda: panel.view.state == "failed", CALL_SECONDS, "the failure")
        assert "no such phone" in panel.view.error
        assert not panel.call.disabled
        phone._path = path
        wait_until(lambda: panel.view.state == "answered", CALL_SECONDS, "the call to be seen again")
        panel.hang_up.click()

    @pytest.mark.usefixtures("room")
    def test_keys_stay_out_of_the_stored_text(self, board: Switchboard) -> None:
        """The screen shows what was keyed; no representation does."""
        panel = PhonePanel(board)
        panel.state.keyed = "4711"
        assert panel.view.keyed == "4711"
        assert shown(panel) == "PhonePanel(mode='sandbox', state='idle', buttons=['Call', 'Hang up (off)'], keys=12)"
        assert "4711" not in repr(panel.view)

    def test_live_it_says_that_phones_belong_to_the_sandbox(self, tmp_path: Path) -> None:
        """In live mode every button is grey, nothing is dialled, and waiting ends at once."""
        account = {"video_api_key": "40001234", "voice_api_key": "abcd1234", "conference_number": "12025550199"}
        secrets = {"video_api_secret": "made-up-one", "voice_api_secret": "made-up-two"}
        with Switchboard.from_env(mode="live", home=tmp_path, project_root=tmp_path, **account, **secrets) as board:
            panel = PhonePanel(board)
            assert panel.state.state == panel.view.state == "sandbox-only"
            assert panel.call.disabled
            assert not panel.receiver.usable
            panel.call.click()
            assert panel.phone is None
            with pytest.raises(WaitTimeout):
                panel.wait_for("answered", timeout=30)
            panel.close()

    @pytest.mark.parametrize(
        ("heard", "words"),
        [
            (Heard(1.0, -math.inf, (), prompt_ended=False), "silence"),
            (Heard(1.0, -20.4, (), prompt_ended=False), "sound at -20 dBFS"),
            (Heard(1.0, -12.0, (440.2, 880.0), prompt_ended=False), "sound at -12 dBFS, strongest near 440 Hz"),
        ],
    )
    def test_says_what_it_hears(self, heard: Heard, words: str) -> None:
        """Figures become words; silence has no figure."""
        assert in_words(heard) == words


class TestRecording:
    """A player whose text is the same for every recording of the same kind."""

    @pytest.mark.parametrize(
        ("pieces", "verdict"),
        [
            ([], "silence"),
            ([tone(440, 0.2)], "silence"),
            ([tone(440, 2)], "tone 440 Hz"),
            ([tone(440, 1), tone(620, 1)], "tone 440 Hz, then tone 620 Hz"),
            ([tone(440, 1), tone(620, 1), tone(440, 1)], "tone 440 Hz, then tone 620 Hz"),
        ],
    )
    def test_verdict(self, pieces: list[bytes], verdict: str) -> None:
        """Tones are named in the order they are first heard; what is too short to be sure of is not named."""
        recording = Recording(joined(pieces), "what was heard")
        assert recording.verdict == verdict
        assert shown(recording) == f"Recording('what was heard': {verdict})"

    def test_what_is_loud_and_no_tone_is_speech(self) -> None:
        """A glide, as every voice makes, is speech; a tone after it is named too."""
        glide = joined([tone(hz, 0.02) for hz in range(200, 1200, 20)], gap=0)
        assert audio.verdict(glide) == "speech"
        assert audio.verdict(joined([glide, tone(440, 2)])) == "speech, then tone 440 Hz"

    def test_hears_a_tone_among_others(self) -> None:
        """A tone is found beside another one, and one that is not there is not."""
        recording = Recording(joined([tone(440, 1), tone(620, 1)]), "both")
        assert [recording.hears(hz) for hz in (440, 620, 530)] == [True, True, False]

    @pytest.mark.parametrize(
        "wav", [b"", b"RIFF", b"no sound at all", tone(440).replace(b"\x01\x00\x01\x00", b"\x01\x00\x02\x00")]
    )
    def test_refuses_what_it_cannot_play(self, wav: bytes) -> None:
        """What is no 16 bit mono WAV is refused with a reason."""
        with pytest.raises(ValueError, match=r"not a WAV file|expected 16 bit mono"):
            Recording(wav, "broken")

    def test_tells_when_it_was_played(self) -> None:
        """The page sets the state; a waiter in another thread sees it."""
        recording = Recording(tone(440), "a tone")
        assert recording.wait_for("ready", 1) == "ready"
        timer = threading.Timer(0.05, recording.set_trait, ("state", "played"))
        timer.start()
        assert recording.wait_for("played", 5) == "played"


def joined(pieces: list[bytes], gap: float = 0.5) -> bytes:
    """Put WAV files of one format together, with `gap` seconds of silence around each."""
    silence = bytes(2 * int(8000 * gap))
    memory = io.BytesIO()
    with wave.open(memory, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(silence)
        for piece in pieces:
            with wave.open(io.BytesIO(piece)) as each:
                out.writeframes(each.readframes(each.getnframes()) + silence)
    return memory.getvalue()


class TestEventLog:
    """The timeline, line by line."""

    def test_shows_events_as_they_happen(self, board: Switchboard, room: Room) -> None:
        """A new event appears by itself, as words, and can be waited for by its kind."""
        log = EventLog(board, room)
        board.dial_out(room)
        assert log.wait_for("voice-answer", CALL_SECONDS) == "The bridge of room 'widgets' answered and joins."
        assert shown(log) == "EventLog('Events of room widgets')"
        board.hang_up(room)
        log.wait_for("hang-up", CALL_SECONDS)
        kinds = [line["kind"] for line in log.entries]
        assert kinds.index("dial") < kinds.index("hang-up")
        assert all(re.fullmatch(r"\d\d:\d\d:\d\d", line["at"]) for line in log.entries)

    @pytest.mark.usefixtures("room")
    def test_starts_after_a_given_event(self, board: Switchboard) -> None:
        """Older events belong to another lesson; and what does not come ends the wait in time."""
        last = board.events()[-1].id
        log = EventLog(board, None, since=last)
        assert log.entries == []
        with pytest.raises(WaitTimeout, match="No event of kind 'dial'"):
            log.wait_for("dial", timeout=0.3)
        log.close()
        log.close()


def forget(_problem: Exception) -> None:
    """Take no notice."""


class TestRefresher:
    """The thread behind the panels."""

    def test_looks_at_most_four_times_a_second(self, board: Switchboard) -> None:
        """Two looks are a period apart, and none is made after the end."""
        looks: list[float] = []
        third = threading.Event()

        def look() -> None:
            looks.append(time.monotonic())
            if len(looks) == 3:
                third.set()

        refresher = Refresher(board, look, forget, forget)
        assert third.wait(10)
        refresher.stop()
        assert not refresher.alive
        assert all(later - earlier > 0.24 for earlier, later in pairwise(looks))
        assert PERIOD >= 0.25

    def test_tells_a_problem_once_and_goes_on(self, board: Switchboard) -> None:
        """A look that fails is told once, not four times a second; the next good one is welcome, and told too."""
        told: list[Exception] = []
        mended: list[Exception] = []
        outcomes = iter([SipkitError("gone"), SipkitError("gone"), None])
        good = threading.Event()

        def look() -> None:
            problem = next(outcomes, None)
            if problem is not None:
                raise problem
            if mended:
                good.set()

        refresher = Refresher(board, look, told.append, mended.append)
        assert good.wait(10)
        refresher.stop()
        assert [str(error).partition("\n")[0] for error in told] == ["gone"]
        assert mended == told

    def test_a_closed_board_is_looked_at_once_more(
        self, own_board: Switchboard, wait_until: Callable[..., Any]
    ) -> None:
        """A panel whose board was closed under it says so in its banner, and its thread ends."""
        panel = CallPanel(own_board, "closed")
        assert not own_board.closed
        own_board.close()
        assert own_board.closed
        assert panel._refresher is not None
        wait_until(lambda: not panel._refresher.alive, what="the thread's end")
        assert "closed" in panel.view.error

    def test_all_threads_of_a_board_end_together(self, board: Switchboard) -> None:
        """What is called before a board closes leaves no thread looking at it."""
        both = [Refresher(board, lambda: None, forget, forget) for _ in range(2)]
        stop_all(board)
        assert not any(refresher.alive for refresher in both)


class Switch(Waitable):
    """A state with one handler that works and one that does not."""

    @in_banner
    def on(self) -> None:
        """Switch on."""
        self.state = "on"

    @in_banner
    def burn(self) -> None:
        """Fail in a way nobody foresaw."""
        raise RuntimeError("smoke")

    @in_passing
    def flicker(self) -> None:
        """Fail in passing."""
        raise RuntimeError("flash")


def test_an_unforeseen_exception_reaches_the_banner() -> None:
    """A handler's bug is shown by its kind and text; the next press starts with a clean banner.

    What is done in passing leaves the state as it is.
    """
    switch = Switch()
    switch.burn()
    assert (switch.state, switch.error) == ("failed", "RuntimeError: smoke")
    switch.on()
    assert (switch.state, switch.error) == ("on", "")
    switch.flicker()
    assert (switch.state, switch.error) == ("on", "RuntimeError: flash")


def test_every_button_has_words(board: Switchboard) -> None:
    """An icon alone has no accessible name: each button says what it does, and more of it in its tooltip."""
    panels = [CallPanel(board, "names"), DirectCallPanel(board, "names"), PhonePanel(board), RoomView(board, "names")]
    buttons = [button for panel in panels for button in panel._buttons]
    assert all(isinstance(button, Button | FileUpload) for button in buttons)
    assert all(button.description and button.tooltip for button in buttons)
    stop_all(board)


@pytest.mark.parametrize("path", sorted(FACES.glob("*.css")), ids=lambda path: path.name)
def test_colours_come_from_the_theme(path: Path) -> None:
    """Outside JupyterLab's variables no colour is named, or a dark theme could make a text unreadable."""
    rules = re.sub(r"/\*.*?\*/|var\([^()]*\)", "", path.read_text("utf-8"), flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b|\brgba?\(|:\s*(?:white|black|red|green|gr[ae]y)\b", rules)


SVG = "http://www.w3.org/2000/svg"  # a namespace: a name, which nobody fetches
VIEWS: list[Any] = [CallView, CostView, DirectCallView, EventLog, HostView, PhoneView, Receiver, Recording, RoomFrame]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_views_need_no_build_and_no_network(view: Any) -> None:
    """A view is one plain module: it imports nothing, fetches nothing, and puts no text in as HTML."""
    text = view._esm.replace(SVG, "")
    assert text.count("export default { render };") == 1
    assert not re.search(r"\bimport\b[^.]|https?://(?!localhost\b|127\.0\.0\.1\b)|fetch\(|innerHTML", text)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_views_share_their_pieces(view: Any) -> None:
    """What all views need is in one file, put in front of each: no name is declared twice, and the text stays small."""
    assert view._esm.startswith((FACES / "shared.js").read_text("utf-8"))
    assert view._css.startswith((FACES / "shared.css").read_text("utf-8"))
    names = re.findall(r"^(?:const|let|function) (\w+)", view._esm, flags=re.MULTILINE)
    assert {"add", "write", "render"} <= set(names)
    assert len(names) == len(set(names))
    assert len(view._esm) + len(view._css) < 20_000


def test_every_face_is_shown() -> None:
    """Each script and each style beside the views is in what some view sends to the page."""
    scripts, styles = "".join(view._esm for view in VIEWS), "".join(view._css for view in VIEWS)
    assert all(path.read_text("utf-8") in scripts for path in FACES.glob("*.js"))
    assert all(path.read_text("utf-8") in styles for path in FACES.glob("*.css"))


def test_waiters_wake_from_any_thread(wait_until: Callable[..., Any]) -> None:
    """A state set on another thread ends the wait at once, long before its time is up."""
    state = Waitable()
    threading.Timer(0.05, state.set_trait, ("state", "there")).start()
    begin = time.monotonic()
    assert state.wait_for("there", timeout=30) == "there"
    assert time.monotonic() - begin < 5
