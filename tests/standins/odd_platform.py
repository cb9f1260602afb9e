"""The sandbox's video API with some of its answers replaced: a platform, or a gateway before it, with moods."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from sipkit.cloud import Account

Answer = tuple[int, str]


class OddPlatform(ThreadingHTTPServer):
    """Hands requests on to the sandbox, except those whose path ends in a certain way.

    Attributes:
        answers: The end of a path, and the status and body that a GET of it is answered with.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.answers: dict[str, Answer] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """The address to ask in place of the sandbox's."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: OddPlatform

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = next((given for end, given in self.server.answers.items() if self.path.endswith(end)), None)
        if answer is None or self.command != "GET":
            names = ("Content-Type", "Accept", "X-OPENTOK-AUTH")
            headers = {name: value for name in names if (value := self.headers.get(name))}
            url = f"{self.server.upstream}{self.path}"
            told = requests.request(self.command, url, data=body, headers=headers, timeout=20)
            answer = told.status_code, told.text
        text = answer[1].encode()
        self.send_response(answer[0])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the names the standard library calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Say nothing."""


@contextmanager
def odd_platform(cloud: object, account: Account) -> Iterator[OddPlatform]:
    """Put the odd platform between whoever asks this cloud for its account and the sandbox."""
    with OddPlatform(account.video_api_url) as platform, pytest.MonkeyPatch.context() as patch:
        thread = threading.Thread(target=platform.serve_forever, daemon=True)
        thread.start()
        through = replace(account, video_api_url=platform.url)
        patch.setattr(cloud, "account", lambda: through)
        yield platform
        platform.shutdown()
        thread.join()
