"""The seam between live and sandbox: who answers our requests, and with which credentials.

A `Cloud` gives an `Account`; everything else in the kit works from the account and cannot tell
the two clouds apart. The live account is what `.env` says. The sandbox's account comes from the
sandbox process, which is started when it is needed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from pydantic import SecretStr

from sipkit.errors import SandboxDidNotStart, SandboxError
from sipkit.sandbox import launcher
from sipkit.settings import Mode, Settings, VideoEnvironment

LIVE_VIDEO_API: Final[Mapping[VideoEnvironment, str]] = {
    "opentok": "https://api.opentok.com",
    "unified": "https://video.api.vonage.com",
}
LIVE_VOICE_API: Final = "https://api.nexmo.com"
LIVE_ACCOUNT_API: Final = "https://rest.nexmo.com"

_NOTHING: Final = SecretStr("")


@dataclass(frozen=True, slots=True)
class Account:
    """Where to send requests and how to sign them.

    Attributes:
        mode: ``sandbox`` or ``live``; only to be shown.
        video_api_url: Base URL of the video side's REST API.
        video_api_key: The video project: an OpenTok project's key, or the id of a unified application.
        video_api_secret: The OpenTok project's secret; empty in the unified environment, which signs with the
            application's private key.
        voice_api_url: Base URL of the voice side's REST API.
        voice_api_key: The account; also the SIP user name.
        voice_api_secret: Its secret; also the SIP password.
        application_id: The voice application, or empty if `.env` does not say. The unified environment's video
            project is the same application.
        signature_secret: Signs the webhooks; empty if `.env` does not say.
        conference_number: The number to dial, E.164 digits.
        ca_file: A certificate authority to trust in place of the public ones, or None.
        video_environment: Which of the two video environments it is.
        private_key: The application's private key (PKCS #8 PEM); empty if `.env` does not say.
        account_api_url: Base URL of the account's REST API: numbers, balance.
        browser_url: Where browsers load the video script and reach the video side; empty: the vendor's own.
    """

    mode: Mode
    video_api_url: str
    video_api_key: str
    video_api_secret: SecretStr
    voice_api_url: str
    voice_api_key: str
    voice_api_secret: SecretStr
    application_id: str
    signature_secret: SecretStr
    conference_number: str = field(repr=False)
    ca_file: str | None = None
    video_environment: VideoEnvironment = "opentok"
    private_key: SecretStr = _NOTHING
    account_api_url: str = LIVE_ACCOUNT_API
    browser_url: str = ""

    @property
    def environment(self) -> str:
        """Which cloud and project: sessions, and so rooms, of one mean nothing in another."""
        return f"{self.mode}:{self.video_api_key}"


class Cloud(Protocol):
    """Gives the account to work with, and keeps whatever stands behind it alive."""

    @property
    def mode(self) -> Mode:
        """``sandbox`` or ``live``."""
        ...

    def account(self) -> Account:
        """Return the account; cheap when everything is up, so ask each time instead of keeping it."""
        ...

    def check(self, ask: Callable[[], object]) -> None:
        """Make sure that whoever answers is there, without starting it.

        Args:
            ask: Asks the platform for something small, where nothing on this machine tells.

        Raises:
            SandboxError: The sandbox has ended.
            PlatformError: As `ask` raises.
        """
        ...

    def close(self) -> None:
        """Let go; safe to call twice."""
        ...


class LiveCloud:
    """Vonage itself, with the credentials of `.env`."""

    mode: Mode = "live"

    def __init__(self, settings: Settings) -> None:
        unified = settings.chosen_environment == "unified"
        self._account = Account(
            mode="live",
            video_api_url=settings.video_api_url or LIVE_VIDEO_API[settings.chosen_environment],
            video_api_key=settings.video_project,
            video_api_secret=_NOTHING if unified else settings.video_api_secret or _NOTHING,
            voice_api_url=settings.voice_api_url or LIVE_VOICE_API,
            voice_api_key=settings.voice_api_key or "",
            voice_api_secret=settings.voice_api_secret or _NOTHING,
            application_id=settings.vonage_application_id or "",
            signature_secret=settings.signature_secret or _NOTHING,
            conference_number=settings.conference_number or "",
            ca_file=None if settings.api_ca_file is None else str(settings.api_ca_file),
            video_environment=settings.chosen_environment,
            private_key=settings.vonage_private_key or _NOTHING,
            account_api_url=settings.account_api_url or LIVE_ACCOUNT_API,
            browser_url=settings.video_api_url if settings.video_api_url and settings.platform_is_local else "",
        )

    def account(self) -> Account:
        """Return the account `.env` describes."""
        return self._account

    def check(self, ask: Callable[[], object]) -> None:
        """Ask Vonage."""
        ask()

    def close(self) -> None:
        """Do nothing: Vonage needs no letting go."""


class SandboxCloud:
    """The stand-in for Vonage on this machine, started when first needed.

    Args:
        settings: Say where the data folder is.
        hold: Keep the sandbox running while this object is open. A webhook server passes False,
            for it must not keep the sandbox alive after the last notebook is gone.
    """

    mode: Mode = "sandbox"

    def __init__(self, settings: Settings, *, hold: bool = True) -> None:
        self._home = settings.home / "sandbox"
        self._environment = settings.chosen_environment
        self._wants_hold = hold
        self._hold: launcher.Hold | None = None
        self._info: launcher.SandboxInfo | None = None
        self._lock = Lock()

    def account(self) -> Account:
        """Return the sandbox's account, starting the sandbox if it is not there (any more).

        Raises:
            SandboxDidNotStart: If it cannot be started.
        """
        with self._lock:
            info = self._living()
        unified = self._environment == "unified"
        return Account(
            mode="sandbox",
            # Vonage's SDK of the unified environment speaks https only.
            video_api_url=info.https_url if unified else info.api_url,
            video_api_key=info.application_id if unified else info.video_api_key,
            video_api_secret=_NOTHING if unified else SecretStr(info.video_api_secret),
            voice_api_url=info.https_url,
            voice_api_key=info.voice_api_key,
            voice_api_secret=SecretStr(info.voice_api_secret),
            application_id=info.application_id,
            signature_secret=SecretStr(info.signature_secret),
            conference_number=info.number,
            ca_file=info.ca_file,
            video_environment=self._environment,
            private_key=self._private_key(info),
            account_api_url=info.https_url,
            # Over http, for no browser trusts the sandbox's own certificate authority.
            browser_url=info.api_url,
        )

    def check(self, ask: Callable[[], object]) -> None:  # noqa: ARG002 - its own health is asked, which no trace shows
        """Look whether the sandbox that was here is here.

        Raises:
            SandboxError: It has ended, or does not answer.
        """
        hold, info = self._hold, self._info
        if hold is None or info is None:
            return
        if not hold.alive:
            fix = "It is started anew when it is needed: dial out again."
            raise SandboxError("The sandbox has ended, and with it every call in it.", fix)
        if not launcher.healthy(info):
            raise SandboxError("The sandbox does not answer.")

    def close(self) -> None:
        """Let go of the sandbox; it leaves by itself ten minutes after its last user."""
        with self._lock:
            hold, self._hold, self._info = self._hold, None, None
        if hold is not None:
            hold.close()

    @staticmethod
    def _private_key(info: launcher.SandboxInfo) -> SecretStr:
        try:
            return SecretStr(Path(info.private_key_file).read_text(encoding="ascii"))
        except OSError as error:
            raise SandboxDidNotStart(f"The sandbox's application key cannot be read: {error.strerror}") from None

    def _living(self) -> launcher.SandboxInfo:
        """Return a sandbox that answers; the open hold is the proof, so that asking again costs nothing."""
        if self._info is not None and self._hold is not None and self._hold.alive:
            return self._info
        try:
            info = launcher.ensure(self._home)
            if self._wants_hold:
                if self._hold is not None:
                    self._hold.close()
                self._hold = launcher.hold(info)
        except (launcher.SandboxStartError, OSError) as error:
            raise SandboxDidNotStart(f"The sandbox did not start: {error}") from error
        self._info = info
        return info


def cloud_for(settings: Settings, *, hold: bool = True) -> Cloud:
    """Return the cloud these settings ask for.

    Args:
        settings: Their mode decides.
        hold: See `SandboxCloud`; means nothing live.
    """
    return LiveCloud(settings) if settings.mode == "live" else SandboxCloud(settings, hold=hold)
