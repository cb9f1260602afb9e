"""The arithmetic of guessing: what the lock-outs are worth, against the rule itself and against a simulation."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit import guessing
from sipkit.guessing import CALLER, NUMBER, YEAR, Policy, Wrongs
from sipkit.pins import how_many

DAY = 86400.0


def test_six_digits_withstand_fixed_ids() -> None:
    """Ten rooms, 30 lines with caller ids of their own, the defaults: more than a year to an even chance."""
    assert guessing.seconds_to_half(6, 10, guessing.fixed_rate(30)) > YEAR


def test_four_digits_do_not() -> None:
    """The same with four digits: days; and with ids that change on each call, a minute or so to the lobby."""
    assert guessing.seconds_to_half(4, 10, guessing.fixed_rate(30)) < 14 * DAY
    assert guessing.seconds_to_half(4, 10, guessing.changing_rate(30)) < 120


def test_tries_before_and_between_pauses() -> None:
    """Three wrong PINs, a pause of a minute, then one between pauses that double up to a day."""
    wrongs, now, pauses = Wrongs(), 1000.0, []
    for _ in range(20):
        wrongs = CALLER.after_wrong(wrongs, now)
        pauses.append(wrongs.until - now if wrongs.until > now else 0.0)
        now = max(now, wrongs.until)
    assert pauses[:7] == [0, 0, 60, 120, 240, 480, 960]
    assert pauses[-1] == DAY


def test_typing_within_a_pause_makes_it_no_shorter() -> None:
    """A wrong PIN that comes while a pause runs leaves its end where it is."""
    paused = Wrongs(0.0, 1, 160.0, 100.0)
    assert CALLER.after_wrong(paused, 130.0).until == 160.0


@given(st.lists(st.floats(0, 3 * DAY), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_timing_beats_the_rate(waits: list[float]) -> None:
    """Whatever somebody waits between wrong PINs, in the long run it gets no more of them than the arithmetic says."""
    wrongs, now, guesses = Wrongs(), DAY, 0
    for wait in waits:
        now = max(now + wait, wrongs.until)
        wrongs = CALLER.after_wrong(wrongs, now)
        guesses += 1
    lasts = now - DAY + CALLER.kept(wrongs.pauses)  # from then on it is where it began
    assert guesses <= guessing.guesses_per_day() * lasts / DAY + 1e-6


def test_the_even_chance_is_one() -> None:
    """Guessing at random for the computed number of times hits one of ten PINs in about half of all runs."""
    rng = random.Random(1)
    size, guesses = how_many(4), round(guessing.guesses_for_half(4, 10))
    hits = sum(any(rng.randrange(size) < 10 for _ in range(guesses)) for _ in range(600))
    assert 240 < hits < 360


def test_the_number_notices_a_flood_and_not_a_class() -> None:
    """Two hundred callers of whom one in ten errs within ten minutes are no attack; a guess every two seconds is."""

    def guarded_after(wrong: int, seconds: float) -> bool:
        wrongs, now = Wrongs(), 1000.0
        for _ in range(wrong):
            now += seconds / wrong
            wrongs = NUMBER.after_wrong(wrongs, now)
        return wrongs.until > now

    assert not guarded_after(20, 600)
    assert guarded_after(120, 240)


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (90, "1.5 min"), (7200, "2.0 h"), (1.5 * YEAR, "1.5 years")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    """A time is said in the unit that people would use."""
    assert guessing.in_words(seconds) == words


def test_a_stricter_policy_is_stricter() -> None:
    """Fewer free tries mean fewer guesses a day."""
    assert guessing.guesses_per_day(Policy(free=1)) < guessing.guesses_per_day(Policy(free=10))
