"""What the sandbox's REST APIs share: strict bodies, errors in the vendor's JSON, each request in the trace.

Each API wraps its handlers with `vendor_api(trace, problem)`, where `problem` writes the error JSON of that
API (they differ). `json_errors(trace)` is the app's middleware for what no handler answers.
"""

import base64
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from aiohttp import web

from sipkit.sandbox.masking import masked
from sipkit.sandbox.trace import Trace

BODY_LIMIT = 65_536
"""Bytes of a vendor request's body; Vonage documents no figure, real bodies stay below 10 kB."""

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
VendorHandler: TypeAlias = Callable[[web.Request, bytes], Awaitable[web.Response]]
Problem: TypeAlias = Callable[["Refusal"], dict[str, Any]]

log = logging.getLogger(__name__)


class Refusal(Exception):
    """The request is refused with an HTTP status.

    Attributes:
        status: HTTP status.
        text: why, in one sentence without secrets.
        more: what the API's error JSON carries besides.
    """

    def __init__(self, status: int, text: str, **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.more = more


def json_answer(payload: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer JSON with the Content-Type exactly `application/json`.

    aiohttp's own json_response adds a charset, and opentok 3.15 then takes a new session for XML.
    """
    return web.Response(
        body=json.dumps(payload).encode(), status=status, content_type="application/json", headers=headers
    )


async def read_body(request: web.Request) -> bytes:
    """The request's body.

    Raises:
        Refusal: 413, more than `BODY_LIMIT` bytes.
    """
    body = bytearray()
    while len(body) <= BODY_LIMIT and (chunk := await request.content.read(BODY_LIMIT)):
        body += chunk
    if len(body) > BODY_LIMIT:
        raise Refusal(413, f"The body is larger than {BODY_LIMIT} bytes.")
    return bytes(body)


def parse_json(body: bytes) -> dict[str, Any]:
    """A body as a JSON object, whatever its Content-Type says.

    Raises:
        Refusal: 400, it is no JSON object.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The body must be a JSON object.")
    return value


def parse_form(body: bytes) -> dict[str, str]:
    """A body as a form, whatever its Content-Type says: SDKs label theirs JSON now and then.

    Raises:
        Refusal: 400, it is no form.
    """
    try:
        form = body.decode()
        return dict(parse_qsl(form, strict_parsing=True, keep_blank_values=True)) if form else {}
    except ValueError:
        raise Refusal(400, "The body is not a valid form.") from None


def basic_auth_matches(request: web.Request, user: str, password: str) -> bool:
    """Does the request carry this user and password by HTTP Basic (RFC 7617)?"""
    scheme, _, packed = request.headers.get("Authorization", "").partition(" ")
    try:
        given = base64.b64decode(packed.strip(), validate=True)
    except ValueError:  # not base64, or not ASCII
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, f"{user}:{password}".encode())


def matches(given: str, wanted: str) -> bool:
    """Are two secret texts the same? Takes the same time wherever they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


def vendor_api(trace: Trace, problem: Problem) -> Callable[[VendorHandler], Handler]:
    """Make the wrapper of one API's handlers, which take the request and its body.

    It tells the trace of each request ("rest"), and answers refusals and failures as `problem` says.
    """

    def wrap(handler: VendorHandler) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            started = time.monotonic()
            body = b""
            refusal: Refusal | None = None
            try:
                body = await read_body(request)
                response = await handler(request, body)
            except Refusal as error:
                refusal = error
                response = json_answer(problem(error), error.status)
            except Exception:
                log.exception("%s %s failed", request.method, request.path)
                # As documented for 500 at Vonage: no reason is told outside.
                refusal = Refusal(500, "Internal server error")
                response = json_answer(problem(refusal), 500)
            _tell(trace, request, body, response.status, refusal, started)
            return response

        return answer

    return wrap


def json_errors(trace: Trace) -> Any:
    """Make the app's middleware: unknown routes, methods and failures are answered in JSON, never in HTML.

    The vendors' handlers answer for themselves, so that what comes here of their paths has no route; it is
    traced. Control paths (/sandbox/...) are not traced.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        control = request.path.startswith("/sandbox/")
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            refusal = Refusal(error.status, error.text if control and error.text else _reason(error.status))
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            refusal, headers = Refusal(500, "Internal server error"), None
        if control:
            return json_answer({"error": refusal.text}, refusal.status, headers)
        _tell(trace, request, b"", refusal.status, refusal, started)
        body = {"code": refusal.status, "message": refusal.text, "description": refusal.text}
        return json_answer(body, refusal.status, headers)

    return middleware


def _reason(status: int) -> str:
    match status:
        case 404:
            return "No such path: the sandbox has no such API, or not yet."
        case 405:
            return "This path does not take that method."
        case _:
            return "The request was refused."


def _tell(
    trace: Trace, request: web.Request, body: bytes, status: int, refusal: Refusal | None, started: float
) -> None:
    event: dict[str, Any] = {"method": request.method, "path": request.path, "status": status}
    readable = _readable(body)
    if readable:
        event["body"] = masked(readable)
    if refusal is not None:
        event["error"] = refusal.text
    trace.emit("rest", **event, ms=round((time.monotonic() - started) * 1000, 1))


def _readable(body: bytes) -> Any:
    """The body as JSON or as a form; None when it is neither."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    try:
        return dict(parse_qsl(body.decode(), strict_parsing=True))
    except ValueError:
        return None
