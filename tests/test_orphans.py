"""The rules of orphans: which legs that are up should not be, and which are nobody's here."""

import pytest

from sipkit.orphans import AT_THE_DOOR, Call, OnRecord, strangers_among, why_lost

NUMBER = "12025550100"


@pytest.mark.parametrize(
    ("leg", "up_for", "why"),
    [
        (OnRecord(1, over=False, in_room=True), 10**6, None),
        (OnRecord(1, over=True, in_room=True), 0, "over"),
        (OnRecord(1, over=False, in_room=True, room_closed=True), 0, "closed"),
        (OnRecord(None, over=False), AT_THE_DOOR, None),
        (OnRecord(None, over=False), AT_THE_DOOR + 1, "door"),
        (OnRecord(1, over=False), AT_THE_DOOR + 1, "door"),
    ],
)
def test_what_should_not_be_up(leg: OnRecord, up_for: float, why: str | None) -> None:
    """A leg goes when its bridge or its room is over, or when it is at the door for longer than anybody can be."""
    said = why_lost(leg, up_for)
    assert said is None if why is None else why in str(said)


def test_strangers() -> None:
    """Only the number's own calls count, and not those in a conversation with one that is known.

    Such is the phone that a direct call has rung: no webhook says that it is ours, but its conversation does.
    """
    known = Call("a", "CON-1", frozenset({NUMBER}))
    rung = Call("b", "CON-1", frozenset({NUMBER, "12025550123"}))
    other_number = Call("c", "CON-2", frozenset({"12025550199"}))
    stranger = Call("d", "CON-3", frozenset({NUMBER}))
    found = strangers_among([known, rung, other_number, stranger], {"a": OnRecord(1, over=False)}, NUMBER)
    assert found == [stranger]
