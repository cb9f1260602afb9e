"""Rooms, bridges and callers as data, and the error tree."""

import pickle
from datetime import UTC, datetime

import pytest

from sipkit import errors
from sipkit.errors import BadRoomName, SipkitError
from sipkit.rooms import Bridge, Caller, Room, checked_name

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_reprs_hide_pin_and_number() -> None:
    """A room's repr shows no PIN and a caller's no number."""
    room = Room(1, "standup", "SESSION", "4711", "sandbox:KEY", NOW)
    caller = Caller("leg", 1, "12025550123", "joined", NOW, None)
    assert "4711" not in repr(room)
    assert "0123" not in repr(caller)
    assert caller.masked_number == "•••0123"


def test_a_bridge_lives_until_it_ended() -> None:
    """`living` follows the end time."""
    bridge = Bridge(1, 1, None, None, None, "dialing", "me", NOW, None, None)
    assert bridge.living
    assert not Bridge(1, 1, None, None, None, "ended", "me", NOW, NOW, "hung up").living


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "a\x00b", "\ud800", None, 7])
def test_bad_room_names(name: object) -> None:
    """A name that is empty, too long, unprintable or no text is refused."""
    with pytest.raises(BadRoomName):
        checked_name(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["standup", "1234", " team room ", "Büro 7", "x" * 64])
def test_good_room_names(name: str) -> None:
    """Other names are kept as they are, without space around; a name may look like a PIN."""
    assert checked_name(name) == name.strip()


def all_errors(root: type[SipkitError] = SipkitError) -> list[type[SipkitError]]:
    """Every error of the tree."""
    return [root, *(below for child in root.__subclasses__() for below in all_errors(child))]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_carries_a_fix(kind: type[SipkitError]) -> None:
    """An error says what went wrong and how to mend it, is drawn in the tree, and survives pickling."""
    error = kind("It broke.")
    assert str(error) == f"It broke.\nFix: {error.fix}"
    assert len(error.fix) > 10
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes
    assert kind("It broke.", "Mend it.").fix == "Mend it."
    if kind.__module__ == "sipkit.errors":
        assert kind.__name__ in str(errors.__doc__)
