"""PINs: drawn well, and every free one reachable."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit.errors import PinSpaceExhausted, SettingsError
from sipkit.pins import generate_pin, typed_pin


@pytest.mark.parametrize("length", range(4, 11))
def test_length_and_first_digit(length: int) -> None:
    """A PIN has the wished number of digits and never starts with 0."""
    for _ in range(200):
        pin = generate_pin(length)
        assert len(pin) == length
        assert pin.isdigit()
        assert pin[0] != "0"


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
    assert len(pin) == 4


def test_the_last_free_one_is_found() -> None:
    """With all but one PIN taken, that one is drawn; with that taken too, the space is exhausted."""
    everything = {str(pin) for pin in range(1000, 10000)}
    for last in ("1000", "4711", "9999"):
        assert generate_pin(4, everything - {last}) == last
    with pytest.raises(PinSpaceExhausted, match="9000 PINs of 4 digits"):
        generate_pin(4, everything)
    assert len(generate_pin(5, everything)) == 5


def test_every_pin_is_as_likely() -> None:
    """Of 20 free PINs each is drawn about equally often (chi-square far below the 1-in-a-million bound)."""
    free = {str(pin) for pin in range(1500, 9999, 450)}
    taken = {str(pin) for pin in range(1000, 10000)} - free
    draws = [generate_pin(4, taken) for _ in range(300)]
    expected = len(draws) / len(free)
    chi_square = sum((draws.count(pin) - expected) ** 2 / expected for pin in free)
    assert set(draws) == free
    assert chi_square < 70


def test_what_was_typed() -> None:
    """The key that submits is no part of the PIN."""
    assert typed_pin("1234#") == typed_pin(" 1234 ") == "1234"
    assert typed_pin("#") == typed_pin("") == ""
