"""The timeline holds nothing secret."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipkit.timeline import MAX_TEXT_LENGTH, mask_data, mask_digits, mask_number, mask_text

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJWb25hZ2UifQ.c2lnbmF0dXJl"


def test_numbers_keep_four_digits() -> None:
    """Of a phone number the last four digits stay; of a short one nothing does."""
    assert mask_number("+12025550123") == mask_number("12025550123") == "•••0123"
    assert mask_number("0123") == mask_number("") == "•••"


def test_digits_are_counted_only() -> None:
    """Of typed keys only their number is told."""
    assert (mask_digits("4711"), mask_digits("7"), mask_digits("")) == ("4 digits", "1 digit", "0 digits")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 12025550123 now", "call •••0123 now"),
        ("from +12025550123.", "from •••0123."),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer •••"),
        (f"token={TOKEN}&x=1", "token=•••&x=1"),
        ("T1==cGFydG5lcl9pZD0x", "•••"),
        ("room 2024 of 2_MX40NjAwMDAwMX5-", "room 2024 of 2_MX40NjAwMDAwMX5-"),
        ("leg 12345678-1234-1234-1234-123456789012", "leg 12345678-1234-1234-1234-123456789012"),
        ("two\nlines\r\nhere", "two lines here"),
    ],
)
def test_texts(text: str, masked: str) -> None:
    """Tokens and phone numbers are hidden, ids and names stay, and an entry is one line."""
    assert mask_text(text) == masked


def test_data_is_masked_by_name_and_by_looks() -> None:
    """What a name says is secret is hidden however deep; numbers keep four digits."""
    masked = mask_data(
        {
            "dtmf": {"digits": "4711", "timed_out": False},
            "from": "12025550123",
            "nested": {"PIN": "4711", "list": [TOKEN, {"api_secret": "s"}], "count": 3},
            "status": "completed",
            "none": None,
        }
    )
    assert masked == {
        "dtmf": "•••",
        "from": "•••0123",
        "nested": {"PIN": "•••", "list": ["•••", {"api_secret": "•••"}], "count": 3},
        "status": "completed",
        "none": None,
    }


@given(st.text(max_size=2000), st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=5))
def test_any_text_can_be_kept(text: str, data: dict[str, object]) -> None:
    """Whatever text comes, the entry is one short line that a database and a JSON file can hold."""
    masked = mask_text(text)
    assert len(masked) <= MAX_TEXT_LENGTH
    assert "\n" not in masked
    masked.encode()
    json.dumps(mask_data(data), ensure_ascii=False).encode()
