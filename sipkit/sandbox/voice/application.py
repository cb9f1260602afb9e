"""The account's Vonage applications: where the webhooks of each are, and its public key. State in one file.

The first one is the one the sandbox's JSON line names; nothing else tells it apart, so it can be deleted too.
"""

import json
import threading
import uuid
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sipkit.sandbox.files import write_private
from sipkit.sandbox.home import Home
from sipkit.sandbox.voice import application_rules
from sipkit.sandbox.voice.application_rules import (
    CONNECT_TIMEOUT_MS,
    CONNECT_TIMEOUT_NAMES,
    DEFAULT_METHODS,
    SOCKET_TIMEOUT_MS,
)

WebhookName = Literal["answer_url", "event_url", "fallback_answer_url"]


class Timeouts(NamedTuple):
    """How long a webhook may take, in seconds."""

    connect: float
    answer: float


@dataclass(frozen=True)
class Application:
    """One application as it is configured now. `kept` is never changed: a new configuration is a new object."""

    id: str
    kept: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        """The application as Vonage shows it; a copy."""
        shown: dict[str, Any] = {"id": self.id, **json.loads(json.dumps(self.kept))}
        shown["_links"] = {"self": {"href": f"/v2/applications/{self.id}"}}
        return shown

    @property
    def public_key(self) -> str:
        """The key (PEM) that the application's JWTs are verified with."""
        return str(self.kept["keys"]["public_key"])

    @property
    def answer_url(self) -> tuple[str, str] | None:
        """URL and method ("GET" or "POST") asked what to do with a call; None when none is set."""
        return self._webhook("answer_url")

    @property
    def event_url(self) -> tuple[str, str] | None:
        """URL and method told what happens to a call; None when none is set."""
        return self._webhook("event_url")

    @property
    def fallback_url(self) -> tuple[str, str] | None:
        """URL and method asked when the answer URL fails; None when none is set."""
        return self._webhook("fallback_answer_url")

    @property
    def signed_callbacks(self) -> bool:
        """Are webhooks signed? On unless turned off, as at Vonage."""
        return bool(self._voice().get("signed_callbacks", True))

    def timeouts(self, name: WebhookName) -> Timeouts:
        """The seconds a webhook may take to connect and to answer."""
        webhook = self._voice().get("webhooks", {}).get(name, {})
        connect = next((webhook[each] for each in CONNECT_TIMEOUT_NAMES if each in webhook), CONNECT_TIMEOUT_MS[1])
        answer = webhook.get("socket_timeout", SOCKET_TIMEOUT_MS[name][1])
        return Timeouts(connect / 1000, answer / 1000)

    def _voice(self) -> dict[str, Any]:
        voice: dict[str, Any] = self.kept["capabilities"].get("voice", {})
        return voice

    def _webhook(self, name: WebhookName) -> tuple[str, str] | None:
        webhook = self._voice().get("webhooks", {}).get(name)
        return (webhook["address"], webhook.get("http_method", DEFAULT_METHODS[name])) if webhook else None


class Applications:
    """All applications of the account and their file. Readable from the loop; changes wait for the disk."""

    def __init__(self, home: Home) -> None:
        """Load the applications of `home`, or make the first: with voice and video, without webhooks."""
        self._path = home.application_file
        self._lock = threading.Lock()
        self.first_id = home.credentials.application_id
        self._all: dict[str, Application]
        try:
            kept = json.loads(self._path.read_text())
            # Up to 0.1 the file held the only application.
            every = kept.get("applications", {self.first_id: kept})
            self._all = {id_: Application(id_, each) for id_, each in every.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            first = {
                "name": "sipkit sandbox",
                "capabilities": {"voice": {"webhooks": {}, "signed_callbacks": True}, "video": {}},
                "keys": {"public_key": home.public_key()},
                "privacy": {"improve_ai": False},
            }
            self._keep({self.first_id: Application(self.first_id, first)})

    def all(self) -> list[Application]:
        """Every application, the oldest first."""
        return list(self._all.values())

    def find(self, application_id: str) -> Application | None:
        """One application, None when the account has no such one."""
        return self._all.get(application_id)

    def create(self, body: dict[str, Any]) -> tuple[Application, str | None]:
        """Make an application; its private key (PEM) comes along when the body brings no public one.

        The private key is told once and kept nowhere, as documented.

        Raises:
            application_rules.InvalidApplication: a field is missing or wrong; nothing was made.
        """
        application_rules.check(body)
        private_key, public_key = None, body.get("keys", {}).get("public_key")
        if not public_key:
            private_key, public_key = _key_pair()
        application = Application(str(uuid.uuid4()), _configured(body, public_key))
        with self._lock:
            self._keep({**self._all, application.id: application})
        return application, private_key

    def put(self, application_id: str, body: dict[str, Any]) -> Application:
        """Replace an application by `body` and return it.

        Only the public key outlives a body that has none (assumed: Vonage keeps the key pair too).

        Raises:
            KeyError: there is no such application.
            application_rules.InvalidApplication: a field is missing or wrong; nothing was changed.
        """
        application_rules.check(body)
        with self._lock:
            key = body.get("keys", {}).get("public_key") or self._all[application_id].public_key
            fresh = Application(application_id, _configured(body, key))
            self._keep({**self._all, application_id: fresh})
        return fresh

    def delete(self, application_id: str) -> None:
        """Delete an application.

        Raises:
            KeyError: there is no such application.
        """
        with self._lock:
            rest = dict(self._all)
            del rest[application_id]
            self._keep(rest)

    def _keep(self, applications: dict[str, Application]) -> None:
        kept = {"applications": {each.id: each.kept for each in applications.values()}}
        write_private(self._path, json.dumps(kept, indent=1))
        self._all = applications


def _configured(body: dict[str, Any], public_key: str) -> dict[str, Any]:
    return {
        "name": body["name"],
        "capabilities": body.get("capabilities", {}),
        "keys": {"public_key": public_key},
        "privacy": {"improve_ai": body.get("privacy", {}).get("improve_ai", False)},
    }


def _key_pair() -> tuple[str, str]:
    """A new RSA key pair: private (PKCS #8) and public (SubjectPublicKeyInfo), in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()
