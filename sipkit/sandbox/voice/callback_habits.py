"""How the platform repeats, replaces and mixes up its callbacks: parameters, for the vendor's own pages disagree.

    profile        answer URL  fallback  sources
    "2024"         2 tries     2 tries   support article 115016024247 (one more try, and after which failures);
                                         "Webhook reference" (the fallback is tried twice); limits of the application
    "2021"         2 tries     2 tries   the same, with one second for each try ("Build High Availability Voice API
                                         Applications", 2020)
    "tcp3-http5"   3 tries     2 tries   an older page: 3 s to connect, 5 s to answer, two more tries

That events which need no answer are tried once is assumed, and so is that a second try carries the first one's token;
`event_attempts` and `retry_keeps_token` change it. Events as POST whatever the application says are recorded (a comment
in Vonage-Community/sample-video-node-learning_server); events out of order are documented (support article
360057200092) and recorded (the phone-to-app tutorial prints "ringing" before "started").
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Self

from aiohttp import web

MAX_ATTEMPTS: Final = 5
MAX_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Habits:
    """What `PUT /sandbox/callbacks` sets; each part may be given alone.

    Attributes:
        profile: Which page of the vendor's the rest follows where it is not given.
        attempts: Tries of an answer URL, and of an event URL that shall answer with a document.
        fallback_attempts: Tries of the fallback URL.
        event_attempts: Tries of an event URL that need not answer anything.
        connect_timeout: Seconds to connect; None: as the application says.
        answer_timeout: Seconds to answer; None: as the application says.
        retry_keeps_token: The second try carries the same token, so the same ``jti``.
        events_as_post: Events come as POST though the application asks for GET.
        duplicate: Each request is sent twice at once, with the same token.
        shuffle: Every second event overtakes the one before it.
    """

    profile: str = "2024"
    attempts: int = 2
    fallback_attempts: int = 2
    event_attempts: int = 1
    connect_timeout: float | None = None
    answer_timeout: float | None = None
    retry_keeps_token: bool = True
    events_as_post: bool = False
    duplicate: bool = False
    shuffle: bool = False

    def changed(self, wanted: Mapping[str, Any]) -> Self:
        """Return these habits with some of them changed; a profile sets all that is not given besides.

        Raises:
            ValueError: A name or a value is unknown; the text says which.
        """
        unknown = sorted(wanted.keys() - {field.name for field in fields(self)})
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}")
        base = self
        if "profile" in wanted:
            if wanted["profile"] not in PROFILES:
                raise ValueError(f"profile is one of {', '.join(PROFILES)}")
            base = type(self)(**asdict(PROFILES[wanted["profile"]]))
        for name, value in wanted.items():
            _check(name, value)
        return replace(base, **wanted)


PROFILES: Final[Mapping[str, Habits]] = {
    "2024": Habits(),
    "2021": Habits("2021", connect_timeout=1.0, answer_timeout=1.0),
    "tcp3-http5": Habits("tcp3-http5", attempts=3, connect_timeout=3.0, answer_timeout=5.0),
}


def _check(name: str, value: Any) -> None:
    if name.endswith("attempts"):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ATTEMPTS:
            raise ValueError(f"{name} is a whole number from 1 to {MAX_ATTEMPTS}")
    elif name.endswith("timeout"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value <= MAX_SECONDS):
            raise ValueError(f"{name} is null or a number of seconds up to {MAX_SECONDS:g}")
    elif name != "profile" and not isinstance(value, bool):
        raise ValueError(f"{name} is true or false")


class HabitsDesk:
    """Keeps the habits, and serves ``GET`` and ``PUT /sandbox/callbacks``."""

    def __init__(self) -> None:
        self.habits = Habits()

    def routes(self) -> list[web.RouteDef]:
        """The control routes; the sandbox's guard asks for the password."""
        return [web.get("/sandbox/callbacks", self._tell), web.put("/sandbox/callbacks", self._change)]

    async def _tell(self, request: web.Request) -> web.Response:
        return web.json_response(asdict(self.habits))

    async def _change(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            if not isinstance(wanted, dict):
                raise ValueError("a JSON object is needed")  # noqa: TRY004, TRY301 - answered like the other values
            self.habits = self.habits.changed(wanted)
        except (ValueError, RecursionError) as error:
            raise web.HTTPBadRequest(reason=str(error).partition("\n")[0]) from None
        return web.json_response(asdict(self.habits))
