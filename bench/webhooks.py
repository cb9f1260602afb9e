"""Webhooks by the ten thousand, sent to the real app: are all genuine ones accepted, and all false ones refused?"""

import secrets
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from measuring import Row

COUNT = 10_000
SECRET = secrets.token_hex(16)


def webhooks() -> Iterable[Row]:
    """Forged, stale, altered, misdirected, incomplete and replayed requests, and as many that the platform signed."""
    sys.path.append(str(Path(__file__).parent.parent))
    from tests.standins.forger import Forger, accepted, app_of_an_account, refused

    with tempfile.TemporaryDirectory(prefix="sipkit-bench-", ignore_cleanup_errors=True) as folder:
        app = app_of_an_account(Path(folder), SECRET)
        good, sent = refused(app, Forger(SECRET, "KEY", "APP", seed=1), COUNT)
        begin = time.perf_counter()
        taken = accepted(app, Forger(SECRET, "KEY", "APP", seed=2), COUNT)
        took = (time.perf_counter() - begin) * 1000 / COUNT
    for kind in sorted(sent):
        yield Row(f"{kind} webhooks that got through, of {sent[kind]}", sent[kind] - good[kind], "", 0)
    yield Row(f"false webhooks that got through, of {sent.total()}", sent.total() - good.total(), "", 0)
    yield Row(f"genuine webhooks that were refused, of {COUNT}", COUNT - taken, "", 0)
    yield Row("a webhook answered, its answer kept, mean", took, "ms")
