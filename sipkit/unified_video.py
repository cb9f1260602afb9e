"""The video side in Vonage's unified environment: an application's id and private key, through the `vonage` SDK.

It means the same as `sipkit.video.OpenTokVideo` and raises the same errors; only who signs, and how, is different.
What the SDK (vonage 4.9, vonage-http-client 1.5) leaves to its caller is done here:

* It sends a request again when the connection is closed without an answer, up to `pool_maxsize` times and whatever
  the method: one dial would become ten calls. And urllib3 repeats any request when TLS breaks off. Here both are off.
* The Content-Type of a JSON request sticks to its client, and a later form is sent under it; and a connection kept
  open from earlier may be closed while a dial is on its way. Here each request has a client of its own.
* It speaks https only. The sandbox does too, with its own certificate authority, which must not be trusted by, nor
  replace those of, the rest of the process: no REQUESTS_CA_BUNDLE, an adapter for the one host instead.
* Tokens are bytes, and refusals carry the answer, the answer the request, the request the SIP password.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sipkit.errors import PlatformError, SessionGone, SettingsError
from sipkit.refusals import (
    TIMEOUT,
    address_refused,
    application_refused,
    dial_uncertain,
    never_sent,
    not_routed,
    proxies_for,
    says_session_gone,
    session_unknown,
    unreachable,
)
from sipkit.sip_leg import SipLeg, dial_headers
from sipkit.video import HOUR, Dialed, SessionConnection

if TYPE_CHECKING:
    from sipkit.cloud import Account

MAX_DATA = 1000
"""Characters of a token's data (OpenTok, "Connection token creation"); the SDK does not check it."""

ROLES = frozenset({"subscriber", "publisher", "publisheronly", "moderator"})
_UNCERTAIN = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_NO_ACCESS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class UnifiedVideo(SipLeg):
    """The unified environment of the Vonage Video API, through Vonage's Python SDK.

    Args:
        account: Address, application id and private key, Voice API key and secret, conference number.

    Raises:
        SettingsError: The address is not https, or the key is missing.
    """

    def __init__(self, account: "Account") -> None:
        super().__init__(account)
        address = urlsplit(account.video_api_url)
        if address.scheme != "https":
            raise SettingsError("VIDEO_API_URL must be https: the unified environment's SDK speaks nothing else.")
        if not account.video_api_key or not account.private_key.get_secret_value():
            raise SettingsError("The unified video environment needs VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY.")
        self._host = address.netloc

    def __repr__(self) -> str:
        return f"<UnifiedVideo {self._account.mode}>"

    def create_session(self) -> str:
        """Create a routed session, as `OpenTokVideo.create_session`."""
        from vonage_video.models import MediaMode, SessionOptions

        with self._asking("create a session") as video:
            return str(video.create_session(SessionOptions(media_mode=MediaMode.ROUTED)).session_id)

    def session_known(self, session_id: str) -> bool:
        """Tell whether the platform still knows a session, as `OpenTokVideo.session_known`."""
        status, told = self._ask_for_connections(session_id)
        return not says_session_gone(told) if status == HTTPStatus.NOT_FOUND else status == HTTPStatus.OK

    def token(self, session_id: str, role: str = "publisher", data: str = "", expires_in: float = HOUR) -> str:
        """Make a token for one client of a session, as `OpenTokVideo.token`; made here, without asking the platform."""
        from vonage_video.errors import VideoError
        from vonage_video.models import TokenOptions

        if role not in ROLES:
            raise PlatformError(f"A session has no role {role!r}.", "Use subscriber, publisher or moderator.")
        if not _of_application(session_id, self._account.video_api_key):
            raise SessionGone("The session id belongs to another project, or is none at all.")
        try:
            options = TokenOptions(
                session_id=session_id, role=role, connection_data=data or None, exp=int(time.time() + expires_in)
            )
        except (VideoError, ValueError):
            options = None
        if options is None or len(data) > MAX_DATA:
            raise PlatformError(
                "The platform's SDK refuses to make this token.",
                "Keep the data below 1000 characters and the life below 30 days.",
            )
        with self._client() as video:
            made: bytes = video.generate_client_token(options)
        return made.decode("ascii")

    def dial(self, session_id: str, nonce: str = "") -> Dialed:
        """Have the platform call the conference number into a session, as `OpenTokVideo.dial`.

        Exactly one request is sent, whatever happens.
        """
        outcome = self._dial_once(session_id, nonce)
        # Raised here and not where it was caught: the SDK's exception carries the request.
        if isinstance(outcome, PlatformError):
            raise outcome
        return outcome

    def connections(self, session_id: str) -> list[SessionConnection] | None:
        """List a session's connections, as `OpenTokVideo.connections`."""
        status, told = self._ask_for_connections(session_id)
        if status != HTTPStatus.OK:
            return [] if says_session_gone(told) else None
        try:
            found = [
                SessionConnection(item["connectionId"], datetime.fromtimestamp(item["createdAt"] / 1000, UTC))
                for item in told["items"]
            ]
        except (ValueError, KeyError, TypeError):
            return None
        return sorted(found, key=lambda connection: connection.created_at)

    def stream_alive(self, session_id: str, stream_id: str) -> bool:
        """Tell whether a stream is in a session now, as `OpenTokVideo.stream_alive`."""
        from vonage_http_client.errors import HttpRequestError, NotFoundError

        try:
            with self._asking("list the streams") as video:
                return any(stream.id == stream_id for stream in video.list_streams(session_id))
        except NotFoundError:
            return False  # documented: no stream has been added to the session yet
        except HttpRequestError:
            raise PlatformError(
                "The video platform does not take the session's id.",
                "Open the room anew: board.close_room(room), then board.open_room(name).",
            ) from None

    def force_disconnect(self, session_id: str, connection_id: str) -> bool:
        """End a connection, as `OpenTokVideo.force_disconnect`; False if it was gone already."""
        from vonage_http_client.errors import HttpRequestError, NotFoundError

        try:
            with self._asking("disconnect the SIP leg") as video:
                video.disconnect_client(session_id, connection_id)
        except NotFoundError:
            return False
        except HttpRequestError:
            raise PlatformError(
                "The platform does not accept the ids of the leg to disconnect.",
                "Open the room again; if a call still rings, end it in the Vonage dashboard.",
            ) from None
        return True

    def _dial_once(self, session_id: str, nonce: str) -> Dialed | PlatformError:
        import requests
        from vonage_http_client.errors import HttpRequestError
        from vonage_utils.errors import VonageError
        from vonage_video.errors import RoutedSessionRequiredError
        from vonage_video.models import InitiateSipRequest, SipAuth, SipOptions

        options = self.sip_options(headers=dial_headers(nonce))
        sip = SipOptions(
            uri=self.sip_uri,
            from_=options["from"],
            headers=options["headers"],
            auth=SipAuth(**options["auth"]),
            secure=options["secure"],
        )
        try:
            wish = InitiateSipRequest(session_id=session_id, token=self.sip_token(session_id), sip=sip)
            with self._client() as video:
                call = video.initiate_sip_call(wish)
        except PlatformError as error:
            return error
        except RoutedSessionRequiredError:
            return not_routed()
        except HttpRequestError as error:
            return _dial_refused(error.response.status_code)
        # TypeError, ValueError (pydantic's among them): a 200 whose body is no JSON object of a call.
        except (requests.RequestException, VonageError, TypeError, ValueError) as error:
            unsent = isinstance(error, requests.RequestException) and never_sent(error)
            return unreachable("dial") if unsent else dial_uncertain()
        if not call.connection_id:
            return dial_uncertain()
        return Dialed(str(call.connection_id), str(call.stream_id or ""), str(call.id or ""))

    def _ask_for_connections(self, session_id: str) -> tuple[int, Any]:
        """Ask for the connection list, which the SDK has no method for; returns the status, and JSON or text."""
        from vonage_http_client.errors import HttpRequestError

        what = "list the connections"
        path = f"/v2/project/{self._account.video_api_key}/session/{session_id}/connection"
        try:
            with self._asking(what) as video:
                return HTTPStatus.OK, video.http_client.get(video.http_client.video_host, path)
        except HttpRequestError as error:
            status, told = error.response.status_code, error.response.text
        if status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
            raise unreachable(what, status)
        return status, told

    @contextmanager
    def _asking(self, what: str) -> Iterator[Any]:
        """Give the SDK for one request, and translate what it and `requests` raise; 400, 404 and the like pass."""
        import requests
        from pydantic import ValidationError
        from vonage_http_client.errors import HttpRequestError

        try:
            with self._client() as video:
                yield video
        except HttpRequestError as error:
            status = error.response.status_code
            if status in _NO_ACCESS:
                raise application_refused(what) from None
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
                raise unreachable(what, status) from None
            raise
        except requests.RequestException:
            raise unreachable(what) from None
        except (ValidationError, KeyError, IndexError, TypeError):
            message = f"The platform's answer to the request to {what} could not be understood."
            raise PlatformError(message, "Check VIDEO_API_URL, if it is set.") from None

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Make the SDK's client for one request."""
        from vonage_http_client.auth import Auth
        from vonage_http_client.http_client import HttpClient, HttpClientOptions
        from vonage_video.video import Video

        # The SDK logs each request with headers and body at DEBUG, and each refusal's text as a warning.
        logging.getLogger("vonage").addFilter(_errors_only)
        key = self._account.private_key.get_secret_value()
        auth = Auth(application_id=self._account.video_api_key, private_key=key)
        options = HttpClientOptions(
            video_host=self._host, timeout=int(TIMEOUT[1]), pool_connections=1, pool_maxsize=1, max_retries=0
        )
        client = HttpClient(auth, options)
        with client._session as session:  # noqa: SLF001 - the SDK has no other way to trust a certificate authority
            session.mount(f"https://{self._host}/", _adapter(self._account))
            yield Video(client)


def _adapter(account: "Account") -> Any:
    """Make what carries requests to this account's host: once each, in time, past proxies, trusting whom it shall."""
    from requests.adapters import HTTPAdapter

    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
    given: dict[str, Any] = {"timeout": TIMEOUT}
    if account.ca_file is not None:
        given["verify"] = account.ca_file
    if proxies_for(account.video_api_url) is not None:
        given["proxies"] = {}
    send = adapter.send
    adapter.send = lambda request, **asked: send(request, **(asked | given))  # type: ignore[method-assign]
    return adapter


def _dial_refused(status: int) -> PlatformError:
    """Say what a status means for the leg: none exists, or nobody knows."""
    if status in _NO_ACCESS:
        return application_refused("dial")
    if status == HTTPStatus.NOT_FOUND:
        return session_unknown()
    if status == HTTPStatus.BAD_REQUEST:
        return address_refused()
    return dial_uncertain() if status in _UNCERTAIN else unreachable("dial", status)


def _of_application(session_id: str, application_id: str) -> bool:
    """Tell whether a session id is of an application: it is ``1_`` or ``2_`` and base64 of ``1~{project}~...``."""
    import base64

    try:
        inside = base64.urlsafe_b64decode(session_id[2:] + "=" * (-len(session_id[2:]) % 4)).decode()
    except ValueError:
        return False
    return application_id in inside.split("~")


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
