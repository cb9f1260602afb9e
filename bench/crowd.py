"""Drives the independent phones' process (callers.py)."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from measuring import DEADLINE, Bench


class Crowd:
    """The independent phones' process (callers.py), told what to do in JSON lines."""

    def __init__(self, bench: Bench, keys: list[str], rate: float) -> None:
        command = [sys.executable, str(Path(__file__).with_name("callers.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        info = bench.info
        self.tell(
            sip=info.sip_udp, number=info.number, user=info.carrier_user, password=info.carrier_password,
            keys=keys, rate=rate,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.tell(do="hang-up")
                self.wait_for("ended")
        finally:
            if self._process.stdin:
                self._process.stdin.close()
            self._process.wait(DEADLINE)

    def tell(self, **order: object) -> None:
        """Give one order."""
        assert self._process.stdin  # noqa: S101 - it was opened as a pipe
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next message of that name; an ended process is an error."""
        assert self._process.stdout  # noqa: S101 - it was opened as a pipe
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["event"] == event:
                return message
        raise RuntimeError(f"the phones' process ended before {event!r}")
