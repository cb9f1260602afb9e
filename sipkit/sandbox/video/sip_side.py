"""The SIP side of the sessions, as the REST API and the signalling see it."""

from typing import Protocol

from sipkit.sandbox.video.presence import Connection, Session
from sipkit.sandbox.video.sip_target import SipTarget


class Gateway(Protocol):
    """Places and ends the calls of connections."""

    def dial(self, session: Session, connection: Connection, sip: SipTarget) -> None:
        """Begin to call; returns at once."""

    async def hang_up(self, connection_id: str) -> None:
        """End the call of a connection: BYE, or CANCEL while it rings; of any other than a SIP one: nothing."""

    def play_digits(self, connection_id: str, digits: str) -> None:
        """Play digits to the far end of a call; returns at once. Of any other connection: nothing."""
