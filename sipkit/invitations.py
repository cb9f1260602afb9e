"""Invitations: who may open a room's page, for how long, and as what.

An invitation is a link. Everything it grants stands in it, signed with a secret that all processes of the data
folder share (itsdangerous, HMAC-SHA256); nothing is looked up, and closing the room ends it early:

    the room      by the store's id: a room opened anew under an old name is another room
    the role      guest: see, hear and talk. host: also dial out and hang up
    the owner     the board that made it; a bridge dialled from the page is this board's, and is hung up with it
    the PIN       whether the page, and the card that one sends on, show it
    the end       after which the page opens no more

Whoever holds the link is let in, so it is a secret: it is in no repr, no log and no notebook output unless `show`
puts it there.
"""

import hashlib
import io
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any, Final, Literal
from urllib.parse import quote

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from sipkit.errors import InvitationError, InvitationExpired, InvitationRefused
from sipkit.rooms import Room
from sipkit.store import Store

Role = Literal["guest", "host"]

DAY: Final = 86400.0
LONGEST: Final = 30 * DAY
"""Seconds an invitation may last; as long as a token of the Video API may."""

NO_BOARD: Final = "command line"
"""The owner in an invitation that no board made (`sipkit invite`): its calls end with the server that dialled them."""

MAX_DISPLAY_NAME: Final = 40
MAX_TOKEN: Final = 1000
"""Letters of a signed token; ours stay below half of it."""

_SECRET_FACT: Final = "invitation_secret"  # noqa: S105 - the name of it
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Invited:
    """What a valid invitation grants.

    Attributes:
        room_id: The room it opens.
        role: ``guest`` or ``host``.
        name: How the page greets its visitor, who may change it; may be empty.
        owner: Whose bridges those dialled with it are.
        show_pin: Whether the page shows the room's PIN.
        until: When it ends, seconds since 1970.
    """

    room_id: int
    role: Role
    name: str
    owner: str
    show_pin: bool
    until: float


class _Signer(TimestampSigner):
    """Dates what it signs by another clock than the machine's."""

    def __init__(self, *arguments: Any, clock: Callable[[], float], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class Seal:
    """Signs what the page hands out and reads it back: invitations, and what a visit carries.

    Args:
        store: Keeps the secret, which the first process that needs one draws, and has the clock.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = store.settled_fact(_SECRET_FACT, secrets.token_urlsafe(_SECRET_BYTES))

    def sign(self, purpose: str, payload: Mapping[str, Any]) -> str:
        """Sign a payload. What is signed for one purpose is nothing for another."""
        return str(self._serializer(purpose).dumps(dict(payload)))

    def read(self, purpose: str, token: str) -> tuple[dict[str, Any], float]:
        """Return a payload and when it was signed, seconds since 1970.

        Raises:
            InvitationRefused: It was not signed here for this purpose.
        """
        if 0 < len(token) <= MAX_TOKEN:
            try:
                payload, signed_at = self._serializer(purpose).loads(token, return_timestamp=True)
            except (BadData, ValueError, OverflowError):
                pass  # the error quotes the token
            else:
                return payload, signed_at.timestamp()
        raise InvitationRefused("This link does not open a room here.")

    def invitation(self, invited: Invited) -> str:
        """Sign an invitation."""
        payload = {"r": invited.room_id, "h": invited.role == "host", "n": invited.name}
        return self.sign("invitation", {**payload, "o": invited.owner, "p": invited.show_pin, "e": invited.until})

    def read_invitation(self, token: str) -> Invited:
        """Return what an invitation grants.

        Raises:
            InvitationRefused: It is none of ours, or was altered.
            InvitationExpired: Its time is over.
        """
        payload, _ = self.read("invitation", token)
        role: Role = "host" if payload["h"] else "guest"
        invited = Invited(payload["r"], role, payload["n"], payload["o"], payload["p"], payload["e"])
        if self._store.time_about() >= invited.until:
            raise InvitationExpired("This invitation has expired.")
        return invited

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256, "clock": self._store.time_about}
        return URLSafeTimedSerializer(self._secret, salt=f"sipkit {purpose}", signer=_Signer, signer_kwargs=how)


@dataclass(frozen=True, slots=True)
class Invitation:
    """A way into a room, made by `board.invite`.

    Attributes:
        room: The room's name.
        role: ``guest`` or ``host``.
        expires_at: When the link ends, UTC.
        url: The link, by the server's public address. In the sandbox that is an address of this machine.
        local_url: The link for this machine, such as for the notebook's own browser.
        dial_string: For the inviter's own use, whatever the invitation shows: on a phone it calls the number, waits
            for the prompt (two pauses) and types the PIN.
        shown_dial_string: What the card shows: the same where the invitation shows the PIN, else the number only.
    """

    room: str
    role: Role
    expires_at: datetime
    url: str = field(repr=False)
    local_url: str = field(repr=False)
    dial_string: str = field(repr=False)
    shown_dial_string: str = field(repr=False)

    def qr_svg(self) -> str:
        """Draw the link as a QR code: an `<svg>` element, dark on white in any theme."""
        return _qr_svg(self.url, f"QR code with the link into room {self.room}")

    def dial_qr_svg(self) -> str:
        """Draw the dial string, with the PIN, as a QR code: a phone that scans it offers the call."""
        return _qr_svg(self.dial_string, f"QR code that calls into room {self.room}")

    def show(self) -> "InvitationCard":
        """Return a card for a notebook's output, to be sent on: link, QR code, and the number to call.

        It holds the link, and the PIN if the invitation shows it: do not commit that output.
        """
        return InvitationCard(self)


class InvitationCard:
    """An invitation to look at: link, QR code, one-tap call."""

    def __init__(self, invitation: Invitation) -> None:
        self._invitation = invitation

    def __repr__(self) -> str:
        return f"<card of an invitation to room {self._invitation.room!r}>"

    def _repr_html_(self) -> str:
        it = self._invitation
        until = it.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        link, dial = escape(it.url, quote=True), escape(dial_href(it.shown_dial_string), quote=True)
        call = _qr_svg(it.shown_dial_string, f"QR code that calls the number of room {it.room}")
        types = it.shown_dial_string == it.dial_string
        words = "Call from a phone" if types else "Call from a phone; the host tells you the PIN"
        return (
            f"<div><p>Room <strong>{escape(it.room)}</strong>, as {it.role}, until {until}.</p>"
            f'<p>{it.qr_svg()}<br><a href="{link}" target="_blank" rel="noopener noreferrer">Open the room page</a></p>'
            f'<p>{call}<br><a href="{dial}">{words}</a></p></div>'
        )


def grant(
    store: Store,
    room: Room,
    role: str,
    owner: str,
    name: str = "",
    expires_in: float = DAY,
    show_pin: bool | None = None,
) -> Invited:
    """Say what an invitation shall grant.

    Args:
        store: Has the clock.
        room: The open room.
        role: ``guest`` or ``host``.
        owner: Whose bridges those dialled with it are.
        name: How the page greets its visitor.
        expires_in: Seconds.
        show_pin: Whether page and card show the PIN; to hosts only unless given.

    Raises:
        InvitationError: The role or the time cannot be.
    """
    if role not in {"guest", "host"}:
        raise InvitationError(f"An invitation is for a guest or a host, not for {role!r}.")
    if not 0 < expires_in <= LONGEST:  # also refuses what is not a number (NaN)
        raise InvitationError("An invitation lasts more than no time, and at most 30 days.")
    kind: Role = "host" if role == "host" else "guest"
    shown = kind == "host" if show_pin is None else show_pin
    return Invited(room.id, kind, display_name(name), owner, shown, int(store.time_about() + expires_in))


def invite(store: Store, room: Room, invited: Invited, number: str, public_url: str, local_url: str) -> Invitation:
    """Make an invitation.

    Args:
        store: Keeps the secret it is signed with.
        room: The open room.
        invited: What it grants.
        number: The conference number, digits.
        public_url: The server's public address, without a path.
        local_url: Its address on this machine.
    """
    path = f"{room_path(room.name)}?invitation={Seal(store).invitation(invited)}"
    return Invitation(
        room=room.name,
        role=invited.role,
        expires_at=datetime.fromtimestamp(invited.until, UTC),
        url=f"{public_url.rstrip('/')}{path}",
        local_url=f"{local_url.rstrip('/')}{path}",
        dial_string=dial_string(number, room.pin),
        shown_dial_string=dial_string(number, room.pin if invited.show_pin else ""),
    )


def room_path(name: str) -> str:
    """Return the path of a room's page, quoted."""
    return f"/room/{quote(path_name(name), safe='')}"


def path_name(name: str) -> str:
    """Return a room's name as one segment of a path: proxies decode %2F, browsers resolve ``..`` themselves.

    It only tells people which room a link is for; the invitation names the room by its id.
    """
    plain = re.sub(r"[/\\]", "-", name)
    return "room" if plain in {".", ".."} else plain


def display_name(text: object) -> str:
    """Return a name as it can be shown on one line; empty if nothing of it can."""
    if not isinstance(text, str):
        return ""
    seen = "".join(letter if letter.isprintable() else " " for letter in text[:1000])
    return " ".join(seen.split())[:MAX_DISPLAY_NAME].strip()


def dial_string(number: str, pin: str = "") -> str:
    """Return what a phone dials: the number, and after two pauses the PIN. RFC 3966 knows no pauses; phones do."""
    digits = number.removeprefix("+")
    return f"tel:+{digits},,{pin}#" if pin else f"tel:+{digits}"


def dial_href(dial: str) -> str:
    """Return a dial string as a link: in one, a bare # would begin the fragment."""
    return dial.replace("#", "%23")


def _qr_svg(text: str, title: str) -> str:
    import segno

    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", scale=4, dark="#000", light="#fff", xmldecl=False, title=title, nl=False
    )
    return out.getvalue().decode()
