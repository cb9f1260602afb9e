"""The sandbox's home: the folder in which its identity survives restarts.

The credentials, the certificate authority, the application's key and the ports are made once and kept, so
the sandbox can come and go under a learner's rooms. Every file is private (0600) in a private folder (0700).
"""

import json
import secrets
import string
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sipkit.sandbox.files import FileLock, LockTimeout, private_folder, write_private
from sipkit.sandbox.processes import birth_mark

NUMBER = "12025550100"
"""The conference number: 555-01xx is reserved for fiction (North American Numbering Plan)."""

# The names the TLS certificate is good for: this machine, and the SIP hosts that the sandbox answers for
# (Vonage's SIP documents; a wildcard covers one label only, RFC 6125 section 6.4.3).
CERTIFICATE_NAMES = (
    "localhost",
    "127.0.0.1",
    "sip.nexmo.com",
    "*.nexmo.com",
    "*.vonage.com",
    "*.sip-us.vonage.com",
    "*.sip-eu.vonage.com",
    "*.sip-ap.vonage.com",
)

MAX_PORT = 65535


class HomeError(Exception):
    """The home folder cannot be used; the text says what to do."""


class HomeBusy(HomeError):
    """Another sandbox serves from this home."""


@dataclass(frozen=True)
class Credentials:
    """Everything a client of this sandbox must know to be let in. Secrets never show in the repr.

    Attributes:
        video_api_key: 8 digits, as an OpenTok project's.
        video_api_secret: without a dot: opentok takes a dotted secret for the path of a key file.
        voice_api_key: 8 hex digits, as a Vonage account's.
        signature_secret: signs the webhooks (HS256 needs 32 bytes or more, RFC 7518 section 3.2).
        carrier_user: digest user of the phones' legs, with `carrier_password`.
        number: the number callers dial, E.164 without the plus.
    """

    video_api_key: str
    video_api_secret: str = field(repr=False)
    voice_api_key: str
    voice_api_secret: str = field(repr=False)
    application_id: str
    signature_secret: str = field(repr=False)
    carrier_user: str
    carrier_password: str = field(repr=False)
    number: str = NUMBER

    @classmethod
    def new(cls) -> "Credentials":
        """Draw fresh credentials in the vendor's forms."""
        alphanumeric = string.ascii_letters + string.digits
        return cls(
            video_api_key=str(secrets.randbelow(90_000_000) + 10_000_000),
            video_api_secret=secrets.token_hex(20),
            voice_api_key=secrets.token_hex(4),
            voice_api_secret="".join(secrets.choice(alphanumeric) for _ in range(20)),
            application_id=str(uuid.uuid4()),
            signature_secret=secrets.token_hex(32),
            carrier_user=f"carrier-{secrets.token_hex(4)}",
            carrier_password=secrets.token_hex(16),
        )


@dataclass(frozen=True)
class Home:
    """An open home folder. Make one with `Home.open`."""

    path: Path
    credentials: Credentials

    @classmethod
    def open(cls, path: Path | str) -> "Home":
        """Create the home at `path`, or load the one that is there; two processes at once get the same.

        Raises:
            HomeError: the folder cannot be written, or its credentials are unreadable.
        """
        try:
            folder = private_folder(Path(path))
            with FileLock(folder / "home.lock"):
                home = cls(folder, _load_credentials(folder / "credentials.json"))
                home._make_certificates()
                home._make_private_key()
        except OSError as error:
            raise HomeError(f"cannot use {path} as the sandbox's home: {error.strerror or error}") from error
        return home

    @property
    def ca_file(self) -> Path:
        """The sandbox's certificate authority (PEM), for clients to trust."""
        return self.path / "ca.pem"

    @property
    def cert_file(self) -> Path:
        """The server's certificate chain (PEM), good for `CERTIFICATE_NAMES`."""
        return self.path / "server-cert.pem"

    @property
    def key_file(self) -> Path:
        """The server certificate's private key (PEM)."""
        return self.path / "server-key.pem"

    @property
    def private_key_file(self) -> Path:
        """The Vonage application's private key (RSA 2048, PKCS #8 PEM)."""
        return self.path / "private.key"

    @property
    def application_file(self) -> Path:
        """Where the application's configuration is kept."""
        return self.path / "application.json"

    @property
    def account_file(self) -> Path:
        """Where the account's numbers and balance are kept."""
        return self.path / "account.json"

    @property
    def sessions_file(self) -> Path:
        """Where the created sessions are kept, one JSON line each."""
        return self.path / "sessions.jsonl"

    @property
    def state_file(self) -> Path:
        """Where a serving sandbox tells how to reach it."""
        return self.path / "sandbox.json"

    def public_key(self) -> str:
        """The public half of the application's key (SubjectPublicKeyInfo PEM)."""
        key = serialization.load_pem_private_key(self.private_key_file.read_bytes(), password=None)
        return (
            key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def load_ports(self) -> dict[str, int]:
        """The ports of the last run by name; empty when there was none (a restart tries them again)."""
        try:
            ports = json.loads((self.path / "ports.json").read_text())
        except (OSError, ValueError):
            return {}  # only a wish: without it the system chooses
        if not isinstance(ports, dict):
            return {}
        return {name: port for name, port in ports.items() if type(port) is int and 0 < port <= MAX_PORT}

    def save_ports(self, ports: dict[str, int]) -> None:
        """Keep the ports in use for the next run."""
        write_private(self.path / "ports.json", json.dumps(ports))

    @contextmanager
    def claim(self, *, timeout: float = 10.0) -> Iterator[None]:
        """Hold the right to serve from this home: `with home.claim(): ...`. It ends with the process too.

        Waits `timeout` seconds for a predecessor that is just leaving.

        Raises:
            HomeBusy: another sandbox keeps serving from this home.
        """
        with ExitStack() as held:
            try:
                held.enter_context(FileLock(self.path / "serving.lock", timeout=timeout))
            except LockTimeout:
                raise HomeBusy(f"another sandbox serves from {self.path}; use another home") from None
            yield

    def publish(self, line: dict[str, Any], *, instance: str, pid: int) -> None:
        """Tell launchers how to reach this process: the line it prints, plus its identity."""
        state = {**line, "pid": pid, "create_time": birth_mark(pid), "instance": instance}
        write_private(self.state_file, json.dumps(state))

    def withdraw(self, instance: str) -> None:
        """Remove the state file, if it is still that of `instance`."""
        try:
            if json.loads(self.state_file.read_text()).get("instance") == instance:
                self.state_file.unlink()
        except (OSError, ValueError, AttributeError):
            return  # gone, or not ours to judge

    def _make_certificates(self) -> None:
        """Issue the authority and the server's certificate, unless good ones are there.

        The authority's own key is thrown away at once: nobody can ever sign a second certificate with it.
        """
        if self.ca_file.exists() and self.key_file.exists() and _still_good(self.cert_file):
            return
        authority = trustme.CA(organization_name="sipkit sandbox")
        server = authority.issue_cert(*CERTIFICATE_NAMES, organization_name="sipkit sandbox")
        write_private(self.key_file, server.private_key_pem.bytes())
        write_private(self.ca_file, authority.cert_pem.bytes())
        # Written last: a crash before this line makes the next start issue all three again.
        write_private(self.cert_file, b"".join(part.bytes() for part in server.cert_chain_pems))

    def _make_private_key(self) -> None:
        if self.private_key_file.exists():
            return
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(self.private_key_file, pem)


def _load_credentials(path: Path) -> Credentials:
    if not path.exists():
        credentials = Credentials.new()
        write_private(path, json.dumps(asdict(credentials), indent=1))
        return credentials
    try:
        kept = json.loads(path.read_text())
        return Credentials(**{each.name: str(kept[each.name]) for each in fields(Credentials)})
    except (ValueError, KeyError, TypeError):
        # Never drawn anew silently: every session id and token of the learner's rooms hangs on them.
        raise HomeError(f"{path} is damaged; delete the folder {path.parent} to start afresh") from None


def _still_good(path: Path) -> bool:
    """Is the certificate there, valid for another month, and good for every name we answer for?"""
    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    in_a_month = datetime.now(UTC) + timedelta(days=30)
    return held >= set(CERTIFICATE_NAMES) and certificate.not_valid_after_utc > in_a_month
