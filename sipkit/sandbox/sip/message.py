"""Build SIP messages the way RFC 3261 section 8 asks, echoing what must be echoed to the letter.

``sipmessage`` re-quotes parameters when it prints a parsed header. Via, From, To, Call-ID and CSeq of a
response have to match the request byte for byte (section 8.2.6.2), so responses copy the raw header lines.
"""

import secrets

from sipmessage import URI, CSeq, Message, Request, Response

MAGIC_COOKIE = "z9hG4bK"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS"
MAX_FORWARDS = 70

PHRASES = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}


def token(length: int = 10) -> str:
    """Return a random token for tags, branches and Call-IDs (RFC 3261 section 19.3)."""
    return secrets.token_hex(length)


def new_branch() -> str:
    """Return a branch that starts with the RFC 3261 magic cookie (section 8.1.1.7)."""
    return MAGIC_COOKIE + token(8)


def branch_of(message: Message) -> str:
    """Return the branch of the topmost Via.

    Raises:
        ValueError: the message has no usable Via.
    """
    vias = message.via
    branch = vias[0].parameters.get("branch") if vias else None
    if not branch:
        raise ValueError("no Via branch")
    return branch


def tag_of(message: Message, header: str) -> str | None:
    """Return the tag of the From or To header, None when it has none."""
    address = message.from_address if header == "From" else message.to_address
    return address.parameters.get("tag")


def check(message: Message) -> None:
    """Refuse a message that lacks what every SIP message must carry (RFC 3261 section 8.1.1).

    Raises:
        ValueError: a mandatory header is missing or malformed.
    """
    try:
        branch_of(message)
        _ = message.from_address, message.to_address
        cseq = message.cseq
        call_id = message.call_id
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("a mandatory header is missing") from error
    if not call_id:
        raise ValueError("empty Call-ID")
    if isinstance(message, Request) and cseq.method != message.method:
        raise ValueError("CSeq does not name the request's method")


def parse(data: bytes) -> Request | Response:
    """Parse one message and check its mandatory headers.

    Raises:
        ValueError: the bytes are no SIP message.
    """
    try:
        message = Message.parse(data)
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError("not a SIP message") from error
    check(message)
    return message


def stamp_source(request: Request, host: str, port: int) -> None:
    """Fill ``received`` and ``rport`` of the topmost Via (RFC 3261 section 18.2.1, RFC 3581)."""
    raw = request.headers.getlist("Via")
    if not raw or "," in raw[0]:
        return
    via = request.via[0]
    line = raw[0]
    if "rport" in via.parameters and via.parameters["rport"] is None:
        line = line.replace(";rport", f";rport={port}", 1)
    if via.host != host and "received" not in via.parameters:
        line += f";received={host}"
    request.headers.setlist("Via", [line, *raw[1:]])


def make_response(request: Request, code: int, *, to_tag: str | None = None) -> Response:
    """Answer a request: echo its Via, From, To, Call-ID and CSeq, adding a To tag where one is due."""
    response = Response(code, PHRASES.get(code, "Unknown"))
    for name in ("Via", "Record-Route", "From", "To", "Call-ID", "CSeq"):
        for value in request.headers.getlist(name):
            response.headers.add(name, value)
    if code > 100 and tag_of(request, "To") is None:
        response.headers.set("To", f"{request.headers['To']};tag={to_tag or token(5)}")
    return response


def make_cancel(invite: Request) -> Request:
    """Make the CANCEL of a pending INVITE: same target, same branch (RFC 3261 section 9.1)."""
    return _twin(invite, "CANCEL", invite.headers["To"])


def make_ack_for_failure(invite: Request, response: Response) -> Request:
    """Make the ACK of a non-2xx final response: part of the transaction (RFC 3261 section 17.1.1.3)."""
    return _twin(invite, "ACK", response.headers["To"])


def _twin(invite: Request, method: str, to_header: str) -> Request:
    """Make a request that belongs to the transaction of ``invite``."""
    request = Request(method, invite.uri)
    request.headers.add("Via", invite.headers.getlist("Via")[0])
    request.max_forwards = MAX_FORWARDS
    request.headers.set("From", invite.headers["From"])
    request.headers.set("To", to_header)
    request.headers.set("Call-ID", invite.headers["Call-ID"])
    request.cseq = CSeq(sequence=invite.cseq.sequence, method=method)
    for value in invite.headers.getlist("Route"):
        request.headers.add("Route", value)
    return request


def contact_uri(message: Message) -> URI | None:
    """Return the URI of the Contact header, None when there is none."""
    contacts = message.contact
    return contacts[0].uri if contacts else None
