"""News that the store could not take when they came: this process keeps them until it can.

What a call costs, and who is still in it, depends on them, and whether the platform repeats an event that failed is
documented nowhere. They are lost only if the process ends before; then the guard finds out what became of each leg
(`sipkit.stocktaking`).
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from sipkit.errors import SipkitError, StoreError

MOST: Final = 1000
"""Pieces of news that are kept; further ones are lost."""

AGAIN: Final = 1.0
"""Seconds between two tries."""

TOO_LATE: Final = 300.0
"""Seconds after which nothing is tried any more, as its token would be too old."""

log = logging.getLogger("sipkit.webhooks")


class LateNews:
    """Keeps what has to be noted later, in its order. Its thread ends when there is nothing left."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Callable[[], object]]] = {}
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep(self, jti: str, note: Callable[[], object]) -> None:
        """Call `note` again and again until it raises no `StoreError` any more; returns at once.

        Args:
            jti: The id of the request that brought the news; one that is sent again is kept once.
            note: Notes them.
        """
        with self._turn:
            if jti in self._kept:
                return
            if len(self._kept) >= MOST:
                log.error("news of a leg are lost: there are %s that the store could not take", MOST)
                return
            self._kept[jti] = (time.monotonic(), note)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="late news", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            time.sleep(AGAIN)
            for jti, (since, note) in self._all():
                if not self._noted(since, note):
                    break
                del self._kept[jti]
            with self._turn:
                if not self._kept:
                    self._thread = None
                    return

    def _all(self) -> list[tuple[str, tuple[float, Callable[[], object]]]]:
        with self._turn:
            return list(self._kept.items())

    def _noted(self, since: float, note: Callable[[], object]) -> bool:
        """Try once; false if it is to be tried again."""
        try:
            note()
        except StoreError as error:
            if time.monotonic() - since < TOO_LATE:
                return False
            log.error("news of a leg are lost: %s", error.message)  # noqa: TRY400 - its stack tells nothing more
        except SipkitError as error:  # the guard may have been quicker, or the token is too old
            log.warning("news of a leg were not noted: %s", error.message)
        except Exception as error:  # noqa: BLE001 - one piece of news that fails must not cost the next ones
            log.error("news of a leg could not be noted: %s", type(error).__name__)  # noqa: TRY400 - as above
        return True
