"""``python -m sipkit.sandbox serve | call``: run the sandbox, or make a phone call into it."""

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from sipkit.sandbox.home import Home, HomeError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sipkit.sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve until SIGTERM or SIGINT")
    serve.add_argument("--http-port", type=int, default=0, metavar="N")
    serve.add_argument("--sip-port", type=int, default=0, metavar="N", help="UDP and TCP")
    serve.add_argument("--sip-tls-port", type=int, default=0, metavar="N")
    serve.add_argument("--home", type=Path, default=default_home(), metavar="DIR")
    serve.add_argument("--idle-exit", type=float, metavar="SECONDS", help="leave after so long without a user")
    call = commands.add_parser("call", help="a phone: dial, wait for the prompt, key, speak, record")
    call.add_argument("number", metavar="NUMBER")
    call.add_argument("--home", type=Path, default=default_home(), metavar="DIR")
    call.add_argument("--keys", metavar="1234#", help="pressed when the prompt has ended")
    voice = call.add_mutually_exclusive_group()
    voice.add_argument("--say", metavar="TEXT")
    voice.add_argument("--wav", type=Path, metavar="IN.wav")
    call.add_argument("--seconds", type=float, default=5.0, metavar="N", help="how long to stay after that")
    call.add_argument("--record", type=Path, metavar="OUT.wav", help="what the phone heard")
    options = parser.parse_args(arguments)
    if options.command == "call":
        from sipkit.sandbox.phone.dialler import call_from_command_line

        return call_from_command_line(options)
    try:
        _run(_serve(options))
    except HomeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def default_home() -> Path:
    """Return the home in the kit's data folder: SIPKIT_HOME, else .sipkit of the project this folder is in."""
    here = Path.cwd()
    project = next((each for each in (here, *here.parents) if (each / "webhook_server.py").exists()), here)
    return project / (os.environ.get("SIPKIT_HOME") or ".sipkit") / "sandbox"


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it exists: it halves the cost of a packet."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)


async def _serve(options: argparse.Namespace) -> None:
    # The audio clock shares the interpreter with the speech thread: let it get its turn within a millisecond.
    sys.setswitchinterval(0.001)
    from sipkit.sandbox.app import Sandbox, leave_when_idle

    home = Home.open(options.home)
    wishes = {
        "http": options.http_port,
        "sip_udp": options.sip_port,
        "sip_tcp": options.sip_port,
        "sip_tls": options.sip_tls_port,
    }
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(name, stopped.set)
        except NotImplementedError:  # Windows
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(stopped.set))
    with home.claim():
        async with Sandbox(home, os.getpid(), wishes) as sandbox:
            home.publish(sandbox.line(), instance=sandbox.instance, pid=os.getpid())
            try:
                print(json.dumps(sandbox.line()), flush=True)
                gc.collect()
                gc.freeze()  # what is loaded now lives for ever: keep the collector off it, and off the audio
                ends: list[asyncio.Task[Any]] = [loop.create_task(stopped.wait())]
                if options.idle_exit:
                    ends.append(loop.create_task(leave_when_idle(sandbox, options.idle_exit)))
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in ends:
                    task.cancel()
            finally:
                home.withdraw(sandbox.instance)


if __name__ == "__main__":
    sys.exit(main())
