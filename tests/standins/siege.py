"""A store under siege: processes write to it and are killed, and what was acknowledged to them must be there."""

import math
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Executable, func, select, text

from sipkit.errors import StoreError
from sipkit.store import Store
from sipkit.store.replay_book import KEPT_SECONDS
from sipkit.store.schema import READ, bridges, charges, lockouts, pins, replays, rooms
from tests.standins.lab import wait_for
from tests.standins.victim import ENVIRONMENT

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 300.0  # seconds for some acknowledgements, on a busy machine

Ack = tuple[str, ...]
T = TypeVar("T")


class Victim:
    """A process that writes, and what was acknowledged to it.

    Attributes:
        acks: What it said so far.
    """

    def __init__(self, url: str, name: str) -> None:
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.standins.victim", url, name]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environ)
        self.acks: list[Ack] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # a line that was cut off told nobody anything
                self.acks.append(tuple(line.rstrip("\n").split("\t")))

    @property
    def lives(self) -> bool:
        """Whether it works."""
        return self._process.poll() is None

    def kill(self) -> list[Ack]:
        """End it by kill -9, and return all that was acknowledged to it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self.acks


class Siege:
    """Victims at one store.

    Attributes:
        url: The store's.
        acks: How many of each kind were acknowledged and found again.
        kills: How many victims were killed.
        victims: Those who live.
    """

    def __init__(self, url: str, name: str = "siege", seed: int = 0) -> None:
        self.url = url
        self.acks: Counter[str] = Counter()
        self.kills = 0
        self._name = name
        self._random = random.Random(seed)
        self._store = Store.open(url, ENVIRONMENT)
        self.victims: list[Victim] = []
        self._told: list[Ack] = []
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.victims:
            each.kill()
        self._store.close()

    def send(self, victims: int) -> None:
        """Let so many victims more work."""
        for _ in range(victims):
            self.victims.append(Victim(self.url, f"{self._name} {self._started}"))
            self._started += 1

    def wait(self, acks: int) -> None:
        """Wait until so many more were acknowledged to all victims together."""
        goal = acks + sum(len(each.acks) for each in self.victims)

        def reached() -> bool:
            assert all(each.lives for each in self.victims), "a victim ended by itself"
            return sum(len(each.acks) for each in self.victims) >= goal

        wait_for(reached, PATIENCE, "acknowledgements")

    def kill_one(self) -> None:
        """End one victim, whichever is at work, and look for all that was acknowledged to it."""
        victim = self._random.choice([each for each in self.victims if each.acks])
        self.victims.remove(victim)
        told = victim.kill()
        self.kills += 1
        self.check(told)
        self.acks.update(ack[0] for ack in told)
        self._told += told

    def check(self, told: list[Ack]) -> None:
        """Look for all of it in the store.

        Raises:
            AssertionError: Something that was acknowledged is not there.
        """
        kept = self._read(self._kept)
        wrongs = self._read(self._wrongs)
        lapsed = self._store.time() - KEPT_SECONDS
        for ack in told:
            match ack:
                case ("wrong", number, tries):
                    there = wrongs.get(self._store._caller_key(number), 0) >= int(tries)
                case ("replay", *rest, at):
                    there = ("replay", *rest) in kept or float(at) < lapsed  # nobody asks for it any more
                case _:
                    there = ack in kept
            assert there, f"was acknowledged and is not there: {ack}"

    def check_all(self) -> None:
        """Look once more for all that was acknowledged to those who are dead."""
        self.check(self._told)

    def check_whole(self) -> None:
        """See that nothing is half-written: what belongs together is there together.

        Raises:
            AssertionError: It is not.
        """
        open_pin = (pins.c.room_id == rooms.c.id) & pins.c.open_pin.is_not(None)
        counted = select(func.count(pins.c.id)).where(open_pin)
        of_room, of_any = counted.where(pins.c.kind == "room").scalar_subquery(), counted.scalar_subquery()
        halves = {
            "an open room without its PIN": select(rooms.c.id).where(rooms.c.open_name.is_not(None), of_room != 1),
            "a closed room's PIN lets in": select(rooms.c.id).where(rooms.c.open_name.is_(None), of_any != 0),
            "a request without its answer": select(replays.c.jti).where(replays.c.status.is_(None)),
            "an ended bridge in a living one's place": select(bridges.c.id).where(
                bridges.c.ended_at.is_not(None), bridges.c.living_room_id.is_not(None)
            ),
            "an ended bridge that is charged for": select(charges.c.id)
            .join(bridges, charges.c.leg == bridges.c.leg_uuid)
            .where(charges.c.ended_at.is_(None), bridges.c.ended_at.is_not(None)),
        }
        for what, query in halves.items():
            found = self._rows(query)
            assert not found, what

    def check_file(self) -> None:
        """Let SQLite look at its own file.

        Raises:
            AssertionError: It found something.
        """
        for check, clean in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            found = self._rows(text(f"PRAGMA {check}"))
            assert found == clean

    def _read(self, work: Callable[[Connection], T]) -> T:
        """Read, once the database is there (again)."""

        def answer() -> list[T]:
            try:
                return [self._store.run(READ, work)]
            except StoreError:
                return []

        return wait_for(answer, PATIENCE, "the database")[0]

    def _rows(self, query: Executable) -> list[Any]:
        return self._read(lambda conn: list(conn.execute(query)))

    @staticmethod
    def _kept(conn: Connection) -> set[Ack]:
        """All that can have been acknowledged, as a victim says it."""
        found: list[tuple[Any, ...]] = []
        room_pins = select(rooms.c.name, rooms.c.session_id, pins.c.pin).join(pins, pins.c.room_id == rooms.c.id)
        found += [("room", *row) for row in conn.execute(room_pins.where(pins.c.kind == "room"))]
        own = select(pins.c.pin, pins.c.room_id).where(pins.c.kind == "personal")
        found += [("pin", *row) for row in conn.execute(own)]
        for bridge in conn.execute(select(bridges)):
            found += [("bridge", bridge.id, bridge.nonce), ("leg", bridge.id, bridge.leg_uuid)]
        found += [("replay", row.jti, row.hash, row.body) for row in conn.execute(select(replays))]
        over = select(rooms.c.id, pins.c.pin, bridges.c.id).join(pins, pins.c.room_id == rooms.c.id)
        over = over.join(bridges, bridges.c.room_id == rooms.c.id).where(pins.c.kind == "personal")
        over = over.where(rooms.c.closed_at.is_not(None), pins.c.void_at.is_not(None), bridges.c.ended_at.is_not(None))
        found += [("closed", *row) for row in conn.execute(over)]
        return {tuple(map(str, each)) for each in found}

    @staticmethod
    def _wrongs(conn: Connection) -> dict[str, int]:
        """How many wrong PINs of each caller are on record: a pause stands for three."""
        return {row.key: 3 * row.pauses + math.ceil(row.level) for row in conn.execute(select(lockouts))}
