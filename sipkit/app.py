"""The app of the webhook server: the platform's webhooks, and the room page for people.

    /voice-answer /voice-dtmf /voice-keys /voice-events /healthz     sipkit.webhooks
    /room/<name> and what its page asks                  sipkit.room_page

It loads neither the `opentok` nor the `vonage` package: the page's first token or dial does.

A call that a page dials is billed until somebody hangs it up, and that is the server's duty when it ends. A server
of another kind (granian, flask run) does not tell the app of its end in every case, so there the page dials nothing
and says where it would; everything else works. See `create_app`.
"""

import gc
import io
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from flask import Flask
from werkzeug.wsgi import get_input_stream

from sipkit import room_page, webhooks
from sipkit.attendant import Attendant
from sipkit.cloud import Account, cloud_for
from sipkit.errands import Errands
from sipkit.errors import MissingCredential, ServerError
from sipkit.settings import ANYBODY, Settings
from sipkit.store import Store

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

PATIENCE: Final = 3.0
"""Seconds that a request waits for its turn to write in the store. The platform gives an answer webhook five
(`socket_timeout` of the application), and then the caller hears nothing at all."""

log = logging.getLogger("sipkit.webhooks")


def create_app(
    settings: Settings | None = None,
    account: Account | None = None,
    store: Store | None = None,
    *,
    account_now: Callable[[], Account] | None = None,
    require_end: Callable[[str], None] | None = None,
) -> Flask:
    """Make the app.

    Args:
        settings: Read from `.env` and the environment unless given.
        account: The cloud's, unless given. In the sandbox this starts or finds the sandbox.
        store: The one of the settings, unless given.
        account_now: Gives the account as it is now, for the calls and tokens of the room page: a sandbox may have
            come back under another address. Always `account` unless given.
        require_end: Called with a bridge's owner before the room page dials for it, and once more when it has:
            raises `ServerError` if nobody will be there to hang the bridge up. Unless given, pages dial nothing.

    Raises:
        MissingCredential: If there is no signature secret, so that anybody could direct our calls, and the live
            account's owner has not allowed just that in so many words.
        SettingsError: If the settings make no sense.
    """
    settings = settings or Settings.load()
    if account is None:
        # Without a hold: a server must not keep the sandbox alive after the last notebook is gone.
        cloud = cloud_for(settings, hold=False)
        account, account_now = cloud.account(), account_now or cloud.account
    if not account.signature_secret.get_secret_value():
        # In the sandbox there always is one; live, a public URL leads here, now or as soon as a tunnel is open.
        if account.mode == "sandbox" or not settings.unsigned_webhooks_allowed:
            raise MissingCredential(
                "The webhook server needs SIGNATURE_SECRET: without it anybody who finds its address could "
                "listen in on a session.",
                "Copy the signature secret from the dashboard (API settings) into .env as SIGNATURE_SECRET. To run "
                f'without, and let strangers direct your calls, write ALLOW_UNSIGNED_WEBHOOKS="{ANYBODY}".',
            )
        log.warning("Webhooks are not checked: anybody who finds this server's address can direct its calls.")
    store = store or Store.open(settings.store_url, account.environment, settings.pin_length, settings.pin_hours)
    app = Flask("sipkit.webhooks", static_folder=None)
    # One byte more than we take: of a body in chunks Flask reads so much and drops the rest in silence.
    app.config["MAX_CONTENT_LENGTH"] = webhooks.MAX_BODY + 1
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # it would answer by an HTML redirect
    app.wsgi_app = _at_the_door(app.wsgi_app, store)  # type: ignore[method-assign, assignment]  # as Flask's manual
    fixed = account
    account_now = account_now or (lambda: fixed)
    errands = Errands(Attendant(settings, store, account_now).do)
    office = webhooks.Office(settings, account, store, errands)
    webhooks.install(app, office)
    room_page.install(
        app,
        settings=settings,
        store=store,
        account=account_now,
        public_url=office.address.public_url,
        require_end=require_end or _refuse,
    )
    return app


def freeze_loaded() -> None:
    """Let the garbage collector look no more at what this process has loaded, for an app stays as long as its server.

    To look at all of it, once in some thousand webhooks, takes a tenth of a second in which every caller waits. For
    processes that serve and do nothing else; call it when the app is made.
    """
    gc.collect()
    gc.freeze()


def _at_the_door(app: "WSGIApplication", store: Store) -> "WSGIApplication":
    """Let each request give a locked store up in time for an apology to be heard, and webhooks take turns.

    A body is read before, for a stranger may send one as slowly as it likes.
    """

    def received(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with store.patience(PATIENCE):
            if not environ.get("PATH_INFO", "").startswith(webhooks.PATH_PREFIX):
                return app(environ, start_response)
            environ["wsgi.input"] = _read(environ)
            with store.writing_turn():
                return app(environ, start_response)

    return received


def _read(environ: "WSGIEnvironment") -> io.IOBase:
    """Return a request's body, all of it here already; one that cannot be read says so to whoever reads it."""
    try:
        return io.BytesIO(get_input_stream(environ, max_content_length=webhooks.MAX_BODY + 1).read())
    except Exception as error:  # noqa: BLE001 - whatever it is, the app has the words for it
        return _Unreadable(error)


class _Unreadable(io.RawIOBase):
    """A body that is too long, or whose sender is gone."""

    def __init__(self, why: Exception) -> None:
        self._why = why

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise self._why


def _refuse(_owner: str) -> None:
    raise ServerError(
        "This server cannot tell for certain when it ends, so nobody would hang the call up.",
        "Dial out in the notebook (board.dial_out), or open the page at a server that hangs up when it ends: "
        "board.start_webhook_server(), or python webhook_server.py.",
    )
