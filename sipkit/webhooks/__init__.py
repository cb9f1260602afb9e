"""The webhooks: the web address where the platform asks what to do with a call.

    /voice-answer   a leg has called: what shall it do?             -> NCCO
    /voice-dtmf     it pressed keys: what now?                      -> NCCO
    /voice-events   news about a leg                                -> noted
    /voice-keys     it pressed a key in the call                    -> noted, and done afterwards
    /hold-music, /tones/...  what phones are played                 -> WAV or MP3, to whoever asks (`sounds`)
    /healthz        is this server alive, and which one is it?      -> JSON, for our own tools

GET and POST on the first four, for the platform's defaults and its habits differ. Each request is
measured (64 KiB), its signature checked, its fields read, and then the desk decides, once: the same
request sent again gets the first answer again (`sipkit.replays`). Bad requests get one line of JSON and a
4xx; a failure of ours gets a caller an apology, never silence, and never a 5xx, which would make the
platform repeat the request or hang up without a word.
"""

import functools
import hmac
import json
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from flask import Blueprint, Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from sipkit import ncco, replays, signatures
from sipkit.cloud import Account
from sipkit.errands import Errand, Errands
from sipkit.errors import SignatureRefused, SipkitError, StoreError
from sipkit.ncco import Ncco
from sipkit.server_state import HOLDER_HEADER, ServerState
from sipkit.settings import Settings
from sipkit.store import Store
from sipkit.voice_calls import can_call
from sipkit.webhooks.address import Address
from sipkit.webhooks.callbacks import BadCallback, Callback, read_event, read_fields, read_keys, read_time
from sipkit.webhooks.desk import Desk
from sipkit.webhooks.key_desk import KeyDesk
from sipkit.webhooks.late import LateNews
from sipkit.webhooks.sounds import sounds

__all__ = ["MAX_BODY", "PATH_PREFIX", "Office", "install", "json_answer", "office_of", "place_of"]

MAX_BODY: Final = 64 * 1024
"""Bytes of a request's body; the platform's own stay below two thousand."""

PATH_PREFIX: Final = "/voice-"
"""How the paths of all webhooks begin."""

NEWS: Final = "voice-events"
"""Whose requests are noted later if the store cannot take them; the others want an answer, or a key pressed again."""

MAX_PARAMETERS: Final = 100
REFUSALS_EVERY: Final = 1.0
"""Seconds between two refusals in the timeline: a stranger must not be able to fill the disk."""

ASIDE: Final = 0.2
"""Seconds to wait for the store with what no caller waits for: strangers' requests and health checks must not take the
threads that callers need while it is locked."""

_encoder: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

log = logging.getLogger("sipkit.webhooks")
blueprint = Blueprint("sipkit", __name__)


class Office:
    """What the views of one app work with.

    Args:
        settings: All of them.
        account: Its signature secret, numbers and keys.
        store: What all processes agree on.
        errands: Take what follows from a webhook once it is answered.
    """

    def __init__(self, settings: Settings, account: Account, store: Store, errands: Errands) -> None:
        self.account = account
        self.store = store
        self.errands = errands
        self.late = LateNews()
        self.speaker = settings.speaker()
        self.address = Address(settings, store)
        self.desk = Desk(settings, store, account.conference_number, self.address, voice_api=can_call(account))
        self.key_desk = KeyDesk(settings.keypad, store)
        self._state_path = settings.home / "server.json"
        self._anybody = settings.mode == "live" and settings.unsigned_webhooks_allowed
        self._last_refusal = 0.0
        self._let_down = 0  # requests that the store has failed and does not know of
        self._why: StoreError | None = None

    def claims_of(self, method: str, body: bytes, query: Sequence[tuple[str, str]]) -> dict[str, Any] | None:
        """Return what the request's token says; None where webhooks are not signed, and that was allowed.

        Raises:
            SignatureRefused: If it is not the platform's own, fresh, and for this request.
        """
        account = self.account
        secret = account.signature_secret.get_secret_value()
        if not secret and self._anybody:
            return None
        return signatures.verify(
            request.headers.get("Authorization"),
            secret=secret,
            method=method,
            body=body,
            query=query,
            api_key=account.voice_api_key,
            application_id=account.application_id,
            now=time.time(),  # the platform dated the token, and has never heard of our store's clock
        )

    def is_holder(self, proof: str) -> bool:
        """Whether a request's proof is that of somebody who can read this server's `server.json`."""
        state = ServerState.read(self._state_path) if proof else None
        return state is not None and hmac.compare_digest(proof.encode(), state.proof.encode())

    def refuse(self, route: str, reason: str) -> None:
        """Note in the timeline that a request was refused."""
        now = time.monotonic()
        if now - self._last_refusal < REFUSALS_EVERY:
            return
        self._last_refusal = now
        try:
            with self.store.patience(ASIDE):
                self.store.record("refused", f"A request to /{route} was refused: {reason}")
        except StoreError as error:
            log.warning("%s", error.message)

    def keep(self, jti: str, decide: Callable[[], object]) -> None:
        """Note a piece of news later, which the store could not take; what would have followed from it does not."""

        def note() -> None:
            with self.store.patience(ASIDE):
                decide()

        self.late.keep(jti, note)

    def failed(self, error: StoreError) -> None:
        """Remember that the store let a request down, for `trouble`."""
        self._let_down += 1
        self._why = error

    def trouble(self) -> str:
        """Return why requests get an apology instead of an answer, and what to do; empty if they do not.

        Whether the store works again is found out by writing down in the timeline what it could not be told.
        """
        if self._why is None:
            return ""
        text = f"Requests answered with an apology: {self._let_down}. {self._why.message}"
        try:
            with self.store.patience(ASIDE):
                self.store.record("apology", text)
        except StoreError as error:
            return str(error)
        self._let_down, self._why = 0, None
        return ""


class Incoming(NamedTuple):
    """A request whose signature is right.

    Attributes:
        office: What its view works with.
        fields: What it says.
        after: Takes what is to be done once all that the view writes is kept.
    """

    office: Office
    fields: dict[str, Any]
    after: list[Errand]


def install(app: Flask, office: Office) -> None:
    """Put the webhooks into an app, with the answers of the whole app to what nobody asked for.

    Args:
        app: The app; see `sipkit.app`, which makes it.
        office: What the views work with.
    """
    app.extensions["sipkit"] = office
    app.register_blueprint(blueprint)
    app.register_blueprint(sounds)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _own_error)
    hide_queries_in_access_logs()


def office_of(app: Flask) -> Office:
    """Return the office that was installed in an app."""
    office: Office = app.extensions["sipkit"]
    return office


def _signed(view: Callable[[Incoming], Any]) -> Callable[[], Response]:
    """Let a view see only requests that the platform signed, with their fields read; it returns what JSON shall say."""

    @functools.wraps(view)
    def checked() -> Response:
        if request.method == "HEAD":  # Flask adds it to GET; a HEAD must not move a call
            raise MethodNotAllowed(valid_methods=["GET", "POST"])
        office = office_of(current_app)
        body = request.get_data(cache=False)
        if len(body) > MAX_BODY:
            raise RequestEntityTooLarge
        try:
            text = request.query_string.decode("utf-8", "replace")
            query = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            return _error(400, "too many query parameters")
        method, route = request.method, view.__name__.replace("_", "-")
        after: list[Errand] = []

        def work() -> replays.Answer:
            after.clear()  # what is done anew has to be decided anew, too
            try:
                said = view(Incoming(office, read_fields(method, body, query), after))
            except BadCallback as error:
                office.refuse(route, str(error))
                return replays.Answer(400, _line({"error": str(error)}))
            return replays.Answer(200, _line(said))

        def decide() -> replays.Answer:
            after.clear()
            if claims is None:
                return work()
            digest = replays.digest_of(method, route, claims["payload_hash"])
            return replays.answered_once(office.store, claims["jti"], digest, work, claims["iat"])

        try:
            claims = office.claims_of(method, body, query)
            given = decide()
        except SignatureRefused as refusal:
            office.refuse(route, refusal.message)
            return _error(401, refusal.message, {"WWW-Authenticate": "Bearer"})
        except StoreError:
            if route == NEWS and claims is not None:
                office.keep(claims["jti"], decide)
            raise
        office.errands.put(after)
        return _unkept(given.body, given.status)

    return checked


@blueprint.route("/voice-answer", methods=["GET", "POST"])
@_signed
def voice_answer(incoming: Incoming) -> Ncco:
    """Say what a leg that has called shall do."""
    return incoming.office.desk.answer(Callback.read(incoming.fields))


@blueprint.route("/voice-dtmf", methods=["GET", "POST"])
@_signed
def voice_dtmf(incoming: Incoming) -> Ncco:
    """Say what a leg that pressed keys, or none, shall do now."""
    call = Callback.read(incoming.fields)
    return incoming.office.desk.keys(call, read_keys(incoming.fields), incoming.after)


@blueprint.route("/voice-keys", methods=["GET", "POST"])
@_signed
def voice_keys(incoming: Incoming) -> dict[str, bool]:
    """Take a key that a phone pressed in the call; what it hears of it, it hears by the Voice API."""
    call = Callback.read(incoming.fields)
    keys, at = read_keys(incoming.fields), read_time(incoming.fields)
    incoming.after.extend(incoming.office.key_desk.pressed(call, keys, at))
    return {"ok": True}


@blueprint.route("/voice-events", methods=["GET", "POST"])
@_signed
def voice_events(incoming: Incoming) -> dict[str, bool]:
    """Note a piece of news about a leg."""
    incoming.office.desk.note(read_event(incoming.fields), incoming.after)
    return {"ok": True}


@blueprint.route("/healthz", methods=["GET"])
def healthz() -> Response:
    """Say that this server is alive and which one it is; to its holders also whose it is and whether its store works.

    No address tells a holder from a stranger: a tunnel's agent is on this machine, and a raw `ssh -R` hands on whatever
    `Host` was written. What has been read in `server.json` does.
    """
    office = office_of(current_app)
    health: dict[str, Any] = {"ok": True, "instance": os.environ.get("SIPKIT_INSTANCE", "")}
    if not office.is_holder(request.headers.get(HOLDER_HEADER, "")):
        return json_answer(health)
    health |= {"environment": office.account.environment, "pid": os.getpid(), "public_url": None}
    try:
        health["public_url"] = office.address.public_url()
        trouble = office.trouble()
    except StoreError as error:
        trouble = str(error)
    if trouble:
        health |= {"ok": False, "error": trouble}
    return json_answer(health)


def _http_error(error: HTTPException) -> Response:
    """Answer what Flask itself refuses (unknown route or method, too large a body) in one line of JSON."""
    code = error.code if error.code is not None and 400 <= error.code < 500 else 400  # noqa: PLR2004 - 4xx
    methods = (error.valid_methods or ()) if isinstance(error, MethodNotAllowed) else ()
    headers = {"Allow": ", ".join(sorted({*methods} - {"HEAD"}))} if methods else {}
    return _error(code, error.name.lower(), headers)


def _own_error(error: Exception) -> Response:
    """Apologize to the caller for a failure of ours, and keep the reason for the person at the keyboard."""
    # The kind and the place only: the text of a foreign exception may quote digits or numbers.
    words = error.message if isinstance(error, SipkitError) else f"{type(error).__name__} {place_of(error)}"
    log.error("%s failed: %s", request.path[:100], words)
    office = office_of(current_app)
    if isinstance(error, StoreError):
        office.failed(error)
    if request.endpoint in {"sipkit.voice_answer", "sipkit.voice_dtmf"}:
        return json_answer(ncco.goodbye("sorry", office.speaker))
    return json_answer({"ok": False, "error": "noted in the server's log"})


def place_of(error: BaseException) -> str:
    """Return the innermost line of the exception's way."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer in one line of JSON that nobody keeps."""
    return _unkept(_line(value), status, headers)


def _line(value: Any) -> str:
    return f"{_encoder.encode(value)}\n"


def _unkept(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    response = Response(text, status, headers, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return json_answer({"error": reason}, status, headers)


class _WithoutQuery(logging.Filter):
    """Cuts the query string off every request line: it holds numbers and session ids."""

    _query = re.compile(r"\?[^\s\"']*")

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._query.sub("", record.getMessage())
        record.args = ()
        return True


def hide_queries_in_access_logs() -> None:
    """Keep query strings out of the access logs of the servers that write them there."""
    for name in ("werkzeug", "gunicorn.access"):
        logger = logging.getLogger(name)
        if not any(isinstance(known, _WithoutQuery) for known in logger.filters):
            logger.addFilter(_WithoutQuery())
