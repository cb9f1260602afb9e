"""Read the body of `POST /v1/calls` (Voice OpenAPI 1.10.0, CreateCallRequest)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from sipkit.sandbox.rest import Refusal
from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.leg_parts import LENGTH_TIMER, RINGING_TIMER
from sipkit.sandbox.voice.outbound import Endpoint, InvalidEndpoint, read_endpoint

JsonObject = dict[str, Any]

LONGEST_CALL = 86_400
LONGEST_RING = 120
"""Highest length_timer and ringing_timer, seconds."""


@dataclass(frozen=True)
class CallWish:
    """A call to be made. ``answer`` and ``event`` are URL and method; timers are seconds."""

    endpoint: Endpoint
    caller: str
    document: Any
    answer: tuple[str, str] | None
    event: tuple[str, str] | None
    ringing_timer: float
    length_timer: float


class Account(Protocol):
    """Who makes the call."""

    def caller_id(self, number: str | None, *, any_number: bool) -> str:
        """Return the number shown as the caller.

        Raises:
            InvalidEndpoint: neither or both are given, or there is no number to choose from.
        """


def bad(name: str, why: str) -> Refusal:
    """Make the refusal of one parameter."""
    text = "The request failed due to invalid parameters."
    return Refusal(HTTPStatus.BAD_REQUEST, text, invalid_parameters={name: why})


def read_call(body: JsonObject, account: Account) -> CallWish:
    """Read a call.

    Raises:
        Refusal: 400, something is missing, wrong, or not in the sandbox.
    """
    to = body.get("to")
    if not isinstance(to, list) or len(to) != 1:
        raise bad("to", "Must be a list of one endpoint.")
    try:
        endpoint = read_endpoint(to[0])
    except InvalidEndpoint as error:
        raise bad("to", str(error)) from None
    if endpoint.socket is not None and "content-type" not in to[0]:
        raise bad("to", "content-type is required.")
    try:
        caller = account.caller_id(_from(body.get("from")), any_number=body.get("random_from_number") is True)
    except InvalidEndpoint as error:
        raise bad("from", str(error)) from None
    for name in ("machine_detection", "advanced_machine_detection"):
        if body.get(name) is not None:
            raise bad(name, "Is not in the sandbox.")
    answer = _webhook(body, "answer", "GET")
    if (answer is None) == (body.get("ncco") is None):
        raise bad("answer_url", "Either answer_url or ncco is required.")
    if endpoint.on_answer is not None or (endpoint.dtmf_answer and answer is not None):
        raise bad("to", "onAnswer belongs to connect; dtmfAnswer goes with ncco only in the sandbox.")
    if answer is None:
        try:
            ncco.parse(body["ncco"])
        except ncco.InvalidNcco as error:
            raise bad("ncco", str(error)) from None
    return CallWish(
        endpoint,
        caller,
        body.get("ncco"),
        answer,
        _webhook(body, "event", "POST"),
        number_of(body, "ringing_timer", RINGING_TIMER, 1, LONGEST_RING),
        number_of(body, "length_timer", LENGTH_TIMER, 1, LONGEST_CALL),
    )


def url_of(body: JsonObject, name: str) -> str | None:
    """Return a URL, which the API wants as a list of one; None when it is not there.

    Raises:
        Refusal: 400, it is no list of one URL.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], str):
        raise bad(name, "Must be a list of one URL.")
    url: str = value[0]
    if not url.startswith(("http://", "https://")):
        raise bad(name, "Must be an http or https URL.")
    return url


def number_of(body: JsonObject, name: str, default: float, low: float, high: float) -> float:
    """Return a number within its bounds; the API takes it as text too.

    Raises:
        Refusal: 400, it is something else.
    """
    value = body.get(name, default)
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not low <= number <= high:
        raise bad(name, f"Must be {low:g} to {high:g}.")
    return number


def _from(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("number") or ""
    return value if value is None or isinstance(value, str) else ""


def _webhook(body: JsonObject, name: str, default: str) -> tuple[str, str] | None:
    url, method = url_of(body, f"{name}_url"), body.get(f"{name}_method", default)
    if method not in ("GET", "POST"):
        raise bad(f"{name}_method", "Must be GET or POST.")
    return (url, method) if url is not None else None
