"""What the role of a token allows in a session.

Roles as opentok's `generate_token` describes them: a subscriber only subscribes, a publisher also publishes and
signals, a publisheronly only publishes, and a moderator does everything.
"""

from typing import Literal, TypeAlias

from sipkit.sandbox.video.messages import JsonObject, denied

Right: TypeAlias = Literal["publish", "subscribe", "signal", "forceDisconnect", "forceUnpublish", "forceMute"]

_GRANTED: dict[str, frozenset[Right]] = {
    "subscriber": frozenset({"subscribe"}),
    "publisheronly": frozenset({"publish"}),
    "publisher": frozenset({"publish", "subscribe", "signal"}),
    "moderator": frozenset({"publish", "subscribe", "signal", "forceDisconnect", "forceUnpublish", "forceMute"}),
}
_REFUSALS: dict[Right, tuple[int, str]] = {
    "publish": (1500, "publish"),
    "subscribe": (1501, "subscribe"),
    "signal": (1510, "send signals"),
    "forceDisconnect": (1520, "disconnect others"),
    "forceUnpublish": (1530, "end streams of others"),
    "forceMute": (1540, "mute others"),
}
"""The code of each refusal ("Error" of OpenTok.js; 1501 and 1540 as in its code and in the native SDKs)."""


class Rights:
    """The rights of one role."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._granted = _GRANTED[role]

    def capabilities(self) -> JsonObject:
        """As a page reads them: 1 or 0 each."""
        return {name: int(name in self._granted) for name in _REFUSALS}

    def demand(self, right: Right) -> None:
        """Go on only with this right.

        Raises:
            VendorError: OT_PERMISSION_DENIED with the code of what was tried.
        """
        if right not in self._granted:
            code, what = _REFUSALS[right]
            raise denied(code, f"A token of role {self._role} cannot {what}")
