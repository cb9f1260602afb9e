"""The guard's rules: when a call is warned of its end, and when it is hung up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipkit.guard import LAST_WORD, WARN_BEFORE, HangUpFor, Lease, Limits, WarnOf, decide

LIMITS = Limits(no_browser=900, nobody=300, longest=10800)
OPENED = 1000.0

times = st.none() | st.floats(OPENED, OPENED + 20000)


def lease(no_browser: float | None = None, nobody: float | None = None, warned_for: str = "") -> Lease:
    """A lease of a bridge dialled at `OPENED`."""
    return Lease(1, OPENED, no_browser, nobody, warned_for)


@pytest.mark.parametrize(
    ("since", "after", "verdict"),
    [
        (lease(), 10000, None),
        (lease(), 10741, WarnOf("longest", 59)),
        (lease(), 10800, HangUpFor("longest")),
        (lease(no_browser=OPENED), 839, None),
        (lease(no_browser=OPENED), 840, WarnOf("no-browser", 60)),
        (lease(no_browser=OPENED, warned_for="no-browser"), 850, None),
        (lease(no_browser=OPENED, warned_for="no-browser"), 900, HangUpFor("no-browser")),
        (lease(no_browser=OPENED, nobody=OPENED), 299, WarnOf("nobody", 1)),
        (lease(no_browser=OPENED, nobody=OPENED), 300, HangUpFor("nobody")),
    ],
)
def test_each_rule(since: Lease, after: float, verdict: HangUpFor | WarnOf | None) -> None:
    """Each limit is announced a minute before, once, and then kept; the nearest one counts."""
    assert decide(since, OPENED + after, LIMITS) == verdict


def test_a_killed_kernel_is_not_waited_for() -> None:
    """The bridge of a process that has ended is hung up whatever else is there."""
    assert decide(lease(), OPENED + 1, LIMITS, kernel_gone=True) == HangUpFor("kernel-gone")


def test_rules_can_be_switched_off() -> None:
    """A limit of 0 never ends a call."""
    assert decide(lease(OPENED, OPENED), OPENED + 10**6, Limits(0, 0, 0)) is None


def test_a_budget_is_a_limit_like_the_others() -> None:
    """It is announced when it lasts a minute, once, and the call is hung up when nothing of it is left."""
    assert decide(lease(), OPENED + 1, LIMITS, budget_left=61) is None
    assert decide(lease(), OPENED + 1, LIMITS, budget_left=60) == WarnOf("budget", 60)
    assert decide(lease(warned_for="budget"), OPENED + 1, LIMITS, budget_left=30) is None
    assert decide(lease(warned_for="budget"), OPENED + 1, LIMITS, budget_left=0) == HangUpFor("budget")


def test_no_budget_ends_without_a_word() -> None:
    """When many come at once and use it up, who is there is told so, and the call ends with the next look."""
    assert decide(lease(), OPENED + 1, LIMITS, budget_left=0) == WarnOf("budget", LAST_WORD)


@given(times, times, st.floats(0, 30000), st.none() | st.floats(0, 20000), st.sampled_from(["", "budget"]))
def test_no_call_outlives_its_limit(
    no_browser: float | None, nobody: float | None, after: float, budget_left: float | None, warned_for: str
) -> None:
    """Beyond any limit the answer is to hang up, never to warn or to wait; before all of them it never is.

    Only a budget is warned of even then, if it was not before.
    """
    now = OPENED + after
    verdict = decide(lease(no_browser, nobody, warned_for), now, LIMITS, budget_left=budget_left)
    ends = [OPENED + 10800]
    ends += [no_browser + 900] if no_browser is not None else []
    ends += [nobody + 300] if nobody is not None else []
    left = min(ends) - now
    if budget_left is not None and budget_left < left:
        warned = warned_for == "budget"
        assert isinstance(verdict, HangUpFor) == (budget_left == 0 and warned)
        assert isinstance(verdict, WarnOf) == (budget_left <= WARN_BEFORE and not warned)
    else:
        assert isinstance(verdict, HangUpFor) == (left <= 0)
        assert isinstance(verdict, WarnOf) == (0 < left <= WARN_BEFORE)
