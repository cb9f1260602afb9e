"""What the lessons lean on: the set-up, the checks, and ways to show things with nothing secret in them."""

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sipkit import lessons
from sipkit.errors import SettingsError, SipkitError
from sipkit.lessons import Kit, checks, exercises, navigation, presence, story
from sipkit.lessons.kit import MODES, NOT_TOLD
from sipkit.lessons.shown import Ladder, Step, hidden
from sipkit.switchboard import Switchboard
from sipkit.timeline import Event
from sipkit.widgets import CallPanel, PhonePanel
from tests.standins.odd_platform import Says, odd_platform

ACCOUNT = """
VIDEO_API_KEY=40001234
VIDEO_API_SECRET=made-up-one
VOICE_API_KEY=abcd1234
VOICE_API_SECRET=made-up-two
CONFERENCE_NUMBER=+1 202 555 0199
"""


@pytest.fixture
def kit(sandbox_env: Path) -> Iterator[Kit]:
    """What a lesson's first cell makes, on a new data folder."""
    made = lessons.setup()
    yield made
    made.close()


def test_setting_up_again_closes_what_was_open(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """Running a lesson twice leaves one open board, no panel's thread, and says the same line."""
    panel = CallPanel(kit.board, "standup")
    refresher = panel._refresher
    again = lessons.setup()
    assert refresher is not None
    assert not refresher.alive
    assert repr(kit) == "<Kit sandbox, closed>"
    with pytest.raises(SipkitError, match="closed"):
        kit.board.open_room("standup")
    assert again.board.open_room("standup").name == "standup"
    assert capsys.readouterr().out == f"{MODES['sandbox']}\n"
    again.close()


def test_a_whole_call_reads_the_same_every_time(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """Dialled and hung up twice, the second story equals the first, the ladder is the same, and nothing is left."""
    board = kit.board
    room = board.open_room("standup")
    board.start_webhook_server()
    told = []
    for _ in range(2):
        kit.since = board.events()[-1].id
        board.dial_out(room)
        board.wait_for_bridge(room, "answered")
        assert kit.connections(room) == 1
        kit.clean_up()
        assert set(kit.wait_until_quiet(room).values()) == {0}
        told.append((repr(kit.events()), repr(kit.ladder(room))))
    assert told[0] == told[1]
    assert "The bridge of room 'standup': started, ringing, answered, completed." in told[0][0]
    assert [re.sub(r"[<>]|(?<!\w)-+(?!\w)", "", line).strip() for line in told[0][1].splitlines()[1:]] == [
        "INVITE",
        "401 Unauthorized",
        "ACK",
        "INVITE with digest",
        "180 Ringing",
        "200 OK",
        "ACK",
        "BYE",
        "200 OK (BYE)",
    ]
    assert kit.wait_until_silent() == 0
    assert capsys.readouterr().out.count("hung up") == 2


def test_cleaning_up_touches_only_this_notebooks_calls(kit: Kit) -> None:
    """Another notebook's call goes on, until everything is asked to be hung up."""
    room = kit.board.open_room("standup")
    with Switchboard.from_env() as other:
        other.start_webhook_server()
        other.dial_out("standup")
        kit.clean_up()
        assert kit.board.bridge(room) is not None
        kit.hang_up_everything()
        assert kit.board.bridge(room) is None


def test_a_call_that_may_be_up_is_not_called_hung_up(
    kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hang-up that finds no leg, or cannot be asked for, is told with its reason; the others are hung up."""
    board = kit.board
    lost = board.open_room("lost")
    board._store.claim_bridge(lost, board.owner)  # what a dial whose answer was lost leaves behind
    found = board.open_room("found")
    board.start_webhook_server()
    board.dial_out(found)
    capsys.readouterr()
    kit.clean_up()
    assert capsys.readouterr().out.startswith(
        "The call of room 'lost' may still be up. The answer to the dial was lost."
    )
    assert (board.bridge(lost) is None, board.bridge(found) is None) == (False, True)
    account = board._cloud.account()
    with monkeypatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as taken:
        nowhere = replace(account, video_api_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        taken.close()
        patch.setattr(board._cloud, "account", lambda: nowhere)
        kit.hang_up_everything()
    assert re.match(r"The call of room 'lost' may still be up\. .*\nFix: ", capsys.readouterr().out)
    monkeypatch.setattr("sipkit.bridges.PATIENCE", 0.0)
    kit.hang_up_everything()
    assert capsys.readouterr().out == "All calls are hung up.\n"


def test_what_the_platform_does_not_tell_is_not_zero(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a list of connections the verdict is "does not tell", and a room that does tell still counts."""
    room = kit.board.open_room("standup")
    with odd_platform(kit._cloud, kit._cloud.account()) as platform:
        platform.moods["GET /connection$"] = Says(404, "{}")
        assert kit.connections(room) == NOT_TOLD
        assert kit.wait_until_quiet(room) == {"connections in the session": NOT_TOLD, "legs in the conversation": 0}
        # Live there is no ledger to look into, only these lists.
        monkeypatch.setattr(Switchboard, "mode", "live")
        assert kit.wait_until_silent() == NOT_TOLD
    assert kit.wait_until_silent() == 0


def test_restoring_says_whether_there_was_something(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """The webhooks of before are claimed to be back only if there were some and they were put back."""
    kit.restore_application()
    assert "nothing to restore" in capsys.readouterr().out
    kit.board.start_webhook_server()
    for expected in ("has the webhooks it had before", "nothing to restore"):
        kit.restore_application()
        assert expected in capsys.readouterr().out


def test_the_application_is_shown_without_its_host(kit: Kit) -> None:
    """Where the webhooks point is read from the platform; the port, which changes, is hidden."""
    assert kit.application().content == {
        "answer_url": "GET http://•••/voice-answer",
        "event_url": "POST http://•••/voice-events",
    }
    kit.restore_application()


def test_a_wrong_pin_is_nobodys(kit: Kit) -> None:
    """The digits have the length of a PIN and open no room."""
    rooms = [kit.board.open_room(f"room {n}") for n in range(3)]
    wrong = kit.wrong_pin()
    assert len(wrong) == len(rooms[0].pin)
    assert wrong not in {room.pin for room in rooms}


def test_all_checks_pass_here_and_a_failed_one_brings_its_fix(kit: Kit) -> None:
    """On a machine where the tests run every check has a tick; one that fails says what to do."""
    lines = kit.checks().lines
    assert len(lines) == 6
    assert all(line.startswith("✔ ") for line in lines)
    failed = kit.check_python(at_least=(99, 0))
    assert not failed.passed
    assert repr(failed).startswith("✘ this kernel runs Python 99.0 or newer\n  Fix: ")


def test_a_check_that_raises_is_a_failed_check(board: Switchboard) -> None:
    """A cloud or server that cannot be reached becomes a cross with the error's own fix."""
    board.close()
    check = checks.cloud(board)
    assert not check.passed
    assert "Make a new one" in check.fix


class TestExercises:
    """Exercises that check themselves, and never stop a lesson."""

    @pytest.mark.parametrize("question", sorted(exercises.QUESTIONS))
    def test_an_answer_is_checked(self, question: str) -> None:
        """As handed out it says what to do, a wrong number brings the hint, the right one the reason."""
        known = exercises.QUESTIONS[question]
        assert repr(lessons.answer(question, None)).startswith("○ not yet: put a number")
        wrong = lessons.answer(question, known.right + 1)
        assert not wrong.passed
        assert repr(wrong).endswith(known.hint)
        right = lessons.answer(question, known.right)
        assert right.passed
        assert repr(right) == f"✔ {known.right}: {known.why}"

    def test_a_sound_is_listened_for(self, kit: Kit) -> None:
        """What a participant hears, now or before, passes; what does not come in time is "not yet"."""
        board = kit.board
        room = board.open_room("studio")
        board.start_webhook_server()
        board.dial_out(room)
        board.wait_for_bridge(room, "answered")
        listener = board.participant(room)
        assert not exercises.heard(listener, 880, timeout=0.2).passed
        speaker = board.participant(room, tone_hz=880)
        phone = board.phone().wait_for("answered")
        phone.wait_until_heard(lessons.voice)
        phone.keys(f"{room.pin}#")
        assert repr(lessons.heard(phone, 880, timeout=10)) == "✔ 880 Hz was heard"
        speaker.leave()
        assert lessons.heard(phone, 880).passed


def test_who_is_in_the_room_is_told_without_anybody_there(kit: Kit) -> None:
    """Each part of the chain has a line: a tick once it is there, before that what to do, and never an error."""
    board = kit.board
    room = board.open_room("studio")
    phone = PhonePanel(board)
    lines = kit.in_the_room(room, phone).lines
    assert len(lines) == 4
    assert all(line.startswith("○ not yet: ") for line in lines)
    board.start_webhook_server()
    board.dial_out(room)
    board.wait_for_bridge(room, "answered")
    phone.call.click()
    phone.wait_for("answered")
    assert phone.phone is not None
    phone.phone.wait_until_heard(lessons.voice)
    phone.press(f"{room.pin}#")
    board.wait_for_callers(room, 1)
    phone.receiver.set_state({"state": "talking"})
    assert kit.in_the_room(room, phone).lines == [
        "✔ the bridge is up",
        "✔ phones behind it: 1",
        presence.NO_BROWSER,
        "✔ you hold the phone's receiver",
    ]
    phone.hang_up.click()


def test_live_nobody_tells_who_has_a_browser(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is the sandbox's: live the line says so, and is no error."""
    room = kit.board.open_room("studio")
    phone = PhonePanel(kit.board)
    monkeypatch.setattr(Switchboard, "mode", "live")
    assert kit.in_the_room(room, phone).lines[2] == presence.NOT_TOLD


class TestTryEnv:
    """A `.env` tried without having one."""

    def test_missing_lines_are_named(self) -> None:
        """Half an account is an error that names the other half."""
        text = repr(lessons.try_env("VIDEO_API_KEY=40001234"))
        assert "VOICE_API_SECRET" in text
        assert "\nFix: " in text

    def test_an_account_is_live_and_shows_no_secret(self) -> None:
        """A whole account reads as live, and SIPKIT_MODE=sandbox wins over it."""
        assert repr(lessons.try_env(ACCOUNT)) == "Settings(mode='live', pin_length=6)"
        assert repr(lessons.try_env(f"{ACCOUNT}SIPKIT_MODE=sandbox")) == "Settings(mode='sandbox', pin_length=6)"

    def test_only_the_text_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Settings of the environment do not mix with the tried ones, and are there again afterwards."""
        monkeypatch.setenv("PIN_LENGTH", "9")
        assert repr(lessons.try_env("")) == "Settings(mode='sandbox', pin_length=6)"
        assert os.environ["PIN_LENGTH"] == "9"

    def test_the_tunnel_follows_the_text(self) -> None:
        """An own address and an authtoken choose their kind of tunnel, the sandbox none; nonsense is an error."""
        assert lessons.tunnel_of(f"{ACCOUNT}SERVER_URL=https://calls.example.org") == "StaticTunnel"
        assert lessons.tunnel_of(f"{ACCOUNT}NGROK_AUTHTOKEN=made-up") == "NgrokTunnel"
        assert lessons.tunnel_of("") == "NoTunnel"
        with pytest.raises(SettingsError):
            lessons.tunnel_of("PIN_LENGTH=three")


class TestShown:
    """Documents and ladders for stored outputs."""

    def test_secrets_numbers_and_hosts_are_hidden(self) -> None:
        """What is secret by its name, a number by its looks, and a host that changes are hidden, however deep."""
        content = {
            "uri": "sip:12025550100@sip.nexmo.com;transport=tls",
            "auth": {"username": "abcd1234", "password": "made-up"},
            "list": ["http://127.0.0.1:4711/voice-answer", "12025550100", 7],
            "secure": False,
        }
        assert hidden(content) == {
            "uri": "sip:•••@sip.nexmo.com;transport=tls",
            "auth": {"username": "•••", "password": "•••"},
            "list": ["http://•••/voice-answer", "•••", 7],
            "secure": False,
        }

    def test_a_ladder_reads_and_draws_the_same(self) -> None:
        """The text has an arrow for each message; the drawing has a title and a description for who cannot see it."""
        ladder = Ladder("left", "right", [Step(to_the_right=True, text="HELLO"), Step(to_the_right=False, text="200")])
        assert repr(ladder).splitlines() == [
            "left              right",
            "     -- HELLO -->",
            "     <---- 200 --",
        ]
        drawing = ladder._repr_markdown_()
        assert drawing.startswith("```mermaid\nsequenceDiagram\n")
        assert "accTitle: SIP between left and right" in drawing
        assert "accDescr: left: HELLO, right: 200" in drawing
        assert "a->>b: HELLO" in drawing
        assert "b->>a: 200" in drawing

    def test_a_document_is_json(self) -> None:
        """A call document is shown as the JSON the platform gets."""
        assert repr(lessons.Document([{"action": "talk"}])) == '[\n  {\n    "action": "talk"\n  }\n]'


def event(kind: str, text: str, leg: str = "", status: str = "") -> Event:
    """An event as the webhook server records it."""
    data = {name: value for name, value in {"leg": leg, "status": status}.items() if value}
    return Event(0, datetime(2026, 1, 1, tzinfo=UTC), kind, text, None, data)


def test_a_story_does_not_depend_on_the_order_of_arrival() -> None:
    """Whichever news overtakes which, the story is the same; seconds, which vary, are left out."""
    events = [
        event("dial", "The session calls."),
        event("voice-answer", "The bridge answered.", "a"),
        event("voice-events", "The bridge: started.", "a", "started"),
        event("voice-events", "The bridge: ringing.", "a", "ringing"),
        event("voice-events", "The bridge: completed, after 7 s.", "a", "completed"),
    ]
    expected = [
        "You:",
        "  The session calls.",
        "Your server was asked:",
        "  The bridge answered.",
        "The calls:",
        "  The bridge: started, ringing, completed.",
    ]
    assert story.tell(events) == story.tell(events[::-1]) == story.tell([*events, *events[2:]]) == expected
    assert story.unfinished(events) == set()
    assert story.unfinished(events[:-1]) == {"a"}


def test_navigation_leads_from_lesson_to_lesson(tmp_path: Path) -> None:
    """Each bar names the neighbours by their titles; a lesson without a title is an error."""
    for name, title in (("00-a", "First"), ("01-b", "Second"), ("99-c", "Last")):
        source = f'{{"cells": [{{"cell_type": "markdown", "source": ["# {title}"]}}]}}'
        (tmp_path / f"{name}.ipynb").write_text(source)
    bars = navigation.bars(navigation.lessons(tmp_path))
    assert bars == {
        "00-a.ipynb": "Lesson 00 · next: [Second](01-b.ipynb)",
        "01-b.ipynb": "Lesson 01 · before: [First](00-a.ipynb) · next: [Last](99-c.ipynb)",
        "99-c.ipynb": "Lesson 99 · before: [Second](01-b.ipynb)",
    }
    (tmp_path / "02-x.ipynb").write_text('{"cells": []}')
    with pytest.raises(ValueError, match=r"02-x.ipynb has no title"):
        navigation.lessons(tmp_path)


def test_tokens_are_read_without_their_secret(board: Switchboard) -> None:
    """A token's claims can be read by anybody, and are about the room's session."""
    room = board.open_room("standup")
    claims = lessons.read_token(board.token(room, role="subscriber"))
    assert (claims["session_id"], claims["role"]) == (room.session_id, "subscriber")
