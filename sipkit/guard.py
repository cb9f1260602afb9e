"""When a call is hung up that nobody seems to want any more. Pure rules, no I/O; `sipkit.watch` sees to them.

A bridge is billed while it lives, so it has a *lease*: what was seen of it, and since when. It is hung up when

    no-browser   the session has had nobody but the bridge for `no_browser` seconds
    nobody       neither a browser nor a phone was there for `nobody` seconds
    longest      it has lasted `longest` seconds
    budget       its room has cost what it may
    kernel-gone  the process that dialled it has ended, and no other is there to hang it up

A minute before (kernel-gone aside) whoever is there is warned. A budget may be used up all of a sudden, when many come
at once; then the call lasts until the next look after the warning.
"""

from dataclasses import dataclass
from typing import Final, Literal

Rule = Literal["no-browser", "nobody", "longest", "budget", "kernel-gone"]

WARN_BEFORE: Final = 60.0
"""Seconds before the end at which it is announced."""

LAST_WORD: Final = 5.0
"""Seconds that a call lasts after a warning that comes late."""

WORDS: Final[dict[Rule, str]] = {
    "no-browser": "nobody has been in the session with a browser for too long",
    "nobody": "nobody is in it",
    "longest": "it has lasted as long as a call may",
    "budget": "the room's budget is used up",
    "kernel-gone": "the notebook that dialled it is gone",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call may go on. Seconds; 0 switches a rule off.

    Attributes:
        no_browser: Without a browser in the session.
        nobody: Without a browser and without a phone.
        longest: In all.
    """

    no_browser: float = 15 * 60.0
    nobody: float = 5 * 60.0
    longest: float = 180 * 60.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What was seen of a bridge.

    Attributes:
        bridge_id: Whose it is.
        opened_at: When the bridge was dialled. All times in seconds since 1970, of the store's clock.
        no_browser_since: Since when there is no browser; None: there is one, or nobody could tell.
        nobody_since: Since when there is neither a browser nor a phone; None likewise.
        warned_for: What was warned of last; empty if of nothing.
    """

    bridge_id: int
    opened_at: float
    no_browser_since: float | None = None
    nobody_since: float | None = None
    warned_for: str = ""


@dataclass(frozen=True, slots=True)
class HangUpFor:
    """The bridge is to be hung up."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class WarnOf:
    """Whoever is there is to be told that the bridge will be hung up in so many seconds."""

    rule: Rule
    seconds: float


def decide(
    lease: Lease, now: float, limits: Limits, *, kernel_gone: bool = False, budget_left: float | None = None
) -> HangUpFor | WarnOf | None:
    """Return what is to be done about a bridge now; None: nothing.

    Args:
        lease: What was seen of it.
        now: Seconds since 1970, of the store's clock.
        limits: How long it may go on.
        kernel_gone: Whether the process that dialled it has ended.
        budget_left: Seconds for which the room's budget lasts; None: for ever.
    """
    if kernel_gone:
        return HangUpFor("kernel-gone")
    since: dict[Rule, tuple[float | None, float]] = {
        "nobody": (lease.nobody_since, limits.nobody),
        "no-browser": (lease.no_browser_since, limits.no_browser),
        "longest": (lease.opened_at, limits.longest),
    }
    left = {rule: begun + limit - now for rule, (begun, limit) in since.items() if limit and begun is not None}
    if budget_left is not None:
        left["budget"] = budget_left
    if not left:
        return None
    rule = min(left, key=left.__getitem__)
    if left[rule] <= 0:
        late = rule == "budget" and lease.warned_for != rule
        return WarnOf(rule, LAST_WORD) if late else HangUpFor(rule)
    return WarnOf(rule, left[rule]) if left[rule] <= WARN_BEFORE and lease.warned_for != rule else None
