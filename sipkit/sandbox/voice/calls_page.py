"""One page of the calls: filters, order and HAL links of `GET /v1/calls` (Voice OpenAPI 1.10.0)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from sipkit.sandbox.voice.call_wish import bad

JsonObject = dict[str, Any]

STATUSES = frozenset(
    {
        *("started", "ringing", "answered", "machine", "completed", "busy", "cancelled", "failed", "rejected"),
        *("timeout", "unanswered"),
    }
)
PAGE_SIZE = 10
LARGEST_PAGE = 100
_NAMES = ("status", "date_start", "date_end", "page_size", "record_index", "order", "conversation_uuid")


def page(calls: list[tuple[datetime, JsonObject]], query: Mapping[str, str]) -> JsonObject:
    """Return the page a query asks for, of calls in the order they began.

    Raises:
        Refusal: 400, a parameter is wrong.
    """
    status, order = query.get("status"), query.get("order", "asc")
    if status is not None and status not in STATUSES:
        raise bad("status", "Is not a status.")
    if order not in ("asc", "desc"):
        raise bad("order", "Must be asc or desc.")
    size = _number(query, "page_size", PAGE_SIZE, 1, LARGEST_PAGE)
    index = _number(query, "record_index", 0, 0, 10**9)
    start, end = _moment(query, "date_start"), _moment(query, "date_end")
    conversation = query.get("conversation_uuid")
    found = [
        call
        for since, call in calls
        if (status is None or call["status"] == status)
        and (conversation is None or call["conversation_uuid"] == conversation)
        and (start is None or since >= start)
        and (end is None or since <= end)
    ]
    if order == "desc":
        found.reverse()
    filters = {name: query[name] for name in _NAMES if name in query}

    def link(at: int) -> JsonObject:
        wanted = {**filters, "page_size": size, "record_index": at, "order": order}
        return {"href": f"/v1/calls?{urlencode(wanted)}"}

    # Assumed: the index counts pages, as the Python SDK, which adds one, and .NET's `PageIndex` have it. The OpenAPI
    # says only "this index"; Ruby's pager adds the page size.
    last = max(0, (len(found) - 1) // size)
    links = {"self": link(index), "first": link(0), "last": link(last)}
    if index < last:
        links["next"] = link(index + 1)
    if index > 0:
        links["prev"] = link(index - 1)
    return {
        "count": len(found),
        "page_size": size,
        "record_index": index,
        "_links": links,
        "_embedded": {"calls": found[index * size : (index + 1) * size]},
    }


def _number(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    try:
        value = int(query.get(name, default))
    except ValueError:
        raise bad(name, "Must be a number.") from None
    if not low <= value <= high:
        raise bad(name, f"Must be {low} to {high}.")
    return value


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        # A plus sign that a client did not escape arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise bad(name, "Must be a time like 2016-11-14T07:45:14Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
