"""A visitor of a room page without a browser: opens the page, and sends what its script would send."""

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from flask import Flask

CONFIG = re.compile(r'data-config="([^"]*)"')
"""Where a page tells its script what it needs, as JSON."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The text as JSON."""
        return json.loads(self.text)


Send = Callable[[str, str, dict[str, str], bytes | None], Answer]


def through_app(app: Flask, host: str = "127.0.0.1:5000") -> Send:
    """Send to an app in this process."""
    client = app.test_client()

    def send(method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        answer = client.open(path, method=method, headers={"Host": host, **headers}, data=body)
        return Answer(answer.status_code, dict(answer.headers), answer.get_data(as_text=True))

    return send


def through_http(base: str) -> Send:
    """Send to a server, without proxies; safe to use from several threads."""

    def send(method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, base + path, headers=headers, data=body, timeout=30)
        return Answer(answer.status_code, dict(answer.headers), answer.text)

    return send


def path_of(link: str) -> str:
    """A link's path and query."""
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


class Visitor:
    """One opened page.

    Args:
        send: How requests are sent.
        link: The invitation's link, or its path.

    Attributes:
        page: The answer to the page's own request.
        config: What the page's script is told; empty if there was no page.
    """

    def __init__(self, send: Send, link: str) -> None:
        self.send = send
        self.page = send("GET", path_of(link), {}, None)
        found = CONFIG.search(self.page.text)
        self.config: dict[str, Any] = json.loads(unescape(found[1])) if found else {}
        self.visit: str = self.config.get("visit", "")
        self.path: str = self.config.get("path", "")

    def state(self, **headers: str) -> Answer:
        """Ask for the state; keeps the new visit token."""
        answer = self.send("GET", f"{self.path}/state", {"X-Sipkit-Visit": self.visit, **headers}, None)
        if answer.status == 200:
            self.visit = answer.json["visit"]
        return answer

    def ticket(self) -> str:
        """A fresh ticket."""
        return str(self.state().json["ticket"])

    def post(self, action: str, body: dict[str, Any] | None = None, **headers: str) -> Answer:
        """Do something, with a fresh ticket unless the body brings one."""
        body = body or {}
        if "ticket" not in body:
            body = {**body, "ticket": self.ticket()}
        sent = {"X-Sipkit-Visit": self.visit, "Content-Type": "application/json", **headers}
        return self.send("POST", f"{self.path}/{action}", sent, json.dumps(body).encode())
