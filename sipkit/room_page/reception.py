"""What the room page's views share: the store, the calls, whose visit is whose, and what was asked how often."""

from collections.abc import Callable
from dataclasses import dataclass

from sipkit.cloud import Account
from sipkit.errors import InvitationRefused
from sipkit.invitations import Seal, path_name
from sipkit.room_page.calls import RoomCalls
from sipkit.room_page.hosts import Hosts
from sipkit.room_page.visits import Refusal, Visit, VisitDesk
from sipkit.rooms import Room
from sipkit.settings import Settings
from sipkit.store import Store


@dataclass(frozen=True, slots=True)
class Limit:
    """So many uses in so many seconds."""

    uses: int
    seconds: float = 60.0


class Reception:
    """What the views work with.

    Args:
        settings: For the address they name, and how phones are spoken to.
        store: Rooms, callers, limits.
        account: Gives the platform account as it is now.
        public_url: Gives the address the platform reaches this server by.
        require_end: See `sipkit.app.create_app`.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        account: Callable[[], Account],
        public_url: Callable[[], str | None],
        require_end: Callable[[str], None],
    ) -> None:
        self.store = store
        self.account = account
        self.calls = RoomCalls(store, account, public_url, require_end)
        self.hosts = Hosts(settings, store, account, self.calls.hand)
        self.seal = Seal(store)
        self.desk = VisitDesk(self.seal, store)
        self._settings = settings
        self._public_url = public_url

    def own_urls(self) -> tuple[str | None, ...]:
        """Return the addresses a page of this server can have."""
        return self._public_url(), self._settings.server_url

    def count(self, what: str, whose: object, limit: Limit) -> None:
        """Count a use.

        Raises:
            Refusal: There were too many.
        """
        wait = self.store.allow(f"{what} {whose}", limit.uses, limit.seconds)
        if wait:
            raise Refusal(429, f"That was too often. Try again in {wait:.0f} s.", wait)

    def room(self, visit_or_id: Visit | int, name: str) -> Room:
        """Return the open room of an invitation.

        Raises:
            InvitationRefused: The address names another room.
            Refusal: The room is closed.
        """
        room_id = visit_or_id.invited.room_id if isinstance(visit_or_id, Visit) else visit_or_id
        room = self.store.room_by_id(room_id)
        if room is None:
            raise Refusal(410, "This room is closed.")
        if path_name(room.name) != name:
            raise InvitationRefused("This link does not open a room here.")
        return room
