"""The sandbox's own control API for tests: its phones, participants, ledger and trace."""

import json
import time
from collections.abc import Callable
from typing import Any

import opentok
import requests

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.ear import Sound, read_wav

POLL_SECONDS = 0.02


def wait_for(predicate: Callable[[], Any], timeout: float = 10.0, what: str = "the condition") -> Any:
    """Return the first true value of a predicate asked every 20 ms.

    Raises:
        AssertionError: it stayed false for ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s for {what}; last seen: {value!r}"
        time.sleep(POLL_SECONDS)
    return value


class Lab:
    """One running sandbox.

    Attributes:
        info: where it is, and its credentials.
    """

    def __init__(self, info: SandboxInfo) -> None:
        self.info = info
        self._seen = 0
        self._began = 0
        self._phones: list[Phone] = []
        self._participants: list[Participant] = []
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.auth = (info.voice_api_key, info.voice_api_secret)
        self.video: Any = opentok.Client(info.video_api_key, info.video_api_secret, api_url=info.api_url, timeout=10)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def begin(self) -> None:
        """Wait until no leg of an earlier test lives; the trace is read from here on."""
        self.wait_legs(0)
        self._began = self.now()

    def tidy(self) -> None:
        """End what this test left behind, and wait until no leg lives."""
        for phone in self._phones:
            phone.hang_up()
        for participant in self._participants:
            participant.remove()
        for connection in self.ledger()["connections"]:
            if connection["kind"] == "sip":
                self.video.force_disconnect(connection["sessionId"], connection["id"])
        self._phones, self._participants = [], []
        self.wait_legs(0)

    def ask(self, method: str, path: str, *, status: int | None = None, **more: Any) -> requests.Response:
        """Call the control API; ``status`` is what must come back (any success when None)."""
        answer = self._http.request(method, f"{self.info.api_url}/sandbox{path}", timeout=30, **more)
        wanted = answer.status_code < 300 if status is None else answer.status_code == status
        assert wanted, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def point(self, url: str, *, method: str = "GET", event_method: str = "POST", **voice: Any) -> None:
        """Point the application's webhooks at a server, as its owner would, when they do not point there yet.

        Args:
            url: the server's, without a path.
            method: of the answer URL.
            event_method: of the event URL.
            voice: more webhooks, or fields of ``answer_url`` under the name ``answer``.
        """
        path = f"{self.info.api_url}/v2/applications/{self.info.application_id}"
        now = self._http.get(path, timeout=10).json()
        webhooks = {
            "answer_url": {"address": f"{url}/answer", "http_method": method, **voice.pop("answer", {})},
            "event_url": {"address": f"{url}/event", "http_method": event_method},
            **voice,
        }
        if now["capabilities"].get("voice", {}).get("webhooks") != webhooks:
            body = {name: now[name] for name in ("name", "capabilities")}
            body["capabilities"].setdefault("voice", {})["webhooks"] = webhooks
            answer = self._http.put(path, json=body, timeout=10)
            assert answer.status_code == 200, answer.text

    def ledger(self) -> dict[str, Any]:
        """Return the living legs and connections."""
        return dict(self.ask("GET", "/ledger").json())

    def legs(self) -> list[dict[str, Any]]:
        """Return the living legs."""
        return list(self.ledger()["legs"])

    def wait_legs(self, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait until so many legs are alive."""
        holder: list[list[dict[str, Any]]] = [[]]

        def there() -> bool:
            holder[0] = self.legs()
            return len(holder[0]) == count

        wait_for(there, timeout, f"{count} legs")
        return holder[0]

    def wait_joined(self, count: int, timeout: float = 10.0, name: str | None = None) -> list[dict[str, Any]]:
        """Wait until so many legs are in a conversation (the named one)."""

        def joined() -> list[dict[str, Any]]:
            return [leg for leg in self.legs() if leg["conversation"] and (name is None or leg["conversation"] == name)]

        wait_for(lambda: len(joined()) == count, timeout, f"{count} legs in a conversation")
        return joined()

    def trace(self, since: int | None = None, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the trace's events after ``since``, or of this test."""
        after = self._began if since is None else since
        lines = self.ask("GET", f"/trace?since={after}").text.splitlines()
        events = [json.loads(line) for line in lines]
        return [event for event in events if kind is None or event["kind"] == kind]

    def now(self) -> int:
        """Return the number of the newest event of the trace."""
        for event in self.trace(self._seen):
            self._seen = int(event["seq"])
        return self._seen

    def dial(self, transport: str = "udp", number: str | None = None, from_: str = "12025550123") -> "Phone":
        """Let a phone of the sandbox call."""
        wish = {"number": number or self.info.number, "from": from_, "transport": transport}
        self._phones.append(Phone(self, self.ask("POST", "/phones", json=wish, status=201).json()["id"]))
        return self._phones[-1]

    def expect(self, number: str, **manners: Any) -> "Phone":
        """Let a phone wait for one call to its number."""
        waiting = self.ask("POST", "/phones/expect", json={"number": number, **manners}, status=201).json()
        assert waiting["state"] == "waiting"
        self._phones.append(Phone(self, waiting["id"]))
        return self._phones[-1]

    def session(self) -> str:
        """Create a routed session with the vendor's SDK."""
        return str(self.video.create_session(media_mode=opentok.MediaModes.routed).session_id)

    def participant(self, session: str, **sound: Any) -> "Participant":
        """Put a synthetic participant into a session."""
        answer = self.ask("POST", f"/sessions/{session}/participants", json=sound, status=201)
        self._participants.append(Participant(self, session, answer.json()["id"]))
        return self._participants[-1]

    def sip_dial(self, session: str, *, uri: str | None = None, **options: Any) -> str:
        """Dial the number out of a session with the vendor's SDK; returns the connection id."""
        token = self.video.generate_token(session)
        auth = {"username": self.info.voice_api_key, "password": self.info.voice_api_secret}
        wish = {"auth": auth, "secure": False, **options}
        target = uri or f"sip:{self.info.number}@sip.nexmo.com;transport=tls"
        return str(self.video.dial(session, token, target, wish).connectionId)


class Phone:
    """A phone of the sandbox."""

    def __init__(self, lab: Lab, phone_id: str) -> None:
        self._lab = lab
        self._path = f"/phones/{phone_id}"

    def show(self) -> dict[str, Any]:
        """Return its state, and what it heard in the last second."""
        return dict(self._lab.ask("GET", self._path).json())

    def wait(self, *states: str, timeout: float = 15.0) -> dict[str, Any]:
        """Wait for one of the states."""
        shown: list[dict[str, Any]] = [{}]

        def there() -> bool:
            shown[0] = self.show()
            return shown[0]["state"] in states

        wait_for(there, timeout, f"a phone to be {' or '.join(states)}: {shown}")
        return shown[0]

    def keys(self, digits: str, status: int | None = None) -> None:
        """Press keys."""
        self._lab.ask("POST", f"{self._path}/keys", json={"digits": digits}, status=status)

    def post(self, what: str, status: int | None = None, **more: Any) -> requests.Response:
        """Call any other action."""
        return self._lab.ask("POST", f"{self._path}/{what}", status=status, **more)

    def lay_down(self) -> None:
        """Take the browser away from it."""
        self._lab.ask("DELETE", f"{self._path}/receiver")

    def hang_up(self) -> dict[str, Any]:
        """Hang up."""
        return dict(self.post("hang-up").json())

    def recording(self) -> Sound:
        """Return what it heard so far."""
        return read_wav(self._lab.ask("GET", f"{self._path}/recording").content)


class Participant:
    """A synthetic participant of a session."""

    def __init__(self, lab: Lab, session: str, participant_id: str) -> None:
        self._lab = lab
        self.id = participant_id
        self._path = f"/sessions/{session}/participants/{participant_id}"

    def recording(self) -> Sound:
        """Return what it heard so far."""
        return read_wav(self._lab.ask("GET", f"{self._path}/recording").content)

    def remove(self) -> None:
        """Leave the session, if it is still in it."""
        if any(each["id"] == self.id for each in self._lab.ledger()["connections"]):
            self._lab.ask("DELETE", self._path)
