"""The kit of a lesson: its switchboard, and what a lesson needs besides."""

import contextlib
from collections.abc import Callable
from typing import Any, Final

from sipkit import voice
from sipkit.cloud import Cloud, cloud_for
from sipkit.errors import SipkitError
from sipkit.lessons import presence, story
from sipkit.lessons.checks import PYTHON, Check, all_checks, python
from sipkit.lessons.ladder import sip_ladder
from sipkit.lessons.shown import Document, Ladder, Lines, hidden
from sipkit.rooms import Bridge, Room
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from sipkit.unified_video import UnifiedVideo
from sipkit.video import OpenTokVideo
from sipkit.video_platform import video_platform
from sipkit.widgets import PhonePanel
from sipkit.widgets.refresh import stop_all

MODES = {
    "sandbox": "Mode: sandbox. Vonage is played on this machine; nothing costs money.",
    "live": "Mode: live. Vonage answers, and calls are billed to your account.",
}
ROOMS = ("check your setup", "standup", "retrospective", "town hall", "studio", "classroom", "farewell")
"""The rooms the lessons open."""
QUIET_SECONDS = 15.0
"""How long the last legs may take to be gone after a hang-up."""
NOT_TOLD: Final = "the platform does not tell"
"""Stands where a number would, if the platform does not give one: that is not zero."""

_open: list["Kit"] = []


def setup() -> "Kit":
    """Close what an earlier run of this notebook left open, make a new kit, and say in which mode it works.

    Raises:
        SettingsError: A setting is wrong, or half of the credentials are missing.
        SandboxDidNotStart: The sandbox did not start.
    """
    while _open:
        # What is wrong with the old one must not keep the learner from a new one.
        with contextlib.suppress(SipkitError):
            _open.pop().close()
    kit = Kit()
    _open.append(kit)
    print(MODES[kit.board.mode])  # noqa: T201 - the one line that a set-up cell shows
    return kit


class Kit:
    """What a lesson works with.

    Attributes:
        board: The switchboard.
        since: The id of the newest event when the lesson began; what is older belongs to others.
    """

    def __init__(self) -> None:
        self.board = Switchboard.from_env()
        self._cloud: Cloud = cloud_for(Settings.load(), hold=False)
        if self.board.mode == "sandbox":
            # All its phones have one number, and a lesson that is run again types its wrong PINs again.
            self.board.forgive()
        events = self.board.events()
        self.since = events[-1].id if events else 0

    def __repr__(self) -> str:
        return f"<Kit {self.board.mode}{', closed' * self.board.closed}>"

    # What lessons show

    @property
    def video(self) -> OpenTokVideo | UnifiedVideo:
        """The video side by itself, to look at what the switchboard asks of it."""
        return video_platform(self._cloud.account())

    def checks(self) -> Lines:
        """Check this machine, kernel and cloud; each line that fails brings its fix."""
        return Lines([repr(check) for check in all_checks(self.board)])

    def check_python(self, at_least: tuple[int, int] = PYTHON) -> Check:
        """Check the version of Python alone."""
        return python(at_least)

    def application(self) -> Document:
        """Ask the platform where the voice application's webhooks point; hosts are hidden, as they change."""
        server = self.board.start_webhook_server()
        # It is pointed there already, so this only reads.
        voice_settings = voice.point_application(self._cloud.account(), server.public_url or server.url)
        hooks = voice_settings["webhooks"].items()
        return Document(hidden({name: f"{hook['http_method']} {hook['address']}" for name, hook in sorted(hooks)}))

    def hidden(self, content: Any) -> Document:
        """Show a document with every secret, number and host in it hidden."""
        return Document(hidden(content))

    def events(self) -> Lines:
        """Tell what happened since the lesson began; see `story` for why it is told in three parts."""
        if self.board.mode == "sandbox":
            self.board.wait_for(self._news_is_in, QUIET_SECONDS, "the news of the calls that ended")
        return Lines(story.tell(self.board.events(since=self.since)))

    def _news_is_in(self) -> bool:
        """Whether the end of each call that has ended, or is ending, has been told.

        Who was in a conversation and is in none now, or in one whose bridge was hung up, is on the way out.
        """
        trace = self.board.trace()
        joined = {event["leg"] for event in trace.events() if event.get("state") == "in conversation"}
        bridged = {room.session_id for room in self.board.rooms() if self.board.bridge(room)}
        legs = trace.ledger()["legs"]
        up = {leg["uuid"] for leg in legs if leg["conversation"] in bridged or leg["uuid"] not in joined}
        return story.unfinished(self.board.events(since=self.since)) <= up

    def ladder(self, room: Room) -> Ladder:
        """Draw the SIP messages of the room's newest call (sandbox only: Vonage does not show its SIP)."""
        return sip_ladder(self.board.trace(), room.session_id, ended=self.board.bridge(room) is None)

    def connections(self, room: Room) -> int | str:
        """Ask the platform how many connections the room's session has; `NOT_TOLD` if it does not say."""
        found = self.video.connections(room.session_id)
        return NOT_TOLD if found is None else len(found)

    def in_the_room(self, room: Room, phone: PhonePanel) -> Lines:
        """Say who is in the room: the bridge, callers, browsers, and whether a microphone is at the phone's mouth."""
        return Lines(presence.tell(self.board, room, phone.receiver.state))

    def wrong_pin(self) -> str:
        """Digits of the right length that are the PIN of no open room."""
        pins = {room.pin for room in self.board.rooms()}
        length = max(map(len, pins), default=4)
        return next(digits for digit in "987654321" if (digits := digit * length) not in pins)

    # How lessons end

    def wait_until_quiet(self, room: Room, timeout: float = QUIET_SECONDS) -> dict[str, int | str]:
        """Wait until the platform lists nothing of the room any more; return what it lists.

        What it does not tell is not waited for, and says so in its place (`NOT_TOLD`).

        Raises:
            WaitTimeout: Something is still connected.
        """
        nothing = {0, NOT_TOLD}
        self.board.wait_for(lambda: nothing.issuperset(self._left(room).values()), timeout, "the last leg to leave")
        return self._left(room)

    def _left(self, room: Room) -> dict[str, int | str]:
        left = {"connections in the session": self.connections(room)}
        if self.board.mode == "sandbox":
            legs = self.board.trace().ledger()["legs"]
            left["legs in the conversation"] = sum(leg["conversation"] == room.session_id for leg in legs)
        return left

    def wait_until_silent(self, timeout: float = QUIET_SECONDS) -> int | str:
        """Wait until the platform lists no call of this project; return how many, or `NOT_TOLD`.

        Raises:
            WaitTimeout: A call is still up.
        """
        self.board.wait_for(lambda: self._calls() in {0, NOT_TOLD}, timeout, "the last call to end")
        return self._calls()

    def _calls(self) -> int | str:
        if self.board.mode == "sandbox":
            return len(self.board.trace().ledger()["legs"])
        counts = [self.connections(room) for room in self.board.rooms()]
        known = sum(count for count in counts if isinstance(count, int))
        # What is known to be up is told first: it is what can be hung up.
        return known or (NOT_TOLD if NOT_TOLD in counts else 0)

    def restore_application(self) -> None:
        """Give the voice application the webhooks it had before the lessons, and say so. Safe to run twice.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It still has ours.
        """
        if self.board.restore_application():
            print("The voice application has the webhooks it had before.")  # noqa: T201 - as below
        else:
            print("There was nothing to restore: no former webhooks are on record.")  # noqa: T201 - as below

    def clean_up(self) -> None:
        """Hang up what this notebook dialled, and say so, or what is still up and why. Safe to run twice."""
        up = self._hang_up(lambda bridge: bridge.owner == self.board.owner)
        print(up or "The calls of this notebook are hung up.")  # noqa: T201 - all that a clean-up cell shows

    def hang_up_everything(self) -> None:
        """Hang up every bridge of this project, whichever notebook dialled it, and say so. Safe to run twice."""
        up = self._hang_up(lambda _bridge: True)
        print(up or "All calls are hung up.")  # noqa: T201 - as above

    def _hang_up(self, ours: Callable[[Bridge], bool]) -> str:
        """Hang up room by room, one failure saving none of the others; return what may be up, and why."""
        problems = []
        for room in self.board.rooms():
            bridge = self.board.bridge(room)
            if bridge is None or not ours(bridge):
                continue
            try:
                reason = self.board.hang_up(room).reason
            except SipkitError as error:
                reason = str(error)
            left = self.board.bridge(room)
            if left is not None and left.id == bridge.id:
                problems.append(f"The call of room {room.name!r} may still be up. {reason}")
        return "\n".join(problems)

    def close(self) -> None:
        """Let go of everything: hang up, stop the panels' threads, leave the webhook server and the sandbox."""
        stop_all(self.board)
        try:
            self.board.close()
        finally:
            self._cloud.close()
