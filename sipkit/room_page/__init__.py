"""The room page: see, hear and talk in a room from a browser, and connect it to the phone side.

    GET  /room/<name>?invitation=...    the page, for who has an invitation
    GET  /room/<name>/state             who has called, how the call is; a fresh visit token and a ticket
    POST /room/<name>/token             a token for the room's video session, good for a few minutes
    POST /room/<name>/dial-out          hosts: bridge the session to the phone side
    POST /room/<name>/hang-up           hosts: end that
    POST /room/<name>/phones/<id>/<deed>    hosts: admit, mute, ask-to-unmute, lower-hand, rename or remove a phone
    POST /room/<name>/door              hosts: lock the room, use its lobby, wait for the host, or no longer

The server may be public, so nothing here trusts its asker: see `sipkit.invitations` for who may open a page, and
`visits` for what its requests must show. What may be asked how often is counted in the store, for all processes.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from flask import Blueprint, Flask, Response, current_app, g, render_template, request
from werkzeug.exceptions import HTTPException

from sipkit.cloud import Account
from sipkit.errors import InvitationExpired, InvitationRefused, SipkitError
from sipkit.invitations import dial_href, dial_string, display_name, room_path
from sipkit.room_page import policy
from sipkit.room_page.reception import Limit, Reception
from sipkit.room_page.visits import Refusal, Visit, read_body, require_own_page
from sipkit.rooms import Bridge, Room
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.webhooks import json_answer, place_of

__all__ = ["Limit", "Reception", "dialled", "install"]

TOKEN_SECONDS: Final = 300.0
"""How long a token lets its holder enter the session. Who is connected stays, whatever becomes of the token."""


LOADS: Final = Limit(120)  # of one link, which may have been sent to a whole class
POLLS: Final = Limit(120)  # of one visit
TOKENS: Final = Limit(12)  # of one visit
DIALS: Final = Limit(6)  # of one room
DEEDS: Final = Limit(120)  # of one room: of all its hosts together, to its phones and its door
HANG_UPS: Final = Limit(30)  # of one room: it ends what costs, so it is not to be missed

log = logging.getLogger("sipkit.room_page")
blueprint = Blueprint(
    "room_page", __name__, template_folder="templates", static_folder="static", static_url_path="/static/room"
)


class Asked(NamedTuple):
    """A request of a page whose visit is right."""

    reception: Reception
    visit: Visit
    room: Room


def install(
    app: Flask,
    *,
    settings: Settings,
    store: Store,
    account: Callable[[], Account],
    public_url: Callable[[], str | None],
    require_end: Callable[[str], None],
) -> None:
    """Put the room page into an app; see `Reception` for what it takes."""
    app.extensions["sipkit.rooms"] = Reception(settings, store, account, public_url, require_end)
    app.register_blueprint(blueprint)


def dialled(app: Flask) -> list[Bridge]:
    """Return the living bridges that the room pages of this very app dialled."""
    reception: Reception = app.extensions["sipkit.rooms"]
    return reception.calls.dialled()


def _of_a_visit(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let a view see only requests of a page whose visit is right; answer its refusals in JSON."""

    @functools.wraps(view)
    def checked(name: str, **places: str) -> Response:
        reception = _reception()
        try:
            visit = reception.desk.visit(request)
            g.sipkit_role = visit.role
            require_own_page(request, reception.own_urls())
            return view(Asked(reception, visit, reception.room(visit, name)), **places)
        except Refusal as refusal:
            wait = {"Retry-After": f"{refusal.seconds + 1:.0f}"} if refusal.seconds else None
            return json_answer({"error": refusal.words}, refusal.status, wait)
        except InvitationRefused as refusal:
            return json_answer({"error": str(refusal)}, 403)

    return checked


@blueprint.get("/room/<name>")
def room_page(name: str) -> Response:
    """Show the page to who has an invitation, and to everybody else what to do."""
    reception = _reception()
    token = request.args.get("invitation", "")
    try:
        invited = reception.seal.read_invitation(token)
        g.sipkit_role = invited.role
        # By a digest: the store is no place for what opens a door.
        reception.count("load", hashlib.sha256(token.encode()).hexdigest()[:32], LOADS)
        room = reception.room(invited.room_id, name)
    except InvitationExpired:
        return _notice(410, "This invitation has expired", "Ask the host for a new link.")
    except InvitationRefused:
        # Whether there is such a room is nobody's business who has no right link. The page looks alike for all of
        # them; its script helps those who loaded a page again whose address no longer holds the invitation.
        what = "Ask the host for a link, and open it whole: a line break in a message may have cut it."
        return _notice(403, "This link does not open a room", what, script="again.js")
    except Refusal as refusal:
        if refusal.status == 410:  # noqa: PLR2004 - Gone
            return _notice(410, "This room is closed", "Ask the host whether it will be opened again, and for a link.")
        return _notice(refusal.status, "Too many visits at once", refusal.words, refusal.seconds)
    visit = reception.desk.open(invited)
    script = policy.video_script(reception.account())
    config = {
        "room": room.name,
        "path": room_path(room.name),
        "role": invited.role,
        "name": invited.name,
        "script": script.url,
        "visit": reception.desk.token(visit),
    }
    number = reception.account().conference_number
    page = render_template(
        "room.html",
        room=room.name,
        host=invited.role == "host",
        number=number,
        pin=room.pin if invited.show_pin else "",
        dial=dial_href(dial_string(number, room.pin if invited.show_pin else "")),
        name=invited.name,
        config=json.dumps(config),
    )
    return Response(page, 200, policy.headers(script), mimetype="text/html")


@blueprint.get("/room/<name>/state")
@_of_a_visit
def state(asked: Asked) -> Response:
    """Tell how the call is and who has called; renew the visit, and give a ticket for one POST."""
    reception, visit, room = asked
    reception.count("poll", visit.id, POLLS)
    callers = reception.store.callers(room)
    told = {
        "visit": reception.desk.token(visit),
        "ticket": reception.desk.ticket(visit),
        "call": reception.calls.state(room),
        "unanswered": reception.calls.unanswered(room),
        "callers": [
            {"id": caller.alias, "number": caller.masked_number} for caller in callers if caller.state == "joined"
        ],
    }
    return json_answer(told | ({"hosting": reception.hosts.see(room, callers)} if visit.role == "host" else {}))


@blueprint.post("/room/<name>/token")
@_of_a_visit
def token(asked: Asked) -> Response:
    """Make a token for the room's session: a guest publishes, a host moderates."""
    reception, visit, room = asked
    name = display_name(_posted(asked).get("name")) or ("Host" if visit.role == "host" else "Guest")
    reception.count("token", visit.id, TOKENS)
    role = "moderator" if visit.role == "host" else "publisher"
    data = json.dumps({"name": name, "role": visit.role}, ensure_ascii=False)
    made = reception.calls.video().token(room.session_id, role, data, TOKEN_SECONDS)
    reception.store.record("room-page", f"A {visit.role} enters room {room.name!r} by its page.", room.id)
    return json_answer(
        {"key": reception.account().video_api_key, "session": room.session_id, "token": made, "name": name}
    )


@blueprint.post("/room/<name>/dial-out")
@_of_a_visit
def dial_out(asked: Asked) -> Response:
    """Bridge the room to the phone side."""
    reception, visit, room = asked
    _posted(asked, host=True)
    reception.count("dial", room.id, DIALS)
    return json_answer({"call": reception.calls.dial(room, visit.invited.owner)})


@blueprint.post("/room/<name>/hang-up")
@_of_a_visit
def hang_up(asked: Asked) -> Response:
    """End the room's bridge, and with it every phone's call."""
    reception, visit, room = asked
    _posted(asked, host=True)
    reception.count("hang-up", room.id, HANG_UPS)
    outcome = reception.calls.hang_up(room, visit.invited.owner)
    return json_answer({"call": reception.calls.state(room), "hung_up": outcome.hung_up, "words": outcome.reason})


@blueprint.post("/room/<name>/phones/<phone>/<deed>")
@_of_a_visit
def to_phone(asked: Asked, phone: str, deed: str) -> Response:
    """Do to one phone what a host wants."""
    reception, _, room = asked
    body = _posted(asked, host=True)
    reception.count("deed", room.id, DEEDS)
    words = reception.hosts.to_phone(room, phone, deed, body)
    return json_answer({"words": words, "hosting": reception.hosts.see(room)})


@blueprint.post("/room/<name>/door")
@_of_a_visit
def door(asked: Asked) -> Response:
    """Lock the room, use its lobby, wait for the host; or no longer."""
    reception, _, room = asked
    body = _posted(asked, host=True)
    reception.count("deed", room.id, DEEDS)
    return json_answer({"hosting": reception.hosts.see(reception.hosts.set_door(room, body))})


def _posted(asked: Asked, *, host: bool = False) -> dict[str, Any]:
    """Return the body of a POST that may act.

    Raises:
        Refusal: It is a guest's where a host is wanted, no JSON, or its ticket is not good (any more).
    """
    if host and asked.visit.role != "host":
        raise Refusal(403, "Only a host may do this.")
    body = read_body(request)
    asked.reception.desk.take_ticket(asked.visit, body.get("ticket"))
    return body


@blueprint.errorhandler(Exception)
def _failure(error: Exception) -> Response:
    """Say what went wrong, and to hosts what to do about it.

    Foreign exceptions stay in the log, and there only their kind and place.
    """
    if isinstance(error, HTTPException):
        return json_answer({"error": error.name.lower()}, error.code or 400)
    words = "Something went wrong in the server. Its log has more."
    if isinstance(error, SipkitError):
        words = f"{error.message} {error.fix}"
    if g.get("sipkit_role") != "host":
        words = "Something went wrong in the server. Try again in a moment; if it stays so, tell the host."
    what = error.message if isinstance(error, SipkitError) else f"{type(error).__name__} {place_of(error)}"
    log.error("%s failed: %s", request.endpoint, what)
    if request.endpoint == "room_page.room_page":
        return _notice(503, "The room cannot be shown now", words)
    return json_answer({"error": words}, 503)


@blueprint.after_request
def _guarded(response: Response) -> Response:
    """Give every answer of the page the headers that keep it private; style and script may be asked for again."""
    for name, value in policy.COMMON.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "room_page.static":
        response.headers["Cache-Control"] = "no-cache"
    return response


def _notice(status: int, title: str, what_to_do: str, seconds: float = 0.0, script: str = "") -> Response:
    """Show a plain page: what is wrong, and what to do."""
    headers = policy.headers(None) | ({"Retry-After": f"{seconds + 1:.0f}"} if seconds else {})
    page = render_template("notice.html", title=title, what_to_do=what_to_do, script=script)
    return Response(page, status, headers, mimetype="text/html")


def _reception() -> Reception:
    found: Reception = current_app.extensions["sipkit.rooms"]
    return found
