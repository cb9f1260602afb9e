r"""The lifeline: how the webhook server learns that nobody needs it any more.

A notebook kernel can end in ways that run no clean-up (kill -9, "restart now", a laptop's battery). What
the system does in every case is to close the dead process's sockets. So each kernel that uses the server
keeps one connection to it open. When the last connection of one owner closes, the server is told that this
owner is gone, while others still hold it; when the last of all closes, it leaves.

    kernel                                server (127.0.0.1, a port of its own)
    TOKEN OWNER\n             ->
                              <-          ok\n       (or closed: you may not, or it is leaving)
       ... nothing, for as long as the notebook runs ...
    bye\n                     ->
                              <-          last\n or others\n

Instead of an owner's name the words `!leave` and `!hand-over` ask the server to go: with or without
hanging up what its owners dialled. The token comes from the server's state file, which only its owner
can read.
"""

import contextlib
import hmac
import os
import queue
import secrets
import socket
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Self

LEAVE = "!leave"
HAND_OVER = "!hand-over"
HOST = "127.0.0.1"

_GREETING_LIMIT = 512  # bytes: a token and an owner's name are far shorter
_GREETING_PATIENCE = 5.0  # seconds a connection may take to say who it is


class Lifeline:
    """A kernel's end: one open connection to the server.

    Args:
        connection: A connection the server has said ok to; `take` makes one.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        _held.add(self)

    @classmethod
    def take(cls, port: int, token: str, owner: str, timeout: float = 2.0) -> Self:
        """Connect, say who we are, and hold on.

        Args:
            port: The server's lifeline port on this machine.
            token: The server's lifeline token.
            owner: Whose bridges shall be hung up when no connection of this owner is left.
            timeout: Seconds to wait for each answer.

        Raises:
            OSError: The server is gone, leaving, silent, or does not accept the token.
        """
        return cls(_greet(port, token, owner, timeout))

    def release(self) -> bool:
        """Let go in good order.

        Returns:
            Whether the server leaves now. True also when it gave no answer: a server that is
            silent here serves nobody.
        """
        _held.discard(self)
        try:
            self._connection.sendall(b"bye\n")
            return _line(self._connection) != "others"
        except OSError:
            return True
        finally:
            self._connection.close()

    def drop(self) -> None:
        """Close the connection without a word."""
        _held.discard(self)
        self._connection.close()


# A forked child (multiprocessing's old default) inherits every socket of the kernel. It must not keep the
# server alive after the kernel is gone.
_held: "weakref.WeakSet[Lifeline]" = weakref.WeakSet()


def _drop_all() -> None:
    for lifeline in list(_held):
        lifeline.drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_all)


def command(port: int, token: str, word: str, timeout: float = 2.0) -> None:
    """Ask the server to go: `LEAVE` or `HAND_OVER`.

    Raises:
        OSError: It did not say ok.
    """
    _greet(port, token, word, timeout).close()


def _greet(port: int, token: str, word: str, timeout: float) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=timeout)
    welcome = False
    try:
        connection.sendall(f"{token} {word}\n".encode())
        welcome = _line(connection) == "ok"
    finally:
        if not welcome:
            connection.close()
    if not welcome:
        raise ConnectionRefusedError("the server did not accept the lifeline")
    return connection


def _line(connection: socket.socket) -> str:
    received = b""
    while not received.endswith(b"\n") and len(received) < _GREETING_LIMIT:
        piece = connection.recv(_GREETING_LIMIT)
        if not piece:
            break
        received += piece
    return received.decode("utf-8", "replace").strip()


class LifelineKeeper:
    """The server's end: listens, counts holders, and says when it is time to leave.

    Args:
        owners: Owners known from before, when this server replaces another one.
        on_owner: Called, from a thread, with all owners whenever a new one comes.
        on_gone: Called, from a thread of its own, with an owner whose last connection closed while others
            hold the server. With or without a bye: who went in good order has left nothing to clean up.

    Attributes:
        port: Where it listens on 127.0.0.1.
        token: What a holder must know.
        farewells: Gets one of `LEAVE` and `HAND_OVER` each time there is a reason to go.
    """

    def __init__(
        self,
        owners: Iterable[str] = (),
        on_owner: Callable[[list[str]], None] | None = None,
        on_gone: Callable[[str], None] | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self.farewells: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._owners = set(owners)
        self._on_owner = on_owner
        self._on_gone = on_gone
        self._holders: Counter[str] = Counter()  # open connections by owner
        self._leaving = False
        self._taken = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]

    @property
    def owners(self) -> list[str]:
        """Every owner that ever held this server, was dialled for here, or is known from before."""
        with self._lock:
            return sorted(self._owners)

    def holds(self, owner: str) -> bool:
        """Whether an owner has a connection open now."""
        with self._lock:
            return self._holders[owner] > 0

    def know(self, owner: str) -> bool:
        """Make an owner known that holds no connection: somebody is about to dial for it.

        Returns:
            False if the server is leaving: what is dialled now would be nobody's to hang up.
        """
        with self._lock:
            if self._leaving:
                return False
            self._write_down(owner)
        return True

    def start(self, first_holder_within: float) -> None:
        """Begin to listen.

        Args:
            first_holder_within: Seconds after which the server leaves if nobody came.
        """
        threading.Thread(target=self._accept, name="lifeline", daemon=True).start()
        threading.Thread(target=self._expect, args=(first_holder_within,), name="lifeline-first", daemon=True).start()

    def refuse(self) -> None:
        """Take no more holders: the server is leaving."""
        with self._lock:
            self._leaving = True
        # A blocked accept() is not woken by close() everywhere; a last visitor wakes it everywhere.
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.port), timeout=1.0).close()
        self._listener.close()

    def _expect(self, patience: float) -> None:
        if not self._taken.wait(patience):
            with self._lock:
                if self._taken.is_set():
                    return
                self._leaving = True
            self.farewells.put(LEAVE)

    def _accept(self) -> None:
        while not self._leaving:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="lifeline-holder", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_GREETING_PATIENCE)
            token, _, word = _line(connection).partition(" ")
            if not hmac.compare_digest(token.encode(), self.token.encode()) or not word:
                return
            if word in (LEAVE, HAND_OVER):
                connection.sendall(b"ok\n")
                self.farewells.put(word)
            elif self._admit(word):
                self._hold(connection, word)

    def _hold(self, connection: socket.socket, owner: str) -> None:
        word = ""
        try:
            connection.sendall(b"ok\n")
            connection.settimeout(None)
            word = _line(connection)
        finally:
            last = self._release(owner)
            if word:
                connection.sendall(b"last\n" if last else b"others\n")

    def _admit(self, owner: str) -> bool:
        with self._lock:
            if self._leaving:
                return False
            self._write_down(owner)
            self._holders[owner] += 1
            self._taken.set()
        return True

    def _write_down(self, owner: str) -> None:
        """Add an owner; the lock is held.

        Written down first, and under the lock: an owner counted is an owner the next server knows, and two at
        once must not write an older list over a newer one.
        """
        if owner not in self._owners and self._on_owner:
            self._on_owner(sorted({*self._owners, owner}))
        self._owners.add(owner)

    def _release(self, owner: str) -> bool:
        with self._lock:
            self._holders[owner] -= 1
            gone = self._holders[owner] == 0
            last = self._holders.total() == 0
            self._leaving = self._leaving or last
        if last:
            self.farewells.put(LEAVE)
        elif gone and self._on_gone:
            threading.Thread(target=self._on_gone, args=(owner,), name="lifeline-gone", daemon=True).start()
        return last
