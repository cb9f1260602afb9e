"""The switchboard: what a notebook holds. It wires rooms, bridges, the webhook server and the platform.

    board = Switchboard.from_env()
    room = board.open_room("standup")      # a session, and a PIN for phones
    board.start_webhook_server()           # the number's calls now reach our webhooks
    board.dial_out(room)                   # the session joins the phone side
    board.hang_up(room)                    # and leaves it; no phone stays connected
    board.close()

Everything is safe to call twice, and from several notebooks of one project. Nothing is printed; what
happens is in `events()`.
"""

import atexit
import contextlib
import os
import threading
import uuid
from typing import TYPE_CHECKING, Any, Literal, Self

from sipkit.direct_calls import DirectCalls
from sipkit.errors import PlatformError, RoomNotFound, SipkitError, WaitTimeout
from sipkit.hosting import Hosting
from sipkit.lookout import Lookout
from sipkit.meter import Meter
from sipkit.rooms import Bridge, Caller, HangUp, Room

if TYPE_CHECKING:
    from sipkit.cloud import Account, Cloud
    from sipkit.front_door import FrontDoor
    from sipkit.invitations import Invitation
    from sipkit.server import WebhookServer
    from sipkit.settings import Settings
    from sipkit.store import Store
    from sipkit.timeline import Event
    from sipkit.video import VideoPlatform

_PHONES_LEAVE_WITHIN = 2.0


class Switchboard(Lookout, Meter, DirectCalls, Hosting):
    """Rooms, bridges and callers of one project, in the sandbox or live.

    Made by `from_env`. Close it, or use it in a `with` block: closing hangs up what it dialled.

    Args:
        settings: As loaded from `.env` and the environment.
        cloud: Who answers: the sandbox or Vonage.
        store: What all processes of the data folder agree on.
    """

    def __init__(self, settings: "Settings", cloud: "Cloud", store: "Store") -> None:
        from sipkit.bridges import Bridges
        from sipkit.health import Health
        from sipkit.voice_calls import hanging_up

        self.owner = uuid.uuid4().hex
        self._settings = settings
        self._cloud = cloud
        self._store = store
        self._bridges = Bridges(store, self._video, self.owner, hang_up_leg=hanging_up(cloud.account))
        self._health = Health(self._check_platform)
        self._seen_account: Account | None = None
        self._platform: VideoPlatform | None = None
        self._door: FrontDoor | None = None
        self._turn = threading.RLock()
        self._closed = False
        self._process = os.getpid()
        atexit.register(self._close_quietly)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Make a switchboard from `.env` and the environment; without credentials it is the sandbox's.

        Args:
            **overrides: Settings that win over both, such as `pin_length=6`.

        Raises:
            SettingsError: A setting is wrong, or half of the credentials are missing.
            SandboxDidNotStart: The sandbox did not start.
        """
        from sipkit.cloud import cloud_for
        from sipkit.settings import Settings
        from sipkit.store import Store

        settings = Settings.load(**overrides)
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        cloud = cloud_for(settings)
        try:
            store = Store.open(settings.store_url, cloud.account().environment, settings.pin_length, settings.pin_hours)
        except BaseException:
            cloud.close()
            raise
        return cls(settings, cloud, store)

    def __repr__(self) -> str:
        return f"<Switchboard {self.mode}{', closed' if self.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def mode(self) -> Literal["sandbox", "live"]:
        """Who answers; only to be shown."""
        return self._cloud.mode

    @property
    def closed(self) -> bool:
        """Whether `close` was called; a closed switchboard only says so."""
        return self._closed

    @property
    def number(self) -> str:
        """The number phones dial: digits with country code."""
        return self._account().conference_number

    @property
    def server(self) -> "WebhookServer | None":
        """The webhook server, once `start_webhook_server` was called."""
        return self._door.server if self._door is not None else None

    # Rooms

    def open_room(self, name: str) -> Room:
        """Open a room: a routed session and a PIN. Opening it again gives the same room.

        If the platform no longer knows the room's session, the room's bridge is disconnected, if one is on record,
        and the room gets a new session and says so: its `reopened` is True, and the timeline has the reason.

        Raises:
            BadRoomName, PinSpaceExhausted: The room cannot be made.
            AuthenticationRefused, PlatformUnreachable: The platform refuses, or does not answer.
        """
        self._require_open()
        video = self._video()
        made: list[str] = []

        def make_session() -> str:
            made.append(video.create_session())
            return made[-1]

        room = self._store.open_room(name, make_session)
        if room.session_id in made:
            self._store.record("room", f"Room {room.name!r} was opened.", room.id)
            if self._settings.wait_for_host:
                self.wait_for_host(room)
                room = self._room(room)
        elif not video.session_known(room.session_id):
            room = self._bridges.renew(room)
        return room

    def room(self, name: str) -> Room:
        """Return an open room.

        Raises:
            RoomNotFound: There is none of this name.
        """
        return self._room(name)

    def rooms(self) -> list[Room]:
        """Return all open rooms, oldest first."""
        self._require_open()
        return self._store.rooms()

    def close_room(self, room: Room | str) -> None:
        """Hang up a room's bridge and give its name and PIN free; does nothing if it is not open.

        Its phones are told that the room was closed, those that wait in the lobby or with music, too.

        Raises:
            PlatformError: The bridge, or a phone that waits, may still be up, so the room stays open: close it again.
        """
        from sipkit.company import see_off

        with contextlib.suppress(RoomNotFound):
            room = self._room(room)
            see_off(self._account, self._store, self._settings, room, "goodbye_closed", everybody=True)
            for bridge in self._bridges.living(room):
                outcome = self._bridges.end(room, bridge)
                now = self._store.bridge(bridge.id)
                if now is not None and now.living:
                    raise PlatformError(outcome.reason, "Hang up again, then close the room.")
            if self._store.close_room(room.name):
                self._store.record("room", f"Room {room.name!r} was closed.", room.id)

    def token(self, room: Room | str, role: str = "publisher", data: str = "", expires_in: float = 3600) -> str:
        """Make a token with which a web client enters the room's session.

        Args:
            room: The room, or its name.
            role: subscriber, publisher or moderator.
            data: What other clients see of the connection.
            expires_in: Seconds until it expires.
        """
        return self._video().token(self._room(room).session_id, role, data, expires_in)

    def invite(
        self,
        room: Room | str,
        role: Literal["guest", "host"] = "guest",
        name: str = "",
        expires_in: float = 86400,
        *,
        show_pin: bool | None = None,
    ) -> "Invitation":
        """Invite somebody to a room's page: a link, a QR code, and what a phone dials to join by itself.

        Whoever has the link is let in until it expires or the room is closed, so it is shown in no repr.

        The invitation's `show()` is a card to be sent on: it holds the PIN only if `show_pin` says so. Its
        `dial_string` and `dial_qr_svg()` always hold the PIN; they are yours, for your own phone or for somebody
        who may have it.

        Args:
            room: The room, or its name.
            role: A guest sees, hears and talks; a host also dials out and hangs up. A bridge dialled by this
                invitation counts as this board's and is hung up with it, so it is dialled only while this board
                holds the webhook server.
            name: How the page greets its visitor, who may change it.
            expires_in: Seconds, at most 30 days.
            show_pin: Whether page and card show the room's PIN; to hosts only unless given.

        Raises:
            ServerError: No webhook server runs that could show the page.
            InvitationError: The role or the time cannot be.
        """
        from sipkit import invitations

        room = self._room(room)
        public_url, local_url = self._front_door().addresses()
        invited = invitations.grant(self._store, room, role, self.owner, name, expires_in, show_pin)
        return invitations.invite(self._store, room, invited, self.number, public_url, local_url)

    # The webhook server

    def start_webhook_server(self) -> "WebhookServer":
        """Start the webhook server, or adopt the one that runs; make it public, and point the number at it.

        Raises:
            MissingCredential, SettingsError: Live, SIGNATURE_SECRET is missing, or SERVER_URL without WEBHOOK_PORT.
            ServerError: The server does not start.
            TunnelError: There is no public address, or it does not lead to this server.
            AuthenticationRefused, PlatformError: The Voice application could not be pointed at it.
        """
        return self._front_door().open()

    def restore_application(self) -> bool:
        """Give the Voice application the webhooks it had before this project pointed it at itself.

        Returns:
            False if there is nothing to restore.
        """
        return self._front_door().restore_application()

    # Calls

    def dial_out(self, room: Room | str) -> Bridge:
        """Bridge a room's session to the phone side. A living bridge is returned, never doubled.

        Raises:
            ServerError: No webhook server runs; the call would be billed and come to nothing.
            BudgetSpent: The room has cost what it may.
            DialUncertain: The answer to the dial was lost; nothing is dialled again until `hang_up`.
            DialRefused, AuthenticationRefused, PlatformUnreachable: No call was placed.
        """
        room = self._room(room)
        self._front_door().require_open()
        self._require_budget(room)
        return self._watched(self._bridges.dial(room))

    def hang_up(self, room: Room | str) -> HangUp:
        """End a room's bridge. The conversation ends with it, so no phone stays connected.

        Returns:
            What was done; a room without a bridge is no error.

        Raises:
            AuthenticationRefused, PlatformUnreachable: The bridge may still be up.
        """
        return self._bridges.hang_up(self._room(room))

    def hang_up_everything(self, *, strangers: bool = False) -> list[HangUp]:
        """End every bridge and direct call of this project, whoever dialled it, and every phone that is on record.

        Args:
            strangers: End the number's calls that are *not* on record here, too. They may be other software's, or
                another data folder's; or yours, if the store was lost in the middle of a call.

        Returns:
            What was done about each bridge.

        Raises:
            PlatformError: One of them may still be up; all others were seen to all the same.
        """
        from sipkit.clearance import clear

        self._require_open()
        return clear(
            self._store,
            self._cloud.account,
            lambda bridge: self._bridges.end(self._store.room_of(bridge), bridge),
            strangers=strangers,
        )

    def bridge(self, room: Room | str) -> Bridge | None:
        """Return a room's bridge while it lives."""
        return self._store.living_bridge(self._room(room))

    def callers(self, room: Room | str) -> list[Caller]:
        """Return who typed the room's PIN, in the order they called; some may have left."""
        return self._store.callers(self._room(room))

    def events(self, room: Room | str | None = None, since: int = 0) -> "list[Event]":
        """Return what happened, in order.

        Args:
            room: Only what concerns this room.
            since: Only what came after the event with this id.
        """
        self._require_open()
        return self._store.events(None if room is None else self._room(room), since)

    # The end

    def close(self) -> None:
        """Hang up what this board dialled, and let go of the server, the tunnel and the sandbox.

        Raises:
            PlatformError: A bridge could not be hung up; everything else was let go all the same.
        """
        with self._turn:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self._close_quietly)
            with contextlib.ExitStack() as last:
                last.callback(self._store.close)
                last.callback(self._cloud.close)
                if self._door is not None:
                    last.callback(self._door.close)
                self._hang_up_all()

    def _close_quietly(self) -> None:
        """Close at the end of the process that made this board; there nobody is left to read an error."""
        if os.getpid() == self._process:  # a forked child inherits the board, but not the duty
            with contextlib.suppress(SipkitError):
                self.close()

    def _hang_up_all(self) -> None:
        """Hang up this board's bridges, one failure saving none of the others, and see their phones leave."""
        from sipkit import waiting

        problem: SipkitError | None = None
        for bridge in self._store.living_bridges([self.owner]):
            room = self._store.room_of(bridge)
            try:
                hung_up = self._bridges.end(room, bridge).hung_up
            except SipkitError as error:
                problem = problem or error
                self._store.record("hang-up", f"Room {room.name!r}: {error.message}", room.id)
                continue
            # The webhook server must live to hear that the phones have left, or they stay "joined" on record.
            if hung_up and self.server is not None and self.server.alive:
                with contextlib.suppress(WaitTimeout):
                    waiting.wait_for_callers(self._store, room, 0, _PHONES_LEAVE_WITHIN)
        if problem is not None:
            raise problem

    # Inside

    def _watched(self, bridge: Bridge) -> Bridge:
        """See that somebody watches over a bridge besides this process and the webhook server."""
        from sipkit import guard_process

        guard_process.start(self._settings)
        return bridge

    def _check_platform(self) -> None:
        """Make sure that the platform answers: for the list of a session's connections, which costs nothing."""
        rooms = self.rooms()
        if rooms:
            self._cloud.check(lambda: self._video().session_known(rooms[-1].session_id))

    def _front_door(self) -> "FrontDoor":
        from sipkit.front_door import FrontDoor

        self._require_open()
        with self._turn:
            if self._door is None:
                # The cloud's account, not ours: the door closes, and restores the application, when we are closed.
                self._door = FrontDoor(self._settings, self._store, self._cloud.account, self.owner)
            return self._door

    def _require_open(self) -> None:
        if self._closed:
            raise SipkitError("This switchboard is closed.", "Make a new one: board = Switchboard.from_env().")

    def _account(self) -> "Account":
        """The account as it is now: a sandbox may have come back under another address."""
        self._require_open()
        return self._cloud.account()

    def _video(self) -> "VideoPlatform":
        from sipkit.video_platform import video_platform

        account = self._cloud.account()
        if self._platform is None or account != self._seen_account:
            self._platform, self._seen_account = video_platform(account), account
        return self._platform

    def _room(self, room: Room | str) -> Room:
        """The room as the store has it now."""
        self._require_open()
        name = room if isinstance(room, str) else room.name
        found = self._store.room(name)
        if found is None:
            raise RoomNotFound(f"There is no open room {name!r}.")
        return found
