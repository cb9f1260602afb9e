"""Checks of what a call needs: a way here from outside, documents within the limits, and money."""

from collections.abc import Sequence
from typing import Any, Final

from sipkit import ncco
from sipkit.doctor.finding import Finding, failure, ok, skipped, warning
from sipkit.doctor.patient import Patient
from sipkit.errors import SipkitError, TunnelError

TALK_LIMIT: Final = 1500
"""Characters of a talk action's text (NCCO reference)."""

DIGITS_LIMIT: Final = 20
"""Keys an input action collects at most (NCCO reference)."""

TIMEOUT_LIMIT: Final = 10
"""Seconds an input action waits at most (NCCO reference)."""

LOW_BALANCE: Final = 1.0
"""In the account's currency: about an hour of a bridge and two phones."""

_ADDRESS: Final = "https://calls.example.org/voice-dtmf"
_PLAN: Final = "What is metered: docs/costs.md and lesson 05. Prices of your country: the dashboard's pricing page."


def tunnel(patient: Patient) -> Finding:
    """Does the public address lead to our very webhook server? Asked through it, as the platform would."""
    from sipkit.tunnel import require_arrival

    server = patient.server()
    if server is None:
        return _way(patient)
    if not patient.public_url:
        fix = "Run board.start_webhook_server() in a notebook."
        return failure("tunnel", "The webhook server runs, but no public address leads to it.", fix)
    try:
        require_arrival(patient.public_url, server.instance, server.port)
    except TunnelError as error:
        return failure("tunnel", error.message, error.fix)
    where = "the address" if patient.live else "this machine's address"
    return ok("tunnel", f"{where} leads to this webhook server: its instance id came back")


def _way(patient: Patient) -> Finding:
    """Before the webhook server runs: is everything there that the way here needs?"""
    from sipkit.tunnel import check_server_url, tunnel_for

    try:
        check_server_url(patient.settings)
        missing: Sequence[SipkitError] = tunnel_for(patient.settings).requirements()
    except SipkitError as error:
        missing = [error]
    if missing:
        return failure("tunnel", "; ".join(each.message for each in missing), missing[0].fix)
    return skipped("tunnel", "No webhook server runs; board.start_webhook_server() opens the way and tests it.")


def documents(patient: Patient, more: list[ncco.Ncco] | None = None) -> Finding:
    """Do the documents we answer calls with keep the platform's limits?

    Args:
        patient: Its PIN length and public address are used.
        more: Other documents to look at as well.
    """
    url = f"{patient.public_url}/voice-dtmf" if patient.public_url else _ADDRESS
    settings = patient.settings
    length, speaker, seconds = settings.pin_length, settings.speaker(), settings.next_digit_seconds
    ours = [
        ncco.ask_pin(url, length, speaker=speaker, seconds=seconds),
        ncco.wrong_pin(url, length, 2, speaker=speaker, seconds=seconds),
        ncco.nothing_typed(url, length, speaker=speaker, seconds=seconds),
        *(more or []),
    ]
    problems = sorted({problem for document in ours for action in document for problem in _beyond(action)})
    if problems:
        fix = "Shorten the texts in sipkit/phrases.py, or PIN_LENGTH in .env."
        return failure("call documents", "; ".join(problems), fix)
    return ok("call documents", "texts, keys and waits are within the platform's limits")


def _beyond(action: dict[str, Any]) -> list[str]:
    """What of an action is beyond the limits of the NCCO reference."""
    found = []
    if len(action.get("text") or "") > TALK_LIMIT:
        found.append(f"a text has more than {TALK_LIMIT} characters")
    keys = action.get("dtmf") or {}
    if (keys.get("maxDigits") or 0) > DIGITS_LIMIT:
        found.append(f"an input takes more than {DIGITS_LIMIT} keys")
    if (keys.get("timeOut") or 0) > TIMEOUT_LIMIT:
        found.append(f"an input waits longer than {TIMEOUT_LIMIT} s")
    return found


def balance(patient: Patient) -> Finding:
    """Is there money for a call?"""
    answer = patient.balance()
    value = answer.body.get("value")
    if not answer.good or isinstance(value, bool) or not isinstance(value, int | float):
        return skipped("balance", f"It could not be read: {answer.saw}.")
    fix = "Add credit in the dashboard (Billing), before a call ends in the middle."
    if value <= 0 and not answer.body.get("autoReload"):
        return failure("balance", "The account has no credit: the platform places no call.", fix)
    if value < LOW_BALANCE and not answer.body.get("autoReload"):
        return warning("balance", f"{value:.2f} is left.", fix)
    return ok("balance", f"{value:.2f} is left")


def price(patient: Patient) -> Finding:
    """What will a minute cost? An estimate: the platform tells the price of outbound calls only."""
    sip = patient.settings.prices["sip"]
    legs = f"a minute of the bridge: about {sip} of SIP interconnect, and an inbound call's price"
    out = _outbound(patient)
    told = f"{legs}; of each phone: an inbound call's price{out}"
    if not patient.live:
        return ok("price", f"nothing in the sandbox; live, {told}")
    return ok("price", f"{told}. {_PLAN}")


def _outbound(patient: Patient) -> str:
    """The price of a call to a phone of the conference number's country, as a clause; empty if it is not told."""
    try:
        number = patient.number()
    except SipkitError:
        return ""
    country = number.country if number else ""
    if not country:
        return ""
    told = patient.pricing(country).body
    if not told.get("defaultPrice"):
        return ""
    return f"; of a direct call within {country}: {told['defaultPrice']} {told.get('currency', '')}".rstrip()
