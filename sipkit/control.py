"""The sandbox's control API, as the kit uses it: what happens inside, and what is alive there.

It is HTTP on this machine, with the sandbox's own credentials. Live there is nothing of this.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sipkit.errors import PhoneError, SandboxError, WaitTimeout

if TYPE_CHECKING:
    import requests

    from sipkit.sandbox.launcher import SandboxInfo

ANSWER_SECONDS = 10.0
"""How long the sandbox may take to answer when it is not asked to wait for something."""

_STREAM_SECONDS = 1.0


class Control:
    """Asks the sandbox's control API, without proxies, and turns refusals into errors."""

    def __init__(self, info: "SandboxInfo") -> None:
        self._info = info

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        wav: bytes | None = None,
        seconds: float = ANSWER_SECONDS,
        stream: bool = False,
    ) -> "requests.Response":
        """Send one request.

        Raises:
            PhoneError: The sandbox refuses, with its reason.
            WaitTimeout: It waited in vain for what was asked.
            SandboxError: It does not answer.
        """
        import requests

        with requests.Session() as session:
            session.trust_env = False
            session.auth = (self._info.voice_api_key, self._info.voice_api_secret)
            try:
                answer = session.request(
                    method,
                    self._info.api_url + path,
                    json=body,
                    data=wav,
                    headers={"Content-Type": "audio/wav"} if wav is not None else None,
                    timeout=seconds,
                    stream=stream,
                )
            except requests.RequestException:
                answer = None
        # Raised here and not where it was caught: the library's exception carries the request.
        if answer is None:
            fix = "The sandbox may have gone: run board.start_webhook_server() and dial again."
            raise SandboxError("The sandbox does not answer.", fix)
        if answer.status_code in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT}:
            raise WaitTimeout(_said(answer))
        if not answer.ok:
            raise PhoneError(_said(answer))
        return answer


class SandboxTrace:
    """What happens inside the sandbox: SIP messages, webhooks, NCCO steps, digits, media figures.

    Each event is a dict with `seq` (its place in the order), `t` (Unix seconds) and `kind`.
    """

    def __init__(self, info: "SandboxInfo") -> None:
        self._control = Control(info)

    def __repr__(self) -> str:
        return "<SandboxTrace>"

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what happened after the event with sequence number `since`, as far back as it is kept."""
        answer = self._control.ask("GET", f"/sandbox/trace?since={since}")
        return [json.loads(line) for line in answer.text.splitlines() if line.strip()]

    def wait_for(
        self, predicate: Callable[[dict[str, Any]], bool], timeout: float = 10.0, since: int = 0
    ) -> dict[str, Any]:
        """Return the first event that satisfies a predicate, waiting for it if need be.

        Args:
            predicate: Tells whether it is the one.
            timeout: Seconds to wait.
            since: Sequence number after which to look.

        Raises:
            WaitTimeout: It did not happen in time.
        """
        deadline = time.monotonic() + timeout
        seen = since
        while (left := deadline - time.monotonic()) > 0:
            # The stream is opened anew when it was silent for a while: so the deadline is kept.
            for event in self._follow(seen, min(left, _STREAM_SECONDS)):
                if predicate(event):
                    return event
                seen = max(seen, int(event["seq"]))
                if time.monotonic() > deadline:
                    break
        raise WaitTimeout(f"The event did not happen within {timeout:g} s; the last one seen was {seen}.")

    def ledger(self) -> dict[str, list[dict[str, Any]]]:
        """Return what is alive in the sandbox now: `legs` of the phone side, `connections` of sessions."""
        told: dict[str, list[dict[str, Any]]] = self._control.ask("GET", "/sandbox/ledger").json()
        return told

    def levels(self) -> dict[str, float]:
        """Return how loud each leg of the phone side was in the last second, dBFS; -96 is silence."""
        told: dict[str, float] = self._control.ask("GET", "/sandbox/levels").json()["levels"]
        return told

    def _follow(self, since: int, silence: float) -> Iterator[dict[str, Any]]:
        """Yield events as they happen, until none came for `silence` seconds."""
        import requests

        path = f"/sandbox/trace?since={since}&follow=1"
        with self._control.ask("GET", path, seconds=silence, stream=True) as answer:
            try:
                for line in answer.iter_lines(chunk_size=None):
                    if line.strip():
                        yield json.loads(line)
            except requests.RequestException:
                return


def _said(answer: "requests.Response") -> str:
    """The reason the sandbox gives."""
    try:
        return f"The sandbox says: {answer.json()['error']}"
    except (ValueError, KeyError, TypeError):
        return f"The sandbox answers HTTP {answer.status_code}."
