"""Requests of room pages as no page sends them: invited visitors who lose, mix up and invent what they must show."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import unescape
from random import Random
from typing import Any
from urllib.parse import urlsplit

from tests.standins.odd_callbacks import METHODS, TEXTS, TYPES, VALUES
from tests.standins.room_visitor import CONFIG, path_of
from tests.standins.shot import Reply, Shot

FIELDS = ("ticket", "name", "leg", "caller", "id", "on", "digits", "number", "locked", "language", "")
ADDRESSES = ("{0}/", "/{0}", "{0}%2f", "{0}%00", "{0}/..", "{0}x", "{0}?invitation=x", "{0};x", "{0}\xff", "{0}#")


@dataclass
class Opened:
    """A page that was opened by a link, as far as it knows."""

    link: str
    path: str
    visit: str = ""
    tickets: list[str] = field(default_factory=list)
    legs: list[str] = field(default_factory=list)


class OddPages:
    """Makes the requests, and learns from the answers.

    Args:
        random: Decides everything.
        links: Invitations: for guests and hosts, of open and closed rooms, expired, and false ones.
        actions: What a page can ask: the method, and what follows the room's path.
    """

    def __init__(self, random: Random, links: Sequence[str], actions: Sequence[tuple[str, str]]) -> None:
        self._random = random
        self._pages = [Opened(path_of(link), urlsplit(link).path) for link in links]
        self._actions = actions
        self._last = self._pages[0]

    def shot(self) -> Shot:
        """The next request."""
        random, pick = self._random, self._random.choice
        page = self._last = pick(self._pages)
        if not page.visit or random.random() < 0.05:
            return Shot("page", "GET", self._address(page.link), {}, allowed=True)
        method, action = pick(self._actions)
        if not page.tickets and random.random() < 0.7:
            method, action = "GET", "/state"
        headers = {"X-Sipkit-Visit": page.visit, "Content-Type": "application/json"}
        if random.random() < 0.15:
            headers |= pick(({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}))
        if random.random() < 0.1:
            headers["X-Sipkit-Visit"] = pick(
                (pick(self._pages).visit, page.visit[:-3], page.visit + "x", "", *TEXTS[:20])
            )
        if random.random() < 0.1:
            headers["Content-Type"] = pick(TYPES)
        headers = {name: value.replace("\r\n", "") for name, value in headers.items()}
        body = self._body(page) if method == "POST" else b""
        if random.random() < 0.04:
            method = pick(METHODS)
        target = self._address(page.path + action)
        return Shot(f"room {method} {action}", method, target, headers, body, random.random() < 0.1, allowed=True)

    def learn(self, shot: Shot, reply: Reply) -> None:
        """Keep what the answer to the last request gave."""
        if reply.status != 200:
            return
        found = CONFIG.search(reply.body.decode("utf-8", "replace"))
        if found and shot.kind == "page":
            self._last.visit = json.loads(unescape(found[1]))["visit"]
        elif shot.kind.endswith("/state") and shot.method == "GET":
            told = json.loads(reply.body)
            self._last.visit = told["visit"]
            self._last.tickets = [*self._last.tickets, told["ticket"]][-5:]
            self._last.legs = [caller["id"] for caller in told["callers"]][-5:]

    def _body(self, page: Opened) -> bytes:
        random, pick = self._random, self._random.choice
        body: dict[str, Any] = {"ticket": page.tickets.pop() if page.tickets else pick(VALUES)}
        for _ in range(random.randrange(4)):
            body[pick(FIELDS[1:] if random.random() < 0.9 else FIELDS)] = pick((*VALUES, *page.legs))
        text = json.dumps(body).encode()
        odd = (b"", b"[]", b"null", text[:-1], text.decode().encode("utf-16"), b"[" * 20_000, b"x" * 70_000, b"\xff")
        return text if random.random() < 0.85 else pick(odd)

    def _address(self, path: str) -> str:
        return path if self._random.random() < 0.95 else self._random.choice(ADDRESSES).replace("{0}", path)
