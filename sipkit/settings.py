"""Settings: `.env` and the environment in, one frozen object out.

No credentials means the sandbox. A whole set of credentials means the live account. Half a set
is an error that names the other half. `SIPKIT_MODE` overrides: `sandbox` ignores every
credential, so whatever `.env` holds, nothing can be billed.

Every name is accepted in capitals (`VIDEO_API_KEY`); the six names of the 2021 tutorial are
accepted as they were (`videoApiKey`). The environment wins over `.env`.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sipkit.errors import MissingCredential, SettingsError

Mode = Literal["sandbox", "live"]

REQUIRED: Final = (
    "video_api_key",
    "video_api_secret",
    "voice_api_key",
    "voice_api_secret",
    "conference_number",
)
"""Without any one of these there is no live account to talk to."""

CREDENTIALS: Final = (*REQUIRED, "vonage_application_id", "vonage_private_key", "signature_secret")
"""Any one of these means that the live account is wanted."""

_SHORT_NAMES: Final = {"mode": "sipkit_mode", "home": "sipkit_home", "store_url": "sipkit_store_url"}


def _tutorial(capital: str, camel: str) -> AliasChoices:
    return AliasChoices(capital, camel)


class Settings(BaseSettings):
    """All settings. Build it with `Settings.load()`, which also finds `.env` and the data folder.

    Attributes:
        video_api_key: The video project's API key.
        video_api_secret: Its secret.
        voice_api_key: The *account's* API key (not an application's); also the SIP user name.
        voice_api_secret: Its secret; also the SIP password.
        conference_number: The number that phones and the bridge dial; E.164 digits without ``+``.
        vonage_application_id: The voice application to point at the webhook server.
        vonage_private_key: The application's private key. Nothing uses it yet: it belongs to the unified
            Vonage Video environment, which is not supported.
        signature_secret: The account's signature secret, which signs the webhooks. The webhook server needs it;
            rooms and tokens do not.
        server_url: A public address that leads to `webhook_port`, if there is one already. In the sandbox only
            an address of this machine counts, and only for a server started by hand.
        ngrok_authtoken: For the tunnel, when there is no such address.
        pin_length: Digits of a PIN, 4 to 10.
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

    sipkit_mode: Mode | None = None
    sipkit_home: Path | None = None
    sipkit_store_url: SecretStr | None = None

    video_api_key: str | None = Field(None, validation_alias=_tutorial("VIDEO_API_KEY", "videoApiKey"))
    video_api_secret: SecretStr | None = Field(None, validation_alias=_tutorial("VIDEO_API_SECRET", "videoApiSecret"))
    voice_api_key: str | None = Field(None, validation_alias=_tutorial("VOICE_API_KEY", "voiceApiKey"))
    voice_api_secret: SecretStr | None = Field(None, validation_alias=_tutorial("VOICE_API_SECRET", "voiceApiSecret"))
    conference_number: str | None = Field(None, validation_alias=_tutorial("CONFERENCE_NUMBER", "conferenceNumber"))
    vonage_application_id: str | None = None
    vonage_private_key: SecretStr | None = None
    signature_secret: SecretStr | None = None

    server_url: str | None = Field(None, validation_alias=_tutorial("SERVER_URL", "serverUrl"))
    ngrok_authtoken: SecretStr | None = None
    pin_length: int = Field(4, ge=4, le=10)
    webhook_port: int = Field(0, ge=0, le=65535)
    project_root: Path = Field(default_factory=Path.cwd, validation_alias="SIPKIT_PROJECT_ROOT")

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
    def home(self) -> Path:
        """The data folder, absolute: SIPKIT_HOME, or `.sipkit` in the project root."""
        return (self.project_root / (self.sipkit_home or Path(".sipkit")).expanduser()).resolve()

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store; a SQLite file in the data folder unless told otherwise."""
        if self.sipkit_store_url is not None:
            return self.sipkit_store_url.get_secret_value()
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
        missing = [name.upper() for name in REQUIRED if not getattr(self, name)]
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

    @field_validator("sipkit_mode", mode="before")
    @classmethod
    def _mode_in_any_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("video_api_key", "voice_api_key", "vonage_application_id")
    @classmethod
    def _without_space(cls, value: str | None) -> str | None:
        return value.strip() or None if value is not None else None

    @field_validator("video_api_secret", "voice_api_secret", "signature_secret", "ngrok_authtoken")
    @classmethod
    def _secret_without_space(cls, value: SecretStr | None) -> SecretStr | None:
        stripped = value.get_secret_value().strip() if value is not None else ""
        return SecretStr(stripped) if stripped else None

    @field_validator("conference_number")
    @classmethod
    def _e164_digits(cls, value: str | None) -> str | None:
        """Accept ``+1 (202) 555-0100`` as people write it; keep ``12025550100`` (ITU-T E.164)."""
        if value is None:
            return None
        digits = re.sub(r"[\s().-]", "", value).removeprefix("+")
        if not re.fullmatch(r"[1-9][0-9]{6,14}", digits):
            raise ValueError("must be a whole international number, such as 12025550100 (7 to 15 digits)")
        return digits

    @field_validator("server_url")
    @classmethod
    def _address_without_path(cls, value: str | None) -> str | None:
        if value is None:
            return None
        rule = "must be http:// or https:// and a host, without path, query or password"
        try:
            parts = urlsplit(value.strip())
            host, _port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(rule) from None
        plain = not (parts.query or parts.fragment or parts.username or parts.password)
        if parts.scheme not in {"http", "https"} or not host or parts.path not in {"", "/"} or not plain:
            raise ValueError(rule)
        return f"{parts.scheme}://{parts.netloc}"


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
