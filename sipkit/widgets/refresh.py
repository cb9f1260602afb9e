"""A quiet thread that keeps a panel true.

It only ever calls one function that sets traits: printing or displaying from a thread ends up in whichever cell
happens to run (or in none), and differs between versions of the kernel.
"""

import threading
from collections.abc import Callable
from typing import Final

from sipkit.switchboard import Switchboard

PERIOD: Final = 0.25
"""Seconds between two looks at the store: often enough for an eye, rare enough for a laptop."""
LONGEST_PERIOD: Final = 4.0
"""Seconds between two looks while they keep failing, as when the sandbox is away."""

_living: set["Refresher"] = set()


class Refresher:
    """Calls `refresh` every `PERIOD` seconds on a daemon thread until `stop`.

    Args:
        board: Whose state is looked at; see `stop_all`.
        refresh: Reads the truth and sets traits.
        failed: Told once about each new problem `refresh` runs into. The thread goes on, ever more slowly, as a
            later look may work; once the board is closed none will, and the thread ends.
        mended: Told of the last such problem when a later look works.
    """

    def __init__(
        self,
        board: Switchboard,
        refresh: Callable[[], None],
        failed: Callable[[Exception], None],
        mended: Callable[[Exception], None],
    ) -> None:
        self.board = board
        self._refresh = refresh
        self._failed = failed
        self._mended = mended
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sipkit-panel", daemon=True)
        _living.add(self)
        self._thread.start()

    def _run(self) -> None:
        told: Exception | None = None
        period = PERIOD
        while not self._stop.wait(period):
            try:
                self._refresh()
                if told is not None:
                    self._mended(told)
                told, period = None, PERIOD
            except Exception as error:  # noqa: BLE001 - a thread's exception would be seen by nobody
                period = min(2 * period, LONGEST_PERIOD)
                if str(error) != str(told) and not self._stop.is_set():
                    told = error
                    self._failed(error)
                if self.board.closed:
                    break

    @property
    def alive(self) -> bool:
        """Whether the thread still looks."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread and wait for it. Safe to call twice, and from the thread itself."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
        _living.discard(self)


def stop_all(board: Switchboard) -> None:
    """End every thread that looks at `board`: to be called before it is closed, so that no panel shows an error."""
    for refresher in [each for each in _living if each.board is board]:
        refresher.stop()
