"""Odd requests at a real webhook server for as long as it takes: `python soak/fuzz.py [--count N] [--seconds S]`.

The requests are those of `tests/test_fuzz.py`. Between the rounds the store's clock goes on by a quarter of an hour, so
that limits and lock-outs end, PINs expire, and answers that nobody can ask for any more are swept. It ends with 1 if an
answer was not what is promised, or if the server's memory went on growing after the first half.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROUND = 2_000
CLOCK_SECONDS = 900.0
GROWTH_MEGABYTES = 20.0
"""Allowed in the second half; a leak of 200 bytes a request would show."""


def main() -> int:
    """Fire, and say what came back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000, help="requests (default: 200000)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so many seconds (default: an hour)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    home = tempfile.TemporaryDirectory(prefix="sipkit-soak-")
    os.environ |= {"SIPKIT_HOME": home.name, "SIPKIT_PROJECT_ROOT": home.name, "SIPKIT_MODE": "sandbox"}
    from sipkit.switchboard import Switchboard
    from tests.standins.fuzz import Fuzz

    print(f"seed {given.seed}", flush=True)
    with home, Switchboard.from_env() as board:
        board.start_webhook_server()
        fuzz = Fuzz(board, given.seed)
        tally, half, until = fuzz.tally, 0.0, time.monotonic() + given.seconds
        while tally.requests < given.count and time.monotonic() < until and not tally.faults:
            fuzz.fire(min(ROUND, given.count - tally.requests), seconds=until - time.monotonic())
            board._store.advance_clock(CLOCK_SECONDS)
            if tally.requests >= given.count / 2 and not half:
                half = tally.megabytes[1]
                fuzz.close_a_room()
            if tally.requests % (10 * ROUND) == 0:
                print(f"{tally.requests} requests, {tally.seconds:.0f} s, {tally.megabytes[1]:.0f} MB", flush=True)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    before, after = tally.megabytes
    print(f"{tally.requests} requests in {tally.seconds:.0f} s; {tally.documents} call documents judged")
    print(f"statuses {statuses}")
    print(f"server's memory {before:.0f} MB, half-way {half:.0f} MB, at the end {after:.0f} MB")
    print("\n".join(tally.faults) or "every answer was what is promised")
    return bool(tally.faults) or (half > 0 and after > half + GROWTH_MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
