"""Vonage's Application API v2 over REST: list, create, read, replace, delete (Application OpenAPI 2.4.1).

PUT replaces everything: a capability left out of the body is gone, as many learn at Vonage. Documented: pages of 1
to 100, 201 with the private key for a new application without a public one, 204 for a deletion, the errors' JSON.
Assumed: ten on a page unless asked, and one (empty) page where there is none.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.home import Credentials
from sipkit.sandbox.rest import Refusal, basic_auth_matches, json_answer, parse_json, vendor_api
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.voice.application import Applications
from sipkit.sandbox.voice.application_rules import InvalidApplication

PAGE, LARGEST_PAGE, LAST_PAGE = 10, 100, 1_000_000
_PATH = "/v2/applications"
_ERRORS = "https://developer.vonage.com/api-errors"
_VALIDATION = "The request failed due to validation errors."
_ENTITY_TOO_LARGE = 413


def routes(
    applications: Applications,
    credentials: Credentials,
    trace: Trace,
    limits: Limits,
    deleted: Callable[[str], None],
) -> list[web.RouteDef]:
    """The API's routes, each request authenticated and traced. `deleted` is told the id of a deleted application."""

    def check(request: web.Request) -> None:
        if not basic_auth_matches(request, credentials.voice_api_key, credentials.voice_api_secret):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "You did not provide correct credentials.")
        limits.take("account")
        if "id" in request.match_info and applications.find(request.match_info["id"]) is None:
            raise _unknown()

    async def list_all(request: web.Request, _: bytes) -> web.Response:
        check(request)
        size, page = _query(request, "page_size", PAGE, LARGEST_PAGE), _query(request, "page", 1, LAST_PAGE)
        every = [each.shown() for each in applications.all()]
        return json_answer(_page(every, size, page))

    async def create(request: web.Request, body: bytes) -> web.Response:
        check(request)
        application, private_key = await _checked(asyncio.to_thread(applications.create, parse_json(body)))
        shown = application.shown()
        if private_key is not None:
            shown["keys"]["private_key"] = private_key
        return json_answer(shown, HTTPStatus.CREATED)

    async def get(request: web.Request, _: bytes) -> web.Response:
        check(request)
        application = applications.find(request.match_info["id"])
        assert application is not None
        return json_answer(application.shown())

    async def put(request: web.Request, body: bytes) -> web.Response:
        check(request)
        wish = parse_json(body)
        try:
            fresh = await _checked(asyncio.to_thread(applications.put, request.match_info["id"], wish))
        except KeyError:  # deleted meanwhile
            raise _unknown() from None
        return json_answer(fresh.shown())

    async def delete(request: web.Request, _: bytes) -> web.Response:
        check(request)
        gone = request.match_info["id"]
        try:
            await asyncio.to_thread(applications.delete, gone)
        except KeyError:
            raise _unknown() from None
        await asyncio.to_thread(deleted, gone)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    wrap = vendor_api(trace, _problem)
    return [
        web.get(_PATH, wrap(list_all)),
        web.post(_PATH, wrap(create)),
        web.get(_PATH + "/{id}", wrap(get)),
        web.put(_PATH + "/{id}", wrap(put)),
        web.delete(_PATH + "/{id}", wrap(delete)),
    ]


async def _checked(change: Awaitable[Any]) -> Any:
    try:
        return await change
    except InvalidApplication as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, _VALIDATION, invalid_parameters=error.problems) from None


def _page(every: list[dict[str, Any]], size: int, page: int) -> dict[str, Any]:
    """One page with its links; applications inside a list show no links of their own (recorded)."""
    last = max(1, -(-len(every) // size))
    shown = [
        {name: value for name, value in each.items() if name != "_links"}
        for each in every[(page - 1) * size : page * size]
    ]
    wanted = {"self": page, "first": 1, "last": last}
    if page < last:
        wanted["next"] = page + 1
    if 1 < page <= last:
        wanted["prev"] = page - 1
    return {
        "page_size": size,
        "page": page,
        "total_items": len(every),
        "total_pages": last,
        "_embedded": {"applications": shown},
        "_links": {name: {"href": f"{_PATH}?page_size={size}&page={number}"} for name, number in wanted.items()},
    }


def _query(request: web.Request, name: str, default: int, highest: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= highest):
        problem = {"name": name, "reason": f"must be between 1 and {highest}"}
        raise Refusal(HTTPStatus.BAD_REQUEST, _VALIDATION, invalid_parameters=[problem])
    return int(text)


def _unknown() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "The application is not among those of this account.")


def _problem(refusal: Refusal) -> dict[str, Any]:
    """The error JSON of Vonage's newer APIs (RFC 7807 with Vonage's documentation as type)."""
    slug, title = {
        HTTPStatus.BAD_REQUEST: ("bad-request", "Bad Request"),
        HTTPStatus.UNAUTHORIZED: ("unauthorized", "Unauthorized"),
        HTTPStatus.NOT_FOUND: ("not-found", "Not Found"),
        HTTPStatus.TOO_MANY_REQUESTS: ("throttled", "Rate Limit Hit"),
        _ENTITY_TOO_LARGE: ("bad-request", "Request Entity Too Large"),
    }.get(refusal.status, ("internal-error", "Internal Server Error"))
    return {
        "type": f"{_ERRORS}#{slug}",
        "title": title,
        "detail": refusal.text,
        "instance": str(uuid.uuid4()),
        **refusal.more,
    }
