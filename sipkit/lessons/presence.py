"""Who is in a room just now, for a lesson whose best part needs a learner with a browser and a microphone.

Nobody has to have one: what is not there yet is no error but a line that says what to do, and a lesson that runs
without anybody watching says the same every time.
"""

from typing import Final

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard

IN_USE: Final = frozenset({"talking", "listening"})
NO_BROWSER: Final = "○ not yet: open the room, join it, and run this cell again"
NO_RECEIVER: Final = "○ not yet: tick the phone's box while it is in a call, and run this cell again"
NOT_TOLD: Final = "○ the platform does not tell who has a browser; look at the room's page"


def tell(board: Switchboard, room: Room, receiver: str) -> list[str]:
    """Say who is there, one thing a line.

    Args:
        board: The switchboard.
        room: The room.
        receiver: The state of the phone panel's receiver.
    """
    bridge = board.bridge(room)
    up = bridge is not None and bridge.state == "answered"
    phones = sum(caller.state == "joined" for caller in board.callers(room))
    return [
        "✔ the bridge is up" if up else "○ not yet: dial out",
        f"✔ phones behind it: {phones}" if phones else "○ not yet: call, and key the PIN",
        _browsers(board, room),
        "✔ you hold the phone's receiver" if receiver in IN_USE else NO_RECEIVER,
    ]


def _browsers(board: Switchboard, room: Room) -> str:
    if board.mode != "sandbox":
        return NOT_TOLD
    connections = board.trace().ledger()["connections"]
    count = sum(each["sessionId"] == room.session_id and each["kind"] == "browser" for each in connections)
    return f"✔ browsers in the room: {count}" if count else NO_BROWSER
