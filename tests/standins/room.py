"""A session of the running sandbox for pages to come into, and the tokens that let them."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from opentok import Roles

from tests.standins.lab import Lab
from tests.standins.page import Page, pages_in


class Room:
    """One new session of the project.

    Attributes:
        lab: the sandbox it is in.
        session: its id.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.session = lab.session()
        self.key = lab.info.video_api_key

    def token(self, role: str = "publisher", **options: Any) -> str:
        """Make a token with the vendor's SDK."""
        return str(self.lab.video.generate_token(self.session, Roles(role), **options))

    def pages(self, *roles: str) -> AbstractAsyncContextManager[list[Page]]:
        """Open a page for each role, connected one after the other; the connection data tells the role."""
        return pages_in(
            self.lab.info.api_url, *((self.session, self.key, self.token(role, data=f"a {role}")) for role in roles)
        )

    def page(self) -> Page:
        """Open a page that is not connected."""
        return Page(self.lab.info.api_url)

    async def enter(self, page: Page, token: str | None = None) -> dict[str, Any]:
        """Connect a page."""
        return await page.connect(self.session, self.key, token or self.token())

    def connections(self) -> list[dict[str, Any]]:
        """Return what the ledger says of the session's connections."""
        return [each for each in self.lab.ledger()["connections"] if each["sessionId"] == self.session]
