"""Settings: `.env` and the environment in, one frozen object out.

No credentials means the sandbox. A whole set of credentials means the live account. Half a set
is an error that names the other half. `SIPKIT_MODE` overrides: `sandbox` ignores every
credential, so whatever `.env` holds, nothing can be billed.

A set is the account (key, secret, number) and one of Vonage's two video environments: OpenTok (a project's key
and secret) or unified (an application's id and private key). With both, VIDEO_ENVIRONMENT must say which.

Every name is accepted in capitals (`VIDEO_API_KEY`); the six names of the 2021 tutorial are
accepted as they were (`videoApiKey`). The environment wins over `.env`.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict

from sipkit import setting_forms as forms
from sipkit.errors import MissingCredential, SettingsError
from sipkit.phone_settings import PhoneSettings
from sipkit.pins import DEFAULT_LENGTH, MAX_LENGTH, MIN_LENGTH

Mode = Literal["sandbox", "live"]
VideoEnvironment = Literal["opentok", "unified"]
TunnelKind = Literal["ngrok", "ssh", "cloudflared", "static"]

ACCOUNT: Final = ("voice_api_key", "voice_api_secret", "conference_number")
VIDEO: Final = {
    "opentok": ("video_api_key", "video_api_secret"),
    "unified": ("vonage_application_id", "vonage_private_key"),
}
REQUIRED: Final = (*VIDEO["opentok"], *ACCOUNT)
"""Without any one of these, or of those of the unified environment, there is no live account to talk to."""

CREDENTIALS: Final = (*REQUIRED, *VIDEO["unified"], "signature_secret")
"""Any one of these means that the live account is wanted."""

API_URLS: Final = ("video_api_url", "voice_api_url", "account_api_url")

ANYBODY: Final = "yes, let anybody call my webhooks"
"""What ALLOW_UNSIGNED_WEBHOOKS must say; a mere "yes" is too easily written by mistake."""

_SHORT_NAMES: Final = {"mode": "sipkit_mode", "home": "sipkit_home", "store_url": "sipkit_store"}


def _tutorial(capital: str, camel: str) -> Any:
    return Field(None, validation_alias=AliasChoices(capital, camel))


class Settings(PhoneSettings):
    """All settings. Build it with `Settings.load()`, which also finds `.env` and the data folder.

    Those of phones are described at `PhoneSettings`.

    Attributes:
        video_api_key: The video project's API key.
        video_api_secret: Its secret.
        voice_api_key: The *account's* API key (not an application's); also the SIP user name.
        voice_api_secret: Its secret; also the SIP password.
        conference_number: The number that phones and the bridge dial; E.164 digits without ``+``.
        video_environment: Which of the two video environments is meant; None: the one whose credentials are
            there, and OpenTok in the sandbox.
        vonage_application_id: The voice application to point at the webhook server; for the unified environment
            it is the video project, too.
        vonage_private_key: The application's private key (PKCS #8 PEM); given as text or as a path.
        signature_secret: The account's signature secret, which signs the webhooks. The webhook server needs it;
            rooms and tokens do not.
        allow_unsigned_webhooks: Live, the webhook server starts without a signature secret only if this says so
            in the words of `ANYBODY`.
        server_url: A public address that leads to `webhook_port`, if there is one already. In the sandbox only
            an address of this machine counts, and only for a server started by hand.
        tunnel: Which way a public address is made; None: `server_url` if there is one, else ngrok.
        ngrok_authtoken: For ngrok's tunnel.
        ssh_tunnel: user@host or user@host:port of the SSH relay, for the tunnel of that kind.
        call_prefixes: Country prefixes that direct calls may go to, as digits with a space between; None: the
            country of the conference number.
        video_api_url: The video side's API at another address than Vonage's own.
        voice_api_url: The voice side's, likewise.
        account_api_url: The account's (numbers, balance), likewise.
        api_ca_file: A certificate authority those addresses are trusted by, in place of the public ones.
        pin_length: Digits of a room's PIN, 4 to 10.
        pin_hours: Hours after which a room's PIN expires; 0: with the room.
        room_size: Phones that one room takes; the platform takes 50 legs, of which the bridge is one.
        guard_no_browser: Minutes without anybody in the session with a browser after which a call is hung up; 0: never.
        guard_nobody: Minutes without a browser and without a phone, likewise.
        guard_longest: Minutes that a call may last, likewise.
        room_budget: What a room may cost before its call is hung up, in each currency on its own; 0: anything.
        price_table: A TOML file with prices in place of those of `sipkit.prices`.
        guard_process: Whether a small process watches beside the webhook server while a call is up.
        sipkit_store: Where rooms are kept, as an SQLAlchemy URL (it may hold a password); see `store_url`.
        webhook_port: Port of the webhook server on 127.0.0.1; 0 takes any free one.
        project_root: The folder that `.env` and relative paths belong to.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    project_root: Path = Field(default_factory=Path.cwd, validation_alias="SIPKIT_PROJECT_ROOT")
    sipkit_mode: Annotated[Mode | None, forms.Word] = None
    sipkit_home: Path | None = None
    sipkit_store: SecretStr | None = Field(None, validation_alias=AliasChoices("SIPKIT_STORE", "SIPKIT_STORE_URL"))

    video_environment: Annotated[VideoEnvironment | None, forms.Word] = None
    video_api_key: forms.Text = _tutorial("VIDEO_API_KEY", "videoApiKey")
    video_api_secret: forms.Secret = _tutorial("VIDEO_API_SECRET", "videoApiSecret")
    voice_api_key: forms.Text = _tutorial("VOICE_API_KEY", "voiceApiKey")
    voice_api_secret: forms.Secret = _tutorial("VOICE_API_SECRET", "voiceApiSecret")
    conference_number: forms.Number = _tutorial("CONFERENCE_NUMBER", "conferenceNumber")
    vonage_application_id: forms.Text = None
    vonage_private_key: forms.PrivateKey = None
    signature_secret: forms.Secret = None
    allow_unsigned_webhooks: forms.Text = None

    tunnel: Annotated[TunnelKind | None, forms.Word] = None
    server_url: forms.Address = _tutorial("SERVER_URL", "serverUrl")
    ngrok_authtoken: forms.Secret = None
    ssh_tunnel: forms.Text = None
    pin_length: int = Field(DEFAULT_LENGTH, ge=MIN_LENGTH, le=MAX_LENGTH)
    pin_hours: float = Field(24.0, ge=0, le=24 * 365, allow_inf_nan=False)
    room_size: int = Field(49, ge=1, le=49)
    guard_no_browser: float = Field(15.0, ge=0, le=360, allow_inf_nan=False)
    guard_nobody: float = Field(5.0, ge=0, le=360, allow_inf_nan=False)
    guard_longest: float = Field(180.0, ge=0, le=360, allow_inf_nan=False)
    guard_process: bool = True
    room_budget: float = Field(0.0, ge=0, le=10_000, allow_inf_nan=False)
    price_table: forms.PriceTable = None
    webhook_port: int = Field(0, ge=0, le=65535)
    call_prefixes: forms.Prefixes = None
    video_api_url: forms.ApiAddress = None
    voice_api_url: forms.ApiAddress = None
    account_api_url: forms.ApiAddress = None
    api_ca_file: forms.ExistingFile = None

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read `.env` and the environment, and check that they make sense together.

        Args:
            **overrides: Values that win over both, by attribute name (``pin_length=6``, ``mode="sandbox"``).

        Raises:
            MissingCredential: If some but not all credentials of the live account are there.
            SettingsError: If a value cannot be used. The text names the setting, never its value.
        """
        overrides = {_SHORT_NAMES.get(name, name): value for name, value in overrides.items()}
        unknown = sorted(overrides.keys() - cls.model_fields.keys())
        if unknown:
            raise SettingsError(f"There is no setting called {', '.join(unknown)}.")
        given_root = overrides.pop("project_root", None) or os.environ.get("SIPKIT_PROJECT_ROOT")
        root = Path(given_root).expanduser().resolve() if given_root else find_project_root(Path.cwd())
        env_file = root / ".env"
        try:
            settings = cls(**{**overrides, "project_root": root, "_env_file": env_file})
        except ValidationError as error:
            # The library's text would be fine today (inputs are hidden); ours is short and stays so.
            raise SettingsError(_explain(error)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{env_file} cannot be read ({type(error).__name__}).") from None
        settings._require_whole_set()
        return settings

    @property
    def mode(self) -> Mode:
        """``live`` when credentials are given, ``sandbox`` otherwise, unless SIPKIT_MODE says which."""
        if self.sipkit_mode is not None:
            return self.sipkit_mode
        return "live" if any(getattr(self, name) for name in CREDENTIALS) else "sandbox"

    @property
    def chosen_environment(self) -> VideoEnvironment:
        """The video environment in use: as VIDEO_ENVIRONMENT says, else the one whose credentials are there."""
        if self.video_environment is not None:
            return self.video_environment
        opentok, unified = (any(getattr(self, name) for name in VIDEO[each]) for each in ("opentok", "unified"))
        return "unified" if unified and not opentok and self.vonage_private_key is not None else "opentok"

    @property
    def video_project(self) -> str:
        """The live account's video project: an API key, or an application's id; empty in the sandbox."""
        return getattr(self, VIDEO[self.chosen_environment][0]) or ""

    @property
    def platform_is_local(self) -> bool:
        """True if who answers is on this machine: the sandbox, or a stand-in that is asked as if it were live."""
        urls = [url for name in API_URLS if (url := getattr(self, name))]
        return self.mode == "sandbox" or any(forms.loopback(urlsplit(url).hostname or "") for url in urls)

    @property
    def unsigned_webhooks_allowed(self) -> bool:
        """True if the settings let anybody call the webhooks, in so many words."""
        return (self.allow_unsigned_webhooks or "").strip(" .").casefold() == ANYBODY

    @property
    def home(self) -> Path:
        """The data folder, absolute: SIPKIT_HOME, or `.sipkit` in the project root."""
        return (self.project_root / (self.sipkit_home or Path(".sipkit")).expanduser()).resolve()

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store; a SQLite file in the data folder unless told otherwise."""
        if self.sipkit_store is not None:
            return self.sipkit_store.get_secret_value()
        return f"sqlite:///{self.home / 'sipkit.db'}"

    def child_environ(self) -> dict[str, str]:
        """Return a whole environment for a child process that shall load these same settings.

        Paths are absolute, so the child may run in any folder. It holds secrets, as any environment
        with credentials does: hand it to `subprocess`, show it to nobody.
        """
        known = {_flat(name) for field in type(self).model_fields for name in (field, f"sipkit_{field}")}
        environ = {name: value for name, value in os.environ.items() if _flat(name) not in known}
        environ.update(self._plain())
        environ["SIPKIT_PROJECT_ROOT"] = str(self.project_root)
        return environ

    def fingerprint(self) -> str:
        """Return a digest that changes when any setting does; tells a stale server from a fresh one."""
        return hashlib.sha256(json.dumps(self._plain(), sort_keys=True).encode()).hexdigest()[:32]

    def _plain(self) -> dict[str, str]:
        """Every given value by its name in capitals, secrets in the clear, folder and mode as resolved."""
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "project_root"}
        values |= {"sipkit_home": self.home, "sipkit_mode": self.mode}
        return {
            name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
            if value is not None
        }

    def _require_whole_set(self) -> None:
        """Raise MissingCredential when only some of the live account's credentials are there."""
        if self.mode == "sandbox":
            return
        whole = [name for name, needed in VIDEO.items() if all(getattr(self, each) for each in needed)]
        if self.video_environment is None and len(whole) > 1:
            names = " and ".join(", ".join(each.upper() for each in VIDEO[name]) for name in whole)
            raise SettingsError(
                f"There are credentials of both video environments ({names}).",
                "Set VIDEO_ENVIRONMENT=opentok or VIDEO_ENVIRONMENT=unified in .env: sessions of one mean nothing "
                "in the other.",
            )
        wanted = VIDEO[self.chosen_environment]
        missing = [name.upper() for name in (*wanted, *ACCOUNT) if not getattr(self, name)]
        if missing:
            given = [name.upper() for name in CREDENTIALS if getattr(self, name)]
            because = f" ({', '.join(given)} is there)" if given else ""
            raise MissingCredential(f"The live account also needs {', '.join(missing)}{because}.")

    def __repr__(self) -> str:
        return f"Settings(mode={self.mode!r}, pin_length={self.pin_length})"

    __str__ = __repr__

    @model_validator(mode="before")
    @classmethod
    def _forget_credentials_in_sandbox(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Drop every credential before it is even checked when the sandbox is forced."""
        mode = next((value for name, value in values.items() if _flat(name) == "sipkitmode"), None)
        if not isinstance(mode, str) or mode.strip().lower() != "sandbox":
            return values
        ignored = {_flat(name) for name in CREDENTIALS}
        return {name: value for name, value in values.items() if _flat(name) not in ignored}


def find_project_root(start: Path) -> Path:
    """Return the folder the project lives in: the first, upward from `start`, that looks like one.

    Kernels start in `notebooks/`, tests in temporary folders, so the working directory says little.
    A folder looks like the project when it holds `.env`, or `webhook_server.py` beside `sipkit`.
    Without any, it is the checkout this package was imported from, or else `start` itself.
    """
    package_root = Path(__file__).resolve().parent.parent
    start = start.resolve()
    for folder in (start, *start.parents, package_root):
        if (folder / ".env").is_file():
            return folder
        if (folder / "webhook_server.py").is_file() and (folder / "sipkit").is_dir():
            return folder
    return start


def _flat(name: str) -> str:
    """Make ``VIDEO_API_KEY``, ``video_api_key`` and ``videoApiKey`` the same."""
    return name.lower().replace("_", "")


def _explain(error: ValidationError) -> str:
    """Say which settings are wrong and why, without what they were."""
    reasons = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(item["loc"][0]) if item["loc"] else "settings"
        reason = item["msg"].removeprefix("Value error, ").rstrip(".")
        reasons.append(f"{_capital(name)}: {reason}")
    return f"{'; '.join(reasons)}."


def _capital(name: str) -> str:
    """Return the setting's name in capitals, whichever of its names was used."""
    flat = _flat(name)
    return next((field.upper() for field in Settings.model_fields if _flat(field) == flat), name)
