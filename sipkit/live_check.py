"""One bounded call against whatever credentials are present: `make live-check`.

    doctor --> plan --> typed confirmation --> webhook server --> doctor again --> call --> hang up --> restore

Live it costs a few seconds of one call, so it asks first: the word must be typed, or LIVE_CHECK_YES=1 be set. Without
credentials it runs in the sandbox and asks nothing. No test target runs it against a real account.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from sipkit import doctor
from sipkit.cloud import cloud_for
from sipkit.doctor.plan import plan
from sipkit.errors import SipkitError
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard

ROOM: Final = "live check"
WORD: Final = "call"
"""What must be typed to place a billed call."""

ANSWER_WITHIN: Final = 30.0
"""Seconds for the phone side to answer; then the call is hung up, answered or not."""

END_WITHIN: Final = 20.0
"""Seconds for the platform to say that the call has ended."""


def main(ask: Callable[[str], str] = input) -> int:
    """Do the whole check.

    Args:
        ask: Asks the person at the terminal, and returns what was typed.

    Returns:
        0 if the call came up and ended; 1 if something is wrong; 2 if it was not confirmed.
    """
    report = doctor.examine_env()
    print(report.text())
    if not report.healthy:
        print("✘ no call is placed before these are mended")
        return 1
    settings = Settings.load()
    try:
        if not _confirmed(settings, ask):
            print("Nothing was placed, and nothing was changed.")
            return 2
        return _call(settings)
    except SipkitError as error:
        print(f"✘ {error}")
        return 1


def _confirmed(settings: Settings, ask: Callable[[str], str]) -> bool:
    """Show the plan; whether the person, or LIVE_CHECK_YES, agrees to it."""
    cloud = cloud_for(settings)
    try:
        print(plan(settings, cloud.account()))
    finally:
        cloud.close()
    if settings.mode == "sandbox" or os.environ.get("LIVE_CHECK_YES") == "1":
        return True
    try:
        typed = ask(f"This places a real, billed call. Type {WORD} to place it: ")
    except EOFError:
        return False
    return typed.strip().lower() == WORD


def _call(settings: Settings) -> int:
    """Place the call, see it answered, hang it up and see it end; whatever happens, hang up and put back."""
    with Switchboard.from_env() as board, ExitStack() as last:
        server = board.start_webhook_server()
        if not server.adopted:  # else it is a notebook's, which needs its webhooks; the last board to close restores
            last.callback(_restore, board)
        print(f"✔ the webhook server answers, and the way here is proven (pid {server.pid})")
        report = _examined(settings)
        if not report.healthy:
            print("\n".join(line for each in report.findings if each.state == "failure" for line in each.lines()))
            return 1
        room = board.open_room(ROOM)
        last.callback(board.close_room, room)
        began = time.monotonic()
        last.callback(board.hang_up, room)
        board.dial_out(room)
        board.wait_for_bridge(room, "answered", timeout=ANSWER_WITHIN)
        print(f"✔ the call was answered after {time.monotonic() - began:.1f} s")
        board.hang_up(room)
        board.wait_for_bridge(room, "ended", timeout=END_WITHIN)
        print(f"✔ the call has ended, {time.monotonic() - began:.1f} s after it was dialled")
    return 0


def _examined(settings: Settings) -> doctor.Report:
    cloud = cloud_for(settings)
    try:
        return doctor.examine(settings, cloud.account())
    finally:
        cloud.close()


def _restore(board: Switchboard) -> None:
    if board.restore_application():
        print("✔ the voice application has its former webhooks again")


if __name__ == "__main__":
    sys.exit(main())
