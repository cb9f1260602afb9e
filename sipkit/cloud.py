"""The seam between live and sandbox: who answers our requests, and with which credentials.

A `Cloud` gives an `Account`; everything else in the kit works from the account and cannot tell
the two clouds apart. The live account is what `.env` says. The sandbox's account comes from the
sandbox process, which is started when it is needed.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from pydantic import SecretStr

from sipkit.errors import SandboxDidNotStart
from sipkit.sandbox import launcher
from sipkit.settings import Mode, Settings

LIVE_VIDEO_API = "https://api.opentok.com"
LIVE_VOICE_API = "https://api.nexmo.com"


@dataclass(frozen=True, slots=True)
class Account:
    """Where to send requests and how to sign them.

    Attributes:
        mode: ``sandbox`` or ``live``; only to be shown.
        video_api_url: Base URL of the video side's REST API.
        video_api_key: The video project.
        video_api_secret: Its secret.
        voice_api_url: Base URL of the voice side's REST API.
        voice_api_key: The account; also the SIP user name.
        voice_api_secret: Its secret; also the SIP password.
        application_id: The voice application, or empty if `.env` does not say.
        signature_secret: Signs the webhooks; empty if `.env` does not say.
        conference_number: The number to dial, E.164 digits.
        ca_file: A certificate authority to trust in place of the public ones, or None.
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
    conference_number: str
    ca_file: str | None = None

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

    def close(self) -> None:
        """Let go; safe to call twice."""
        ...


class LiveCloud:
    """Vonage itself, with the credentials of `.env`."""

    mode: Mode = "live"

    def __init__(self, settings: Settings) -> None:
        nothing = SecretStr("")
        self._account = Account(
            mode="live",
            video_api_url=LIVE_VIDEO_API,
            video_api_key=settings.video_api_key or "",
            video_api_secret=settings.video_api_secret or nothing,
            voice_api_url=LIVE_VOICE_API,
            voice_api_key=settings.voice_api_key or "",
            voice_api_secret=settings.voice_api_secret or nothing,
            application_id=settings.vonage_application_id or "",
            signature_secret=settings.signature_secret or nothing,
            conference_number=settings.conference_number or "",
        )

    def account(self) -> Account:
        """Return the account `.env` describes."""
        return self._account

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
        return Account(
            mode="sandbox",
            video_api_url=info.api_url,
            video_api_key=info.video_api_key,
            video_api_secret=SecretStr(info.video_api_secret),
            voice_api_url=info.https_url,
            voice_api_key=info.voice_api_key,
            voice_api_secret=SecretStr(info.voice_api_secret),
            application_id=info.application_id,
            signature_secret=SecretStr(info.signature_secret),
            conference_number=info.number,
            ca_file=info.ca_file,
        )

    def close(self) -> None:
        """Let go of the sandbox; it leaves by itself ten minutes after its last user."""
        with self._lock:
            hold, self._hold, self._info = self._hold, None, None
        if hold is not None:
            hold.close()

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
