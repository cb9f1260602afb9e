"""What calls cost: sums over legs and minutes. Pure, no I/O; the store keeps the charges, `sipkit.meter` brings them.

A charge is a stretch of time of one kind. Until the platform tells its price it is an estimate: time x list price.
The price of a `completed` event takes the estimate's place, in the currency in which the table has that kind.
Currencies are summed each on its own: nobody here knows what a euro is worth in dollars.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from sipkit.prices import Kind, Price, Table

Money = Mapping[str, Decimal]
"""Amounts by their currency; a currency of which nothing was spent is not there."""

POINTS: Final = 120
"""Points of a plot at most: two hours minute by minute, longer ones in longer steps."""

MONTH: Final = 365.25 * 86400 / 12
"""Seconds of an average month."""

COLUMNS: Final = (
    "room",
    "kind",
    "who",
    "leg",
    "began",
    "ended",
    "seconds",
    "per_minute",
    "currency",
    "amount",
    "basis",
)
"""Of the CSV. The basis is ``platform`` where the platform told the amount, else ``estimate``."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What is charged for.

    Attributes:
        kind: Its row of the price table.
        leg: The leg's uuid, the connection's id, or ``bridge`` and its number.
        room: The room's name; empty for a phone that typed no PIN.
        who: Whose leg it is, in words; a number is masked.
        began_at: Seconds since 1970, of the store's clock, as is `ended_at`.
        ended_at: None while it runs.
        told: What the platform said it cost; None: nothing yet.
    """

    kind: Kind
    leg: str
    room: str
    who: str
    began_at: float
    ended_at: float | None = None
    told: Decimal | None = None

    def cost(self, price: Price, at: float) -> Decimal:
        """Return what it had cost by a time; what the platform told is spread evenly over its time."""
        end = at if self.ended_at is None else min(at, self.ended_at)
        if end < self.began_at:
            return Decimal(0)
        if self.told is None:
            return price.of(end - self.began_at)
        whole = (self.ended_at or at) - self.began_at
        return self.told if end == self.ended_at or whole <= 0 else self.told * Decimal((end - self.began_at) / whole)


@dataclass(frozen=True, slots=True)
class Line:
    """A charge and what it comes to.

    Attributes:
        charge: What is charged for.
        seconds: How long it has lasted.
        price: Its row of the table.
        amount: In the currency of that row.
    """

    charge: Charge
    seconds: float
    price: Price
    amount: Decimal

    def __str__(self) -> str:
        about, goes_on = "" if self.corrected else "about ", ", running" if self.running else ""
        return f"{about}{in_words({self.price.currency: self.amount})}{goes_on}"

    @property
    def corrected(self) -> bool:
        """Whether the platform told the amount; otherwise it is an estimate."""
        return self.charge.told is not None

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.charge.ended_at is None


@dataclass(frozen=True, slots=True, repr=False)
class Costs:
    """What a room, or all of them, cost until a moment.

    Attributes:
        lines: One for each charge, in the order they began.
        prices: The table the estimates are made by.
        at: The moment; seconds since 1970, of the store's clock.
    """

    lines: tuple[Line, ...]
    prices: Table
    at: float

    @classmethod
    def of(cls, charges: Iterable[Charge], prices: Table, at: float) -> "Costs":
        """Reckon what charges come to at a moment."""
        lines = []
        for charge in sorted(charges, key=lambda each: (each.began_at, each.kind, each.leg)):
            price = prices[charge.kind]
            seconds = max(0.0, (at if charge.ended_at is None else charge.ended_at) - charge.began_at)
            lines.append(Line(charge, seconds, price, charge.cost(price, at)))
        return cls(tuple(lines), prices, at)

    @property
    def total(self) -> Money:
        """The sum, for each currency."""
        return _sum((line.price.currency, line.amount) for line in self.lines)

    @property
    def by_kind(self) -> Mapping[Kind, Money]:
        """The sum for each kind of charge."""
        kinds = dict.fromkeys(line.charge.kind for line in self.lines)
        return {
            kind: _sum((each.price.currency, each.amount) for each in self.lines if each.charge.kind == kind)
            for kind in kinds
        }

    @property
    def by_room(self) -> Mapping[str, Money]:
        """The sum for each room; under an empty name that of phones that typed no PIN."""
        names = dict.fromkeys(line.charge.room for line in self.lines)
        return {
            name: _sum((each.price.currency, each.amount) for each in self.lines if each.charge.room == name)
            for name in names
        }

    @property
    def estimate(self) -> bool:
        """Whether any of it is an estimate. Video and SIP always are: no webhook tells their price."""
        return any(not line.corrected for line in self.lines)

    @property
    def running(self) -> bool:
        """Whether it grows."""
        return any(line.running for line in self.lines)

    @property
    def per_minute(self) -> Money:
        """What another minute of all that runs now costs."""
        return _sum((line.price.currency, line.price.amount) for line in self.lines if line.running)

    @property
    def rental(self) -> Money:
        """The number's rental for the time from the first charge to the last; it is due anyway, and in no sum."""
        if not self.lines:
            return {}
        price = self.prices["number"]
        began, ended = self._span()
        return {price.currency: price.amount * Decimal((ended - began) / MONTH)}

    def share(self, budget: Decimal) -> float:
        """Return how much of a budget is used, 1.0 for all of it: by the currency of which most is."""
        return float(max(self.total.values(), default=Decimal(0)) / budget) if budget > 0 else 0.0

    def seconds_left(self, budget: Decimal) -> float | None:
        """Return for how long a budget lasts as things go; 0.0 if it is used up, None if nothing uses it or it is 0.

        It holds for each currency on its own.
        """
        if budget <= 0:
            return None
        if self.share(budget) >= 1:
            return 0.0
        total = self.total
        left = [(budget - total.get(name, Decimal(0))) / rate * 60 for name, rate in self.per_minute.items() if rate]
        return float(min(left)) if left else None

    def series(self) -> list[tuple[float, Money]]:
        """Return the sum as it grew: the end of each minute (of some minutes, if there are many), and the end.

        The first of each pair is in seconds since the first charge began.
        """
        if not self.lines:
            return []
        began, ended = self._span()
        step = 60.0 * max(1, -(-(ended - began) // (60 * POINTS)))
        times = [began + step * number for number in range(int((ended - began) // step) + 1)]
        times += [] if times[-1] == ended else [ended]
        return [(at - began, self._by(at)) for at in times]

    def csv(self) -> str:
        """Return the lines as CSV (RFC 4180), with a head; times are UTC."""
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\r\n").writerow
        write(COLUMNS)
        for line in self.lines:
            charge = line.charge
            ended = "" if charge.ended_at is None else _iso(charge.ended_at)
            write(
                (
                    charge.room,
                    charge.kind,
                    charge.who,
                    charge.leg,
                    _iso(charge.began_at),
                    ended,
                    round(line.seconds),
                    line.price.amount,
                    line.price.currency,
                    f"{line.amount:.6f}",
                    "platform" if line.corrected else "estimate",
                )
            )
        return text.getvalue()

    def text(self) -> str:
        """Return it for a terminal: each room, each leg, the sum."""
        rows = []
        for name, money in self.by_room.items():
            of_it = (line for line in self.lines if line.charge.room == name)
            rows.append(f"{f'room {name!r}' if name else 'phones that typed no PIN'}: {in_words(money)}")
            rows += [f"  {each.charge.kind:<8} {each.charge.who:<18} {each.seconds:6.0f} s  {each}" for each in of_it]
        return "\n".join((*rows, f"in all: {in_words(self.total)}"))

    def __repr__(self) -> str:
        return f"<Costs {'about ' if self.estimate else ''}{in_words(self.total)}>"

    def _by(self, at: float) -> Money:
        return _sum((line.price.currency, line.charge.cost(line.price, at)) for line in self.lines)

    def _span(self) -> tuple[float, float]:
        ends = [self.at if line.charge.ended_at is None else line.charge.ended_at for line in self.lines]
        began = self.lines[0].charge.began_at
        return began, max(began, *ends)


def in_words(money: Money) -> str:
    """Return amounts as people read them: ``0.0182 USD and 0.0045 EUR``, or ``nothing``."""
    places = Decimal("0.0001")
    return (
        " and ".join(f"{amount.quantize(places, ROUND_HALF_UP)} {name}" for name, amount in money.items()) or "nothing"
    )


def _sum(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for currency, amount in amounts:
        total[currency] = total.get(currency, Decimal(0)) + amount
    return {name: total[name] for name in sorted(total, reverse=True) if total[name]}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
