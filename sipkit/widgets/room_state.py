"""The state of a room's page in a notebook: the call, the host's way in, and what guests are given."""

from time import monotonic
from typing import Final

from traitlets import Unicode

from sipkit.errors import SipkitError
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets.call_state import CallState

LOOK_EVERY: Final = 2.0
"""Seconds between two questions to the webhook server, which shows the page, whether it is there."""
MISSES: Final = 2
"""Questions in a row that stay unanswered before the page is taken off: one may be late on a busy machine."""
NO_SERVER: Final = (
    "The webhook server, which shows the room, does not run.\n"
    "Fix: run board.start_webhook_server(); the room comes back by itself."
)


class RoomState(CallState):
    """A call, and the page of its room.

    Attributes:
        page: `open`, or `gone` while no webhook server shows the page.
        url: The host's way in, for a browser on this machine. It is as good as a key: it goes to the browser and into
            no representation of this object.
        link: The guests' way in, once asked for; as secret as `url`.
        qr: The same as a QR code, an SVG drawing.
    """

    page = Unicode("gone")
    url = Unicode()
    link = Unicode()
    qr = Unicode()

    def __init__(self, board: Switchboard, room: Room, name: str) -> None:
        self._name = name
        self._shown_by = ""
        self._next_look = 0.0
        self._missed = MISSES
        super().__init__(board, room)

    def refresh(self) -> None:
        """Read the truth from the store, and now and then ask whether the page is still shown."""
        super().refresh()
        if monotonic() >= self._next_look:
            self._next_look = monotonic() + LOOK_EVERY
            self._look_for_page()

    def _look_for_page(self) -> None:
        server = self._board.server
        if server is None or not server.alive:
            self._missed += 1
            if self._missed >= MISSES:
                self.page, self.error = "gone", NO_SERVER
            return
        self._missed = 0
        if server.url != self._shown_by:  # a server that came back may have another address
            invitation = self._board.invite(self._room, role="host", name=self._name)
            self.url, self._shown_by = invitation.local_url, server.url
            self.hide_invitation()
        if self.page == "gone":
            self.error, self.page = "", "open"

    def invite(self) -> None:
        """Make an invitation for guests and show it; each press makes a new one, and the old ones stay good."""
        try:
            invitation = self._board.invite(self._room)
        except SipkitError as error:
            self.show(error)  # the state is the call's, and the call is as it was
            return
        self.qr, self.link = as_picture(invitation.qr_svg()), invitation.url

    def hide_invitation(self) -> None:
        """Take the guests' invitation off the page again; it stays good."""
        self.qr = self.link = ""


def as_picture(svg: str) -> str:
    """Make a drawing that stands in HTML into one that an `<img>` shows: there it has to name its namespace."""
    return svg if "xmlns=" in svg else svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
