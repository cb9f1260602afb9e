"""A host and the room's phones: the lobby, mute, remove, lock, PINs; with real calls of the sandbox."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sipkit.errors import SipkitError
from sipkit.phones import SandboxPhone
from sipkit.phrases import ENGLISH
from sipkit.rooms import Caller, CallerState, Deed, Room
from sipkit.switchboard import Switchboard
from sipkit.widgets import CallPanel, HostPanel
from sipkit.widgets.host_state import WHY_NO_TALKING
from sipkit.widgets.refresh import stop_all

SECONDS = 15.0


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests."""
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room; afterwards it is closed, its phones are gone, and no thread looks at the board."""
    room = board.open_room("hosted")
    yield room
    stop_all(board)
    for caller in board.callers(room):
        if caller.state != "left":
            board.remove(caller)
    board.close_room(room)


def called(board: Switchboard, pin: str, from_: str | None = None) -> SandboxPhone:
    """A phone that has typed a PIN, into the prompt."""
    phone = board.phone(from_=from_).wait_for("answered", SECONDS)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    phone.keys(f"{pin}#")
    return phone


def there(board: Switchboard, room: Room, state: CallerState, count: int = 1) -> list[Caller]:
    """Wait until so many phones of a room are in a state."""

    def look() -> list[Caller]:
        found = [caller for caller in board.callers(room) if caller.state == state]
        return found if len(found) == count else []

    return board.wait_for(look, SECONDS, f"{count} {state}")


def said(board: Switchboard, text: str) -> bool:
    """Wait until the platform has said a text to some phone."""
    return board.wait_for(lambda: any(text in str(line) for line in board.trace().events()), SECONDS, text)


def requests_to(board: Switchboard, caller: Caller) -> list[str]:
    """What the platform was asked to do to a phone, in order."""
    path = f"/v1/calls/{caller.leg_uuid}"
    asked = [event for event in board.trace().events() if event["kind"] == "rest" and event["path"].startswith(path)]
    return [event["path"].removeprefix(path).strip("/") or event["body"]["action"] for event in asked]


def test_the_lobby(board: Switchboard, room: Room) -> None:
    """A phone waits with music, is admitted once though two hosts press at once, and then is heard in the session."""
    board.use_lobby(room)
    listener = board.participant(room)
    board.dial_out(room)
    phone = called(board, room.pin)
    (caller,) = there(board, room, "waiting")
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    assert board.lobby(room) == [caller]
    with ThreadPoolExecutor(2) as hosts:
        assert sorted(deed.done for deed in hosts.map(board.admit, [caller, caller])) == [False, True]
    there(board, room, "joined")
    phone.tone(440)
    listener.wait_until_heard(lambda heard: any(abs(tone - 440) < 10 for tone in heard.tones_hz), SECONDS)
    assert not board.admit(caller)
    board.hang_up(room)
    phone.wait_for("ended", SECONDS)


def test_each_phone_is_admitted_singly(board: Switchboard, room: Room) -> None:
    """Admitting one phone leaves the next one waiting, and hanging up the call sends it home."""
    board.use_lobby(room)
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    first, second = called(board, room.pin), called(board, room.pin)
    waiting = there(board, room, "waiting", 2)
    assert board.admit(waiting[0])
    there(board, room, "joined")
    assert board.lobby(room) == waiting[1:]
    board.hang_up(room)
    first.wait_for("ended", SECONDS)
    second.wait_for("ended", SECONDS)


def test_personal_and_host_pins(board: Switchboard, room: Room) -> None:
    """Who types its own PIN has its name; a host passes the lobby and the locked door, which others do not."""
    ada, host = board.personal_pin(room, "Ada"), board.host_pin(room)
    assert ada.digits not in repr((ada, board.pins(room)))
    first = called(board, ada.digits)
    assert there(board, room, "joined")[0].name == "Ada"
    board.use_lobby(room)
    board.lock(room)
    second = called(board, host.digits)
    assert [caller.host for caller in there(board, room, "joined", 2)] == [False, True]
    third = called(board, room.pin)
    third.wait_for("ended", SECONDS)
    assert said(board, ENGLISH.text("goodbye_locked"))
    for phone in (first, second):
        phone.hang_up()
    there(board, room, "left", 2)


def test_mute_and_remove(board: Switchboard, room: Room) -> None:
    """A muted phone is heard by nobody, a removed one is hung up; both again are no error."""
    listener = board.participant(room)
    board.dial_out(room)
    phone = called(board, room.pin)
    (caller,) = there(board, room, "joined")
    phone.tone(440, 1.0)
    listener.wait_until_heard(lambda heard: any(abs(tone - 440) < 10 for tone in heard.tones_hz), SECONDS)
    assert board.mute(caller)
    assert not board.mute(caller)
    assert board.callers(room)[0].muted
    phone.tone(880, 3.0)
    with pytest.raises(SipkitError):
        listener.wait_until_heard(lambda heard: any(abs(tone - 880) < 10 for tone in heard.tones_hz), 1.5)
    assert board.remove(caller)
    phone.wait_for("ended", SECONDS)
    there(board, room, "left")
    for deed in (board.remove, board.mute, board.ask_to_unmute, board.lower_hand, board.admit):
        assert deed(caller) == Deed(done=False, words=f"Phone {caller.masked_number} has left.")
    board.hang_up(room)


def test_a_muted_phone_is_asked_never_unmuted(board: Switchboard, room: Room) -> None:
    """Two hosts on two boards press at once: the platform is asked once for each deed, and the phone told once."""
    phone = called(board, room.pin)
    (caller,) = there(board, room, "joined")
    who = f"Phone {caller.masked_number}"
    assert board.ask_to_unmute(caller) == Deed(done=False, words=f"{who} is not muted.")
    with Switchboard.from_env(home=board._settings.home) as other, ThreadPoolExecutor(2) as hosts:
        for deed in ("mute", "ask_to_unmute"):
            outcomes = list(hosts.map(lambda each, deed=deed: getattr(each, deed)(caller), [board, other]))
            assert sorted(outcome.done for outcome in outcomes) == [False, True]
        assert (now := other.callers(room)[0]).muted
        assert now.unmute_asked
        phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
        board._store.advance_clock(11.0)
        assert other.ask_to_unmute(caller)
        assert list(hosts.map(lambda each: each.remove(caller).done, [board, other])).count(True) == 1
    phone.wait_for("ended", SECONDS)
    assert requests_to(board, caller) == ["mute", "talk", "talk", "hangup"]


def test_a_new_pin_and_digits_into_the_refusal(board: Switchboard, room: Room) -> None:
    """After a change the old PIN is wrong; the new one, typed while the phone is still being told so, counts."""
    new = board.new_pin(room)
    phone = called(board, room.pin)
    said(board, "That pin code is not right")
    phone.keys(f"{new.digits}#")
    there(board, room, "joined")
    phone.hang_up()
    there(board, room, "left")


def test_a_caller_that_guesses_has_to_pause(board: Switchboard, room: Room) -> None:
    """After three wrong PINs the same number is told to call later, at once; another number is asked as ever."""
    guesser = "12025550177"
    phone = called(board, "111111", guesser)
    for tries in ("2 more tries", "one more try"):
        said(board, tries)
        phone.keys("111111#")
    phone.wait_for("ended", SECONDS)
    again = board.phone(from_=guesser).wait_for("answered", SECONDS)
    again.wait_for("ended", SECONDS)
    assert said(board, ENGLISH.text("goodbye_pause"))
    honest = called(board, room.pin, "12025550178")
    there(board, room, "joined")
    honest.hang_up()
    there(board, room, "left")


def test_hang_up_everything(board: Switchboard, room: Room) -> None:
    """One press ends every call of the project: of two rooms, one dialled elsewhere, and a phone without a room."""
    other = board.open_room("hosted too")
    panel = HostPanel(board, room)
    with Switchboard.from_env(home=board._settings.home) as elsewhere:
        elsewhere.start_webhook_server()
        elsewhere.dial_out(other)
        board.dial_out(room)
        for each in (room, other):
            board.wait_for_bridge(each, "answered", SECONDS)
        joined, asked = called(board, room.pin), board.phone().wait_for("answered", SECONDS)
        board.wait_for_callers(room, 1, SECONDS)
        panel.everything.click()
        assert panel.state.error == ""
        for phone in (joined, asked):
            phone.wait_for("ended", SECONDS)
        assert (board.bridge(room), board.bridge(other)) == (None, None)
    panel.close()
    board.close_room(other)


def test_who_talks_and_whose_hand_is_up(board: Switchboard, room: Room) -> None:
    """The panel marks the phone that talks and the one whose hand is raised, and lowers that."""
    panel = HostPanel(board, room)
    speaker, silent = called(board, room.pin), called(board, room.pin)
    callers = there(board, room, "joined", 2)

    def marks(name: str) -> list[bool]:
        return [line[name] for line in panel.view.phones]

    board._store.set_hand(callers[1].leg_uuid, up=True)
    board.wait_for(lambda: marks("hand") == [False, True], SECONDS, "the raised hand")
    panel.view._handle_custom_msg({"do": "lower-hand", "phone": callers[1].alias}, [])
    assert marks("hand") == [False, False]
    assert "hand down" in panel.view.word
    speaker.tone(440, 20.0)
    board.wait_for(lambda: marks("talking") == [True, False], SECONDS, "the phone that talks")
    for phone in (speaker, silent):
        phone.hang_up()
    there(board, room, "left", 2)
    panel.close()


def test_live_nobody_tells_who_talks(board: Switchboard, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no sandbox, the panel says why it shows nobody as talking, and asks nobody."""
    monkeypatch.setattr(Switchboard, "mode", property(lambda _board: "live"))
    monkeypatch.setattr(Switchboard, "talking", lambda _board: pytest.fail("nobody is to be asked"))
    board._store.caller_seen("a leg", "12025550123", "joined", room.id)
    panel = HostPanel(board, room)
    assert panel.view.why_no_talking == WHY_NO_TALKING
    assert [line["talking"] for line in panel.view.phones] == [False]
    panel.close()
    board._store.caller_left("a leg")


def test_the_hosts_panel(board: Switchboard, room: Room) -> None:
    """The panel lists who waits and who is in; its buttons admit, mute, ask to unmute, rename, remove, lock, wait."""
    panel, call = HostPanel(board, room), CallPanel(board, room)
    panel.lobby.click()
    assert (panel.lobby.description, panel.lock.description) == ("Close the lobby", "Lock the room")
    before = room.pin
    panel.new_pin.click()
    board.wait_for(lambda: call.state.pin not in {"", before}, SECONDS, "the new PIN in the call panel")
    phone = called(board, call.state.pin)
    board.wait_for(lambda: panel.view.waiting == 1, SECONDS, "a phone in the lobby")
    (line,) = panel.view.phones
    assert line["number"].startswith("•••")
    press = panel.view._handle_custom_msg
    press({"do": "admit", "phone": line["id"]}, [])
    press({"do": "mute", "phone": line["id"]}, [])
    press({"do": "ask-to-unmute", "phone": line["id"]}, [])
    assert panel.view.word.endswith("was asked to unmute itself.")
    press({"do": "rename", "phone": line["id"], "name": "Grace"}, [])
    press({"do": "unmute", "phone": line["id"]}, [])  # there is no such button
    board.wait_for(
        lambda: (
            [(each["name"], each["muted"], each["waiting"]) for each in panel.view.phones] == [("Grace", True, False)]
        ),
        SECONDS,
        "what the buttons said",
    )
    panel.lock.click()
    panel.wait_for_host.click()
    assert board.room("hosted").locked
    assert board.room("hosted").waits_for_host
    assert panel.wait_for_host.description == "Do not wait for the host"
    press({"do": "rename", "phone": line["id"], "name": "\n"}, [])
    assert "name" in panel.view.error
    press({"do": "remove", "phone": line["id"]}, [])
    phone.wait_for("ended", SECONDS)
    board.wait_for(lambda: panel.view.phones == [], SECONDS, "an empty list")
    press({"do": "mute", "phone": line["id"]}, [])
    assert (panel.view.error, panel.view.word) == ("", f"Grace (phone {line['number']}) has left.")
    assert call.state.pin not in repr((panel, call, panel.view))
    panel.close()
    call.close()
