"""What `server.json` says about the running webhook server, and what makes one fit to be adopted.

The server writes the file when it listens; kernels read it. Between the two stands this module, so that
both mean the same.
"""

import hashlib
import http.client
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sipkit.http_server import HOST
from sipkit.processes import ProcessMark, write_private
from sipkit.settings import Settings

HOLDER_HEADER = "X-Sipkit-Holder"
"""In which a request to `/healthz` shows that it comes from somebody who can read `server.json`."""

EXIT_PORT_TAKEN = 3
EXIT_LOCKED = 4
"""The server's exit codes for: another program listens there; another server has this data folder."""

_HEALTH_PATIENCE = 5.0  # seconds for an answer to /healthz: after 200 phones have left at once it is busy, not gone
_ANSWER_BYTES = 65536


@dataclass(frozen=True)
class ServerState:
    """What `server.json` says about the running server.

    Attributes:
        pid: Its process id.
        create_time: When that process was created, seconds since the epoch.
        port: Where it serves HTTP on 127.0.0.1.
        instance: A random id; `/healthz` gives the same one.
        lifeline_port: Where holders connect.
        lifeline_token: What holders must know. Never shown.
        config: `config_hash` of the settings and code it runs.
        project: Which platform account its bridges are on; see `project_of`.
        owners: Every owner that ever held it.
    """

    pid: int
    create_time: float
    port: int
    instance: str
    lifeline_port: int
    lifeline_token: str
    config: str
    project: str
    owners: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ServerState(pid={self.pid}, port={self.port})"

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The state in a file; None when there is none, or none that can be read."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            state = cls(**{**data, "owners": tuple(map(str, data["owners"]))})
            numbers = (state.pid, state.create_time, state.port, state.lifeline_port)
            return state if all(isinstance(number, int | float) for number in numbers) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        write_private(path, json.dumps(asdict(self)))

    @property
    def process(self) -> ProcessMark:
        """The server's process."""
        return ProcessMark(self.pid, self.create_time)

    @property
    def proof(self) -> str:
        """What only a reader of this file can say; it does not give the lifeline's token away."""
        return hashlib.sha256(f"healthz:{self.lifeline_token}".encode()).hexdigest()

    def healthy(self) -> bool:
        """Whether that very server answers `/healthz` now."""
        return self._health() is not None

    def environment(self) -> str | None:
        """Which account that server works for, as its `/healthz` says; None if it does not answer."""
        health = self._health()
        return None if health is None else str(health.get("environment"))

    def public_url(self) -> str | None:
        """The address the platform reaches that server by, as its `/healthz` says; None if nobody told it one."""
        told = (self._health() or {}).get("public_url")
        return str(told) if told else None

    def trouble(self) -> str:
        """Why callers hear apologies from that server, and what to do, as its `/healthz` says; empty if they do not."""
        return str((self._health() or {}).get("error", ""))

    def _health(self) -> dict[str, Any] | None:
        health = _health_at(self.port, self.proof) if self.process.alive else None
        return health if health is not None and health.get("instance") == self.instance else None


def config_hash(settings: Settings) -> str:
    """What a server must have in common with us to be adopted: settings, code and Python.

    The notebook's reader edits `webhooks/desk.py`, runs the cell again, and expects the new code to answer.
    """
    digest = hashlib.sha256(f"{settings.fingerprint()}:{sys.executable}".encode())
    package = Path(__file__).parent
    parts = ("*.py", "store/*.py", "webhooks/*.py", "room_page/**/*.*")
    for module in sorted(module for part in parts for module in package.glob(part) if module.suffix != ".pyc"):
        about = module.stat()
        digest.update(f"{module}:{about.st_mtime_ns}:{about.st_size}".encode())
    return digest.hexdigest()


def project_of(settings: Settings) -> str:
    """The platform account a server's bridges are on, as far as the settings tell."""
    return f"{settings.mode}:{settings.chosen_environment}:{settings.video_project}"


def _health_at(port: int, proof: str) -> dict[str, Any] | None:
    # http.client, because urllib would ask a proxy of the environment for an address of this machine.
    connection = http.client.HTTPConnection(HOST, port, timeout=_HEALTH_PATIENCE)
    try:
        connection.request("GET", "/healthz", headers={HOLDER_HEADER: proof})
        answer = json.loads(connection.getresponse().read(_ANSWER_BYTES))
        return answer if isinstance(answer, dict) else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
