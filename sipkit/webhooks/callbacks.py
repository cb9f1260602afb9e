"""What the platform tells us, read from the raw request: lenient in form, strict in type.

The platform's habits differ by age and by setting (developer.vonage.com, Voice API, "Webhook
reference"): parameters come in the query of a GET or as the JSON body of a POST; `dtmf` is an
object, or that object as JSON text (GET), or the plain digits (before 2020); SIP headers come as
`SipHeader_X-...` in any case and with any dashes. Unknown fields are ignored.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Self

from sipkit.sip_leg import DIAL_HEADER

MAX_TEXT_LENGTH: Final = 1000
_SESSION_HEADER: Final = "X-OpenTok-SessionId"
_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")
"""NUL and halves of surrogate pairs can be written in JSON but in no database."""
_UUID = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_SECONDS = re.compile(r"\d{1,6}", re.ASCII)
_PRICE = re.compile(r"\d{1,6}(?:\.\d{1,12})?", re.ASCII)
_KEYS = re.compile(r"[0-9*#A-Da-d]{0,40}", re.ASCII)


class BadCallback(ValueError):
    """The request makes no sense; the text says why and holds nothing of the request's values."""


@dataclass(frozen=True, slots=True)
class Callback:
    """What all requests may say.

    Attributes:
        leg_uuid: The leg it is about; empty if it is about none.
        number: Who calls, as digits or a SIP user; empty if hidden.
        session_id: The video session the bridge's leg names in its SIP header; None for a phone.
        nonce: Which dial of ours the leg says it came of, in its SIP header; None if it says nothing of it.
    """

    leg_uuid: str
    number: str = field(repr=False)
    session_id: str | None
    nonce: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, fields: Mapping[str, Any], *, leg_needed: bool = True) -> Self:
        """Read the common fields.

        Raises:
            BadCallback: If one has the wrong type, or there is no leg where one is needed.
        """
        leg_uuid = _text(fields, "uuid")
        if leg_uuid and not _UUID.fullmatch(leg_uuid):
            raise BadCallback("uuid is not an id")
        if leg_needed and not leg_uuid:
            raise BadCallback("uuid is missing")
        number = _text(fields, "from") or _text(fields, "from_user")
        headers = _sip_headers(fields)
        return cls(leg_uuid, number, headers.get(_SESSION_HEADER), headers.get(DIAL_HEADER))


@dataclass(frozen=True, slots=True)
class Event:
    """A piece of news about a leg.

    Attributes:
        about: Whom it concerns.
        status: Such as ``ringing`` or ``completed``; empty when it is another kind of news.
        detail: The platform's own words for it: a detail, a reason or a type; may be empty.
        seconds: How long the call took, as the platform writes it; empty until it ended.
        price: What the call cost, in the account's currency; None until it ended, or if it is no plain amount.
        outbound: Whether the platform placed the call, so that nobody has called us ("direction" of the event webhook).
        to: Whom the leg is for, as digits or a SIP address; may be empty.
    """

    about: Callback
    status: str
    detail: str
    seconds: str
    outbound: bool = False
    to: str = field(default="", repr=False)
    price: Decimal | None = None


def read_fields(method: str, body: bytes, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the request's fields: the query of a GET, the JSON object of a POST.

    Raises:
        BadCallback: If the body is no JSON object.
    """
    if method != "POST":
        return dict(query)
    return _json_object(body, "the body")


def read_keys(fields: Mapping[str, Any]) -> str:
    """Return the keys a phone pressed; empty when it pressed none.

    Raises:
        BadCallback: If `dtmf` is neither an object, nor its JSON text, nor keys.
    """
    dtmf = fields.get("dtmf")
    if isinstance(dtmf, str) and dtmf.lstrip().startswith("{"):
        dtmf = _json_object(dtmf.encode("utf-8", "replace"), "dtmf")
    if isinstance(dtmf, Mapping):
        # Vonage says {"digits": "", "timed_out": true} when nothing was pressed; null has been seen too.
        dtmf = dtmf.get("digits")
    if dtmf is None:
        return ""
    if not isinstance(dtmf, str):
        raise BadCallback("dtmf holds no text")
    if not _KEYS.fullmatch(dtmf.strip()):
        raise BadCallback("dtmf holds something other than keys")
    return dtmf.strip()


def read_time(fields: Mapping[str, Any]) -> float | None:
    """Return when something happened, by the platform's clock: seconds since 1970; None if it does not say.

    Raises:
        BadCallback: If it is no text.
    """
    try:
        told = datetime.fromisoformat(_text(fields, "timestamp"))
    except ValueError:
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()


def read_event(fields: Mapping[str, Any]) -> Event:
    """Return the news.

    Raises:
        BadCallback: If a field that matters has the wrong type.
    """
    about = Callback.read(fields, leg_needed=False)
    detail = next((text for name in ("detail", "reason", "type") if (text := _text(fields, name))), "")
    seconds, price = str(fields.get("duration")), str(fields.get("price"))
    return Event(
        about=about,
        status=_text(fields, "status").lower(),
        detail=detail,
        seconds=seconds if _SECONDS.fullmatch(seconds) else "",
        outbound=_text(fields, "direction").lower() == "outbound",
        to=_text(fields, "to"),
        price=Decimal(price) if _PRICE.fullmatch(price) else None,
    )


def _json_object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadCallback(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise BadCallback(f"{what} is not a JSON object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _text(fields: Mapping[str, Any], name: str) -> str:
    """Return a field that must be text if it is there at all."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadCallback(f"{name} is not text")
    return _checked(value, name)


def _checked(value: str, name: str) -> str:
    if len(value) > MAX_TEXT_LENGTH:
        raise BadCallback(f"{name} is too long")
    if _UNWRITABLE.search(value):
        raise BadCallback(f"{name} is not text")
    return value.strip()


def _sip_headers(fields: Mapping[str, Any]) -> dict[str, str]:
    """Find our SIP headers by their names in any spelling: flat in an answer webhook, in `headers` of an event."""
    headers = fields.get("headers")
    inner: Mapping[str, Any] = headers if isinstance(headers, Mapping) else {}
    found: dict[str, str] = {}
    for name, value in [*fields.items(), *inner.items()]:
        wanted = _SIP_HEADERS.get(_flat(name).removeprefix("sipheader"))
        if wanted is None or wanted in found:
            continue
        if not isinstance(value, str):
            raise BadCallback(f"{wanted} in the SIP headers is not text")
        found[wanted] = _checked(value, f"{wanted} in the SIP headers")
    return found


def _flat(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


_SIP_HEADERS: Final = {_flat(name): name for name in (_SESSION_HEADER, DIAL_HEADER)}
