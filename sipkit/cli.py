"""The `sipkit` command: `sipkit demo`, `sipkit sandbox serve|call ...`, `sipkit server`.

Each sub-command imports what it needs when it is chosen, so that `sipkit --help` answers at once. The sandbox
is a program of its own (the kit meets it only over HTTP and SIP), so `sipkit sandbox` runs it as one.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence


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
    if arguments.command == "server":
        return _server(arguments.port)
    return _sandbox([*arguments.words, *rest])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sipkit", description="Let people join a video session by phone.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="the whole call without a browser, each step proven")
    server = commands.add_parser("server", help="the webhook server, until Ctrl+C")
    server.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    sandbox = commands.add_parser("sandbox", add_help=False, help="the stand-in for Vonage: serve or call")
    sandbox.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def _demo() -> int:
    from sipkit import demo

    return demo.main()


def _server(port: int) -> int:
    from sipkit.serving import run_by_hand

    return run_by_hand(port)


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
