"""What calls cost: the price table, the sums, the plot's series, budgets and the CSV. No call is placed here."""

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipkit import prices
from sipkit.costs import COLUMNS, POINTS, Charge, Costs, in_words
from sipkit.errors import SettingsError
from sipkit.prices import LISTED, Kind
from sipkit.settings import Settings

BEGAN = 1_796_031_200.0  # 2026-11-30, 09:33:20 UTC

CALL = (
    Charge("sip", "bridge 1", "standup", "the bridge", BEGAN, BEGAN + 90),
    Charge("video", "c-1", "standup", "the bridge", BEGAN, BEGAN + 90),
    Charge("inbound", "leg-1", "standup", "the bridge", BEGAN, BEGAN + 90, Decimal("0.00675")),
    Charge("inbound", "leg-2", "standup", "phone •••0123", BEGAN + 20, BEGAN + 80),
    Charge("inbound", "leg-3", "", "phone •••0199", BEGAN + 25, BEGAN + 32),
)

GOLDEN = """\
room,kind,who,leg,began,ended,seconds,per_minute,currency,amount,basis
standup,inbound,the bridge,leg-1,2026-11-30T09:33:20Z,2026-11-30T09:34:50Z,90,0.0045,EUR,0.006750,platform
standup,sip,the bridge,bridge 1,2026-11-30T09:33:20Z,2026-11-30T09:34:50Z,90,0.005,USD,0.010000,estimate
standup,video,the bridge,c-1,2026-11-30T09:33:20Z,2026-11-30T09:34:50Z,90,0.0041,USD,0.008200,estimate
standup,inbound,phone •••0123,leg-2,2026-11-30T09:33:40Z,2026-11-30T09:34:40Z,60,0.0045,EUR,0.004500,estimate
,inbound,phone •••0199,leg-3,2026-11-30T09:33:45Z,2026-11-30T09:33:52Z,7,0.0045,EUR,0.000525,estimate
"""

seconds = st.floats(0, 20_000)
charges = st.lists(
    st.builds(
        Charge,
        kind=st.sampled_from(["sip", "video", "inbound", "outbound"]),
        leg=st.text(max_size=5),
        room=st.text(max_size=20),
        who=st.text(max_size=20),
        began_at=st.just(BEGAN),
        ended_at=st.none() | seconds.map(lambda length: BEGAN + length),
        told=st.none() | st.decimals(0, 100, places=8),
    ).map(lambda each: each if each.ended_at is not None else Charge(each.kind, each.leg, each.room, each.who, BEGAN)),
    max_size=8,
)


def reckoned(*parts: Charge, after: float = 100.0) -> Costs:
    """What these charges come to, by the list prices."""
    return Costs.of(parts, LISTED, BEGAN + after)


def test_seconds_are_counted_as_the_platform_counts_them() -> None:
    """Seven seconds of a call into the number cost what a recorded `completed` event says; minutes count whole."""
    assert LISTED["inbound"].of(7) == Decimal("0.000525")
    assert [LISTED["sip"].of(each) for each in (0, 0.5, 60, 60.5)] == [0, *(Decimal("0.005") * n for n in (1, 1, 2))]


def test_currencies_are_never_added() -> None:
    """The sum has dollars and euros side by side; a told price counts and not the estimate."""
    costs = reckoned(*CALL)
    assert costs.total == {"USD": Decimal("0.0182"), "EUR": Decimal("0.011775")}
    assert in_words(costs.total) == "0.0182 USD and 0.0118 EUR"
    assert in_words({}) == "nothing"
    assert costs.by_room[""] == {"EUR": Decimal("0.000525")}
    assert costs.by_kind["video"] == {"USD": Decimal("0.0082")}
    assert (costs.estimate, costs.running) == (True, False)
    assert not reckoned(CALL[2]).estimate


def test_the_csv_is_this() -> None:
    """The export, to the letter: CRLF, UTC, numbers masked."""
    assert reckoned(*CALL).csv() == GOLDEN.replace("\n", "\r\n")


@given(charges)
def test_whatever_a_room_is_called_its_csv_can_be_read(parts: list[Charge]) -> None:
    """Commas, quotes and line breaks in names come back as they were (RFC 4180)."""
    costs = reckoned(*parts)
    head, *rows = csv.reader(io.StringIO(costs.csv(), newline=""))
    assert tuple(head) == COLUMNS
    assert [(row[0], row[2], row[3]) for row in rows] == [
        (line.charge.room, line.charge.who, line.charge.leg) for line in costs.lines
    ]


@given(charges, seconds)
def test_the_plot_grows_to_the_sum(parts: list[Charge], after: float) -> None:
    """No point of the plot is below the one before, the last one is the sum, and there are not too many."""
    ended = [each.ended_at - BEGAN for each in parts if each.ended_at is not None]
    costs = reckoned(*parts, after=max([after, *ended]))
    series = costs.series()
    assert len(series) <= POINTS + 2
    for currency, total in costs.total.items():
        grown = [money.get(currency, Decimal(0)) for _at, money in series]
        assert grown == sorted(grown)
        assert grown[-1] == total


@given(charges, seconds, st.decimals("0.001", "10", places=3))
def test_a_budget_lasts_as_long_as_it_says(parts: list[Charge], after: float, budget: Decimal) -> None:
    """It is used up exactly when one currency's sum has reached it; what runs then reaches it within a minute of it."""
    ended = [each.ended_at - BEGAN for each in parts if each.ended_at is not None]
    after = max([after, *ended])
    left = reckoned(*parts, after=after).seconds_left(budget)
    assert (left == 0) == (reckoned(*parts, after=after).share(budget) >= 1)
    if left:
        assert reckoned(*parts, after=after + left + 60).seconds_left(budget) == 0
    if left is None:
        assert not any(each.ended_at is None for each in parts)


def test_no_budget_lasts_for_ever() -> None:
    """0 is none."""
    assert reckoned(*CALL).seconds_left(Decimal(0)) is None
    assert reckoned(*CALL).share(Decimal(0)) == 0


def test_own_prices_take_the_place_of_the_listed_ones(tmp_path: Path) -> None:
    """A file of PRICE_TABLE replaces the rows it has, and their currency is that of what the platform tells."""
    file = tmp_path / "prices.toml"
    file.write_text('[inbound]\nprice = 0.0049\ncurrency = "USD"\nsource = "my dashboard"\nseen = 2026-11-30\n')
    mine = Settings.load(project_root=tmp_path, price_table="prices.toml").prices
    assert mine["inbound"].of(60) == Decimal("0.0049")
    assert (mine["inbound"].source, mine["inbound"].seen) == ("my dashboard", "2026-11-30")
    assert mine["sip"] == LISTED["sip"]
    assert Costs.of(CALL[2:3], mine, BEGAN + 90).total == {"USD": Decimal("0.00675")}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[", "no TOML"),
        ("[sms]\nprice = 1", "no price of 'sms'"),
        ("sip = 1", "a section"),
        ('[sip]\ncurrency = "USD"', "needs a price"),
        ('[sip]\nprice = -1\ncurrency = "USD"', "needs a price"),
        ('[sip]\nprice = nan\ncurrency = "USD"', "needs a price"),
        ('[sip]\nprice = true\ncurrency = "USD"', "needs a price"),
        ('[sip]\nprice = 1e400\ncurrency = "USD"', "needs a price"),
        (f'[sip]\nprice = {"9" * 400}\ncurrency = "USD"', "needs a price"),
        ('[sip]\nprice = 0.5\ncurrency = "$"', "three capitals"),
    ],
)
def test_a_wrong_price_table_is_refused_at_once(tmp_path: Path, text: str, wrong: str) -> None:
    """The settings say what is wrong in the file, before anything is placed that they would price."""
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=wrong) as refusal:
        Settings.load(project_root=tmp_path, price_table="prices.toml")
    assert "PRICE_TABLE" in refusal.value.message


def test_the_documented_table_is_the_one_in_use() -> None:
    """docs/costs.md has each price with source and date, as the meter reckons with them."""
    page = (Path(__file__).parent.parent / "docs" / "costs.md").read_text("utf-8")
    assert prices.as_markdown() in page
    kinds: list[Kind] = list(LISTED)
    assert all(LISTED[kind].source.startswith("https://") and LISTED[kind].seen for kind in kinds)
