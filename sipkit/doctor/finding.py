"""What a check found, and the report of all of them, as text, JSON and HTML.

A finding never holds a secret, a token, a PIN or a telephone number: it ends in notebooks and in CI's logs.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Literal

State = Literal["ok", "warning", "failure", "skipped"]

SIGNS: Final[dict[State, str]] = {"ok": "✔", "warning": "!", "failure": "✘", "skipped": "–"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at, such as `clock`.
        state: ``ok``; ``warning``: calls may work; ``failure``: they will not; ``skipped``: could not be looked at,
            or is not needed.
        seen: What was seen, in words. May differ from run to run.
        fix: The command or dashboard step that mends it; empty if nothing is to be mended.
    """

    check: str
    state: State
    seen: str
    fix: str = ""

    def lines(self) -> list[str]:
        """The finding as text: one line, and one for the fix."""
        return [f"{SIGNS[self.state]} {self.check}: {self.seen}", *([f"  Fix: {self.fix}"] if self.fix else [])]

    def __repr__(self) -> str:
        if self.state == "ok":
            return f"{SIGNS[self.state]} {self.check}"  # what was seen differs from run to run
        return "\n".join(self.lines())


def ok(check: str, seen: str) -> Finding:
    """Nothing to mend."""
    return Finding(check, "ok", seen)


def warning(check: str, seen: str, fix: str) -> Finding:
    """Calls may work all the same."""
    return Finding(check, "warning", seen, fix)


def failure(check: str, seen: str, fix: str) -> Finding:
    """Calls will not work."""
    return Finding(check, "failure", seen, fix)


def skipped(check: str, why: str) -> Finding:
    """Not looked at."""
    return Finding(check, "skipped", why)


class Report:
    """All findings, in the order in which they are best mended.

    Args:
        mode: ``sandbox`` or ``live``, or empty if the settings could not be read.
        findings: One or more for each check.
        seconds: How long the examination took.
    """

    def __init__(self, mode: str, findings: Sequence[Finding], seconds: float) -> None:
        self.mode = mode
        self.findings = tuple(findings)
        self.seconds = seconds

    @property
    def healthy(self) -> bool:
        """Whether no check failed; warnings and skipped checks do not count."""
        return all(each.state != "failure" for each in self.findings)

    @property
    def exit_code(self) -> int:
        """0 if healthy, else 1."""
        return 0 if self.healthy else 1

    def __getitem__(self, check: str) -> Finding:
        """The finding of one check.

        Raises:
            KeyError: There was no such check.
        """
        for each in self.findings:
            if each.check == check:
                return each
        raise KeyError(check)

    def summary(self) -> str:
        """The verdict, and how many findings there are of each kind, in words."""
        counts = Counter(each.state for each in self.findings)
        kinds = ", ".join(f"{counts[state]} {state}" for state in SIGNS if counts[state])
        return f"{'healthy' if self.healthy else 'not healthy'} ({kinds})"

    def text(self) -> str:
        """Everything, what was seen included, for a terminal."""
        lines = [line for each in self.findings for line in each.lines()]
        return "\n".join([*lines, f"{self.mode or 'no mode'}: {self.summary()}, in {self.seconds:.1f} s"])

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs: `mode`, `healthy`, `seconds` and a list of `findings`."""
        findings = [
            {"check": each.check, "state": each.state, "seen": each.seen, "fix": each.fix} for each in self.findings
        ]
        return {"mode": self.mode, "healthy": self.healthy, "seconds": round(self.seconds, 2), "findings": findings}

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.findings))

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self.findings))
        caption = escape(f"The doctor, {self.mode or 'no mode'}: {self.summary()}")
        style = "text-align: left; padding: 0.25em 0.75em 0.25em 0"
        heads = "".join(f'<th scope="col" style="{style}">{head}</th>' for head in ("", "check", "seen", "fix"))
        return (
            f'<table><caption style="{style}; font-weight: 600">{caption}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _row(finding: Finding) -> str:
    sign = f'<td><span role="img" aria-label="{finding.state}">{SIGNS[finding.state]}</span></td>'
    name = f'<td style="text-align: left; white-space: nowrap">{escape(finding.check)}</td>'
    told = "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in (finding.seen, finding.fix))
    return f"<tr>{sign}{name}{told}</tr>"
