"""The sandbox's REST APIs with some of their answers replaced: a platform, or a gateway before it, with moods."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal

import pytest
import requests

from sipkit.cloud import Account

PATIENCE: Final = 30.0
"""Seconds after which a request that hangs ends all the same: a test that forgets to let it go must not hang."""


@dataclass(frozen=True)
class Says:
    """Answers in the platform's place."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Mood = Says | Literal["closes", "hangs", "loses"]
"""Besides an answer: reads the request and closes; gives no answer; does what is asked, and loses the answer."""


class OddPlatform(ThreadingHTTPServer):
    """Hands requests on to the sandbox, except those for which it is in a mood.

    Attributes:
        moods: A method and a pattern of a path, as in ``DELETE /connection/``, and what becomes of such requests.
        asked: Method and path of each request, in order.
        let: Set, what hangs goes on.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.moods: dict[str, Mood] = {}
        self.asked: list[str] = []
        self.let = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """The address to ask in place of the sandbox's."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: OddPlatform

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        mood = next((mood for wanted, mood in self.server.moods.items() if self._is(wanted)), None)
        if mood == "hangs":
            self.server.let.wait(PATIENCE)
        self.close_connection = True
        match mood:
            case "closes" | "hangs":
                return
            case "loses":
                self._passed_on(body)
            case None:
                self._answer(self._passed_on(body))
            case Says():
                self._answer(mood)

    def _is(self, wanted: str) -> bool:
        method, pattern = wanted.split(" ", 1)
        return self.command == method and re.search(pattern, self.path) is not None

    def _passed_on(self, body: bytes) -> Says:
        names = ("Content-Type", "Accept", "Authorization", "X-OPENTOK-AUTH")
        headers = {name: value for name in names if (value := self.headers.get(name))}
        told = requests.request(
            self.command, f"{self.server.upstream}{self.path}", data=body, headers=headers, timeout=20
        )
        return Says(told.status_code, told.text)

    def _answer(self, says: Says) -> None:
        text = says.text.encode()
        self.send_response(says.status)
        for name, value in {"Content-Type": "application/json", **says.headers}.items():
            self.send_header(name, value)
        if says.status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names the standard library calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Say nothing."""


@contextmanager
def odd_platform(cloud: object, account: Account) -> Iterator[OddPlatform]:
    """Put the odd platform between whoever asks this cloud for its account and the sandbox: video and voice side."""
    with OddPlatform(account.video_api_url) as platform, pytest.MonkeyPatch.context() as patch:
        thread = threading.Thread(target=platform.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        through = replace(account, video_api_url=platform.url, voice_api_url=platform.url)
        patch.setattr(cloud, "account", lambda: through)
        yield platform
        platform.let.set()
        platform.shutdown()
        thread.join()
