"""Is the platform there? Looked for as long as somebody wants to know, once for all panels of a board.

A panel shows what the store says, and the store goes on saying "connected" when the sandbox has died or the network is
gone. So a thread asks the platform something small every `EVERY` seconds. It ends when nobody has wanted to know for
`WANTED_FOR` seconds, for an open notebook that shows no panel has no need to ask.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from sipkit.errors import PlatformUnreachable, SipkitError

EVERY: Final = 2.0
"""Seconds between an answer and the next question."""

SILENCE: Final = 2.0
"""Seconds without an answer after which the platform is said to be silent; with `EVERY` that is below five."""

WANTED_FOR: Final = 5.0

_SILENT: Final = str(PlatformUnreachable("The platform does not answer. What is shown may be over by now."))


class Health:
    """Looks after the platform.

    Args:
        look: Asks the platform; raises what is wrong with it.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted_at = 0.0
        self._asked_at: float | None = None
        self._problem = ""

    def trouble(self) -> str:
        """Return what was wrong with the platform at the last look, and how to mend it; empty if nothing.

        Never waits. The first call begins to look.
        """
        with self._turn:
            self._wanted_at = time.monotonic()
            if self._thread is None:
                self._problem = ""
                self._thread = threading.Thread(target=self._run, name="health", daemon=True)
                self._thread.start()
        asked_at = self._asked_at
        silent = asked_at is not None and time.monotonic() - asked_at > SILENCE
        return self._problem or (_SILENT if silent else "")

    def _run(self) -> None:
        while self._wanted():
            self._asked_at = time.monotonic()
            try:
                self._look()
                self._problem = ""
            except SipkitError as error:
                self._problem = str(error)
            finally:
                self._asked_at = None
            time.sleep(EVERY)

    def _wanted(self) -> bool:
        with self._turn:
            wanted = time.monotonic() - self._wanted_at < WANTED_FOR
            if not wanted:
                self._thread = None
            return wanted
