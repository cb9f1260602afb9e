"""The cost meter: what a room has cost until now, how long its budget lasts, and what a call came to."""

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from sipkit.costs import Costs, in_words
from sipkit.errors import BudgetSpent, SettingsError

if TYPE_CHECKING:
    from sipkit.rooms import Bridge, Room
    from sipkit.settings import Settings
    from sipkit.store import Store

HIGHEST_BUDGET = 10_000.0


class Meter:
    """The part of a `Switchboard` that knows what calls cost."""

    _settings: "Settings"
    _store: "Store"

    def _room(self, room: "Room | str") -> "Room":
        raise NotImplementedError

    def _require_open(self) -> None:
        raise NotImplementedError

    def costs(self, room: "Room | str | None" = None) -> Costs:
        """Return what a room has cost until now; without one, what all of them have, closed ones too.

        Until the platform tells a leg's price it is an estimate, and what video and SIP cost always is.

        Raises:
            RoomNotFound: There is no open room of this name.
        """
        self._require_open()
        return read(self._store, self._settings, None if room is None else self._room(room))

    def budget(self, room: "Room | str") -> float:
        """Return what a room may cost in each currency before its call is hung up; 0: anything."""
        return budget_of(self._settings, self._room(room))

    def set_budget(self, room: "Room | str", amount: float | None) -> None:
        """Say what a room may cost before its call is hung up, all its calls together.

        Args:
            room: The room, or its name.
            amount: In each currency on its own; 0: anything, None: what ROOM_BUDGET says.

        Raises:
            SettingsError: It is no such amount.
        """
        room = self._room(room)
        if amount is not None and not 0 <= amount <= HIGHEST_BUDGET:
            raise SettingsError("A budget is an amount from 0 to 10000.", "Give an amount, such as 0.50; 0: anything.")
        self._store.set_room(room, budget=amount)
        for bridge in self._store.living_bridges():
            if bridge.room_id == room.id:
                self._store.bridge_warned(bridge, "")  # of the budget it had
        what = f"a budget of {amount:g} in each currency" if amount else "no budget"
        text = f"Room {room.name!r} has {what if amount is not None else 'the budget of the settings'}."
        self._store.record("budget", text, room.id)

    def _require_budget(self, room: "Room") -> None:
        require_budget(self._store, self._settings, room)


def read(store: "Store", settings: "Settings", room: "Room | None" = None) -> Costs:
    """Return what a room, or all of them, have cost until now."""
    charges, now = store.charges(room)
    return Costs.of(charges, settings.prices, now)


def budget_of(settings: "Settings", room: "Room") -> float:
    """Return a room's own budget, or that of the settings; 0: none."""
    return settings.room_budget if room.budget is None else room.budget


def budget_left(store: "Store", settings: "Settings", room: "Room") -> float | None:
    """Return for how many seconds a room's budget lasts as things go; None: for ever."""
    budget = Decimal(str(budget_of(settings, room)))
    return read(store, settings, room).seconds_left(budget) if budget else None


def require_budget(store: "Store", settings: "Settings", room: "Room") -> None:
    """Let no call be placed that would be hung up at once.

    Raises:
        BudgetSpent: The room has cost what it may.
    """
    if budget_left(store, settings, room) == 0:
        spent = in_words(read(store, settings, room).total)
        raise BudgetSpent(f"Room {room.name!r} has cost {spent}, and its budget is used up.")


def tell(store: "Store", settings: "Settings", bridge: "Bridge") -> None:
    """Say in the timeline, once, what a call that has ended cost: the bridge, and all that was there with it."""
    ended = store.bridge(bridge.id)
    if ended is None or ended.living or not store.use_ticket(f"cost of bridge {bridge.id}", store.time() + 86400):
        return
    dialed = bridge.dialed_at.timestamp()
    whole = read(store, settings, store.room_of(bridge))
    lines = tuple(line for line in whole.lines if line.charge.ended_at is None or line.charge.ended_at > dialed)
    call = replace(whole, lines=lines)
    if call.lines:
        about = "about " if call.estimate else ""
        text = f"The call of room {call.lines[0].charge.room!r} cost {about}{in_words(call.total)}."
        store.record("cost", text, bridge.room_id)
