"""The account's numbers: owned ones with their links, and those that could be bought. Plain state in one file.

A number's link decides which application answers a call; `sip` and `tel` of the number itself come first, as
documented (Numbers OpenAPI 1.1.0). All numbers are reserved for fiction: 555-01xx in the North American plan, 07700
900xxx in Great Britain (Ofcom).
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Literal, get_args

from sipkit.sandbox.files import write_private
from sipkit.sandbox.home import Home

CallbackType = Literal["sip", "tel", "app"]
CALLBACK_TYPES: tuple[str, ...] = get_args(CallbackType)
COST = Decimal("0.90")
"""EUR a month of every number on offer (assumed; real ones differ by country)."""
FIRST_BALANCE = Decimal("10.00")
"""EUR on a new account: a made-up figure."""


@dataclass(frozen=True)
class Number:
    """One number, owned or on offer.

    Attributes:
        msisdn: E.164 without the plus.
        country: ISO 3166-1 alpha-2.
        app_id: the application it is linked to, "" for none.
        callback_type: where calls go before any application is asked: "sip", "tel", or "" for nowhere.
        callback_value: the SIP URI or telephone number of it.
        messages_url: moHttpUrl, kept and shown, never called.
    """

    msisdn: str
    country: str
    type: str = "mobile-lvn"
    features: tuple[str, ...] = ("VOICE", "SMS")
    app_id: str = ""
    callback_type: str = ""
    callback_value: str = ""
    messages_url: str = ""

    def as_owned(self) -> dict[str, Any]:
        """As `GET /account/numbers` shows it; a link shows twice, as recorded."""
        shown: dict[str, Any] = {
            "country": self.country,
            "msisdn": self.msisdn,
            "type": self.type,
            "features": list(self.features),
        }
        if self.messages_url:
            shown["moHttpUrl"] = self.messages_url
        if self.callback_type:
            shown |= {"voiceCallbackType": self.callback_type, "voiceCallbackValue": self.callback_value}
        elif self.app_id:
            shown |= {"voiceCallbackType": "app", "voiceCallbackValue": self.app_id}
        return shown | ({"app_id": self.app_id} if self.app_id else {})

    def as_offer(self) -> dict[str, Any]:
        """As `GET /number/search` shows it."""
        return {
            "country": self.country,
            "msisdn": self.msisdn,
            "type": self.type,
            "cost": f"{COST:.2f}",
            "features": list(self.features),
        }


_OFFERS: dict[str, Number] = {
    number.msisdn: number
    for number in (
        *(Number(f"12125550{line}", "US") for line in range(100, 200)),
        *(Number(f"18005550{line}", "US", "landline-toll-free", ("VOICE",)) for line in range(100, 120)),
        *(Number(f"447700900{line:03}", "GB") for line in range(150)),
    )
}


class NotPossible(Exception):
    """The number cannot be bought, cancelled or changed; the text is the answer's label."""


class Numbers:
    """The numbers and the balance of one account, and their file. Writing waits for the disk: use a thread."""

    def __init__(self, home: Home) -> None:
        """Load the account of `home`, or make it: the home's number, linked to the home's application."""
        self._path = home.account_file
        self._lock = threading.Lock()
        self.balance = FIRST_BALANCE
        credentials = home.credentials
        first = Number(credentials.number, "US", app_id=credentials.application_id)
        self._owned = {first.msisdn: first}
        try:
            kept = json.loads(self._path.read_text())
            numbers = [Number(**{**each, "features": tuple(each["features"])}) for each in kept["numbers"]]
            self._owned = {each.msisdn: each for each in numbers}
            self.balance = Decimal(kept["balance"])
        except (OSError, ValueError, TypeError, KeyError, ArithmeticError):
            self._keep()

    def find(self, msisdn: str) -> Number | None:
        """The owned number, None when the account has no such one."""
        return self._owned.get(msisdn)

    def owned(self) -> list[Number]:
        """All owned numbers, the oldest first."""
        return list(self._owned.values())

    def on_offer(self, country: str) -> list[Number]:
        """What could be bought in a country."""
        return [each for each in _OFFERS.values() if each.country == country and each.msisdn not in self._owned]

    def buy(self, country: str, msisdn: str) -> None:
        """Rent a number for a month.

        Raises:
            NotPossible: it is not on offer in that country, is owned already, or costs more than the balance.
        """
        with self._lock:
            offer = _OFFERS.get(msisdn)
            if offer is None or offer.country != country or msisdn in self._owned:
                raise NotPossible("method failed")
            if self.balance < COST:
                raise NotPossible("Your account does not have sufficient credit.")
            self._owned[msisdn] = offer
            self.balance -= COST
            self._keep()

    def cancel(self, country: str, msisdn: str) -> None:
        """Give a number back.

        Raises:
            NotPossible: the account has no such number in that country.
        """
        with self._lock:
            self._mine(country, msisdn)
            del self._owned[msisdn]
            self._keep()

    def update(self, country: str, msisdn: str, behaviour: Mapping[str, str]) -> None:
        """Replace what a number does: whatever `behaviour` leaves out is removed, the link included.

        That is how Vonage's own command line takes a link away (assumed to hold for the other fields too).

        Raises:
            NotPossible: the account has no such number in that country.
        """
        with self._lock:
            number = self._mine(country, msisdn)
            plain = replace(number, app_id="", callback_type="", callback_value="", messages_url="")
            self._owned[msisdn] = replace(plain, **behaviour)  # type: ignore[arg-type]
            self._keep()

    def unlink_all(self, app_id: str) -> None:
        """Take every link to a deleted application away (assumed)."""
        with self._lock:
            self._owned = {
                msisdn: replace(each, app_id="") if each.app_id == app_id else each
                for msisdn, each in self._owned.items()
            }
            self._keep()

    def set_balance(self, euros: Decimal) -> None:
        """Set the balance, as a payment in the dashboard would."""
        with self._lock:
            self.balance = euros
            self._keep()

    def _mine(self, country: str, msisdn: str) -> Number:
        number = self._owned.get(msisdn)
        if number is None or number.country != country:
            raise NotPossible("method failed")
        return number

    def _keep(self) -> None:
        numbers = [asdict(each) for each in self._owned.values()]
        write_private(self._path, json.dumps({"numbers": numbers, "balance": str(self.balance)}, indent=1))
