"""Dial out and hang up from the page: the same bridges as the board's, in the server's process.

It works while the notebook's kernel is busy, and it must not keep the server busy: a thread that waits, for the
platform or for its turn, answers no webhook, not even that of the very call it waits for. So no more than half of
the server's threads ever wait here. One press at a time works on a room; who comes in between is told so.
"""

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

from sipkit.bridges import HUNG_UP, Bridges
from sipkit.cloud import Account
from sipkit.errors import ServerError
from sipkit.http_server import THREADS
from sipkit.lost_dials import PATIENCE
from sipkit.room_page.visits import Refusal
from sipkit.rooms import Bridge, HangUp, Room
from sipkit.store import Store
from sipkit.video import VideoPlatform
from sipkit.video_platform import video_platform
from sipkit.voice_calls import hanging_up

CallState = Literal["idle", "dialing", "connected"]

_HANG_UP_PATIENCE: Final = 5.0  # seconds for a dial under way to be answered
_BUSY: Final = "This room's call is being worked on at this moment. Try again in a few seconds."
_BUSY_ELSEWHERE: Final = "The server is busy with other calls. Try again in a few seconds."


class RoomCalls:
    """Places and ends the calls of rooms.

    Args:
        store: What all processes agree on.
        account: Gives the platform account as it is now.
        public_url: Gives the address the platform reaches this server by.
        require_end: Raises `ServerError` if nobody will be there to hang up an owner's bridge.
    """

    def __init__(
        self,
        store: Store,
        account: Callable[[], Account],
        public_url: Callable[[], str | None],
        require_end: Callable[[str], None],
    ) -> None:
        self._store = store
        self._account = account
        self._public_url = public_url
        self._require_end = require_end
        self._bridges: dict[str, Bridges] = {}  # by owner
        self._last: dict[int, int] = {}  # a room's id -> the id of the bridge last dialled, or found, here
        self._turns: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._hands = threading.BoundedSemaphore(THREADS // 2)
        self._seen: tuple[Account, VideoPlatform] | None = None
        self._lock = threading.Lock()

    def video(self) -> VideoPlatform:
        """Return the video platform as it is now."""
        account = self._account()
        with self._lock:
            if self._seen is None or self._seen[0] != account:
                self._seen = (account, video_platform(account))
            return self._seen[1]

    def state(self, room: Room) -> CallState:
        """Say how far a room's call is."""
        return _state_of(self._store.living_bridge(room))

    def unanswered(self, room: Room) -> bool:
        """Tell whether the call that was last dialled here ended before its answer, and not by a hang-up."""
        last = self._last.get(room.id)
        bridge = self._store.bridge(last) if last is not None else None
        return bridge is not None and not bridge.living and bridge.leg_uuid is None and bridge.reason != HUNG_UP

    def dialled(self) -> list[Bridge]:
        """Return the living bridges that were dialled here."""
        with self._lock:
            ours = {bridges.dialler for bridges in self._bridges.values()}
        return [bridge for bridge in self._store.living_bridges() if bridge.dialler in ours]

    def dial(self, room: Room, owner: str) -> CallState:
        """Dial the room's bridge for its owner; a living one is left as it is.

        Raises:
            Refusal: Its call is being worked on.
            ServerError: The call would not be answered, or nobody would hang it up.
            PlatformError: No call was placed, or nobody knows.
        """
        with self._turn(room, 0.0):
            living = self._store.living_bridge(room)
            if living is not None and self._on_its_way(living):
                return "dialing"
            self._require_end(owner)
            if self._public_url() is None:
                message = "This server does not know its public address, so the call would come to nothing."
                raise ServerError(message, "Run board.start_webhook_server(), or set SERVER_URL and start it again.")
            bridges = self._bridges_of(owner)
            bridge = bridges.dial(room)
            self._last[room.id] = bridge.id
            if bridge.dialler == bridges.dialler:  # else it was there already, and ends with who dialled it
                try:
                    self._require_end(owner)  # who was to hang it up may have gone while we dialled
                except ServerError:
                    bridges.hang_up(room)
                    raise
            return _state_of(bridge)

    def hang_up(self, room: Room, owner: str) -> HangUp:
        """End the room's bridge, whoever dialled it.

        Raises:
            Refusal: Its call is being worked on.
            PlatformError: The bridge may still be up.
        """
        with self._turn(room, _HANG_UP_PATIENCE):
            return self._bridges_of(owner).hang_up(room)

    def _on_its_way(self, bridge: Bridge) -> bool:
        return bridge.connection_id is None and self._store.age_of(bridge) < PATIENCE

    def _bridges_of(self, owner: str) -> Bridges:
        with self._lock:
            if owner not in self._bridges:
                # The board may be dialling for the same owner in its own process, so this dialler is another one.
                name = f"room page {secrets.token_hex(8)}"
                self._bridges[owner] = Bridges(self._store, self.video, owner, name, hanging_up(self._account))
            return self._bridges[owner]

    @contextmanager
    def hand(self, words: str = _BUSY_ELSEWHERE) -> Iterator[None]:
        """Ask the platform for something with one of the few hands.

        Raises:
            Refusal: None is free.
        """
        if not self._hands.acquire(blocking=False):
            raise Refusal(409, words)
        try:
            yield
        finally:
            self._hands.release()

    @contextmanager
    def _turn(self, room: Room, patience: float) -> Iterator[None]:
        """Work on a room's call, and wait for that so many seconds; who waits does so with one of the hands."""
        with self._lock:
            turn = self._turns[room.id]
        with self.hand(_BUSY if turn.locked() else _BUSY_ELSEWHERE):
            if not turn.acquire(timeout=patience):
                raise Refusal(409, _BUSY)
            try:
                yield
            finally:
                turn.release()


def _state_of(bridge: Bridge | None) -> CallState:
    if bridge is None or not bridge.living:
        return "idle"
    return "connected" if bridge.state == "answered" else "dialing"
