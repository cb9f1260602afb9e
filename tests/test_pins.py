"""PINs: easy to type, and every free one reachable and as likely."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit.errors import PinSpaceExhausted, SettingsError
from sipkit.pins import generate_pin, how_many, typed_pin, well_formed

ALL_OF_4 = {str(pin) for pin in range(1000, 10000) if well_formed(str(pin))}


@pytest.mark.parametrize("length", range(4, 11))
def test_what_a_pin_looks_like(length: int) -> None:
    """A PIN has the wished number of digits, no 0 in front, no digit twice in a row, and no three that count."""
    for _ in range(200):
        pin = generate_pin(length)
        assert len(pin) == length
        assert pin.isdigit()
        assert pin[0] != "0"
        assert not [digit for digit in "0123456789" if 2 * digit in pin]
        assert not [run for run in ("012", "123", "456", "789", "987", "654", "321", "210") if run in pin]


@pytest.mark.parametrize("text", ["0245", "1135", "4123", "9871", "12a5", "", "١٣٥٧"])
def test_what_is_no_pin(text: str) -> None:
    """Digits that break a rule are none of ours."""
    assert not well_formed(text)


def test_how_many_there_are() -> None:
    """The number of PINs of a length is that of the numbers which keep the rules."""
    assert how_many(4) == len(ALL_OF_4) == 6310
    assert how_many(5) == sum(well_formed(str(pin)) for pin in range(10000, 100000))


@pytest.mark.parametrize("length", [-1, 0, 3, 11])
def test_other_lengths_are_refused(length: int) -> None:
    """Fewer than 4 or more than 10 digits are a typed error."""
    with pytest.raises(SettingsError):
        generate_pin(length)


@given(st.sets(st.integers(1000, 9999), max_size=300), st.lists(st.text(max_size=5), max_size=5))
@settings(max_examples=50, deadline=None)
def test_never_one_that_is_taken(taken: set[int], noise: list[str]) -> None:
    """A taken PIN is not drawn, whatever else is said to be taken."""
    pin = generate_pin(4, [*map(str, taken), *noise])
    assert int(pin) not in taken
    assert well_formed(pin)


def test_the_last_free_one_is_found() -> None:
    """With all but one PIN taken, that one is drawn; with that taken too, the space is exhausted."""
    for last in (min(ALL_OF_4), "4718", max(ALL_OF_4)):
        assert generate_pin(4, ALL_OF_4 - {last}) == last
    with pytest.raises(PinSpaceExhausted, match="6310 PINs of 4 digits"):
        generate_pin(4, ALL_OF_4)
    assert len(generate_pin(5, ALL_OF_4)) == 5


def test_every_pin_is_as_likely() -> None:
    """Of 5 free PINs each is drawn about equally often (chi-square far below the 1-in-a-million bound)."""
    free = set(sorted(ALL_OF_4)[100::1300])
    draws = [generate_pin(4, ALL_OF_4 - free) for _ in range(100)]
    expected = len(draws) / len(free)
    chi_square = sum((draws.count(pin) - expected) ** 2 / expected for pin in free)
    assert set(draws) == free
    assert chi_square < 33


def test_what_was_typed() -> None:
    """The key that submits is no part of the PIN."""
    assert typed_pin("1234#") == typed_pin(" 1234 ") == "1234"
    assert typed_pin("#") == typed_pin("") == ""
