"""Invitations: what a link grants, for how long, and that nobody else can make one."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sipkit.errors import InvitationError, InvitationExpired, InvitationRefused, RoomNotFound, ServerError
from sipkit.invitations import Seal, dial_href, dial_string, display_name, grant, invite, path_name, room_path
from sipkit.rooms import Room
from sipkit.store import Store
from sipkit.switchboard import Switchboard


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store."""
    store = Store.open(f"sqlite:///{tmp_path / 'sipkit.db'}", "sandbox:1")
    yield store
    store.close()


@pytest.fixture
def room(store: Store) -> Room:
    """An open room."""
    return store.open_room("standup", lambda: "SESSION")


def token_of(link: str) -> str:
    """The invitation in a link."""
    return parse_qs(urlsplit(link).query)["invitation"][0]


@pytest.mark.parametrize("role", ["guest", "host"])
def test_what_is_granted_comes_back(store: Store, room: Room, role: str) -> None:
    """An invitation read back grants what it was made for; the PIN is shown to hosts unless said otherwise."""
    invited = grant(store, room, role, "owner", "Ada", 60)
    made = invite(store, room, invited, "12025550100", "https://calls.example", "http://127.0.0.1:5000/")
    assert Seal(store).read_invitation(token_of(made.url)) == invited
    assert invited.show_pin is (role == "host")
    assert grant(store, room, role, "owner", show_pin=role == "guest").show_pin is (role == "guest")
    assert made.url.startswith("https://calls.example/room/standup?invitation=")
    assert made.local_url == made.url.replace("https://calls.example", "http://127.0.0.1:5000")
    assert abs((made.expires_at - datetime.now(UTC)).total_seconds() - 60) < 2


def test_an_invitation_ends(store: Store, room: Room) -> None:
    """Once its time is over it is told from one that is not ours: its holder only needs a new one."""
    seal = Seal(store)
    token = seal.invitation(grant(store, room, "guest", "owner", expires_in=60))
    store.advance_clock(61)
    with pytest.raises(InvitationExpired):
        seal.read_invitation(token)


@pytest.mark.parametrize("seconds", [0, -1, 31 * 86400, float("nan"), float("inf")])
def test_no_invitation_is_for_ever(store: Store, room: Room, seconds: float) -> None:
    """It lasts more than nothing and at most 30 days."""
    with pytest.raises(InvitationError, match="30 days"):
        grant(store, room, "guest", "owner", expires_in=seconds)


def test_other_roles_do_not_exist(store: Store, room: Room) -> None:
    """A role that is neither guest nor host is refused where it is asked for."""
    with pytest.raises(InvitationError, match="guest or a host"):
        grant(store, room, "moderator", "owner")


@given(place=st.integers(min_value=0), letter=st.characters())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_an_altered_invitation_is_none(store: Store, room: Room, place: int, letter: str) -> None:
    """Whichever letter of a token is changed, and to what: it is refused, and the error does not quote it."""
    seal = Seal(store)
    token = seal.invitation(grant(store, room, "guest", "owner"))
    place %= len(token)
    altered = token[:place] + letter + token[place + 1 :]
    if altered == token:
        return
    if place == len(token) - 1 and letter.isascii() and (letter.isalnum() or letter in "-_"):
        return  # the last letter of base64 carries bits that mean nothing
    with pytest.raises(InvitationRefused) as refusal:
        seal.read_invitation(altered)
    assert token[:20] not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "x" * 100_000, "\0", "é" * 50])
def test_rubbish_is_no_invitation(store: Store, token: str) -> None:
    """What nobody signed is refused, however long or odd."""
    with pytest.raises(InvitationRefused):
        Seal(store).read_invitation(token)


def test_purposes_are_apart(store: Store, room: Room) -> None:
    """What was signed for one purpose is nothing for another: a visit token opens no page."""
    seal = Seal(store)
    token = seal.sign("visit", {"r": room.id, "h": True, "n": "", "o": "", "p": True, "e": time.time() + 60})
    with pytest.raises(InvitationRefused):
        seal.read_invitation(token)


def test_environments_and_folders_are_apart(store: Store, room: Room, tmp_path: Path) -> None:
    """Another account of the same store, and another store, draw secrets of their own."""
    token = Seal(store).invitation(grant(store, room, "host", "owner"))
    for file, environment in (("sipkit.db", "live:1"), ("second.db", "sandbox:1")):
        other = Store.open(f"sqlite:///{tmp_path / file}", environment)
        with pytest.raises(InvitationRefused):
            Seal(other).read_invitation(token)
        other.close()


def test_everybody_has_the_same_secret(tmp_path: Path, store: Store, room: Room) -> None:
    """However many processes need the secret first, one is drawn, and all read each other's invitations."""
    url = f"sqlite:///{tmp_path / 'sipkit.db'}"
    stores = [Store.open(url, "sandbox:1") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        seals = list(pool.map(Seal, stores))
    invited = grant(store, room, "guest", "owner")
    assert all(seals[0].read_invitation(seal.invitation(invited)) == invited for seal in seals)
    for each in stores:
        each.close()


def test_nothing_secret_is_shown(store: Store, room: Room) -> None:
    """Neither repr holds the link or the PIN, for reprs end in notebooks; the card shows both on purpose."""
    made = invite(store, room, grant(store, room, "host", "owner"), "12025550100", "http://h", "http://l")
    for text in (repr(made), str(made), repr(made.show()), repr([made])):
        assert token_of(made.url) not in text
        assert room.pin not in text.replace(str(made.expires_at.year), "")
        assert "http" not in text
    assert not hasattr(made, "_repr_html_")
    card = made.show()._repr_html_()
    assert token_of(made.url) in card
    assert room.pin in card


@pytest.mark.parametrize(("role", "show_pin"), [("guest", None), ("guest", True), ("host", None), ("host", False)])
def test_a_card_to_be_sent_on_holds_the_pin_only_where_it_is_shown(
    store: Store, room: Room, role: str, show_pin: bool | None
) -> None:
    """The card's dial code has the PIN only if the invitation shows it; the inviter's own dial string always has."""
    invited = grant(store, room, role, "owner", show_pin=show_pin)
    made = invite(store, room, invited, "12025550100", "http://h", "http://l")
    card = made.show()._repr_html_()
    own, plain = f"tel:+12025550100,,{room.pin}#", "tel:+12025550100"
    assert made.dial_string == own
    assert made.shown_dial_string == (own if invited.show_pin else plain)
    assert (f",,{room.pin}" in card) is invited.show_pin
    assert (made.dial_qr_svg().partition("</title>")[2] in card) is invited.show_pin
    assert ("the host tells you the PIN" in card) is not invited.show_pin
    assert plain in card
    assert f",,{room.pin}" not in repr(made)


def test_a_card_escapes_the_rooms_name(store: Store) -> None:
    """A room's name is text wherever the card shows it."""
    room = store.open_room("<img src=x onerror=alert(1)>", lambda: "SESSION")
    card = (
        invite(store, room, grant(store, room, "guest", "owner"), "1202", "http://h", "http://l").show()._repr_html_()
    )
    assert "<img" not in card


def test_qr_codes_are_pictures_of_their_own(store: Store, room: Room) -> None:
    """A QR code is one whole SVG document, so that it also works as an image."""
    made = invite(store, room, grant(store, room, "guest", "owner"), "12025550100", "http://h", "http://l")
    for svg in (made.qr_svg(), made.dial_qr_svg()):
        root = ET.fromstring(svg)  # noqa: S314 - our own
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert made.qr_svg() != made.dial_qr_svg()


def test_what_a_phone_dials() -> None:
    """The number, two pauses, the PIN and the hash key; in a link the hash is quoted, or it would be a fragment."""
    assert dial_string("12025550100", "1234") == "tel:+12025550100,,1234#"
    assert dial_string("12025550100") == "tel:+12025550100"
    assert dial_href("tel:+12025550100,,1234#") == "tel:+12025550100,,1234%23"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("standup", "/room/standup"),
        ("a b/c?d#e", "/room/a%20b-c%3Fd%23e"),
        ("..", "/room/room"),
        ("späť 100%", "/room/sp%C3%A4%C5%A5%20100%25"),
        ("\\..\\", "/room/-..-"),
    ],
)
def test_a_rooms_path(name: str, path: str) -> None:
    """Whatever a room is called, its page is one segment of the path that no proxy or browser resolves."""
    assert room_path(name) == path
    assert unquote(path.removeprefix("/room/")) == path_name(name)


@given(st.text())
def test_display_names(text: str) -> None:
    """A name is shown on one line, short, and without letters that turn or hide others."""
    shown = display_name(text)
    assert len(shown) <= 40
    assert shown == "" or (shown.isprintable() and shown == shown.strip())
    assert display_name(shown) == shown


@pytest.mark.parametrize("odd", [None, 7, ["Ada"], {"name": "Ada"}, "\u202e", "\n\t"])
def test_what_is_no_name(odd: Any) -> None:
    """What is no text, or only invisible, is no name."""
    assert display_name(odd) == ""


def test_a_board_invites_while_its_server_runs(board: Switchboard, wait_until: Callable[..., Any]) -> None:
    """Without a webhook server there is no page to invite to; with one the link is its, for open rooms only."""
    room = board.open_room("standup")
    with pytest.raises(ServerError, match="start_webhook_server"):
        board.invite(room)
    server = board.start_webhook_server()
    made = board.invite("standup", "host", "Ada")
    assert made.local_url.startswith(f"{server.url}/room/standup?invitation=")
    assert made.url == made.local_url  # the sandbox is on this machine
    assert made.dial_string == f"tel:+{board.number},,{room.pin}#"
    assert Seal(board._store).read_invitation(token_of(made.url)) == replace(
        grant(board._store, room, "host", board.owner, "Ada"), until=int(made.expires_at.timestamp())
    )
    with pytest.raises(RoomNotFound):
        board.invite("nowhere")
