"""The video side: create a session, make a token, dial the conference number into it, hang up.

One protocol, `VideoPlatform`, and here its implementation for the OpenTok environment, over the `opentok` SDK;
`sipkit.unified_video` has the one for Vonage's unified environment. Each is used alike for Vonage and for the
sandbox: only the address in the account differs. The SDK is imported at the first call, because the webhook server
and `import sipkit` have no use for it.

What the SDK leaves to its caller is done here and in `sipkit.refusals`: time limits, no proxy on the way to
this machine, typed errors, and no second try of a dial whose answer was lost.
"""

import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from sipkit.errors import PlatformError, SessionGone, SettingsError
from sipkit.refusals import (
    TIMEOUT,
    asking,
    dial_failure,
    dial_uncertain,
    proxies_for,
    refused,
    says_session_gone,
    unreachable,
)
from sipkit.sip_leg import SipLeg, dial_headers

if TYPE_CHECKING:
    import requests

    from sipkit.cloud import Account

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Dialed:
    """What the platform answers to a dial: the ids of the SIP leg it is about to place.

    Having them does not mean that anybody answered: they come before the INVITE is sent.

    Attributes:
        connection_id: The leg's connection in the session; what `force_disconnect` takes.
        stream_id: The stream that carries the leg's audio into the session.
        call_id: The platform's id of the SIP call.
    """

    connection_id: str
    stream_id: str
    call_id: str


@dataclass(frozen=True, slots=True)
class SessionConnection:
    """One client that is connected, or connecting, to a session; created_at is in UTC."""

    connection_id: str
    created_at: datetime


class VideoPlatform(Protocol):
    """What the kit needs of a video platform; `OpenTokVideo` says what each call means."""

    def create_session(self) -> str:
        """Create a routed session and return its id."""

    def session_known(self, session_id: str) -> bool:
        """Tell whether the platform still knows a session."""

    def token(self, session_id: str, role: str = ..., data: str = ..., expires_in: float = ...) -> str:
        """Make a token for a client of a session."""

    def dial(self, session_id: str, nonce: str = ...) -> Dialed:
        """Call the conference number into a session."""

    def connections(self, session_id: str) -> list[SessionConnection] | None:
        """List a session's connections, or None where the platform does not tell."""

    def stream_alive(self, session_id: str, stream_id: str) -> bool:
        """Tell whether a stream is in a session now."""

    def force_disconnect(self, session_id: str, connection_id: str) -> bool:
        """End a connection; False if it was gone already."""


class OpenTokVideo(SipLeg):
    """The OpenTok environment of the Vonage Video API, through its Python SDK.

    Args:
        account: Address, project key and secret, Voice API key and secret, conference number.

    Raises:
        SettingsError: The project secret is the path of a key file. The SDK would silently talk to another
            platform (Vonage's unified environment) than the one in the account.
    """

    def __init__(self, account: "Account") -> None:
        if re.search(r"[.]\w+$", account.video_api_secret.get_secret_value()):
            raise SettingsError(
                "VIDEO_API_SECRET ends like a file name, so it cannot be the secret of an OpenTok project.",
                "Put the project's secret there (40 characters, no dot). An application's id and key file belong in "
                "VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY: that is Vonage's unified environment.",
            )
        super().__init__(account)
        self._made: Any = None

    def __repr__(self) -> str:
        return f"<OpenTokVideo {self._account.mode}>"

    def create_session(self) -> str:
        """Create a routed session: SIP calls need the media router, and a relayed one answers 409 to a dial.

        Returns:
            The session id.

        Raises:
            AuthenticationRefused: Wrong project key or secret.
            PlatformUnreachable: No answer, or the answer of a broken platform.
        """
        from opentok import MediaModes

        with asking("create a session"):
            return str(self._client.create_session(media_mode=MediaModes.routed).session_id)

    def session_known(self, session_id: str) -> bool:
        """Tell whether the platform still knows a session.

        The stream list cannot tell: its documented 404 means "the session exists but has not had any streams
        added to it yet", which the SDK turns into an empty list. So the connection list is asked, with the
        SDK's address and headers (the Python SDK has no call for it; the Java, .NET and Ruby ones do).
        200 says known, 400 says that the id is none of this project's. A 404 counts as unknown only if its
        text says that the session does not exist: OpenTok sessions do not expire, so in doubt the room keeps
        its session, and a dial's own 404 (documented as "the session does not exist") has the last word.

        Raises:
            AuthenticationRefused: Wrong project key or secret.
            PlatformUnreachable: No answer, or none that says yes or no.
        """
        answer = self._ask_for_connections(session_id)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return not says_session_gone(answer.text)
        return answer.ok

    def token(self, session_id: str, role: str = "publisher", data: str = "", expires_in: float = HOUR) -> str:
        """Make a token for one client of a session. Made here, without asking the platform.

        Args:
            session_id: The session it opens.
            role: subscriber, publisher or moderator.
            data: What other clients see of the connection; at most 1000 characters.
            expires_in: Seconds until it expires; at most 30 days.

        Raises:
            SessionGone: The session id belongs to another project.
            PlatformError: The SDK does not accept the role, the data or the time.
        """
        from opentok import Roles
        from opentok.exceptions import OpenTokException

        if role not in {known.value for known in Roles}:
            raise PlatformError(f"A session has no role {role!r}.", "Use subscriber, publisher or moderator.")
        expires_at = int(time.time() + expires_in)
        try:
            return str(self._client.generate_token(session_id, Roles(role), expires_at, data or None))
        except OpenTokException as error:
            if "session_id" in str(error):
                raise SessionGone("The session id belongs to another project, or is none at all.") from None
            raise PlatformError(
                "The platform's SDK refuses to make this token.",
                "Keep the data below 1000 characters and the life below 30 days.",
            ) from None

    def dial(self, session_id: str, nonce: str = "") -> Dialed:
        """Have the platform call the conference number and bridge that call into a session.

        Exactly one request is sent, whatever happens: each leg that is placed is billed.

        Args:
            session_id: The session.
            nonce: What the leg says of itself to the answer webhook (`sip_leg.DIAL_HEADER`).

        Raises:
            AuthenticationRefused: Wrong project key or secret (403). Wrong *Voice* credentials are not seen
                here: the platform answers 200, and the leg ends a moment later.
            SessionGone: The platform does not know the session (404).
            DialRefused: It refuses the SIP address (400), or the session is not routed (409).
            PlatformUnreachable: The request surely did not arrive, or the platform says that it failed.
            DialUncertain: The request was sent and its answer lost; the call may be on its way.
        """
        outcome = self._dial_once(session_id, nonce)
        # Raised here and not where it was caught: a library's exception carries the request, and so would
        # the chain of this one.
        if isinstance(outcome, PlatformError):
            raise outcome
        return outcome

    def connections(self, session_id: str) -> list[SessionConnection] | None:
        """List a session's connections, the SIP leg's among them.

        The list says when each began but not who it is: the platform tells token data only to web clients
        and to monitoring callbacks.

        Returns:
            The connections, oldest first; none for a session that does not exist; None where the platform
            does not tell.

        Raises:
            AuthenticationRefused, PlatformUnreachable: As for `session_known`.
        """
        answer = self._ask_for_connections(session_id)
        if not answer.ok:
            return [] if says_session_gone(answer.text) else None
        try:
            found = [
                SessionConnection(item["connectionId"], datetime.fromtimestamp(item["createdAt"] / 1000, UTC))
                for item in answer.json()["items"]
            ]
        except (ValueError, KeyError, TypeError):
            return None
        return sorted(found, key=lambda connection: connection.created_at)

    def stream_alive(self, session_id: str, stream_id: str) -> bool:
        """Tell whether a stream is in a session now. A leg that is being set up may not be listed yet.

        Raises:
            AuthenticationRefused, PlatformUnreachable: As for `session_known`.
            PlatformError: The platform does not take the session's id.
        """
        from opentok.exceptions import GetStreamError

        try:
            with asking("list the streams"):
                return any(stream.id == stream_id for stream in self._client.list_streams(session_id))
        except GetStreamError:
            raise PlatformError(
                "The video platform does not take the session's id.",
                "Open the room anew: board.close_room(room), then board.open_room(name).",
            ) from None

    def force_disconnect(self, session_id: str, connection_id: str) -> bool:
        """End a connection; for the SIP leg this hangs up.

        Returns:
            True if it was connected, False if the platform says that it was gone already (404).

        Raises:
            AuthenticationRefused, PlatformUnreachable: The connection may still be there.
        """
        from opentok.exceptions import ForceDisconnectError

        try:
            with asking("disconnect the SIP leg"):
                self._client.force_disconnect(session_id, connection_id)
        except ForceDisconnectError as error:
            if "not connected" in str(error):
                return False
            raise PlatformError(
                "The platform does not accept the ids of the leg to disconnect.",
                "Open the room again; if a call still rings, end it in the Vonage dashboard.",
            ) from None
        return True

    @property
    def _client(self) -> Any:
        if self._made is None:
            from opentok import Client

            # The SDK logs each request with headers and body at DEBUG: tokens, and the SIP password.
            logging.getLogger("opentok").addFilter(_above_debug)
            address = self._account.video_api_url
            secret = self._account.video_api_secret.get_secret_value()
            client = Client(self._account.video_api_key, secret, api_url=address, timeout=TIMEOUT)
            client.proxies = proxies_for(address)
            self._made = client
        return self._made

    def _dial_once(self, session_id: str, nonce: str) -> Dialed | PlatformError:
        import requests
        from opentok.exceptions import OpenTokException

        options, token = self.sip_options(headers=dial_headers(nonce)), self.sip_token(session_id)
        try:
            call = self._client.dial(session_id, token, self.sip_uri, options)
        # ValueError and AttributeError: a 200 whose body is no JSON object.
        except (OpenTokException, requests.RequestException, ValueError, AttributeError) as error:
            return dial_failure(error)
        if not call.connectionId:
            return dial_uncertain()
        return Dialed(str(call.connectionId), str(call.streamId or ""), str(call.id or ""))

    def _ask_for_connections(self, session_id: str) -> "requests.Response":
        import requests

        client, what = self._client, "list the connections"
        address = f"{client.endpoints.api_url}/v2/project/{client.api_key}/session/{session_id}/connection"
        with asking(what):
            answer = requests.get(address, headers=client.get_headers(), proxies=client.proxies, timeout=TIMEOUT)
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise refused(what)
        if answer.status_code not in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
            raise unreachable(what, answer.status_code)
        return answer


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG
