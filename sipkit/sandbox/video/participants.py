"""Synthetic participants: somebody in the session without a browser.

A participant plays a tone, a text or a recording into the session, a stream that browsers see like any other, and
records what it hears: the other participants, the browsers, and everybody on the phone through the SIP leg.
"""

from aiohttp import web

from sipkit.sandbox.control import read_object, sound_of, wav_answer
from sipkit.sandbox.media.leg import Leg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.video.conferences import Conferences
from sipkit.sandbox.video.presence import ConnectionDestroyed, Event, Session
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.video.sessions import Sessions

MAX_PARTICIPANTS = 200
"""Participants kept at once, over all sessions."""


class Participants:
    """The synthetic participants of all sessions, and their control API."""

    def __init__(
        self, sessions: Sessions, conferences: Conferences, mixer: Mixer, router: Router, speech: Speech
    ) -> None:
        self._sessions = sessions
        self._conferences = conferences
        self._mixer = mixer
        self._router = router
        self._speech = speech
        self._legs: dict[str, tuple[Session, str, Leg]] = {}
        sessions.listen(self._hear)

    def routes(self) -> list[web.RouteDef]:
        """Return the control API's routes."""
        one = "/sandbox/sessions/{session}/participants/{id}"
        return [
            web.post("/sandbox/sessions/{session}/participants", self._add),
            web.get(one, self._show),
            web.delete(one, self._remove),
            web.get(one + "/recording", self._recording),
        ]

    async def _add(self, request: web.Request) -> web.Response:
        session = self._sessions.get(request.match_info["session"])
        if session is None:
            raise web.HTTPNotFound(reason="no such session")
        if len(self._legs) >= MAX_PARTICIPANTS:
            raise web.HTTPServiceUnavailable(reason=f"there are {MAX_PARTICIPANTS} participants already")
        source = await sound_of(await read_object(request), self._speech)
        connection = self._sessions.add(session, "synthetic", "synthetic participant")
        leg = Leg(f"participant:{connection.id}", record=True)
        if source is not None:
            leg.play(source)
        self._mixer.add(leg)
        leg.join(self._conferences.of(session.session_id))
        self._router.say(session.session_id, connection.stream_id, leg)
        self._legs[connection.id] = session, connection.stream_id, leg
        self._sessions.connected(connection.id)
        return web.json_response({"id": connection.id}, status=201)

    async def _show(self, request: web.Request) -> web.Response:
        _, _, leg = self._find(request)
        assert leg.hearing is not None
        return web.json_response({"id": request.match_info["id"], "heard": leg.hearing.summary()})

    async def _recording(self, request: web.Request) -> web.Response:
        _, _, leg = self._find(request)
        assert leg.hearing is not None
        return await wav_answer(leg.hearing)

    async def _remove(self, request: web.Request) -> web.Response:
        self._find(request)
        self._sessions.remove(request.match_info["id"], "clientDisconnected")
        return web.json_response({})

    def _hear(self, event: Event) -> None:
        """A participant left, or was made to: its voice goes with it."""
        if not isinstance(event, ConnectionDestroyed) or event.connection.id not in self._legs:
            return
        session, stream_id, leg = self._legs.pop(event.connection.id)
        self._router.unpublish(stream_id)
        self._mixer.remove(leg)
        leg.stop_playing()
        self._conferences.tidy(session.session_id)

    def _find(self, request: web.Request) -> tuple[Session, str, Leg]:
        found = self._legs.get(request.match_info["id"])
        if found is None or found[0].session_id != request.match_info["session"]:
            raise web.HTTPNotFound(reason="no such participant")
        return found
