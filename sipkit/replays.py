"""A signed request has one effect and one answer, however often and wherever it comes in.

The platform repeats a request whose answer got lost on its way, with the same token or a new one; a stranger who
overheard a request can repeat it for as long as its token is fresh. All workers share the book of first answers
(`store.replay_book`):

    new                             answer it, keep the answer, send it
    answered before                 the first answer again
    being answered by another one   wait for that answer
    the id with other contents      refused
"""

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Final

from sipkit.errors import SignatureRefused, StoreError
from sipkit.store import Store

_LOOK_EVERY: Final = 0.02  # seconds
_PATIENCE: Final = (
    6.0  # seconds; more than a claim lives (`replay_book.ABANDONED_AFTER`), and the platform's own patience
)

Answer = tuple[int, str]
"""HTTP status and body."""


def digest_of(method: str, path: str, payload_hash: str) -> str:
    """Return what stands for a whole request: the signed payload, and what the signature leaves out."""
    return hashlib.sha256(f"{method} {path} {payload_hash}".encode()).hexdigest()


def answered_once(store: Store, jti: str, digest: str, work: Callable[[], Answer]) -> Answer:
    """Return the answer to a request: the first one's if there was one, else what `work` says.

    Args:
        store: Shared by all workers.
        jti: The id of the request's token.
        digest: See `digest_of`.
        work: Makes the answer. If it raises, the claim is given up and the error passes through.

    Raises:
        SignatureRefused: If the id was used for another request.
        StoreError: If the store fails, or another worker is at it and does not come to an end.
    """
    deadline = time.monotonic() + _PATIENCE
    while (found := store.first_answer(jti, digest)).state == "pending":
        if time.monotonic() > deadline:
            raise StoreError("A repeated request waited in vain for the answer to the first one.")
        time.sleep(_LOOK_EVERY)
    if found.state == "foreign":
        raise SignatureRefused("The token was used before, for another request.")
    if found.state == "answered":
        return found.status, found.body
    try:
        status, body = work()
    except BaseException:
        with contextlib.suppress(StoreError):
            store.release(jti, found.claimed_at)
        raise
    # What was done is done: an answer that cannot be kept is still the right one to send.
    with contextlib.suppress(StoreError):
        store.keep_answer(jti, found.claimed_at, status, body)
    return status, body
