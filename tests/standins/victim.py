"""A process that writes to a store without pause and says what was acknowledged to it, until it is killed.

    python -m tests.standins.victim URL NAME

One line for each acknowledgement, after the store's method has returned: what it was, and what must be found from then
on whoever is killed (`siege`). What a dying database refuses is not acknowledged, and the next thing is tried.
"""

import itertools
import sys
import time
from collections.abc import Iterator

from sipkit.errors import StoreError
from sipkit.replays import Answer
from sipkit.store import Store

ENVIRONMENT = "sandbox:siege"
BREATH = 0.05  # seconds, while the database is away


def number_of(name: str) -> str:
    """A telephone number that stands for a victim's piece of work of this name."""
    return f"1202{abs(int.from_bytes(name.encode(), 'big')) % 10**9:09}"


def deeds(store: Store, name: str) -> Iterator[tuple[object, ...]]:
    """Do one of each kind, and yield each once it is done."""
    room = store.open_room(name, lambda: f"SESSION {name}")
    yield "room", name, room.session_id, room.pin
    pin = store.make_pin(room, "personal", "Ada")
    yield "pin", pin.digits, room.id
    bridge, _ = store.claim_bridge(room, name)
    yield "bridge", bridge.id, bridge.nonce
    store.bridge_answered(room.session_id, f"leg {name}", bridge.nonce)
    yield "leg", bridge.id, f"leg {name}"
    for tries in (1, 2, 3):
        store.wrong_pin(number_of(name), None)
        yield "wrong", number_of(name), tries
    for tries in (1, 2, 3):
        answer = store.answered(f"{name} {tries}", name, lambda: Answer(200, str(store.wrong_try(f"leg {name}"))))
        assert answer is not None
        assert answer.body == str(tries), f"try {tries} was counted as {answer.body}"
        yield "replay", f"{name} {tries}", name, answer.body, store.time_about()
    store.end_bridge(bridge.id, "hung up")
    store.close_room(name)
    yield "closed", room.id, pin.digits, bridge.id


def main() -> None:
    """Work until killed."""
    url, name = sys.argv[1:]
    store: Store | None = None
    for number in itertools.count():
        try:
            store = store or Store.open(url, ENVIRONMENT, 10)
            for done in deeds(store, f"{name}.{number}"):
                sys.stdout.write("\t".join(map(str, done)) + "\n")
                sys.stdout.flush()
        except StoreError:
            time.sleep(BREATH)


if __name__ == "__main__":
    main()
