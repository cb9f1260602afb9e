"""Dial out and hang up from the page: the same bridges as the board's, in the server's process.

It works while the notebook's kernel is busy, and it must not keep the server busy: a thread that waits for the
platform answers no webhook. So one press at a time works on a room, few rooms are worked on at once, and who
comes in between is told so instead of being queued.
"""

import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, Literal

from sipkit.bridges import PATIENCE, Bridges
from sipkit.cloud import Account
from sipkit.errors import ServerError
from sipkit.http_server import THREADS
from sipkit.room_page.visits import Refusal
from sipkit.rooms import Bridge, HangUp, Room
from sipkit.store import Store
from sipkit.video import OpenTokVideo, VideoPlatform

CallState = Literal["idle", "dialing", "connected"]

_HANG_UP_PATIENCE: Final = 5.0  # seconds for a dial under way to be answered
_BUSY: Final = "This room's call is being worked on at this moment. Try again in a few seconds."


class RoomCalls:
    """Places and ends the calls of rooms.

    Args:
        store: What all processes agree on.
        account: Gives the platform account as it is now.
        public_url: Gives the address the platform reaches this server by.
        may_dial: Whether somebody will be there to hang up an owner's bridge.
    """

    def __init__(
        self,
        store: Store,
        account: Callable[[], Account],
        public_url: Callable[[], str | None],
        may_dial: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._account = account
        self._public_url = public_url
        self._may_dial = may_dial
        self._bridges: dict[str, Bridges] = {}
        self._turns: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._hands = threading.BoundedSemaphore(THREADS // 2)
        self._seen: tuple[Account, VideoPlatform] | None = None
        self._lock = threading.Lock()

    def video(self) -> VideoPlatform:
        """Return the video platform as it is now."""
        account = self._account()
        with self._lock:
            if self._seen is None or self._seen[0] != account:
                self._seen = (account, OpenTokVideo(account))
            return self._seen[1]

    def state(self, room: Room) -> CallState:
        """Say how far a room's call is."""
        return _state_of(self._store.living_bridge(room))

    def dial(self, room: Room, owner: str) -> CallState:
        """Dial the room's bridge for its owner; a living one is left as it is.

        Raises:
            Refusal: Its call is being worked on.
            ServerError: The call would not be answered, or nobody would hang it up.
            PlatformError: No call was placed, or nobody knows.
        """
        with self._turn(room, 0.0):
            living = self._store.living_bridge(room)
            if living is not None and _on_its_way(living):
                return "dialing"
            self._require_end(owner)
            if self._public_url() is None:
                message = "This server does not know its public address, so the call would come to nothing."
                raise ServerError(message, "Run board.start_webhook_server(), or set SERVER_URL and start it again.")
            bridges = self._bridges_of(owner)
            bridge = bridges.dial(room)
            try:
                self._require_end(owner)
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

    def _require_end(self, owner: str) -> None:
        if not self._may_dial(owner):
            raise ServerError("The webhook server is ending, and with it every call.", "Start the notebook again.")

    def _bridges_of(self, owner: str) -> Bridges:
        with self._lock:
            if owner not in self._bridges:
                # The board may be dialling for the same owner in its own process, so this dialler is another one.
                name = f"room page {secrets.token_hex(8)}"
                self._bridges[owner] = Bridges(self._store, self.video, owner, dialler=name)
            return self._bridges[owner]

    @contextmanager
    def _turn(self, room: Room, patience: float) -> Iterator[None]:
        began = time.monotonic()
        with self._lock:
            turn = self._turns[room.id]
        if not turn.acquire(timeout=patience):
            raise Refusal(409, _BUSY)
        try:
            left = max(0.0, patience - (time.monotonic() - began))
            if not self._hands.acquire(timeout=left):
                raise Refusal(409, "The server is busy with other rooms' calls. Try again in a few seconds.")
            try:
                yield
            finally:
                self._hands.release()
        finally:
            turn.release()


def _state_of(bridge: Bridge | None) -> CallState:
    if bridge is None or not bridge.living:
        return "idle"
    return "connected" if bridge.state == "answered" else "dialing"


def _on_its_way(bridge: Bridge) -> bool:
    age = (datetime.now(UTC) - bridge.dialed_at).total_seconds()
    return bridge.connection_id is None and age < PATIENCE
