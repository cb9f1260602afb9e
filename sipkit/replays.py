"""A signed request has one effect and one answer, however often and wherever it comes in.

The platform repeats a request whose answer got lost on its way, with the same token or a new one; a stranger who
overheard a request can repeat it for as long as its token is fresh. All workers share the book of first answers
(`store.replay_book`):

    new                             answer it, keep the answer with all that it changed, send it
    answered before                 the first answer again
    being answered by another one   wait for that answer
    the id with other contents      refused
    older than what is remembered   refused
"""

import hashlib
from collections.abc import Callable

from sipkit.errors import SignatureRefused
from sipkit.store import Store
from sipkit.store.replay_book import Answer

__all__ = ["Answer", "answered_once", "digest_of"]


def digest_of(method: str, path: str, payload_hash: str) -> str:
    """Return what stands for a whole request: the signed payload, and what the signature leaves out."""
    return hashlib.sha256(f"{method} {path} {payload_hash}".encode()).hexdigest()


def answered_once(
    store: Store, jti: str, digest: str, work: Callable[[], Answer], dated: float | None = None
) -> Answer:
    """Return the answer to a request: the first one's if there was one, else what `work` says.

    Args:
        store: Shared by all workers.
        jti: The id of the request's token.
        digest: See `digest_of`.
        work: Makes the answer; see `ReplayBook.answered`.
        dated: When the token was signed, likewise.

    Raises:
        SignatureRefused: If the id was used for another request, or is too old to know.
        StoreError: If the store fails, or another worker is at it and does not come to an end.
    """
    answer = store.answered(jti, digest, work, dated)
    if answer is None:
        raise SignatureRefused("The token was used before, for another request, or long before the newest one.")
    return answer
