"""The webhook server's own process: what runs after `python -m sipkit.serving`, and by hand.

The story of a notebook's server, from top to bottom of `main`:

    take server.lock        one server for one data folder; held until the process ends, however it ends
    listen                  one socket, no SO_REUSEPORT: there can never be a second, silent listener
    serve                   waitress, 4 threads: one call out that takes a second must not delay a webhook
    keep the lifeline       and write server.json, so that kernels find us
    wait                    for the last holder to leave, a signal, or a request to go; meanwhile hang up
                            what a holder dialled who is gone while others stay
    hang up                 what all holders dialled and nobody watches any more (10 s at most)
    leave                   with the ngrok agent, if a notebook that died left one

A room's page dials in this process, for a board. It may as long as the board holds the server: then the
board, or its end, or this server's end, hangs up.

A server started by hand (`python webhook_server.py`, `sipkit server`) is its user's to start and to stop: it
has a port of its own, takes no lock, writes no state file and has no lifeline. When it is asked to end (Ctrl-C,
SIGTERM) it hangs up what its own room pages dialled, and nothing else; what a board dialled is the board's.
Killed outright it hangs up nothing. It may run beside the notebook's server; both work on the same store.
"""

import argparse
import contextlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sipkit.errors import ServerError, SipkitError
from sipkit.http_server import HOST, http_server, listen, with_access_log
from sipkit.last_calls import HANG_UP_WITHIN, hang_up_all
from sipkit.lifeline import HAND_OVER, LEAVE, LifelineKeeper
from sipkit.ngrok import end_recorded_agent
from sipkit.processes import FileLock, ProcessMark
from sipkit.server_state import EXIT_LOCKED, EXIT_PORT_TAKEN, ServerState, project_of
from sipkit.settings import Settings
from sipkit.watch import Watch

if TYPE_CHECKING:
    from flask import Flask

    from sipkit.cloud import Account, Cloud
    from sipkit.store import Store

FIRST_HOLDER_WITHIN = 20.0  # seconds

_LOCK_PATIENCE = 5.0  # seconds: the server we follow may be on its last lines
_LAST_REQUESTS = 2.0  # seconds for requests under way when we leave
_TRY_AGAIN = 5.0  # seconds
_ATTEMPTS = 5  # the last one when every dial has been answered, or its answer is lost (`bridges.PATIENCE`)

_ENDING = "The webhook server is ending, and with it every call."
_STOPPED = "The webhook server was stopped."

log = logging.getLogger("sipkit.server")


def main(arguments: list[str] | None = None) -> int:
    """Serve a notebook until nobody holds the server any more.

    Args:
        arguments: The command line, as `server.WebhookServer` writes it.

    Returns:
        The exit code: 0, `EXIT_PORT_TAKEN`, `EXIT_LOCKED`, or 1 when the app cannot be made.
    """
    parser = argparse.ArgumentParser(prog="python -m sipkit.serving", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--config", default="")
    given = parser.parse_args(arguments)
    _log_to_stderr()
    settings = Settings.load()
    lock = FileLock(settings.home / "server.lock")
    if not lock.acquire(_LOCK_PATIENCE):
        log.error("another webhook server holds %s", "server.lock")
        return EXIT_LOCKED
    try:
        return _serve_notebook(settings, given.port, given.instance, given.config)
    except SipkitError as error:
        log.error("%s", error)  # noqa: TRY400 - its text says all; a traceback would only hide the fix
        return 1
    finally:
        lock.release()


def _serve_notebook(settings: Settings, port: int, instance: str, config: str) -> int:
    path = settings.home / "server.json"
    former = ServerState.read(path)
    if former and former.project != project_of(settings):
        former = None
    sock = _listen_again(port, former)
    if sock is None:
        log.error("port %d is taken", port)
        return EXIT_PORT_TAKEN
    from sipkit.cloud import cloud_for
    from sipkit.invitations import NO_BOARD

    cloud = cloud_for(settings, hold=False)  # the notebooks keep the sandbox; we must not outlive them
    store = _store_for(settings, cloud)
    keeper: LifelineKeeper

    def write_state(owners: Iterable[str]) -> None:
        mark = ProcessMark.of()
        ServerState(
            mark.pid, mark.create_time, sock.getsockname()[1], instance,
            keeper.port, keeper.token, config, project_of(settings), tuple(owners),
        ).write(path)  # fmt: skip

    def clean_up(owner: str) -> None:
        try:
            _hang_up_after(owner, keeper, cloud.account, store)
        except SipkitError as error:
            log.warning("a notebook went away, and its bridges could not be looked up: %s", error.message)

    def require_end(owner: str) -> None:
        if owner != NO_BOARD and not keeper.holds(owner):
            message = "The notebook that made this invitation does not hold the webhook server any more, so nobody "
            fix = "Run board.start_webhook_server() in it again, or open a new invitation."
            raise ServerError(f"{message}would hang the call up.", fix)
        if not keeper.know(owner):
            raise ServerError(_ENDING, "Start the notebook again.")

    keeper = LifelineKeeper(former.owners if former else (), write_state, clean_up)
    _, leave = _serve(sock, settings, cloud, store, instance, require_end)
    _on_signals(lambda: keeper.farewells.put(LEAVE))
    keeper.start(FIRST_HOLDER_WITHIN)
    write_state(keeper.owners)
    Watch(settings, store, cloud.account, f"server {instance}").start()
    log.info("serving on http://%s:%d", *sock.getsockname()[:2])

    word = _wait(keeper.farewells)
    keeper.refuse()
    if word == HAND_OVER:
        log.info("leaving; the next server takes over")
    else:
        log.info("leaving; nobody holds this server any more")
        hang_up_bridges(cloud.account, store, keeper.owners)
        end_recorded_agent(settings.home)
        if (now := ServerState.read(path)) and now.instance == instance:
            path.unlink(missing_ok=True)
    leave()
    cloud.close()
    return 0


def _listen_again(port: int, former: ServerState | None) -> socket.socket | None:
    """Listen where wished; where nothing is wished, where the last server did, if we can.

    Calls that are up were told the last server's address.
    """
    for candidate in (port,) if port else (former.port if former else 0, 0):
        with contextlib.suppress(OSError, OverflowError):
            return listen(candidate)
    return None


def _store_for(settings: Settings, cloud: "Cloud") -> "Store":
    from sipkit.store import Store

    return Store.open(settings.store_url, cloud.account().environment, settings.pin_length, settings.pin_hours)


def _serve(
    sock: socket.socket,
    settings: Settings,
    cloud: "Cloud",
    store: "Store",
    instance: str,
    require_end: Callable[[str], None],
) -> "tuple[Flask, Callable[[], None]]":
    """Make the app, serve it from threads, and give the way to end it."""
    from sipkit import webhooks
    from sipkit.app import create_app, freeze_loaded

    os.environ["SIPKIT_INSTANCE"] = instance
    os.environ["SIPKIT_LOCAL_URL"] = f"http://{HOST}:{sock.getsockname()[1]}"
    app = create_app(settings, cloud.account(), store, account_now=cloud.account, require_end=require_end)
    freeze_loaded()
    server = http_server(sock, with_access_log(app, log))
    threading.Thread(target=server.run, name="http", daemon=True).start()

    def leave() -> None:
        server.task_dispatcher.shutdown(timeout=_LAST_REQUESTS)
        webhooks.office_of(app).errands.close()

    return app, leave


def run_by_hand(port: int = 0) -> int:
    """Serve from the command line until Ctrl-C or SIGTERM, then hang up what the room pages here dialled.

    Args:
        port: Where to listen on 127.0.0.1; 0 for any free port.

    Returns:
        The exit code; 0 after a signal, `EXIT_PORT_TAKEN` if the port is taken.
    """
    _log_to_stderr()
    sock = _listen_again(port, None)
    if sock is None:
        print(f"Port {port} on {HOST} is taken. Choose another one, or 0 for any free one.", file=sys.stderr)
        return EXIT_PORT_TAKEN
    farewells: queue.SimpleQueue[str] = queue.SimpleQueue()
    ending = threading.Event()

    def require_end(_owner: str) -> None:
        if ending.is_set():
            raise ServerError(_ENDING, "Start it again.")

    _on_signals(lambda: farewells.put(LEAVE))
    from sipkit.cloud import cloud_for

    try:
        settings = Settings.load()
        cloud = cloud_for(settings)
        store = _store_for(settings, cloud)
        app, leave = _serve(sock, settings, cloud, store, os.urandom(8).hex(), require_end)
    except SipkitError as error:
        print(error, file=sys.stderr)
        return 1
    Watch(settings, store, cloud.account, f"server {os.getpid()}").start()
    print(f"Webhook server on http://{HOST}:{sock.getsockname()[1]} (Ctrl-C stops it)", flush=True)
    _wait(farewells)
    ending.set()
    from sipkit.room_page import dialled

    hang_up_all(cloud.account, store, dialled(app), _STOPPED)
    leave()
    hang_up_all(cloud.account, store, dialled(app), _STOPPED)  # a dial that was on its way when we looked
    cloud.close()
    return 0


def _hang_up_after(owner: str, keeper: LifelineKeeper, account: "Callable[[], Account]", store: "Store") -> None:
    """Hang up the bridges of an owner who is gone while others stay, and see that they are down.

    Not always at once: a dial that the owner's death cut off may have no leg to be found yet.
    """
    for attempt in range(_ATTEMPTS):
        time.sleep(_TRY_AGAIN if attempt else 0.0)
        if keeper.holds(owner) or not store.living_bridges([owner]):
            return
        log.info("a notebook went away; hanging up what it dialled")
        hang_up_bridges(account, store, [owner])


def hang_up_bridges(
    account: "Callable[[], Account]", store: "Store", owners: Iterable[str], within: float = HANG_UP_WITHIN
) -> int:
    """Hang up every living bridge of these owners, all at once, and write down what became of each.

    Args:
        account: Gives the platform account; asked only when there is something to hang up.
        store: Where bridges and the timeline are.
        owners: Whose bridges.
        within: Seconds for all of it.

    Returns:
        How many bridges were dealt with in time.
    """
    return hang_up_all(account, store, store.living_bridges(list(owners)), "The notebook went away.", within)


def _on_signals(leave: Callable[[], None]) -> None:
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK"):  # the last one is Windows' "please end"
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: leave())


def _wait(farewells: "queue.SimpleQueue[str]") -> str:
    while True:
        # In short waits: on Windows a signal is only seen between two of them.
        with contextlib.suppress(queue.Empty):
            return farewells.get(timeout=1.0)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
