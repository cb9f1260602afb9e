"""``python -m sipkit.sandbox call``: one phone call from the command line, one JSON line per thing that happens."""

import argparse
import base64
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

DIAL_DEADLINE = 70.0
PROMPT_DEADLINE = 30.0
NORMAL_ENDS = ("local BYE", "remote BYE")


class DiallerError(Exception):
    """The call cannot be made; the text says what to do."""


class _Control:
    """The control API of the sandbox that serves from a home."""

    def __init__(self, home: Path) -> None:
        try:
            state = json.loads((home / "sandbox.json").read_text())
        except (OSError, ValueError):
            text = f"no sandbox serves from {home}; start one: python -m sipkit.sandbox serve --home {home}"
            raise DiallerError(text) from None
        self._base = state["api_url"] + "/sandbox"
        pair = f"{state['voice_api_key']}:{state['voice_api_secret']}".encode()
        self._authorization = "Basic " + base64.b64encode(pair).decode()
        # Environment proxies are not for this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = 10.0) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._base + path, data, method=method)
        request.add_header("Authorization", self._authorization)
        try:
            with self._opener.open(request, timeout=timeout) as response:
                answer = response.read()
                return answer if response.headers.get_content_type() == "audio/wav" else json.loads(answer)
        except urllib.error.HTTPError as error:
            raise DiallerError(json.loads(error.read() or b"{}").get("error", str(error))) from None
        except OSError as error:
            raise DiallerError(f"the sandbox does not answer: {error}") from None


def call_from_command_line(options: argparse.Namespace) -> int:
    """Make the call; exit code 0 when it was answered and ended normally, 1 when not, 2 for a wrong command."""
    try:
        return _call(_Control(options.home), options)
    except DiallerError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line talks
        return 2


def _call(control: _Control, options: argparse.Namespace) -> int:
    started = time.monotonic()
    wav = _read(options.wav) if options.wav else None

    def tell(event: str, **more: Any) -> None:
        print(json.dumps({"t": round(time.monotonic() - started, 3), "event": event, **more}), flush=True)  # noqa: T201 - a command line talks

    phone = control.ask("POST", "/phones", {"number": options.number})
    path = f"/phones/{phone['id']}"
    tell("calling", number=options.number)
    phone = _until(control, path, phone["state"], ("answered", "ended"), DIAL_DEADLINE, tell)
    if phone["state"] != "answered":
        return 1
    try:
        if options.keys:
            control.ask("POST", f"{path}/listen", {"timeout": PROMPT_DEADLINE}, timeout=PROMPT_DEADLINE + 5)
            tell("prompt heard")
            control.ask("POST", f"{path}/keys", {"digits": options.keys}, timeout=30)
            tell("keys pressed", count=len(options.keys))
        if options.say:
            control.ask("POST", f"{path}/say", {"text": options.say})
            tell("speaking", text=options.say)
        elif wav is not None:
            control.ask("POST", f"{path}/play", wav)
            tell("playing", file=options.wav.name)
        phone = _until(control, path, "answered", ("ended",), options.seconds, tell)
        if phone["state"] != "ended":
            phone = control.ask("POST", f"{path}/hang-up", {})
            tell("ended", reason=phone["reason"])
    except DiallerError:
        phone = control.ask("POST", f"{path}/hang-up", {})
        if phone["reason"] == "local BYE":
            raise  # it was us: the command asked for something that cannot be done
        tell("ended", reason=phone["reason"])
    finally:
        if options.record:
            options.record.write_bytes(control.ask("GET", f"{path}/recording"))
            tell("recorded", file=options.record.name)
    return 0 if phone["state"] == "ended" and phone["reason"] in NORMAL_ENDS else 1


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DiallerError(f"{path} cannot be read: {error.strerror}") from None


def _until(
    control: _Control, path: str, known: str, states: tuple[str, ...], seconds: float, tell: Any
) -> dict[str, Any]:
    """Follow the phone from its ``known`` state until it is in one of ``states`` or time is up; tell each change."""
    deadline = time.monotonic() + seconds
    while True:
        phone: dict[str, Any] = control.ask("GET", path)
        if phone["state"] != known:
            known = phone["state"]
            tell(known, **({"reason": phone["reason"]} if phone["reason"] else {}))
        if known in states or time.monotonic() >= deadline:
            return phone
        time.sleep(0.05)
