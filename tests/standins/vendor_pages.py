"""Sessions and tokens as a project's server makes them, and the pages of tests/browser/pages shown against a sandbox.

The pages name the vendor's hosts, as a page written for Vonage does; here only those hosts are replaced.
"""

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import opentok
import pytest
import requests
from opentok import MediaModes
from playwright.sync_api import Error, Page

from sipkit.sandbox.launcher import SandboxInfo

PAGES = Path(__file__).resolve().parents[1] / "browser" / "pages"
JOINED_MS = 15_000
VENDOR_HOSTS = ("https://static.opentok.com", "https://video.standard.vonage.com")
Empty = Callable[..., Page]
"""The fixture `empty` of tests/browser: opens the empty page for a session."""


class Project:
    """A server with the OpenTok project's key and secret, and with the unified application's private key."""

    def __init__(self, sandbox: SandboxInfo) -> None:
        self.sandbox = sandbox
        key, secret = sandbox.video_api_key, sandbox.video_api_secret
        self.client: Any = opentok.Client(key, secret, api_url=sandbox.api_url, timeout=10)
        self._private_key = Path(sandbox.private_key_file).read_text()

    def session(self) -> str:
        """Create a session of the OpenTok project."""
        return str(self.client.create_session(media_mode=MediaModes.routed).session_id)

    def token(self, session_id: str, /, role: str = "publisher", **claims: Any) -> str:
        """Make a token of the OpenTok project; `claims` replace what is in it, `secret` its key."""
        secret = claims.pop("secret", self.sandbox.video_api_secret)
        made = self.client.generate_token(session_id, role=opentok.Roles(role), data=json.dumps({"name": role}))
        said = jwt.decode(made, options={"verify_signature": False}) | claims
        return jwt.encode(said, secret, "HS256")

    def unified_session(self) -> str:
        """Create a session of the application (unified environment)."""
        now = int(time.time())
        claims = {"application_id": self.sandbox.application_id, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
        bearer = jwt.encode(claims, self._private_key, "RS256")
        answer = requests.post(
            f"{self.sandbox.api_url}/session/create",
            data={"p2p.preference": "disabled"},
            headers={"Authorization": f"Bearer {bearer}", "Accept": "application/json"},
            timeout=10,
        )
        answer.raise_for_status()
        return str(answer.json()[0]["session_id"])

    def unified_token(self, session_id: str, role: str = "publisher", name: str = "") -> str:
        """Make a token of the application, as vonage-video's `generate_client_token` does."""
        now = int(time.time())
        claims = {
            "application_id": self.sandbox.application_id,
            "scope": "session.connect",
            "session_id": session_id,
            "role": role,
            "initial_layout_class_list": "",
            "sub": "video",
            "subject": "video",
            "acl": {"paths": {"/session/**": {}}},
            "connection_data": json.dumps({"name": name or role}),
            "iat": now,
            "exp": now + 900,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self._private_key, "RS256")

    def page(self, file: str, session_id: str, token: str, name: str = "", host: str = "") -> dict[str, str | bytes]:
        """Make what a server sends for a page: the page with its hosts replaced, and its config.js."""
        text = (PAGES / file).read_text("utf-8")
        for vendor in VENDOR_HOSTS:
            text = text.replace(vendor, host or self.sandbox.api_url)
        constants = {
            "API_KEY": self.sandbox.video_api_key,
            "APPLICATION_ID": self.sandbox.application_id,
            "SESSION_ID": session_id,
            "TOKEN": token,
            "NAME": name,
        }
        config = "".join(f"const {key} = {json.dumps(value)};\n" for key, value in constants.items())
        return {"index.html": text, "config.js": config, "favicon.ico": b""}


# Ways into a session, and a note of every event: what the tests below ask of a page is told in terms of these.
HELPERS = """
window.notes = [];
window.note = event => notes.push([event.type, event.reason].filter(Boolean).join(" "));
window.told = error => `${error.name} ${error.code}`;
window.SESSION_EVENTS = `sessionConnected sessionDisconnected sessionReconnecting sessionReconnected connectionCreated
  connectionDestroyed streamCreated streamDestroyed`;
window.join = async () => {
  window.session = OT.initSession(API_KEY, SESSION_ID);
  session.on(SESSION_EVENTS, note);
  await session.connect.promise(TOKEN);
};
window.publish = async properties => {
  window.publisher = await OT.initPublisher.promise("publisher", { insertMode: "append", ...properties });
  publisher.on("streamCreated streamDestroyed destroyed mediaStopped", note);
  await session.publish.promise(publisher);
};
window.watch = () => session.on("streamCreated", event => {
  window.subscriber = session.subscribe(event.stream, "subscribers", { insertMode: "append" });
  subscriber.on("connected disconnected destroyed audioBlocked audioUnblocked videoDisabled videoEnabled", note);
});
"""


def open_empty(page: Page, address: str) -> None:
    """Open the empty page (blank.html) with the helpers above; its devices are a tone of 440 Hz and red."""
    page.add_init_script(HELPERS)
    page.add_init_script("measure.useDevices(440, 'red')")
    page.goto(address)


def wait_note(page: Page, note: str) -> None:
    """Wait until the page noted an event."""
    try:
        page.wait_for_function("note => notes.includes(note)", arg=note, timeout=JOINED_MS)
    except Error as error:
        pytest.fail(f"waited for {note!r}; the page noted {page.evaluate('notes')}: {error.message}")


class Cable:
    """TCP connections between a page and the sandbox that a test can cut, leave cut, or let go silent."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: dict[socket.socket, threading.Event] = {}
        self._broken = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self, *, for_good: bool = False) -> None:
        """Break every connection; with `for_good`, every later one too."""
        self._broken = for_good
        for end in list(self._open):
            _shut(end)

    def mend(self) -> None:
        """Let connections through again."""
        self._broken = False

    def silence(self) -> None:
        """Carry nothing more over the connections that are open; new ones work."""
        for muffled in list(self._open.values()):
            muffled.set()

    def serve(self) -> None:
        """Accept until the listener closes."""
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._broken:
                near.close()
                continue
            far = socket.create_connection(self._target)
            muffled = threading.Event()
            for source, sink in ((near, far), (far, near)):
                self._open[source] = muffled
                threading.Thread(target=self._carry, args=(source, sink, muffled), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, muffled: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not muffled.is_set():
                    sink.sendall(data)
        _shut(sink)
        del self._open[source]
        source.close()

    def close(self) -> None:
        """Stop."""
        _shut(self._listener)
        self._listener.close()
        self.cut(for_good=True)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cable(target: str) -> Iterator[Cable]:
    """A cable to `target`, which stops with the block."""
    made = Cable(target)
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()
