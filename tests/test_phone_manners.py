"""What a phone hears in a call and what its keys do there, with real calls of the sandbox."""

from collections.abc import Iterator

import pytest

from sipkit import hold_music
from sipkit.company import Company
from sipkit.errors import WaitTimeout
from sipkit.phones import SandboxParticipant, SandboxPhone
from sipkit.phrases import ENGLISH, Phrase, Speaker
from sipkit.rooms import Caller, CallerState, Room
from sipkit.switchboard import Switchboard
from sipkit.tones import NOTES
from tests.standins.boards import now

SECONDS = 15.0


@pytest.fixture
def board(hall: Switchboard) -> Switchboard:
    """The board of this file's tests."""
    return hall


@pytest.fixture
def room(board: Switchboard) -> Iterator[Room]:
    """A room without a bridge; afterwards it is closed and its phones are gone."""
    room = board.open_room("mannered")
    yield room
    board.close_room(room)
    board.wait_for(lambda: not board.trace().ledger()["legs"], SECONDS, "the phones to leave")


def called(board: Switchboard, pin: str) -> SandboxPhone:
    """A phone that has typed a PIN, into the prompt."""
    phone = board.phone().wait_for("answered", SECONDS)
    phone.wait_until_heard(lambda heard: heard.level_dbfs > -45, SECONDS)
    phone.keys(f"{pin}#")
    return phone


def there(board: Switchboard, room: Room, state: CallerState, count: int = 1) -> list[Caller]:
    """Wait until so many phones of a room are in a state."""

    def look() -> list[Caller]:
        found = [caller for caller in board.callers(room) if caller.state == state]
        return found if len(found) == count else []

    return board.wait_for(look, SECONDS, f"{count} {state}")


def said(board: Switchboard, leg_uuid: str, phrase: Phrase, speaker: Speaker = ENGLISH, **values: int | str) -> bool:
    """Wait until the platform has said something to a leg."""
    text = speaker.text(phrase, **values)

    def heard() -> bool:
        lines = [event for event in board.trace().events() if event["kind"] == "speech" and event["leg"] == leg_uuid]
        return any(text in line["text"] for line in lines)

    return board.wait_for(heard, SECONDS, text)


def hears_tone(ear: SandboxPhone | SandboxParticipant, hz: float) -> None:
    """Wait until somebody hears a note."""
    ear.wait_until_heard(lambda heard: any(abs(tone - hz) < 15 for tone in heard.tones_hz), SECONDS)


def test_the_keys_of_a_call(board: Switchboard, room: Room) -> None:
    """By its keys a phone mutes and unmutes itself, raises its hand, hears who is there, and which keys there are."""
    listener = board.participant(room)
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    phone = called(board, room.pin)
    (caller,) = there(board, room, "joined")
    phone.keys("*6")
    said(board, caller.leg_uuid, "muted")
    assert board.callers(room)[0].muted
    assert board.ask_to_unmute(caller)
    assert board.callers(room)[0].unmute_asked
    said(board, caller.leg_uuid, "unmute_asked", key="star 6")
    phone.keys("*6")
    said(board, caller.leg_uuid, "unmuted")
    (after,) = board.callers(room)
    assert (after.muted, after.unmute_asked) == (False, False)
    phone.tone(620)
    listener.wait_until_heard(lambda heard: any(abs(tone - 620) < 10 for tone in heard.tones_hz), SECONDS)
    phone.keys("5*9")
    said(board, caller.leg_uuid, "hand_up")
    assert board.callers(room)[0].hand
    phone.keys("*1")
    said(board, caller.leg_uuid, "count", phones=1, browsers=1)
    phone.keys("*#")
    said(board, caller.leg_uuid, "help_mute", key="star 6")
    said(board, caller.leg_uuid, "help_help", key="star hash")
    written = " ".join(event.text for event in board.events(room))
    assert "muted itself" in written
    assert "*" not in written
    listener.leave()


def test_tones_of_joining_and_leaving(board: Switchboard, room: Room) -> None:
    """Phones and browsers hear one who joins and one who leaves; within ten seconds the next one makes no tone."""
    since = now(board)
    listener = board.participant(room)
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    first = called(board, room.pin)
    there(board, room, "joined")
    board._store.advance_clock(11)
    second = called(board, room.pin)
    there(board, room, "joined", 2)
    for ear in (first, listener):
        hears_tone(ear, NOTES["joined"][1])
    third = called(board, room.pin)
    there(board, room, "joined", 3)
    second.hang_up()
    there(board, room, "joined", 2)
    for ear in (first, listener):
        hears_tone(ear, NOTES["left"][1])
    streams = [line for line in board.trace().events(since) if str(line.get("path", "")).endswith("/stream")]
    assert len(streams) <= 6
    third.hang_up()
    listener.leave()


def test_a_phone_alone_is_told_so_once(board: Switchboard, room: Room) -> None:
    """A phone that nobody is with hears so after a while, once, in its room's language; with a second one it is not."""
    board.use_language(room, "de-DE")
    company, since = Company(board._settings, board._store, board._account), now(board)
    phone = called(board, room.pin)
    (caller,) = there(board, room, "joined")
    company.round({})
    assert not alone(board, since)
    for _round in range(3):
        board._store.advance_clock(21)
        company.round({})
    said(board, caller.leg_uuid, "alone", Speaker("de-DE"))
    second = called(board, room.pin)
    there(board, room, "joined", 2)
    company.round({})
    board._store.advance_clock(21)
    company.round({})
    assert len(alone(board, since)) == 1
    for each in (phone, second):
        each.hang_up()
    there(board, room, "left", 2)


def alone(board: Switchboard, since: int) -> list[str]:
    """How often a phone was told since an event of the trace that it is alone."""
    texts = {ENGLISH.text("alone"), Speaker("de-DE").text("alone")}
    return [line["text"] for line in board.trace().events(since) if line["kind"] == "speech" and line["text"] in texts]


def test_nobody_comes(board: Switchboard, room: Room) -> None:
    """A phone in a room that nobody connects to browsers is told so after fifteen minutes, and hung up."""
    phone = called(board, room.pin)
    (caller,) = there(board, room, "joined")
    board._store.advance_clock(15 * 60 + 1)
    Company(board._settings, board._store, board._account).round({})
    said(board, caller.leg_uuid, "goodbye_no_host")
    phone.wait_for("ended", SECONDS)


def test_a_room_that_waits_for_its_host(board: Switchboard, room: Room) -> None:
    """Until a host is in, phones hear music and not each other; when the host's phone leaves, the call ends for all."""
    board.wait_for_host(room)
    host_pin = board.host_pin(room)
    guests = [called(board, room.pin) for _ in range(2)]
    there(board, room, "joined", 2)
    for guest in guests:
        hears_tone(guest, hold_music.NOTES[0])
    guests[0].tone(880, 1.0)
    with pytest.raises(WaitTimeout):
        guests[1].wait_until_heard(lambda heard: any(abs(tone - 880) < 15 for tone in heard.tones_hz), 1.5)
    host = called(board, host_pin.digits)
    there(board, room, "joined", 3)
    guests[0].wait_until_heard(lambda heard: heard.level_dbfs < -60, SECONDS)
    guests[0].tone(880, 3.0)
    hears_tone(guests[1], 880)
    host.hang_up()
    for guest in guests:
        guest.wait_for("ended", SECONDS)


def test_new_rooms_wait_by_setting(board: Switchboard) -> None:
    """With WAIT_FOR_HOST=true a new room waits for its host; an older one is as its hosts left it."""
    with Switchboard.from_env(home=board._settings.home, wait_for_host=True) as other:
        assert not other.open_room(board.open_room("old").name).waits_for_host
        assert other.open_room("new").waits_for_host
        assert board.room("new").waits_for_host
    for name in ("old", "new"):
        board.close_room(name)


def test_the_bridge_is_a_hosts_deed(board: Switchboard, room: Room) -> None:
    """In a room that waits for its host a phone's music ends when the session is connected, which it hears then."""
    board.wait_for_host(room)
    participant = board.participant(room, tone_hz=620)
    guest = called(board, room.pin)
    hears_tone(guest, hold_music.NOTES[0])
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    hears_tone(guest, 620)
    board.hang_up(room)
    guest.wait_for("ended", SECONDS)
    participant.leave()


def test_closing_tells_who_waits(board: Switchboard, room: Room) -> None:
    """A room that is closed says so to the phone in its lobby and to the one that hears music; both are hung up."""
    board.wait_for_host(room)
    music = called(board, room.pin)
    board.use_lobby(room)
    lobby = called(board, room.pin)
    legs = [there(board, room, state)[0].leg_uuid for state in ("joined", "waiting")]
    board.close_room(room)
    for leg in legs:
        said(board, leg, "goodbye_closed")
    for phone in (music, lobby):
        phone.wait_for("ended", SECONDS)


def test_closing_tells_who_talks(board: Switchboard, room: Room) -> None:
    """The phones of a call whose room is closed are told so before they are hung up, and no leg stays behind."""
    board.dial_out(room)
    phone = called(board, room.pin)
    leg = there(board, room, "joined")[0].leg_uuid
    board.wait_for_bridge(room, "answered", SECONDS)
    board.close_room(room)
    said(board, leg, "goodbye_closed")
    phone.wait_for("ended", SECONDS)
    assert board._store.living_bridges() == []


def test_keys_after_the_lobby(board: Switchboard, room: Room) -> None:
    """A phone that a host has let in has the keys of the call, and the others hear that it has come."""
    board.use_lobby(room)
    board.dial_out(room)
    board.wait_for_bridge(room, "answered", SECONDS)
    since = now(board)
    phone = called(board, room.pin)
    (caller,) = there(board, room, "waiting")
    assert board.admit(caller)
    board.wait_for(
        lambda: any(str(line.get("path", "")).endswith("/stream") for line in board.trace().events(since)),
        SECONDS,
        "the tone",
    )
    phone.keys("*9")
    said(board, caller.leg_uuid, "hand_up")
    board.hang_up(room)
    phone.wait_for("ended", SECONDS)
