"""What a host does from the page: the same deeds as on the board's panel, in the server's process.

The page knows a phone by its alias and four digits of its number; what it asks for is looked up among the phones of
its own room. While the platform is asked, one of the few hands of `calls` is in use: see there.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from sipkit.cloud import Account
from sipkit.errors import BadRoomName
from sipkit.moderation import DEEDS, Moderation, shown
from sipkit.room_page.visits import Refusal
from sipkit.rooms import Caller, Room
from sipkit.settings import Settings
from sipkit.store import Store

SWITCHES: Final = ("locked", "lobby", "waits_for_host")
"""What a host switches at the door, as `Room` names it."""


class Hosts(Moderation):
    """The hosts of all rooms, at their pages.

    Args:
        settings: In which language phones are spoken to, and their keys.
        store: What all processes agree on.
        account: Gives the platform account as it is now.
        hand: Gives a free hand for one request to the platform, or raises `Refusal`.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        account: Callable[[], Account],
        hand: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._account_now = account
        self._hand = hand

    def see(self, room: Room, callers: Iterable[Caller] | None = None) -> dict[str, Any]:
        """Return what a host's page shows: the phones that are there or wait, and the door."""
        there = self._store.callers(room) if callers is None else callers
        return {
            "phones": [shown(caller) for caller in there if caller.state in {"waiting", "joined"}],
            "guessing": self.guessed_at(room),
            **{name: getattr(room, name) for name in SWITCHES},
        }

    def to_phone(self, room: Room, alias: str, deed: str, body: Mapping[str, Any]) -> str:
        """Do something to a phone of a room; return what is so now, in words.

        Args:
            room: The room.
            alias: The phone, as `shown` names it.
            deed: One of `moderation.DEEDS`, or `rename` to the body's `name`.
            body: What the page sent.

        Raises:
            Refusal: There is no such phone or deed, the name cannot be, or the server is busy.
            AuthenticationRefused, PlatformError, PlatformUnreachable: The platform did not do it.
        """
        caller = next((each for each in self._store.callers(room) if each.alias == alias), None)
        if caller is None:
            raise Refusal(404, "No such phone has been in this room.")
        if deed == "rename":
            try:
                return self.rename(caller, body.get("name", "")).words
            except BadRoomName as error:
                raise Refusal(400, error.message) from None
        if deed not in DEEDS:
            raise Refusal(404, "This is nothing that can be done to a phone.")
        with self._hand():
            return DEEDS[deed](self, caller).words

    def set_door(self, room: Room, body: Mapping[str, Any]) -> Room:
        """Switch what the body says, each of `SWITCHES` on or off; return the room as it is now.

        Raises:
            Refusal: It says nothing, or something other than true and false.
        """
        wishes = {name: body[name] for name in SWITCHES if name in body}
        if not wishes or not all(isinstance(on, bool) for on in wishes.values()):
            raise Refusal(400, "Say of locked, lobby or waits_for_host whether it is true or false.")
        for name, on in wishes.items():
            match name:
                case "locked":
                    (self.lock if on else self.unlock)(room)
                case "lobby":
                    self.use_lobby(room, on=on)
                case "waits_for_host":
                    self.wait_for_host(room, on=on)
        return self._room(room)

    def _room(self, room: Room | str) -> Room:
        found = self._store.room_by_id(room.id) if isinstance(room, Room) else self._store.room(room)
        if found is None:
            raise Refusal(410, "This room is closed.")
        return found

    def _account(self) -> Account:
        return self._account_now()
