"""What a REST request is about: the project it speaks for, and the session in its path or body."""

from http import HTTPStatus

from aiohttp import web

from sipkit.sandbox.rest import Refusal
from sipkit.sandbox.video.presence import Session
from sipkit.sandbox.video.session_id import project_of
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.video.tokens import Tokens


def verify(request: web.Request, tokens: Tokens) -> str:
    """Let the request pass if its JWT is good and of the project in its path; returns the project.

    Raises:
        Refusal: 403 or 401, it is not.
    """
    project = tokens.verify_request(request.headers)
    if request.match_info.get("key", project) != project:
        raise Refusal(HTTPStatus.FORBIDDEN, "The token is not of the project in the path")
    return project


def session(request: web.Request, sessions: Sessions, session_id: str | None = None) -> Session:
    """The session that a verified request names: in its path, unless `session_id` is given.

    Raises:
        Refusal: 400, that is no session id at all (assumed); 404, the project has no such session.
    """
    wanted = request.match_info["session"] if session_id is None else session_id
    found = sessions.get(wanted)
    if found is None and project_of(wanted) is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid session ID")
    if found is None or found.project != request.match_info["key"]:
        raise Refusal(HTTPStatus.NOT_FOUND, "The session does not exist")
    return found
