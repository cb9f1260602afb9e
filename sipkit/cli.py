"""The `sipkit` command: `demo`, `doctor`, `pins`, `costs`, `sandbox serve|call ...`, `server`, `invite ROOM`.

Each sub-command imports what it needs when it is chosen, so that `sipkit --help` answers at once. The sandbox
is a program of its own (the kit meets it only over HTTP and SIP), so `sipkit sandbox` runs it as one.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.settings import Settings
    from sipkit.store import Store


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return the exit status.

    Args:
        argv: the words after `sipkit`; those of this process if not given.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command != "sandbox":
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if arguments.command == "demo":
        return _demo()
    if arguments.command == "doctor":
        return _doctor(as_json=arguments.json)
    if arguments.command == "pins":
        return _pins(arguments.rooms, arguments.lines)
    if arguments.command == "costs":
        return _costs(arguments.room, as_csv=arguments.csv)
    if arguments.command == "server":
        return _server(arguments.port)
    if arguments.command == "invite":
        return _invite(arguments.room, "host" if arguments.host else "guest", arguments.hours, arguments.url)
    return _sandbox([*arguments.words, *rest])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sipkit", description="Let people join a video session by phone.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="the whole call without a browser, each step proven")
    doctor = commands.add_parser("doctor", help="what is missing for a call, and how it is mended; 1 if something is")
    doctor.add_argument("--json", action="store_true", help="for programs: mode, healthy, seconds, findings")
    pins = commands.add_parser("pins", help="how long PINs withstand guessing, by their length")
    pins.add_argument("--rooms", type=int, default=10, help="open rooms, any of which may be hit (default: 10)")
    pins.add_argument("--lines", type=int, default=30, help="calls the guesser keeps up at once (default: 30)")
    costs = commands.add_parser("costs", help="what calls have cost, leg by leg")
    costs.add_argument("room", nargs="?", help="the name of an open room (default: all rooms, closed ones too)")
    costs.add_argument("--csv", action="store_true", help="for spreadsheets (RFC 4180)")
    server = commands.add_parser("server", help="the webhook server, until Ctrl+C")
    server.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    invite = commands.add_parser("invite", help="print a link into an open room's page; who has it is let in")
    invite.add_argument("room", help="the room's name")
    invite.add_argument("--host", action="store_true", help="a host may dial out and hang up, and sees the PIN")
    invite.add_argument("--hours", type=float, default=24.0, help="how long it lets in (default: 24)")
    invite.add_argument("--url", help="the server's address, if it was started by hand: http://127.0.0.1:PORT")
    sandbox = commands.add_parser("sandbox", add_help=False, help="the stand-in for Vonage: serve or call")
    sandbox.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def _demo() -> int:
    from sipkit import demo

    return demo.main()


def _doctor(*, as_json: bool) -> int:
    """Print what the doctor finds; 1 if anything failed."""
    import json

    from sipkit.doctor import examine_env

    report = examine_env()
    print(json.dumps(report.as_json(), indent=2) if as_json else report.text())
    return report.exit_code


def _pins(rooms: int, lines: int) -> int:
    """Print the arithmetic of guessing as a table in Markdown."""
    from sipkit import guessing

    if min(rooms, lines) < 1:
        print("There must be at least one room and one line.", file=sys.stderr)
        return 1
    rows = guessing.table(rooms, lines)
    print(f"Time until a 50 % chance to hit a PIN of one of {rooms} rooms, with {lines} lines:", end="\n\n")
    for cells in (list(rows[0]), ["---:"] * len(rows[0]), *(list(row.values()) for row in rows)):
        print(f"| {' | '.join(cells)} |")
    return 0


def _costs(name: str | None, *, as_csv: bool) -> int:
    """Print what a room, or all of them, have cost."""
    from sipkit import meter
    from sipkit.errors import RoomNotFound, SipkitError

    try:
        settings, _account, store = _project()
        room = None if name is None else store.room(name)
        if name is not None and room is None:
            raise RoomNotFound(f"There is no open room {name!r}.")
        costs = meter.read(store, settings, room)
    except SipkitError as error:
        print(error, file=sys.stderr)
        return 1
    print(costs.csv() if as_csv else costs.text(), end="" if as_csv else "\n")
    return 0


def _server(port: int) -> int:
    from sipkit.serving import run_by_hand

    return run_by_hand(port)


def _invite(name: str, role: str, hours: float, url: str | None) -> int:
    """Print a link into a room's page, by the address of the notebook's server unless another one is given."""
    from sipkit import invitations
    from sipkit.errors import RoomNotFound, ServerError, SipkitError
    from sipkit.server_state import ServerState

    try:
        settings, account, store = _project()
        room = store.room(name)
        if room is None:
            raise RoomNotFound(f"There is no open room {name!r}.")
        server = ServerState.read(settings.home / "server.json")
        if url is None and server is not None and server.healthy():
            url = store.fact("public_url")
        if url is None:
            raise ServerError(
                "No notebook's webhook server runs.", "Say --url with the address of the one you started."
            )
        # No board stands behind it: what it dials is its host's to hang up, and ends with the server at the latest.
        invited = invitations.grant(store, room, role, invitations.NO_BOARD, expires_in=hours * 3600)
        print(invitations.invite(store, room, invited, account.conference_number, url, url).url)
    except SipkitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _project() -> "tuple[Settings, Account, Store]":
    """Open what this folder's notebooks share.

    Raises:
        SipkitError: A setting is wrong, or the store cannot be opened.
    """
    from sipkit.cloud import cloud_for
    from sipkit.settings import Settings
    from sipkit.store import Store

    settings = Settings.load()
    account = cloud_for(settings, hold=False).account()
    return (
        settings,
        account,
        Store.open(settings.store_url, account.environment, settings.pin_length, settings.pin_hours),
    )


def _sandbox(words: list[str]) -> int:
    """Become `python -m sipkit.sandbox` with `words`, in the data folder of this project."""
    from sipkit.settings import Settings

    os.environ["SIPKIT_HOME"] = str(Settings.load(mode="sandbox").home)
    command = [sys.executable, "-m", "sipkit.sandbox", *words]
    if os.name == "posix":
        # One process, so that a signal to this command is a signal to the sandbox.
        os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
