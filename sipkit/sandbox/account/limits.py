"""How fast, and how much at once: the account's limits, which answer 429 where they are exceeded.

Documented: three outgoing calls a second (REST or `connect`), fifteen other requests a second to the Voice API, 429
beyond, nothing queued, and no limit of concurrent calls (support article 207100288; Voice API, Troubleshooting,
Capacity); one price request a second (Pricing OpenAPI 0.0.3). No document gives a figure for the video REST API, nor
for the Application, Numbers and Account APIs (`max-calls-per-second` 30 is recorded in the account's settings, which
are those of SMS): they are unlimited unless a test sets one.
Assumed: the window is the second before the request, and a refused request does not count.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, get_args

from aiohttp import web

from sipkit.sandbox.control import PREFIX, read_object
from sipkit.sandbox.rest import Refusal

Rate = Literal["calls", "voice", "video", "account", "pricing"]
"""What is counted by the second: outgoing calls, and the requests of the Voice, video and account's REST APIs."""

DOCUMENTED: dict[Rate, int | None] = {"calls": 3, "voice": 15, "video": None, "account": None, "pricing": 1}
HIGHEST = 100_000
_NAMES: tuple[Rate, ...] = get_args(Rate)
_WINDOW = 1.0


class LimitExceeded(Refusal):
    """The request is one too many: 429, to be put into the error shape of the API that was asked."""

    def __init__(self, text: str) -> None:
        super().__init__(429, text)


class Limits:
    """The limits of one account, all counted in one place. Used from the sandbox's loop only.

    Args:
        clock: seconds, monotonic; tests bring their own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.enforce = True
        self.rates: dict[Rate, int | None] = dict(DOCUMENTED)
        self.concurrent_calls: int | None = None
        self._taken: dict[Rate, deque[float]] = {name: deque() for name in _NAMES}

    def take(self, rate: Rate) -> None:
        """Count one request or call.

        Raises:
            LimitExceeded: the last second had as many as are allowed.
        """
        highest = self.rates[rate]
        if not self.enforce or highest is None:
            return
        now = self._clock()
        taken = self._taken[rate]
        while taken and now - taken[0] >= _WINDOW:
            taken.popleft()
        if len(taken) >= highest:
            what = "outgoing calls" if rate == "calls" else "requests"
            raise LimitExceeded(f"You have exceeded the limit of {highest} {what} per second.")
        taken.append(now)

    def check_calls(self, living: int) -> None:
        """May there be one more call than the `living` ones?

        Raises:
            LimitExceeded: a test set `concurrent_calls`, and so many are up.
        """
        if self.enforce and self.concurrent_calls is not None and living >= self.concurrent_calls:
            raise LimitExceeded(f"You have exceeded the limit of {self.concurrent_calls} concurrent calls.")

    def as_dict(self) -> dict[str, Any]:
        """The limits as `PUT /sandbox/limits` takes them."""
        limits: dict[str, Any] = {name: self.rates[name] for name in _NAMES}
        return {"enforce": self.enforce, **limits, "concurrent_calls": self.concurrent_calls}

    def routes(self) -> list[web.RouteDef]:
        """GET, PUT (what is left out stays) and DELETE (as documented again) of ``/sandbox/limits``."""
        path = f"{PREFIX}limits"
        return [web.get(path, self._get), web.put(path, self._put), web.delete(path, self._reset)]

    async def _get(self, _: web.Request) -> web.Response:
        return web.json_response(self.as_dict())

    async def _put(self, request: web.Request) -> web.Response:
        wish = await read_object(request)
        unknown = wish.keys() - self.as_dict().keys()
        if unknown:
            raise web.HTTPBadRequest(
                reason=f"no such limit: {min(unknown)!r}"[:200].encode("ascii", "replace").decode()
            )
        if type(wish.get("enforce", True)) is not bool:
            raise web.HTTPBadRequest(reason="enforce must be true or false")
        for name, highest in wish.items():
            if name != "enforce" and highest is not None and not (type(highest) is int and 0 <= highest <= HIGHEST):
                raise web.HTTPBadRequest(reason=f"{name} must be a number up to {HIGHEST}, or null for no limit")
        self.enforce = wish.get("enforce", self.enforce)
        self.concurrent_calls = wish.get("concurrent_calls", self.concurrent_calls)
        for rate in _NAMES:
            self.rates[rate] = wish.get(rate, self.rates[rate])
        return await self._get(request)

    async def _reset(self, request: web.Request) -> web.Response:
        fresh = Limits()
        self.enforce, self.rates, self.concurrent_calls = fresh.enforce, fresh.rates, fresh.concurrent_calls
        for taken in self._taken.values():
            taken.clear()
        return await self._get(request)
