"""A visit: one page, opened by an invitation, and what it must show with each request.

There is no cookie: the page also runs in a frame of another origin, and a request that carries no credential by
itself cannot be forged by a stranger's page (CSRF). What a page gets, and hands back:

    visit token     in the page; each poll gives a new one. Sent in the header X-Sipkit-Visit
    ticket          one with each poll, good for one POST of this visit within two minutes

On top, a POST must come from the page itself, as far as the browser tells (`Origin`, `Sec-Fetch-Site`), and be
JSON, which no HTML form can send. A repeated POST finds its ticket used, in whichever process it arrives.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Request

from sipkit.errors import InvitationRefused
from sipkit.invitations import Invited, Role, Seal
from sipkit.refusals import on_this_machine
from sipkit.store import Store

HEADER: Final = "X-Sipkit-Visit"
VISIT_SECONDS: Final = 300.0
"""A page polls every few seconds; one in a sleeping laptop must be loaded again."""

TICKET_SECONDS: Final = 120.0


class Refusal(Exception):
    """A request that is not served; the text is for the person at the page.

    Args:
        status: HTTP status.
        words: What is wrong and what to do.
        seconds: When to try again, if that helps.
    """

    def __init__(self, status: int, words: str, seconds: float = 0.0) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Visit:
    """One opened page.

    Attributes:
        id: Random.
        invited: What its invitation grants. The visit ends with it.
    """

    id: str
    invited: Invited

    @property
    def role(self) -> Role:
        """``guest`` or ``host``."""
        return self.invited.role


class VisitDesk:
    """Opens visits, and checks what they show.

    Args:
        seal: Signs.
        store: Remembers used tickets.
    """

    def __init__(self, seal: Seal, store: Store) -> None:
        self._seal = seal
        self._store = store

    def open(self, invited: Invited) -> Visit:
        """Begin a visit."""
        return Visit(secrets.token_urlsafe(9), invited)

    def token(self, visit: Visit) -> str:
        """Sign the visit as of now."""
        invited = visit.invited
        payload = {"v": visit.id, "r": invited.room_id, "h": invited.role == "host", "n": invited.name}
        return self._seal.sign("visit", {**payload, "o": invited.owner, "p": invited.show_pin, "e": invited.until})

    def visit(self, request: Request) -> Visit:
        """Return the visit a request belongs to.

        Raises:
            Refusal: It shows no visit token, one that is not ours, or one whose time is over.
        """
        payload, signed_at = self._read("visit", request.headers.get(HEADER, ""))
        now = self._store.time_about()
        if now >= payload["e"]:
            words = "Your invitation has expired. Whoever is connected stays so; to come back, ask for a new link."
            raise Refusal(401, words)
        if now >= signed_at + VISIT_SECONDS:
            raise Refusal(401, "This page was away for too long. Load it again.")
        role: Role = "host" if payload["h"] else "guest"
        granted = (payload["r"], role, payload["n"], payload["o"], payload["p"], payload["e"])
        return Visit(payload["v"], Invited(*granted))

    def ticket(self, visit: Visit) -> str:
        """Return a ticket for one POST of this visit."""
        return self._seal.sign("ticket", {"v": visit.id, "t": secrets.token_urlsafe(9)})

    def take_ticket(self, visit: Visit, ticket: object) -> None:
        """Let a POST pass that brings a ticket of its visit for the first time.

        Raises:
            Refusal: It brings none, another visit's, an old one, or one that was used.
        """
        payload, signed_at = self._read("ticket", ticket if isinstance(ticket, str) else "")
        until = signed_at + TICKET_SECONDS
        if payload["v"] != visit.id:
            raise Refusal(401, "This request belongs to another page. Load this one again.")
        if self._store.time_about() >= until:
            raise Refusal(409, "This press of a button comes too late. Press it again.")
        if not self._store.use_ticket(payload["t"], until):
            raise Refusal(409, "This press of a button has been counted already.")

    def _read(self, purpose: str, token: str) -> tuple[dict[str, Any], float]:
        try:
            return self._seal.read(purpose, token)
        except InvitationRefused:
            raise Refusal(401, "This page is not known here. Open the invitation again.") from None


def require_own_page(request: Request, own_urls: Iterable[str | None]) -> None:
    """Refuse what the browser says comes from another site's page.

    Args:
        request: A request for data or for an action, not for the page itself.
        own_urls: The addresses this server is reached by.

    Raises:
        Refusal: It does.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        raise Refusal(403, "Only the room page itself may ask this.")
    origin = request.headers.get("Origin")
    if origin is None or origin in {_origin(url) for url in own_urls if url}:
        return
    # On this machine the page may be opened as localhost or by number. Elsewhere the Host says nothing: a name
    # that a stranger owns can be made to lead here.
    if not (on_this_machine(origin) and urlsplit(origin).netloc == request.host):
        raise Refusal(403, "Only the room page itself may ask this.")


def read_body(request: Request) -> dict[str, Any]:
    """Return a POST's JSON object.

    Raises:
        Refusal: It is none, or is not called JSON: an HTML form can send the rest across sites.
    """
    if request.mimetype != "application/json":
        raise Refusal(415, "This must be asked in JSON.")
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "This must be asked with a JSON object.")
    return body


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
