"""The PIN desk: which PINs let in, who has to pause, and what an attack looks like to honest callers."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select

from sipkit.errors import BadRoomName, RoomNotFound
from sipkit.pin_desk import Admitted, PinDesk, Refused
from sipkit.rooms import Room
from sipkit.store import Store, schema
from sipkit.store.schema import READ

NUMBER = "12025550123"
WRONG = "111111"  # no PIN has a digit twice in a row


@pytest.fixture
def url(store_url: str) -> str:
    """The store's address."""
    return store_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A new store."""
    store = Store.open(url, "sandbox:1")
    yield store
    store.close()


@pytest.fixture
def desk(store: Store) -> PinDesk:
    """The desk."""
    return PinDesk(store)


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


def legs() -> Iterator[str]:
    """A new leg for each call."""
    return (f"leg-{n}" for n in range(10**6))


def guess(desk: PinDesk, number: str, calls: Iterator[str]) -> int:
    """Call once as a guesser does; return how many PINs it could try."""
    if desk.must_pause(number):
        return 0
    leg = next(calls)
    for tries in range(1, 10):
        verdict = desk.judge(leg, number, WRONG)
        assert isinstance(verdict, Refused)
        if not verdict.tries_left:
            return tries
    raise AssertionError("The call did not end.")


def test_the_rooms_pin_lets_in(desk: PinDesk, room: Room) -> None:
    """The room's PIN leads straight into it."""
    verdict = desk.judge("leg", NUMBER, f"{room.pin}#")
    assert verdict == Admitted(room, verdict.pin, doubtful=False) if isinstance(verdict, Admitted) else False


def test_a_pin_expires_with_its_day(desk: PinDesk, store: Store, room: Room) -> None:
    """A day later the PIN lets nobody in, nobody is shown it, and who opens the room again gets a new one."""
    store.advance_clock(24 * 3600 + 1)
    assert isinstance(desk.judge("leg", NUMBER, room.pin), Refused)
    now = store.room("standup")
    assert now is not None
    assert now.pin == ""
    anew = store.open_room("standup", lambda: "OTHER")
    assert (anew.id, anew.session_id) == (room.id, "SESSION")
    assert isinstance(desk.judge("leg", NUMBER, anew.pin), Admitted)


def test_expiry_can_be_switched_off(url: str, room: Room) -> None:
    """With PIN_HOURS=0 a PIN is good as long as its room is open."""
    store = Store.open(url, "sandbox:1", pin_hours=0)
    lasting = store.open_room("other", lambda: "S")
    store.advance_clock(400 * 86400)
    assert store.room_by_pin(lasting.pin) is not None
    assert store.room_by_pin(room.pin) is None
    store.close()


def test_a_new_pin_replaces_the_old_one(desk: PinDesk, store: Store, room: Room) -> None:
    """After a change of the PIN only the new one lets in; so it is with a host's and a guest's own."""
    new = store.make_pin(room)
    assert isinstance(desk.judge("leg", NUMBER, room.pin), Refused)
    assert isinstance(desk.judge("leg", NUMBER, new.digits), Admitted)
    ada, again = store.make_pin(room, "personal", "Ada"), store.make_pin(room, "personal", " Ada ")
    assert isinstance(desk.judge("leg", NUMBER, ada.digits), Refused)
    verdict = desk.judge("leg", NUMBER, again.digits)
    assert isinstance(verdict, Admitted)
    assert (verdict.pin.kind, verdict.pin.name, len(verdict.pin.digits)) == ("personal", "Ada", 10)
    assert [pin.kind for pin in store.pins(room)] == ["room", "personal"]
    assert store.withdraw_pin(room, "Ada")
    assert not store.withdraw_pin(room, "Ada")
    assert isinstance(desk.judge("leg", NUMBER, again.digits), Refused)


def test_pins_end_with_their_room(desk: PinDesk, store: Store, room: Room) -> None:
    """Closing a room voids all its PINs, and none can be made for it."""
    pins = [room.pin, store.make_pin(room, "host").digits, store.make_pin(room, "personal", "Ada").digits]
    store.close_room("standup")
    assert all(isinstance(desk.judge(leg, "", pin), Refused) for leg, pin in zip(legs(), pins, strict=False))
    with pytest.raises(RoomNotFound):
        store.make_pin(room)


def test_a_personal_pin_needs_a_name(store: Store, room: Room) -> None:
    """Without a name nobody could tell whose it is."""
    with pytest.raises(BadRoomName):
        store.make_pin(room, "personal", " ")


def test_three_calls_worth_of_pauses(desk: PinDesk, store: Store, url: str) -> None:
    """The pauses of a caller grow, hold for every process, and outlive a restart; another caller is not touched."""
    calls = legs()
    assert guess(desk, NUMBER, calls) == 3
    other = Store.open(url, "sandbox:1")
    assert PinDesk(other).must_pause(f"+{NUMBER}")
    assert not desk.must_pause("12025550199")
    store.advance_clock(61)
    assert not PinDesk(other).must_pause(NUMBER)
    assert guess(desk, NUMBER, calls) == 1
    store.advance_clock(61)
    assert desk.must_pause(NUMBER)
    store.advance_clock(60)
    assert not desk.must_pause(NUMBER)
    store.advance_clock(40 * 86400)
    assert guess(desk, NUMBER, calls) == 3
    other.close()


def test_a_host_forgives(desk: PinDesk, store: Store) -> None:
    """Who has to pause may call again when a host says so, and has all its tries again."""
    calls = legs()
    assert guess(desk, NUMBER, calls) == 3
    assert store.forgive()
    assert not desk.must_pause(NUMBER)
    assert guess(desk, NUMBER, calls) == 3
    assert desk.must_pause(NUMBER)
    assert store.forgive()
    assert not store.forgive()


def test_no_number_is_kept(desk: PinDesk, store: Store) -> None:
    """What is remembered of a caller does not hold its number."""
    guess(desk, NUMBER, legs())
    rows = store.run(READ, lambda conn: str(conn.execute(select(schema.lockouts)).all()))
    assert "caller:" in rows
    assert NUMBER not in rows
    assert NUMBER[-7:] not in rows


def test_an_attack_with_fixed_ids_comes_to_nothing(desk: PinDesk, store: Store) -> None:
    """Ten lines that call without pause for a day get no more tries than the rule gives them: three, one per pause."""
    calls, tries = legs(), 0
    for _hour in range(24):
        tries += sum(guess(desk, f"120255501{line:02}", calls) for line in range(10))
        store.advance_clock(3600)
    pauses = [min(86400, 60 * 2**n) for n in range(24)]
    assert tries <= 10 * (3 + sum(sum(pauses[: n + 1]) <= 86400 for n in range(24)))


def test_calls_at_once_get_no_more(desk: PinDesk, store: Store, room: Room) -> None:
    """A caller with many calls at once gets no try more than with one after the other, and no PIN is looked at then."""
    calls = [f"leg-{n}" for n in range(30)]
    verdicts = [desk.judge(leg, NUMBER, WRONG) for leg in calls]
    assert sum(isinstance(each, Refused) and each.tries > 0 for each in verdicts) == 3
    assert desk.judge("one more", NUMBER, room.pin) == Refused(0, pause=True)
    store.advance_clock(61)
    assert desk.judge(calls[0], NUMBER, WRONG) == Refused(2, pause=True)
    assert isinstance(desk.judge("another", "12025550199", room.pin), Admitted)


def test_an_attack_with_changing_ids_keeps_nobody_out(desk: PinDesk, store: Store, room: Room) -> None:
    """While ids change on every call, an honest caller is never refused: the room's PIN leads to the host's door."""
    calls = legs()
    ada, host = store.make_pin(room, "personal", "Ada"), store.make_pin(room, "host")
    for call in range(30):
        assert guess(desk, f"1202{call:07}", calls) == 3
    assert not desk.must_pause(NUMBER)
    doubtful = [desk.judge(next(calls), NUMBER, pin) for pin in (room.pin, ada.digits, host.digits)]
    assert [verdict.doubtful for verdict in doubtful if isinstance(verdict, Admitted)] == [True, False, False]
    store.advance_clock(2 * 86400)
    calm = desk.judge(next(calls), NUMBER, store.open_room("standup", lambda: "S").pin)
    assert isinstance(calm, Admitted)
    assert not calm.doubtful


def test_who_hides_its_number_is_counted_with_all(desk: PinDesk, store: Store) -> None:
    """Hidden and nonsensical numbers are nobody in particular: they never pause, and the number notices them."""
    calls = legs()
    for number in ["", "unknown", "anonymous", "sip:x@example.org"] * 4:
        assert guess(desk, number, calls) == 3
    assert store.guarded() > 0


def test_a_leaked_pin_guards_its_room_alone(desk: PinDesk, store: Store, room: Room) -> None:
    """Many tries of PINs that were a room's lead its callers to the lobby, and no other room's."""
    other = store.open_room("other", lambda: "S2")
    store.make_pin(room)
    for leg in [f"leg-{n}" for n in range(12)]:
        desk.judge(leg, "", room.pin)
    assert store.guarded(room.id) > 0
    assert store.guarded(other.id) == 0


@pytest.mark.parametrize("case", ["expired", "replaced", "closed", "withdrawn"])
def test_void_and_wrong_pins_take_the_same_work(desk: PinDesk, store: Store, room: Room, case: str) -> None:
    """Whoever takes the time learns nothing: a void PIN has the statements of a wrong one, and the same verdict."""
    store.make_pin(room, "personal", "Ada")
    pin = {each.kind: each for each in store.pins(room)}["personal" if case == "withdrawn" else "room"].digits
    match case:
        case "expired":
            store.advance_clock(24 * 3600 + 1)
        case "replaced":
            store.make_pin(room)
        case "closed":
            store.close_room(room.name)
        case _:
            store.withdraw_pin(room, "Ada")
    for warm_up in (WRONG, pin):  # rows that are there from the second time on
        desk.judge("warm", "", warm_up)

    def statements(leg: str, keys: str) -> tuple[list[str], Any]:
        seen: list[str] = []

        def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        event.listen(store._engine, "before_cursor_execute", note)
        verdict = desk.judge(leg, "", keys)
        event.remove(store._engine, "before_cursor_execute", note)
        return seen, verdict

    assert statements("a", pin) == statements("b", WRONG)
