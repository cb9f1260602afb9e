"""What the platform charges: list prices, each with where it stands and when it was seen. Pure, no I/O.

Vonage's pricing pages show their figures to a browser only, and other figures to other customers, so each row says
how good it is. `PRICE_TABLE` in `.env` names a TOML file that replaces rows:

    [inbound]
    price = 0.0049          # a minute; of `number`: a month
    currency = "USD"        # what `completed` events are told in, too
    source = "my dashboard" # may be left out, as may be `seen`
    seen = 2026-11-30

Prices of one currency are never added to those of another: video and SIP are listed in dollars, voice in euros.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

HIGHEST: Final = 1000
"""A price above is a slip of the pen."""

Kind = Literal["sip", "video", "inbound", "outbound", "number"]

WORDS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "sip": "SIP interconnect: the bridge's leg out of the session",
        "video": "video: each participant of the session, of whom the bridge is one",
        "inbound": "inbound voice: each call into the number, of which the bridge's is one",
        "outbound": "outbound voice: the phone that a direct call rings",
        "number": "the number's rental",
    }
)
"""What each row is paid for."""


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the table.

    Attributes:
        amount: For a minute; of the number's rental: for a month.
        currency: ISO 4217, such as ``EUR``.
        source: Where it is published.
        seen: When it was seen there, or of when it is.
        step: Seconds that count whole once they have begun: 1, or 60 for whole minutes.
        note: How good the figure is.
    """

    amount: Decimal
    currency: str
    source: str
    seen: str
    step: int = 60
    note: str = ""

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def of(self, seconds: float) -> Decimal:
        """Return what so many seconds cost."""
        steps = math.ceil(round(max(0.0, seconds), 3) / self.step)
        return self.amount * steps * self.step / 60


Table = Mapping[Kind, Price]

LISTED: Final[Table] = MappingProxyType(
    {
        "sip": Price(
            Decimal("0.005"),
            "USD",
            "https://api.support.vonage.com/hc/en-us/articles/6646235489436",
            "2026-11-30",
            note="documented; that a started minute counts whole is assumed",
        ),
        "video": Price(
            Decimal("0.0041"),
            "USD",
            "https://www.vonage.com/communications-apis/video/pricing/",
            "2026-06-20",
            note="as github.com/api-evangelist/vonage-video noted it, not confirmed; sessions of up to 25 publishers; "
            "that a started minute counts whole is assumed",
        ),
        "inbound": Price(
            Decimal("0.0045"),
            "EUR",
            "https://help.nexmo.com/hc/en-us/articles/204015203",
            "2020-07-01",
            step=1,
            note="old, and the rate of a recorded completed event; billed by the second: documented",
        ),
        "outbound": Price(
            Decimal("0.0095"),
            "EUR",
            "https://help.nexmo.com/hc/en-us/articles/204015203",
            "2020-07-01",
            step=1,
            note="old, and that page's example only: each country has its own price, which `sipkit doctor` asks for; "
            "billed by the second: documented",
        ),
        "number": Price(
            Decimal("0.90"),
            "EUR",
            "https://developer.vonage.com/en/tutorials/phone-to-app/buy-number/javascript",
            "2026-11-30",
            note="of a US number in Vonage's tutorial; due whether or not anybody calls",
        ),
    }
)


def table(text: str) -> Table:
    """Return the table with the rows of a TOML text in place of the listed ones.

    Raises:
        ValueError: It is no such table; the text says what is wrong.
    """
    try:
        rows = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, ArithmeticError):
        raise ValueError("the file is no TOML") from None
    kinds: tuple[Kind, ...] = get_args(Kind)
    strange = sorted(rows.keys() - set(kinds))
    if strange:
        raise ValueError(f"there is no price of {strange[0]!r}; there are {', '.join(kinds)}")
    return MappingProxyType({**LISTED, **{kind: _row(kind, rows[kind]) for kind in kinds if kind in rows}})


def _row(kind: Kind, row: Any) -> Price:
    if not isinstance(row, dict):
        raise ValueError(f"[{kind}] must be a section")  # noqa: TRY004 - all of this is the file's fault
    amount, currency = row.get("price"), row.get("currency")
    if not isinstance(amount, Decimal | int) or isinstance(amount, bool) or not Decimal(amount).is_finite():
        raise ValueError(f"[{kind}] needs a price, such as 0.0045")
    if not 0 <= amount <= HIGHEST:
        raise ValueError(f"[{kind}] needs a price from 0 to {HIGHEST}")
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise ValueError(f"[{kind}] needs a currency of three capitals, such as EUR")
    source, seen = str(row.get("source", "PRICE_TABLE")), str(row.get("seen", ""))
    return Price(Decimal(amount), currency, source, seen, LISTED[kind].step)


def as_markdown(prices: Table = LISTED) -> str:
    """Return the table in Markdown, as `docs/costs.md` has it."""
    head = ("kind", "for", "price", "counted by", "source", "seen", "how good")
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head))]
    for kind, price in prices.items():
        per = "month" if kind == "number" else "minute"
        counted = "started second" if price.step == 1 else per if kind == "number" else f"started {per}"
        cells = (kind, WORDS[kind], f"{price} a {per}", counted)
        lines.append(f"| {' | '.join((*cells, price.source, price.seen, price.note))} |")
    return "\n".join(lines)
