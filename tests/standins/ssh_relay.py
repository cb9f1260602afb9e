"""A real SSH server on loopback that forwards ports back to whoever asks, as localhost.run and its kind do.

asyncssh in a thread of its own. What it calls a public address is a port of 127.0.0.1, and what it prints into the
session is up to the test, in the words of one of the public relays.
"""

import asyncio
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import asyncssh
import pytest

Greeting = Callable[[str], str]


class Relay:
    """The server.

    Args:
        folder: Where the client's key pair and the host's key are written.
        greeting: What is printed into a session, given the public address.

    Attributes:
        port: Where it listens.
        client: The system's ssh client.
        key: The file of the private key that it lets in.
        forwards: Whether it forwards ports.
        lets_in: Whether it lets the key in.
        public: The public address of the last forwarding.
        host_key: What it shows itself by.
    """

    def __init__(self, folder: Path, greeting: Greeting) -> None:
        self.folder = folder
        self.greeting = greeting
        self.forwards = True
        self.lets_in = True
        self.public = ""
        self.client = shutil.which("ssh") or pytest.skip("ssh is not installed (Debian package: openssh-client)")
        self.key = folder / "id_test"
        self.port = 0
        self._sessions: list[asyncssh.SSHServerProcess[str]] = []
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncssh.SSHAcceptor | None = None
        client = asyncssh.generate_private_key("ssh-ed25519")
        client.write_private_key(self.key)
        self.key.chmod(0o600)
        self._client = client.public_data
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._opened = asyncio.Event()

    def start(self) -> None:
        """Listen, at the port of the last time if there was one."""
        if not self._thread.is_alive():
            self._thread.start()
        self.port = self._do(self._listen())

    def stop(self) -> None:
        """Stop listening, end every connection and the thread."""
        self.hang_up()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def hang_up(self) -> None:
        """End every connection, and listen no more."""
        self._do(self._close())

    def say(self, text: str) -> None:
        """Print a line into every session."""
        for session in self._sessions:
            self._loop.call_soon_threadsafe(session.stdout.write, f"{text}\r\n")

    def _do(self, work: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(10)

    async def _listen(self) -> int:
        relay = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                relay._connections.append(conn)

            def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asyncssh's
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's
                return relay.lets_in and key.public_data == relay._client

            async def server_requested(self, listen_host: str, listen_port: int) -> Any:
                if not relay.forwards:
                    return False
                conn = relay._connections[-1]
                # A public relay has one port 80 for all; here each forwarding gets a port of its own.
                listener = await conn.forward_local_port("127.0.0.1", 0, listen_host, listen_port)
                relay.public = f"http://127.0.0.1:{listener.get_port()}"
                relay._opened.set()
                return listener

        self._server = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=Server,
            server_host_keys=[self.host_key],
            process_factory=self._session,
        )
        return int(self._server.get_port())

    async def _session(self, process: "asyncssh.SSHServerProcess[str]") -> None:
        self._sessions.append(process)
        await self._opened.wait()
        process.stdout.write(self.greeting(self.public).replace("\n", "\r\n"))
        await process.wait_closed()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.abort()
        for connection in self._connections:
            await connection.wait_closed()
        self._connections.clear()
        self._sessions.clear()
        self._opened.clear()
