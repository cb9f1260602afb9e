"""Who is examined: settings and account, and the platform's answers, each asked for once.

Several checks look at the same answer (the application, the numbers). Whoever comes first asks; the others wait
for that very answer, so that a whole examination costs the platform one request of each kind.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

from sipkit.cloud import Account
from sipkit.numbers import OwnedNumber, owned_number
from sipkit.refusals import proxies_for
from sipkit.server_state import ServerState
from sipkit.settings import Settings
from sipkit.video import VideoPlatform
from sipkit.video_platform import video_platform

PATIENCE: Final = (2.0, 3.0)
"""Seconds to connect, and seconds of silence: an examination shall end within five."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API answered.

    Attributes:
        status: HTTP status; 0 if no usable answer came.
        body: The JSON object; empty if there was none.
        skew: Seconds this machine's clock is ahead of the answer's `Date` header (RFC 9110, 6.6.1), which counts
            whole seconds; None without such a header.
    """

    status: int
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    skew: float | None = None

    @property
    def good(self) -> bool:
        """Whether what was asked for is in `body`."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def refused(self) -> bool:
        """Whether the credentials were not accepted."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

    @property
    def saw(self) -> str:
        """What became of the request, in words."""
        return f"it answered HTTP {self.status}" if self.status else "no usable answer came"


class Patient:
    """What the checks look at.

    Args:
        settings: As loaded from `.env` and the environment.
        account: The cloud's account.
        public_url: Where the webhook server is said to be reachable, if it runs; None if nobody knows.
        clock: This machine's clock, seconds since 1970.
    """

    def __init__(
        self, settings: Settings, account: Account, public_url: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.account = account
        self.public_url = public_url
        self.clock = clock
        self._answers: dict[str, Future[Any]] = {}
        self._turn = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether calls are billed."""
        return self.account.mode == "live"

    def server(self) -> ServerState | None:
        """The webhook server of this data folder; None unless it answers."""
        return self.once("server", self._server)

    def application(self) -> Answer:
        """The voice application (Application API v2)."""
        path = f"/v2/applications/{self.account.application_id}"
        return self.once("application", lambda: self.ask(self.account.voice_api_url, path))

    def voice(self) -> dict[str, Any]:
        """The application's voice capability; empty where there is none."""
        capabilities = self.application().body.get("capabilities")
        voice = capabilities.get("voice") if isinstance(capabilities, dict) else None
        return voice if isinstance(voice, dict) else {}

    def balance(self) -> Answer:
        """The account's balance (Account API)."""
        return self.once("balance", lambda: self.ask(self.account.account_api_url, "/account/get-balance"))

    def pricing(self, country: str) -> Answer:
        """What an outbound call to a country costs (Pricing API); `country` is its two letters (ISO 3166-1)."""
        path = "/account/get-pricing/outbound/voice"
        return self.once("pricing", lambda: self.ask(self.account.account_api_url, path, {"country": country}))

    def number(self) -> OwnedNumber | None:
        """The conference number as the account has it; None if it has none.

        Raises:
            SipkitError: It could not be found out.
        """
        return self.once("number", lambda: owned_number(self.account, self.account.conference_number))

    def video(self) -> VideoPlatform:
        """The video side, as the rooms use it."""
        return video_platform(self.account)

    def once(self, name: str, get: Callable[[], T]) -> T:
        """Give what `get` gave to whoever asked for `name` first."""
        with self._turn:
            known = self._answers.get(name)
            mine = known is None
            future: Future[Any] = Future() if known is None else known
            self._answers[name] = future
        if mine:
            try:
                future.set_result(get())
            except Exception as error:  # noqa: BLE001 - it is raised where the result is read, below
                future.set_exception(error)
        result: T = future.result()
        return result

    def ask(self, base: str, path: str, query: dict[str, str] | None = None, bearer: str | None = None) -> Answer:
        """GET something with the account's key and secret, or with a token; never raises.

        Args:
            base: The API's address.
            path: What is asked for.
            query: The query parameters.
            bearer: A token to show in place of the key and secret.
        """
        import requests

        address = f"{base.rstrip('/')}{path}"
        basic = (self.account.voice_api_key, self.account.voice_api_secret.get_secret_value())
        try:
            answer = requests.get(
                address,
                params=query,
                auth=None if bearer else basic,
                headers={"Authorization": f"Bearer {bearer}"} if bearer else None,
                verify=self.account.ca_file or True,
                proxies=proxies_for(address),
                timeout=PATIENCE,
            )
            told = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError):
            return Answer(0)
        return Answer(answer.status_code, told if isinstance(told, dict) else {}, self._skew(answer.headers))

    def _skew(self, headers: Any) -> float | None:
        try:
            return self.clock() - parsedate_to_datetime(headers["Date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            return None

    def _server(self) -> ServerState | None:
        state = ServerState.read(self.settings.home / "server.json")
        return state if state is not None and state.healthy() else None
