"""Write docs/fidelity.md from docs/fidelity.toml: how true each part of the sandbox is to the platform, and by what.

    python tools/build_fidelity.py            # writes docs/fidelity.md
    python tools/build_fidelity.py --counts   # prints how many rows are documented, recorded, assumed

The table is data, so that a test can hold it against the sandbox: a route, a webhook field or an NCCO option that the
sandbox has and the table has not (or the other way round) fails `make test`. What is documented or recorded names one
of the table's sources, and the place in it after a colon; what is assumed says in words what it rests on.
"""

import argparse
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "fidelity.toml"
PAGE = ROOT / "docs" / "fidelity.md"

GROUPS = {
    "endpoints": "REST endpoints",
    "webhooks": "Webhook fields",
    "ncco": "NCCO options",
    "sip": "SIP and media",
    "habits": "Calls, limits and callbacks",
}
HOW = ("documented", "recorded", "assumed")


class BadTable(ValueError):
    """The table breaks its own rules; the text says where."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing the sandbox does.

    Attributes:
        group: a key of `GROUPS`.
        name: such as "POST /session/create", "answer.from", "talk.text".
        how: documented (a vendor's page or SDK says so), recorded (seen in published traffic), assumed (nobody says).
        source: what says so; for an assumption, what it rests on.
        differs: how the sandbox is not like the platform; empty where it is.
    """

    group: str
    name: str
    how: str
    source: str
    differs: str


def rows(text: str | None = None) -> list[Row]:
    """Read the table.

    Args:
        text: TOML; that of `DATA` unless given.

    Raises:
        BadTable: an unknown group or degree, a source that is not among the sources (for what is assumed: none at
            all), or a source that no row names.
    """
    table = tomllib.loads(DATA.read_text() if text is None else text)
    sources = table.pop("sources")
    named: set[str] = set()
    found = list(_rows(table, sources, named))
    if unnamed := sources.keys() - named:
        raise BadTable(f"no row names the sources {sorted(unnamed)}")
    return found


def _rows(table: dict[str, dict[str, list[str]]], sources: dict[str, str], named: set[str]) -> Iterator[Row]:
    for group, entries in table.items():
        if group not in GROUPS:
            raise BadTable(f"{group} is no group of the table")
        for name, entry in entries.items():
            how, source, differs = [*entry, ""][:3]
            key, _, place = source.partition(": ")
            if how not in HOW or not source or (how != "assumed" and key not in sources):
                raise BadTable(f"{name}: says {how!r} by {source!r}")
            if how != "assumed":
                named.add(key)
                source = f"{sources[key]}: {place}" if place else sources[key]
            yield Row(group, name, how, source, differs)


def differences(table: list[Row], group: str, real: Iterable[str]) -> list[str]:
    """Compare one group with what the sandbox really has; returns in words what is on one side only."""
    listed, found = {row.name for row in table if row.group == group}, set(real)
    return [
        *(f"{name} is not in the table" for name in sorted(found - listed)),
        *(f"{name} is not in the sandbox" for name in sorted(listed - found)),
    ]


def counts(table: list[Row]) -> Counter[str]:
    """Count the rows of each degree."""
    return Counter(row.how for row in table)


def page(table: list[Row]) -> str:
    """Print the table as Markdown."""
    tally = counts(table)
    total = ", ".join(f"{tally[how]} {how}" for how in HOW)
    lines = [
        "# How true the sandbox is",
        "",
        "Written by `python tools/build_fidelity.py` from `docs/fidelity.toml`; a test holds it against the",
        "sandbox's routes, webhook fields and NCCO options. *Documented*: a page or an SDK of the vendor says so.",
        "*Recorded*: seen in published traffic. *Assumed*: nobody says, and the strict side was taken. Nothing",
        f"here was compared with the production service. {len(table)} rows: {total}.",
    ]
    for group, title in GROUPS.items():
        lines += ["", f"## {title}", "", "| what | how | by | how the sandbox differs |", "|---|---|---|---|"]
        lines += [f"| `{row.name}` | {row.how} | {row.source} | {row.differs} |" for row in table if row.group == group]
    return "\n".join([*lines, ""])


def main() -> int:
    """Write the page, or print the counts."""
    parser = argparse.ArgumentParser(description="Write docs/fidelity.md.")
    parser.add_argument("--counts", action="store_true", help="print the counts and write nothing")
    table = rows()
    if parser.parse_args().counts:
        print(" ".join(f"{how}={counts(table)[how]}" for how in HOW))
    else:
        PAGE.write_text(page(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
