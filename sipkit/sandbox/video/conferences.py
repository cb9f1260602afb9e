"""The audio of sessions: one conference a session, as long as somebody is in it."""

from sipkit.sandbox.media.leg import Conference
from sipkit.sandbox.media.mixer import Mixer


class Conferences:
    """Conferences by session id."""

    def __init__(self, mixer: Mixer) -> None:
        self._mixer = mixer
        self._by_session: dict[str, Conference] = {}

    def of(self, session_id: str) -> Conference:
        """Return the session's conference, made when nobody was in it."""
        if session_id not in self._by_session:
            self._by_session[session_id] = self._mixer.conference()
        return self._by_session[session_id]

    def tidy(self, session_id: str) -> None:
        """Forget the conference when it is empty."""
        conference = self._by_session.get(session_id)
        if conference is not None and not conference.legs:
            del self._by_session[session_id]
