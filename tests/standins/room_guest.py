"""People in a room's page: who they are, how they get in, and what one can see and press there."""

from typing import Any, NamedTuple

from playwright.sync_api import Locator, Page, expect

from sipkit.invitations import Invitation
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from tests.standins.browser import Pages

JOIN_MS = 30_000
CALL_MS = 30_000


class Person(NamedTuple):
    """Somebody who can be told from the others.

    Attributes:
        name: shown in the room.
        hz: the tone of their microphone; no two of the cast are harmonics of each other.
        colour: of their camera's picture: red, green, blue.
    """

    name: str
    hz: float
    colour: tuple[int, int, int]

    @property
    def css(self) -> str:
        """The colour as CSS writes it."""
        return f"rgb{self.colour}"


ADA = Person("Ada", 500, (200, 40, 40))
GRACE = Person("Grace", 710, (40, 160, 40))
LINUS = Person("Linus", 1130, (40, 60, 200))


class Guest:
    """A person with the room's page open.

    Attributes:
        person: who it is.
        page: the browser's page.
    """

    def __init__(self, person: Person, page: Page) -> None:
        self.person = person
        self.page = page
        self.main = page.locator("main")
        self.join = page.locator("#join")
        self.dial_out = page.locator("#dial-out")
        self.hang_up = page.locator("#hang-up")
        self.mute = page.locator("#mute")
        self.camera = page.locator("#camera")
        self.leave = page.locator("#leave")
        self.roster = page.locator("#roster li")
        self.error = page.locator("#error")
        self.tiles = page.locator("#tiles figure[data-stream]")

    def expect_session(self, state: str, timeout: float = JOIN_MS) -> None:
        """Wait until the page's video session is connecting, connected or disconnected."""
        expect(self.main).to_have_attribute("data-session", state, timeout=timeout)

    def expect_call(self, state: str, timeout: float = CALL_MS) -> None:
        """Wait until the page's call is idle, dialing, connected, hanging-up or failed."""
        expect(self.main).to_have_attribute("data-state", state, timeout=timeout)

    def tile(self, name: str) -> Locator:
        """The tile of somebody else, or of the phone line, by the name it shows."""
        others = self.page.locator("#tiles figure[data-stream]:not([data-kind=own])")
        return others.filter(has=self.page.locator("figcaption .name").get_by_text(name, exact=True))

    def video(self, name: str) -> str:
        """The selector of the <video> (or <audio>) in somebody's tile; waits until it is there."""
        tile = self.tile(name)
        media = tile.locator("video, audio").first
        media.wait_for(state="attached", timeout=JOIN_MS)
        stream = tile.get_attribute("data-stream")
        return f"#tiles figure[data-stream='{stream}'] :is(video, audio)"


def enter(pages: Pages, board: Switchboard, room: Room, person: Person, role: Any = "guest", **options: Any) -> Guest:
    """Invite a person to a room, open the link in a page of their own, join, and wait until they are in the session.

    Args:
        pages: the test's.
        board: the switchboard, with its webhook server running.
        room: where to.
        person: whose tone and picture the page sends.
        role: "guest" or "host".
        options: of the browser's context, such as its viewport.
    """
    guest = open_invitation(pages, board.invite(room, role, name=person.name), person, **options)
    guest.join.click()
    guest.expect_session("connected")
    return guest


def open_invitation(pages: Pages, invitation: Invitation, person: Person, **options: Any) -> Guest:
    """Open an invitation's link in a page of its own; its visitor has not joined yet."""
    page = pages(**options)
    page.add_init_script(f"measure.useDevices({person.hz}, '{person.css}')")
    page.goto(invitation.local_url)
    return Guest(person, page)
