"""A webhook server under fire: odd requests by the thousand over real connections, and what must hold of each."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psutil
from pydantic import TypeAdapter
from vonage_voice.models.ncco import Connect, Conversation, Input, Notify, Record, Stream, Talk, Transfer, Wait

from sipkit.rooms import Room
from sipkit.sandbox.voice import ncco as strict
from sipkit.switchboard import Switchboard
from tests.standins.odd_callbacks import OddCallbacks
from tests.standins.odd_pages import OddPages
from tests.standins.shot import Reply, Shot, Wire

SHOWN_FAULTS = 20
ANSWERED = ("/voice-answer", "/voice-dtmf")
BY_DESIGN = {"page": "text/html", "/hold-music": "audio/wav"}
"""What is not JSON: the room page and its notices, for people, and the music of the lobby."""

_ACTIONS: TypeAdapter[Any] = TypeAdapter(
    list[Connect | Conversation | Input | Notify | Record | Stream | Talk | Transfer | Wait]
)


@dataclass
class Tally:
    """What came back.

    Attributes:
        statuses: How often each HTTP status.
        kinds: How many requests of each kind were sent.
        faults: What must not happen, with the request; the first ones.
        documents: How many call documents were judged.
        seconds: How long it took.
        megabytes: Resident memory of the server before and after.
    """

    statuses: "Counter[int]" = field(default_factory=Counter)
    kinds: "Counter[str]" = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    documents: int = 0
    seconds: float = 0.0
    megabytes: tuple[float, float] = (0.0, 0.0)

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(self.statuses.values())


class Fuzz:
    """Fires at the webhook server of a board.

    Args:
        board: It serves; its rooms are opened here.
        seed: The same seed makes the same requests, thread by thread.
    """

    def __init__(self, board: Switchboard, seed: int) -> None:
        assert board.server is not None
        self._board = board
        self._port, self._pid = board.server.port, board.server.pid
        self._account = board._account()
        self._seed = seed
        self._lock = threading.Lock()
        self.tally = Tally()
        self.rooms = [board.open_room(f"fuzz {seed} {number}") for number in range(4)]
        self._secrets = self._open_rooms()
        self._links = [
            board.invite(room, role, name=role).local_url
            for room in self.rooms
            for role in ("guest", "host")
            for _ in "12"
        ]
        self._actions = actions_of_pages()

    def _open_rooms(self) -> dict[str, Room]:
        """Give the rooms all that rooms can have; return what lets in, and where."""
        board, (plain, lobby, locked, _to_close) = self._board, self.rooms
        board.use_lobby(lobby)
        board.lock(locked)
        pins = {room.pin: room for room in self.rooms}
        pins |= {board.personal_pin(room, "Ada").digits: room for room in (plain, lobby, locked)}
        pins |= {board.host_pin(room).digits: room for room in (plain, locked)}
        return pins

    def close_a_room(self) -> None:
        """Close the last room: its PINs and links are among those that are tried."""
        self._board.close_room(self.rooms[-1])

    def fire(self, count: int, threads: int = 2, seconds: float = float("inf")) -> Tally:
        """Send so many requests, or for so long."""
        server = psutil.Process(self._pid)
        before, began = server.memory_info().rss, time.monotonic()
        shooters = [
            threading.Thread(target=self._shoot, args=(count // threads, number, began + seconds))
            for number in range(threads)
        ]
        for each in shooters:
            each.start()
        for each in shooters:
            each.join()
        self.tally.seconds += time.monotonic() - began
        self.tally.megabytes = (self.tally.megabytes[0] or before / 1e6, server.memory_info().rss / 1e6)
        return self.tally

    def _shoot(self, count: int, number: int, until: float) -> None:
        random = Random(f"{self._seed} {number} {self.tally.requests}")
        account = self._account
        typed = (*self._secrets, *("000000", "123456", "9" * 10, "*6", "#", "", "1" * 41))
        sessions = (*(room.session_id for room in self.rooms), "SESSION", "")
        secret = account.signature_secret.get_secret_value()
        callbacks = OddCallbacks(random, secret, account.voice_api_key, account.application_id or "", typed, sessions)
        pages = OddPages(random, self._links, self._actions)
        with Wire(self._port) as wire:
            for _ in range(count):
                if time.monotonic() > until:
                    return
                maker = pages if random.random() < 0.25 else callbacks
                shot = maker.shot()
                reply = wire.send(shot)
                self._count(shot, reply)
                if isinstance(maker, OddPages):
                    maker.learn(shot, reply)

    def _count(self, shot: Shot, reply: Reply) -> None:
        faults = list(self._judge(shot, reply))
        with self._lock:
            self.tally.statuses[reply.status] += 1
            self.tally.kinds[shot.kind] += 1
            room = SHOWN_FAULTS - len(self.tally.faults)
            self.tally.faults += [f"{fault}: {reply.status} {reply.body[:200]!r} to {shot}" for fault in faults][:room]

    def _judge(self, shot: Shot, reply: Reply) -> Iterable[str]:
        """What is wrong with an answer."""
        if not 200 <= reply.status < 500:
            yield "no answer, or a failure of ours"
            return
        if reply.status < 400 and not shot.allowed and shot.target.partition("?")[0] in (*ANSWERED, "/voice-events"):
            yield "a forged request was believed"
        if shot.method in {"HEAD", "CONNECT"} or reply.kind == self._by_design(shot):
            return
        try:
            value = json.loads(reply.body)
        except ValueError:
            value = None
        if reply.kind != "application/json" or not isinstance(value, dict | list):
            yield f"{reply.kind}, where JSON is promised"
        elif isinstance(value, list):
            self.tally.documents += 1
            yield from document_faults(value, self._secrets)

    def _by_design(self, shot: Shot) -> str:
        path = shot.target.partition("?")[0]
        return BY_DESIGN.get(shot.kind) or BY_DESIGN.get(path) or ("text/html" if path.startswith("/room/") else "")


def document_faults(document: list[Any], secrets: Iterable[str] = ()) -> Iterable[str]:
    """What is wrong with a call document, by the sandbox's reading of the reference and by Vonage's own models."""
    try:
        strict.parse(document)
        _ACTIONS.validate_python(document)
    except ValueError as error:
        yield f"a call document that is none ({error})"
    text = json.dumps(document)
    if any(secret in text for secret in secrets):
        yield "a PIN in a call document"


def actions_of_pages() -> list[tuple[str, str]]:
    """All that a room's page can ask, as the app's own routes tell."""
    from flask import Flask

    from sipkit.room_page import blueprint

    app = Flask("routes", static_folder=None)
    app.register_blueprint(blueprint)
    beginning = "/room/<name>/"
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(beginning)]
    return [
        (method, rule.rule.removeprefix("/room/<name>"))
        for rule in rules
        for method in {"GET", "POST"} & (rule.methods or set())
    ]
