"""The store's charges: each begins and ends once, in whatever order the news comes, and outlives who brought it."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial

import pytest

from sipkit.costs import Charge
from sipkit.rooms import Bridge, Room
from sipkit.store import Store
from sipkit.store.caller_book import NEWS_WITHIN
from sipkit.store.charge_book import UNHEARD
from sipkit.webhooks.callbacks import read_event

ENVIRONMENT = "sandbox:KEY"
NUMBER = "12025550123"
TOLD = Decimal("0.000525")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A new, empty store, in SQLite and in PostgreSQL."""
    with contextlib.closing(Store.open(store_url, ENVIRONMENT)) as store:
        yield store


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


def bridge_up(store: Store, room: Room, leg: str = "leg") -> Bridge:
    """A bridge that was dialled and answered."""
    bridge, _ = store.claim_bridge(room, "me")
    store.bridge_dialed(bridge.id, f"connection of {leg}", None)
    answered = store.bridge_answered(room.session_id, leg, bridge.nonce)
    assert answered is not None
    return answered


def found(store: Store, room: Room | None = None) -> dict[tuple[str, str], Charge]:
    """The charges by kind and leg."""
    return {(charge.kind, charge.leg): charge for charge in store.charges(room)[0]}


def running(store: Store, room: Room | None = None) -> set[str]:
    """The kinds of charges that go on."""
    return {charge.kind for charge in store.charges(room)[0] if charge.ended_at is None}


def test_a_dial_that_nobody_answers_costs_nothing(store: Store, room: Room) -> None:
    """A bridge is charged for from its answer on, whichever of its two news comes first."""
    bridge, _ = store.claim_bridge(room, "me")
    store.bridge_dialed(bridge.id, "connection", None)
    assert store.charges(room)[0] == []
    store.end_bridge(bridge.id, "nobody answered")
    late, _ = store.claim_bridge(room, "me")
    store.bridge_answered("SESSION", "leg", late.nonce)
    assert running(store, room) == {"sip", "inbound"}
    store.bridge_dialed(late.id, "connection", None)
    assert running(store, room) == {"sip", "inbound", "video"}
    store.end_bridge(late.id, "hung up")
    assert running(store, room) == set()


def test_news_in_any_order_come_to_the_same(store: Store, room: Room) -> None:
    """Answered, completed, completed without a price, and the bridge's end: one charge, at the price first told."""
    for number, order in enumerate(itertools.permutations(range(4))):
        leg = f"leg {number}"
        bridge = bridge_up(store, room, leg)
        news: list[Callable[[], object]] = [
            partial(store.leg_answered, leg, "inbound", room.id),
            partial(store.leg_gone, leg, "inbound", room.id, 7, TOLD),
            partial(store.leg_gone, leg, "inbound", room.id, 0, None),
            partial(store.end_bridge, bridge.id, "hung up"),
        ]
        for each in order:
            news[each]()
        store.leg_gone(leg, "inbound", room.id, 90, Decimal(2))
        charge = found(store, room)["inbound", leg]
        assert (charge.told, charge.who) == (TOLD, "the bridge")
        assert charge.ended_at is not None
        assert charge.ended_at - charge.began_at == pytest.approx(7)
        assert running(store, room) == set()


def test_a_phone_is_its_rooms_once_it_has_typed_the_pin(store: Store, room: Room) -> None:
    """Its whole call counts for that room; that of one which types nothing for none."""
    store.caller_seen("phone", NUMBER, "asked")
    store.leg_answered("phone", "inbound", None)
    store.leg_answered("other", "inbound", None)
    assert found(store, room) == {}
    store.caller_seen("phone", NUMBER, "joined", room.id)
    assert found(store, room)["inbound", "phone"].who == "phone •••0123"
    assert found(store)["inbound", "other"].room == ""


def test_an_end_that_nobody_heard_of(store: Store, room: Room) -> None:
    """Where every process was killed, a phone ends with its bridge, and one that typed no PIN after ten minutes."""
    store.leg_answered("phone", "inbound", None)
    store.leg_answered("silent", "inbound", None)
    store.caller_seen("phone", NUMBER, "joined", room.id)
    bridge = bridge_up(store, room)
    store.advance_clock(60)
    store.end_bridge(bridge.id, "the notebook that dialled it is gone")
    assert running(store, room) == {"inbound"}
    store.advance_clock(NEWS_WITHIN + 1)
    assert running(store, room) == set()
    phone = found(store, room)["inbound", "phone"]
    assert phone.ended_at is not None
    assert phone.ended_at - phone.began_at == pytest.approx(60, abs=5)
    assert running(store) == {"inbound"}
    store.advance_clock(UNHEARD)
    assert running(store) == set()
    store.leg_gone("phone", "inbound", room.id, 65, TOLD)  # it comes after all
    assert found(store, room)["inbound", "phone"].told == TOLD


def test_a_phone_that_was_found_gone_costs_no_longer(store: Store, room: Room) -> None:
    """Whoever looks at the platform's calls and misses a phone there ends its charge with it."""
    store.leg_answered("phone", "inbound", None)
    store.caller_seen("phone", NUMBER, "joined", room.id)
    store.advance_clock(60)
    store.caller_left("phone")
    store.advance_clock(60)
    charge = found(store, room)["inbound", "phone"]
    assert charge.ended_at is not None
    assert charge.ended_at - charge.began_at == pytest.approx(60, abs=5)


def test_participants_are_those_seen_while_a_bridge_lives(store: Store, room: Room) -> None:
    """Who comes and goes between two looks is charged for between them; the room's last bridge ends it for all."""
    store.participants_seen(room.id, ["early"])
    assert store.charges(room)[0] == []
    bridge = bridge_up(store, room)
    whole = {"connection of leg", "ada"}
    store.participants_seen(room.id, whole)
    store.participants_seen(room.id, whole)
    store.participants_seen(room.id, {"connection of leg", "bob"})
    here = {leg: charge.ended_at is None for (kind, leg), charge in found(store, room).items() if kind == "video"}
    assert here == {"connection of leg": True, "ada": False, "bob": True}
    assert found(store, room)["video", "connection of leg"].who == "the bridge"
    store.participants_seen(room.id, {"connection of leg", "ada", "bob"})  # the list had lacked her
    assert found(store, room)["video", "ada"].ended_at is None
    call, _ = store.claim_bridge(room, "me", number=NUMBER)
    store.end_bridge(bridge.id, "hung up")
    assert found(store, room)["video", "connection of leg"].ended_at is not None
    assert found(store, room)["video", "bob"].ended_at is None
    store.end_bridge(call.id, "hung up")
    assert running(store, room) == set()


def test_another_project_sees_none_of_it(store: Store, room: Room, store_url: str) -> None:
    """Charges belong to an environment, as rooms do."""
    bridge_up(store, room)
    with contextlib.closing(Store.open(store_url, "sandbox:OTHER")) as other:
        assert other.charges()[0] == []
        other.leg_gone("leg", "inbound", None, 7, TOLD)
    assert found(store)["inbound", "leg"].ended_at is None


@pytest.mark.parametrize(
    ("price", "read"),
    [
        ("0.00052500", TOLD),
        ("12", Decimal(12)),
        (0.5, Decimal("0.5")),
        (None, None),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("NaN", None),
        ("1,5", None),
        ("٣", None),
        ("9" * 5000, None),
        ({"price": "1"}, None),
        (True, None),
    ],
)
def test_only_a_plain_amount_is_a_price(price: object, read: Decimal | None) -> None:
    """Whatever else stands in an event's price leaves the estimate as it is, and the event is taken."""
    event = read_event({"uuid": "leg", "status": "completed", "duration": "7", "price": price})
    assert (event.price, event.seconds) == (read, "7")
    assert read_event({"status": "completed", "duration": "9" * 5000}).seconds == ""
