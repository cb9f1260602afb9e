"""`make soak`, first part: what was acknowledged is there, whoever is killed by kill -9, in both kinds of store.

Six processes write rooms, PINs, bridges, wrong PINs and answers without pause. One after the other is killed and
replaced; of PostgreSQL, now and then, also a process that serves one of them (which makes the whole server recover), or
the whole server. Each acknowledgement is looked for after its process's death, and again at the end.

    python soak/kills.py [--kills 100] [--acks 50000] [--store sqlite | postgresql] [--seed N]
"""

import argparse
import contextlib
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.standins.postgres import Postgres, programs
from tests.standins.siege import Siege

VICTIMS = 6
BACKEND_EVERY, SERVER_EVERY = 8, 20
"""Kills of processes between two of one of PostgreSQL's own, and of its whole server."""


@contextlib.contextmanager
def stores(kind: str) -> Iterator[tuple[str, Postgres | None]]:
    """A new store of a kind: its URL, and its server if it has one."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="sipkit-soak-") as folder:
            yield f"sqlite:///{folder}/sipkit.db", None
        return
    found = programs()
    if found is None:
        sys.exit("initdb is not installed (Debian package: postgresql).")
    server = Postgres(found, durable=True)
    try:
        server.start()
        with server.database() as url:
            yield url, server
    finally:
        server.remove()


def besiege(kind: str, kills: int, acks: int, seed: int) -> None:
    """Let the processes work and die until there were so many kills and acknowledgements; print what there was."""
    dice = random.Random(seed)
    began = time.monotonic()
    backends = servers = 0
    with stores(kind) as (url, server), Siege(url, kind, seed) as siege:
        siege.send(VICTIMS)
        while siege.kills < kills or siege.acks.total() < acks:
            siege.wait(1 + dice.randrange(2 * acks // kills))
            if server is not None and siege.kills % BACKEND_EVERY == BACKEND_EVERY - 1:
                server.kill_backend(dice)
                backends += 1
            if server is not None and siege.kills % SERVER_EVERY == SERVER_EVERY - 1:
                server.kill()
                server.start()
                servers += 1
            siege.kill_one()
            siege.send(1)
            if siege.kills % 20 == 0:
                siege.check_whole()
                print(f"  {siege.kills} kills, {siege.acks.total()} acknowledgements, none lost", flush=True)
        while any(each.acks for each in siege.victims):
            siege.kill_one()
        siege.check_all()
        siege.check_whole()
        if server is None:
            siege.check_file()
        else:
            server.check(url)
        kinds = ", ".join(f"{count} {what}" for what, count in sorted(siege.acks.items()))
        of_server = f", {backends} of the server's connections, {servers} whole servers" if server else ""
        print(f"{kind}: {siege.kills} processes killed{of_server}; {siege.acks.total()} acknowledgements ({kinds});")
        print(f"  0 lost, nothing half-written, integrity check clean; {time.monotonic() - began:.0f} s")


def main() -> None:
    """Besiege each kind of store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="in each kind of store")
    parser.add_argument("--acks", type=int, default=50_000, help="in each kind of store")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], help="only this kind")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    for kind in [chosen.store] if chosen.store else ["sqlite", "postgresql"]:
        besiege(kind, chosen.kills, chosen.acks, chosen.seed)


if __name__ == "__main__":
    main()
