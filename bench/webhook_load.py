"""Webhooks signed beforehand, and wrk to send them: it is a server that is measured, not the signing.

Each phone is three requests in the order of a call: it is asked for a PIN (GET), types it (POST), hangs up (POST).
Every request has a token with an id of its own, so a server that keeps a book of answers has to answer each anew.
"""

import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from measuring import Skipped

SCRIPT = Path(__file__).parent / "replay.lua"
PER_CALL = 3
API_KEY = "KEY"
APPLICATION_ID = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
NUMBER = "12025550100"
Sign = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Load:
    """What came of sending a file of webhooks.

    Attributes:
        requests: How many were answered.
        seconds: How long that took.
        p50_ms: Half of the answers took no longer than this (milliseconds).
        p99_ms: 99 % of them.
        refused: Answers with a status of 400 or more.
        broken: Connections that failed.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def write_webhooks(path: Path, pins: list[str], secret: str, number: int) -> None:
    """Write so many signed requests to a file, as `replay.lua` reads it; good for five minutes."""
    sys.path.append(str(SCRIPT.parent.parent))
    from tests.standins.forger import token_of

    with path.open("wb") as file:
        for request in islice(_webhooks(pins, lambda claims: token_of(claims, secret)), number):
            file.write(b"%d\n" % len(request))
            file.write(request)


def send(path: Path, port: int, connections: int, seconds: int) -> Load:
    """Send a file's requests by so many connections, which are kept open, each with one request under way.

    Raises:
        Skipped: There is no wrk here.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}", "--", str(path)]
    try:
        run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30)
    except FileNotFoundError:
        raise Skipped("wrk is not installed") from None
    return Load(**json.loads(run.stdout.splitlines()[-1]))


def _webhooks(pins: list[str], sign: Sign) -> Iterator[bytes]:
    for n in count():
        leg = {"uuid": secrets.token_hex(16), "conversation_uuid": f"CON-{secrets.token_hex(16)}"}
        ends = {"from": f"1202555{n % 10_000:04}", "to": NUMBER}
        keys = {"digits": pins[n % len(pins)], "timed_out": False}
        yield _signed(sign, "GET", "voice-answer", {**ends, **leg, "region_url": "https://api-us-1.nexmo.com"})
        yield _signed(sign, "POST", "voice-dtmf", {"speech": {"results": []}, "dtmf": keys, **leg, **ends})
        news = {"direction": "inbound", "status": "completed", "duration": "61", "rate": "0.00", "price": "0.00"}
        yield _signed(sign, "POST", "voice-events", {**news, **leg, **ends, "network": "US-FIXED"})


def _signed(sign: Sign, method: str, route: str, fields: dict[str, object]) -> bytes:
    """One request as its bytes on the wire."""
    payload = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    claims = {
        "iat": int(time.time()),
        "jti": secrets.token_hex(16),
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(payload).hexdigest(),
        "api_key": API_KEY,
        "application_id": APPLICATION_ID,
    }
    query, body = (f"?{urlencode(fields)}", b"") if method == "GET" else ("", payload)
    head = f"{method} /{route}{query} HTTP/1.1\r\nHost: calls.example.com\r\nAccept: */*\r\nUser-Agent: webhooks\r\n"
    head += f"Authorization: Bearer {sign(claims)}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{head}\r\n".encode() + body
