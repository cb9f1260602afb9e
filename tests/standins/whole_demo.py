"""A whole demonstration in a process of its own, as a reader runs one: `python -m tests.standins.whole_demo FOLDER`.

It says and shows all that a notebook may show, and leaves in FOLDER the sandbox's trace, and what nothing of all that
may tell: PINs, numbers, tokens, passwords. The data folder is that of the environment.
"""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sipkit.errors import SipkitError
from sipkit.invitations import Invitation
from sipkit.rooms import Room
from sipkit.sandbox.launcher import SandboxInfo
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from sipkit.widgets import CallPanel, EventLog, HostPanel
from tests.standins.lab import Lab
from tests.standins.room_visitor import Visitor, through_http

LINES = {"wrong": "12025550161", "right": "12025550162", "own": "12025550163", "lobby": "12025550164"}
CALLED = "12025550165"
GUESSED = "98989898"
ANSWER = 20.0


class Demo:
    """The demonstration.

    Args:
        board: It is given from here.
    """

    def __init__(self, board: Switchboard) -> None:
        self.board = board
        self.secret: dict[str, str] = {f"number {who}": number for who, number in LINES.items()}
        self.secret |= {"number called": CALLED, "guessed": GUESSED}

    def run(self) -> None:
        """Everything."""
        board = self.board
        room, other = board.open_room("standup"), board.open_room("retro")
        board.start_webhook_server()
        panels: list[CallPanel | HostPanel | EventLog] = [
            CallPanel(board, room),
            HostPanel(board, room),
            EventLog(board),
        ]
        self.secret |= {"PIN": room.pin, "PIN of the other room": other.pin}
        self.secret["own PIN"] = board.personal_pin(room, "Ada").digits
        self.secret["host's PIN"] = board.host_pin(room).digits
        self._bridge_and_phones(room)
        self._lobby(other)
        self._called_phone(room)
        self._page(board.invite(room, "host"), board.invite(room, show_pin=True))
        self._errors(room)
        self.secret["new PIN"] = board.new_pin(room).digits
        print(*panels, board, room, board.rooms(), board.callers(room), board.pins(room), sep="\n")
        print(board._account(), Settings.load(), board.server, board.events(), sep="\n")
        board.hang_up_everything()
        for panel in panels:
            panel.close()

    def _bridge_and_phones(self, room: Room) -> None:
        board = self.board
        print(board.dial_out(room))
        board.wait_for_bridge(room, "answered", ANSWER)
        for who, typed in (("wrong", GUESSED), ("right", room.pin), ("own", self.secret["own PIN"])):
            phone = board.phone(from_=LINES[who])
            phone.wait_for("answered")
            phone.wait_until_heard(lambda heard: heard.level_dbfs > -60)
            phone.keys(f"{typed}#")
            print(phone)
        board.wait_for_callers(room, 2, ANSWER)
        self._until(lambda: "no room's PIN" in str(board.events()), "the wrong PIN")
        phone.keys("*6")
        for caller in board.callers(room):
            print(caller, board.rename(caller, "Grace"), board.mute(caller))

    def _lobby(self, room: Room) -> None:
        board = self.board
        board.use_lobby(room)
        phone = board.phone(from_=LINES["lobby"])
        phone.wait_for("answered")
        phone.keys(f"{room.pin}#")
        waiting = board.wait_for(lambda: board.lobby(room), ANSWER, "somebody in the lobby")
        print(waiting, board.admit(waiting[0]))

    def _called_phone(self, room: Room) -> None:
        lab = Lab(self._sandbox())
        lab.expect(CALLED)
        print(self.board.call(room, f"+{CALLED}", confirm=lambda _: True))
        self._until(lambda: "called phone •••0165: answered" in str(self.board.events()), "the called phone")
        lab.close()

    def _page(self, *invitations: Invitation) -> None:
        logging.getLogger("urllib3").setLevel(logging.INFO)  # from here on it would be the browser's own log
        for invitation in invitations:
            print(invitation)
            base = "{0.scheme}://{0.netloc}".format(urlsplit(invitation.local_url))
            visitor = Visitor(through_http(base), invitation.local_url)
            token = visitor.post("token", {"name": "Ada"}).json["token"]
            who = visitor.config["role"]
            self.secret |= {f"{who}'s token": token, f"{who}'s visit": visitor.visit}
            self.secret[f"{who}'s link"] = invitation.url.rpartition("=")[2]

    def _errors(self, room: Room) -> None:
        board, numbers = self.board, ("911", f"+{LINES['wrong']}9999999", "no number")
        wrong: list[Callable[[], Any]] = [
            *(lambda number=number: board.call(room, number) for number in numbers),
            lambda: board.call("nowhere", CALLED),
            lambda: board.room(self.secret["PIN"] * 20),
            lambda: board.token(room, "emperor"),
            lambda: board.personal_pin(room, ""),
            lambda: board.wait_for_callers(room, 99, 0.1),
            lambda: Settings.load(pin_length=3, voice_api_secret=self.secret["SIP password"]),
            lambda: board.phone().keys(self.secret["PIN"]),
        ]
        for each in wrong:
            try:
                print(each())
            except (SipkitError, ValueError) as error:
                logging.getLogger("demo").exception("as provoked")
                print(repr(error), error)

    def credentials(self) -> None:
        """Count the account's secrets among what must not be told."""
        account = self.board._account()
        for name in ("video_api_secret", "voice_api_secret", "signature_secret"):
            self.secret[name] = getattr(account, name).get_secret_value()
        self.secret["SIP password"] = account.voice_api_secret.get_secret_value()

    def _sandbox(self) -> SandboxInfo:
        return self.board._sandbox()

    def _until(self, look: Callable[[], bool], what: str) -> None:
        self.board.wait_for(look, ANSWER, what)


def main() -> None:
    """Give the demonstration."""
    logging.basicConfig(level=logging.DEBUG)
    with Switchboard.from_env() as board:
        demo = Demo(board)
        demo.credentials()
        demo.run()
        folder = Path(sys.argv[1])
        (folder / "trace").write_text("\n".join(map(json.dumps, board.trace().events())))
        (folder / "secrets").write_text(json.dumps(demo.secret))


if __name__ == "__main__":
    main()
