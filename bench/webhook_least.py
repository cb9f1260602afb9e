"""The least that a webhook of the kit could be: Flask, the signature, and one row that survives kill -9; nothing else.

No PIN and no lock-out is looked up, no answer is kept for a repeated request, no document is made. What this app takes
is what the kit's would take if all of that took nothing.

    BENCH_SECRET   the signature secret
    BENCH_FILE     the SQLite file
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flask import Flask, Response, request

from sipkit import signatures
from webhook_load import API_KEY, APPLICATION_ID

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

app = Flask("least", static_folder=None)
turn = threading.Lock()
store = sqlite3.connect(os.environ["BENCH_FILE"], isolation_level=None, check_same_thread=False, timeout=30)
store.execute("PRAGMA journal_mode = WAL")
store.execute("PRAGMA synchronous = NORMAL")
store.execute("CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, at REAL, text TEXT)")


def webhook() -> Response:
    """Answer any of the three."""
    signatures.verify(
        request.headers.get("Authorization"),
        secret=os.environ["BENCH_SECRET"],
        method=request.method,
        body=request.get_data(cache=False),
        query=parse_qsl(request.query_string.decode(), keep_blank_values=True),
        api_key=API_KEY,
        application_id=APPLICATION_ID,
        now=time.time(),
    )
    store.execute("BEGIN IMMEDIATE")
    store.execute("INSERT INTO events (at, text) VALUES (?, ?)", (time.time(), "A phone called."))
    store.execute("COMMIT")
    return Response('[{"action":"conversation","name":"standup"}]', mimetype="application/json")


for route in ("voice-answer", "voice-dtmf", "voice-events"):
    app.add_url_rule(f"/{route}", route, webhook, methods=["GET", "POST"])
app.add_url_rule("/healthz", "healthz", lambda: "{}")
in_turn = app.wsgi_app


def one_at_a_time(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """See to one request at a time, as the kit does."""
    with turn:
        return in_turn(environ, start_response)


app.wsgi_app = one_at_a_time  # type: ignore[method-assign]  # as Flask's manual has it
