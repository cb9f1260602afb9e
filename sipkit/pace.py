"""No burst of requests: the Voice API takes 15 a second from all of an account, and refuses what is more (HTTP 429).

Every process that shares a store takes its turn here before it asks the platform for something that can wait: tones,
spoken words, the guard's looks, hanging up many. For the video side no figure is documented; it is asked at the same
pace, so that hang-ups come in no burst either.
"""

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sipkit.store import Store

PER_SECOND: Final = 7
"""Requests in each second of the store's count; two such seconds may touch, and then 14 are close together."""


def take_turn(store: "Store") -> None:
    """Wait until one more request may be sent."""
    while wait := store.allow("requests to the platform", PER_SECOND, 1.0):
        time.sleep(wait)
