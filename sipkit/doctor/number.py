"""Checks of the conference number: owned by the account, linked to the application, and overriding nothing.

The Numbers API gives each number with its application and with its own voice callback: a number of type `sip` or `tel`
sends its calls there, whatever application it is linked to (see `sipkit.numbers`). The number itself is never shown.
"""

from sipkit.doctor.finding import Finding, failure, ok, skipped
from sipkit.doctor.patient import Patient
from sipkit.errors import SipkitError
from sipkit.numbers import OwnedNumber

_UNREAD = "The account's numbers could not be read, or the number is not among them."
_LINK = (
    "In the dashboard: Applications, yours, link the number. Or in a notebook: "
    "from sipkit.numbers import link_number, then link_number(account)."
)


def owned(patient: Patient) -> Finding:
    """Does the account rent the conference number, and does it take calls?"""
    check = "number owned"
    try:
        number = patient.number()
    except SipkitError as error:
        return skipped(check, error.message)
    if number is None:
        fix = "Check CONFERENCE_NUMBER in .env, with country code, or rent the number (dashboard, Buy numbers)."
        return failure(check, "CONFERENCE_NUMBER is not among the numbers of this account.", fix)
    if "VOICE" not in number.features:
        fix = "Rent a number with the feature VOICE, and put it into .env as CONFERENCE_NUMBER."
        return failure(check, "The number takes no calls: it lacks the feature VOICE.", fix)
    return ok(check, "it is the account's, and takes calls")


def linked(patient: Patient) -> Finding:
    """Do calls to the number reach our application?"""
    check = "number linked"
    number = _known(patient)
    if number is None:
        return skipped(check, _UNREAD)
    if not patient.account.application_id:
        return skipped(check, "VONAGE_APPLICATION_ID is not set, so nobody knows which application is ours.")
    if not number.application_id:
        return failure(check, "The number is linked to no application, so nobody answers its calls.", _LINK)
    if number.application_id != patient.account.application_id:
        return failure(check, "The number is linked to another application, which answers its calls.", _LINK)
    return ok(check, "to this application")


def overriding(patient: Patient) -> Finding:
    """Does the number send its calls somewhere by itself, past the application?"""
    check = "number override"
    number = _known(patient)
    if number is None:
        return skipped(check, _UNREAD)
    if number.overridden:
        fix = "In the dashboard: Numbers, this number, Edit; set its voice forwarding to the application."
        seen = f"The number forwards its calls by itself (to {number.callback_type}), past the application."
        return failure(check, seen, fix)
    return ok(check, "calls go to the application")


def _known(patient: Patient) -> OwnedNumber | None:
    """The number, if it is known and there."""
    try:
        return patient.number()
    except SipkitError:
        return None
