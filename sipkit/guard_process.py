"""The guard: a small process that watches while a call is up, should kernel and webhook server both be killed.

`python -m sipkit.guard_process` is started with each dial, detached, one for a data folder (`guard.lock`). It lives as
long as a bridge of the store does, and leaves `IDLE_ROUNDS` rounds after the last one.
"""

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sipkit.settings import Settings

IDLE_ROUNDS: Final = 2

LOCK: Final = "guard.lock"


def start(settings: "Settings") -> None:
    """Start the guard of a data folder, unless it is there, or GUARD_PROCESS says no."""
    from sipkit.processes import FileLock

    if not settings.guard_process:
        return
    lock = FileLock(settings.home / LOCK)
    if not lock.acquire():
        return
    lock.release()
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    nowhere = subprocess.DEVNULL
    subprocess.Popen(
        [sys.executable, "-m", "sipkit.guard_process"],
        env=settings.child_environ(),
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        cwd=settings.home,
        **apart,
    )


def main() -> int:
    """Watch until no bridge lives; return 0 at once if another guard does."""
    from sipkit.cloud import cloud_for
    from sipkit.processes import FileLock
    from sipkit.settings import Settings
    from sipkit.store import Store
    from sipkit.watch import Watch

    settings = Settings.load()
    lock = FileLock(settings.home / LOCK)
    if not lock.acquire():
        return 0
    try:
        cloud = cloud_for(settings, hold=False)
        environment = cloud.account().environment
        store = Store.open(settings.store_url, environment, settings.pin_length, settings.pin_hours)
        Watch(settings, store, cloud.account, f"guard {os.getpid()}").go_on(IDLE_ROUNDS)
    finally:
        lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
