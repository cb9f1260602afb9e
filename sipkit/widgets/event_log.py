"""The event log: what happened, in words and in order, as it happens."""

import threading
from time import monotonic
from typing import Final

from anywidget import AnyWidget
from traitlets import Dict, List, Unicode

from sipkit.errors import WaitTimeout
from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.timeline import Event
from sipkit.widgets.face import script, style
from sipkit.widgets.refresh import Refresher

KEPT: Final = 200
"""Lines kept in the browser; the store keeps them all."""


class EventLog(AnyWidget):
    """The timeline of a room, or of everything, read out politely by screen readers.

    Args:
        board: The switchboard whose timeline it is.
        room: The room, its name, or None for everything.
        since: Show what came after the event with this id.

    Attributes:
        entries: The newest `KEPT` lines, each with `at`, `kind` and `text`.
    """

    _esm = script("event_log")
    _css = style("event_log")
    title = Unicode().tag(sync=True)
    error = Unicode().tag(sync=True)
    entries = List(Dict()).tag(sync=True)
    _refresher: Refresher | None = None

    def __init__(self, board: Switchboard, room: Room | str | None = None, since: int = 0) -> None:
        self._room = board.open_room(room) if isinstance(room, str) else room
        self._board = board
        self._last = since
        self._grew = threading.Condition()
        super().__init__(title=f"Events of room {self._room.name}" if self._room else "Events")
        self.refresh()
        self._refresher = Refresher(board, self.refresh, self._show, self._take_back)

    def refresh(self) -> None:
        """Append what happened since the last look; one update for a whole burst."""
        with self._grew:
            new = self._board.events(self._room, since=self._last)
            if not new:
                return
            self._last = new[-1].id
            # A new list, never a changed one: traitlets compares before it tells the page.
            self.entries = [*self.entries, *map(entry, new)][-KEPT:]
            self._grew.notify_all()

    def _show(self, error: Exception) -> None:
        self.error = str(error)

    def _take_back(self, _error: Exception) -> None:
        self.error = ""

    def wait_for(self, state: str, timeout: float = 15.0) -> str:
        """Wait until an event of the kind `state` is in the log; return its text.

        Args:
            state: A kind of event, such as `voice-answer`.
            timeout: Seconds to wait at most.

        Raises:
            WaitTimeout: No such event came in time.
        """
        deadline = monotonic() + timeout
        with self._grew:
            while True:
                for line in self.entries:
                    if line["kind"] == state:
                        return str(line["text"])
                if not self._grew.wait(max(deadline - monotonic(), 0)) and monotonic() >= deadline:
                    raise WaitTimeout(f"No event of kind {state!r} within {timeout:g} s.")

    def close(self) -> None:
        """Stop the thread and take the log off the page."""
        if self._refresher is not None:
            self._refresher.stop()
        super().close()

    def __repr__(self) -> str:
        return f"EventLog({self.title!r})"


def entry(event: Event) -> dict[str, str]:
    """One line of the log: the local time of day, the kind and the words."""
    return {"at": f"{event.at.astimezone():%H:%M:%S}", "kind": event.kind, "text": event.text}
