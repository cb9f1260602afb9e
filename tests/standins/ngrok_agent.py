#!/usr/bin/env python3
r"""A stand-in for the ngrok agent, for tests: it is not ngrok and reaches no network.

It speaks what pyngrok 9 sees of the agent, version 3: the command line (`start --none --log stdout`,
`version`), the log lines on standard output, and the local API (`/api/endpoints`). What it calls a public
address is a port of 127.0.0.1, and it really proxies HTTP from there to the upstream, adding X-Forwarded-*
as ngrok does.

NGROK_STANDIN says how it behaves:

    ok (default)   works
    silent         starts and never says a word
    no_token       ERR_NGROK_4018, then leaves
    bad_token      ERR_NGROK_107, which quotes the token as ngrok does, then leaves
    no_network     goes on trying to dial a host that cannot be resolved
    refused        starts, then refuses each endpoint with ERR_NGROK_334
    old            starts, but knows no /api/endpoints
    dies           leaves at once without a word

It also leaves with ERR_NGROK_4018 if it is given no token at all. Standard library only: it is run by path.
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


def say(level: str, message: str, **fields: str) -> None:
    """Write one line in the agent's log format (logfmt)."""
    parts = [
        f"t={time.strftime('%Y-%m-%dT%H:%M:%S+0000', time.gmtime())}",
        f"lvl={level}",
        f"msg={quoted(message)}",
    ]
    parts += [f"{name}={quoted(value)}" for name, value in fields.items()]
    sys.stdout.write(f"{' '.join(parts)}\n")
    sys.stdout.flush()


def quoted(text: str) -> str:
    """Quote a value the way the agent does: when it holds more than one word."""
    return json.dumps(text) if any(character in text for character in ' "\n=') else text


class Proxy(BaseHTTPRequestHandler):
    """The public side: every request goes to the upstream."""

    protocol_version = "HTTP/1.1"
    upstream: ClassVar[str] = ""

    def do_GET(self) -> None:
        """Carry one request to the upstream and its answer back; a browser sees the warning page first."""
        agent = self.headers.get("User-Agent", "")
        if agent.startswith("Mozilla") and "ngrok-skip-browser-warning" not in self.headers:
            self.answer(
                200, [("Ngrok-Error-Code", "ERR_NGROK_6024")], b"<!DOCTYPE html><h1>You are about to visit</h1>"
            )
            return
        target = urlsplit(self.upstream)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        headers |= {
            "X-Forwarded-For": self.client_address[0],
            "X-Forwarded-Host": self.headers.get("Host", ""),
            "X-Forwarded-Proto": "https",
        }
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=10)
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            status, kept, content = answer.status, answer.getheaders(), answer.read()
        except OSError:
            status, kept, content = 502, [("Ngrok-Error-Code", "ERR_NGROK_8012")], b"ERR_NGROK_8012\n"
        finally:
            connection.close()
        self.answer(status, kept, content)

    def answer(self, status: int, kept: list[tuple[str, str]], content: bytes) -> None:
        """Send an answer to the visitor."""
        self.send_response(status)
        for name, value in kept:
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - names of http.server

    def log_message(self, *_: Any) -> None:
        """Keep standard output to the agent's own lines."""


class Api(BaseHTTPRequestHandler):
    """The agent's local API, as far as pyngrok uses it for endpoints."""

    mode: ClassVar[str] = "ok"
    endpoints: ClassVar[dict[str, dict[str, Any]]] = {}
    doors: ClassVar[dict[str, ThreadingHTTPServer]] = {}

    def do_GET(self) -> None:
        """List the endpoints."""
        if self.mode == "old" or self.path != "/api/endpoints":
            self.answer(404, {"error_code": 100, "status_code": 404, "msg": "Resource not found"})
        else:
            self.answer(200, {"endpoints": list(self.endpoints.values()), "uri": "/api/endpoints"})

    def do_POST(self) -> None:
        """Open an endpoint: a public port that leads to the upstream."""
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.mode == "refused":
            told = "The endpoint 'https://standin.ngrok-free.app' is already online.\n\nERR_NGROK_334"
            self.answer(
                502,
                {"error_code": 103, "status_code": 502, "msg": "failed to start", "details": {"err": told}},
            )
            return
        door = ThreadingHTTPServer(("127.0.0.1", 0), type("Door", (Proxy,), {"upstream": wanted["upstream"]["url"]}))
        threading.Thread(target=door.serve_forever, daemon=True).start()
        endpoint = {
            "name": wanted["name"],
            "url": f"http://127.0.0.1:{door.server_address[1]}",
            "upstream": wanted["upstream"],
        }
        self.doors[wanted["name"]], self.endpoints[wanted["name"]] = door, endpoint
        self.answer(201, endpoint)

    def do_DELETE(self) -> None:
        """Close an endpoint."""
        name = self.path.rpartition("/")[2]
        if self.endpoints.pop(name, None) is None:
            self.answer(404, {"error_code": 100, "status_code": 404, "msg": "Resource not found"})
            return
        self.doors.pop(name).shutdown()
        self.send_response(204)
        self.end_headers()

    def answer(self, status: int, body: dict[str, Any]) -> None:
        """Send a JSON answer."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep standard output to the agent's own lines."""


def leave_because(error: str) -> int:
    """Log an error that ends the agent, in the two lines the agent writes."""
    say("eror", "session closing", obj="tunnels.session", err=error)
    say("crit", "command failed", err=error)
    return 1


def start(arguments: list[str]) -> int:
    """Run `ngrok start`."""
    mode = os.environ.get("NGROK_STANDIN", "ok")
    token = arguments[arguments.index("--authtoken") + 1] if "--authtoken" in arguments else ""
    if mode == "silent":
        threading.Event().wait()
    if mode == "dies":
        return 1
    if mode == "no_token" or not token:
        return leave_because("authentication failed: Usage of ngrok requires an authtoken.\n\nERR_NGROK_4018\n")
    if mode == "bad_token":
        told = f"The authtoken you specified is properly formed, but it is invalid.\nYour authtoken: {token}\n"
        return leave_because(f"authentication failed: {told}\nERR_NGROK_107\n")
    Api.mode = mode
    api = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    say("info", "starting web service", obj="web", addr=f"127.0.0.1:{api.server_address[1]}", allow_hosts="[]")
    threading.Thread(target=api.serve_forever, daemon=True).start()
    while mode == "no_network":
        told = 'failed to dial ngrok server with address "connect.ngrok-agent.com:443": '
        told += "dial tcp: lookup connect.ngrok-agent.com: no such host"
        say("eror", "failed to reconnect session", obj="csess", err=told)
        time.sleep(0.2)
    say("info", "client session established", obj="csess")
    say("info", "tunnel session started", obj="tunnels.session")
    threading.Event().wait()
    return 0


def main() -> int:
    """Read the command line as the agent does."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    arguments = sys.argv[1:]
    if arguments[:1] == ["version"] or "--version" in arguments:
        sys.stdout.write("ngrok version 3.0.0-standin\n")
        return 0
    if arguments[:2] == ["start", "--none"]:
        return start(arguments)
    sys.stderr.write("ERROR:  unknown command\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
