"""What a refusal of a platform, or its silence, means: one of `sipkit.errors`, with the fix.

The texts of libraries are never passed on. A `requests` exception carries the whole request, with
tokens and the SIP password in it, and the SDK pastes such texts into its own errors.
"""

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sipkit.errors import (
    AuthenticationRefused,
    DialRefused,
    DialUncertain,
    PlatformError,
    PlatformUnreachable,
    SessionGone,
)

if TYPE_CHECKING:
    import requests

TIMEOUT = (3.05, 10.0)
"""Seconds to connect, and seconds of silence while waiting for an answer."""

_CHECK_APPLICATION = (
    "Check VONAGE_APPLICATION_ID and VONAGE_PRIVATE_KEY in .env: they are the id and the private key of one "
    "application (dashboard, Applications) that has the Video capability. And check this machine's clock."
)
_CHECK_VIDEO_KEYS = (
    "Check VIDEO_API_KEY and VIDEO_API_SECRET in .env: they are the key and secret of one OpenTok "
    "project (dashboard, Projects), not of your Vonage account."
)


def on_this_machine(url: str) -> bool:
    """Tell whether a URL names this machine itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxies_for(url: str) -> dict[str, Any] | None:
    """Return what `requests` wants as `proxies`: the environment's, but none on the way to this machine."""
    return {"http": None, "https": None, "all": None} if on_this_machine(url) else None


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Translate what the SDK and `requests` raise while the video platform is asked for something.

    Args:
        what: What it is asked to do, as in "could not ...".

    Raises:
        AuthenticationRefused: It does not accept the project key or its secret.
        PlatformUnreachable: No answer came, or one of a broken platform.
        PlatformError: Its answer makes no sense.
    """
    import requests
    from opentok.exceptions import AuthError, OpenTokException, RequestError

    try:
        yield
    except AuthError:
        raise refused(what) from None
    except RequestError as error:
        # create_session wraps whatever happened, wrong credentials included, in one RequestError.
        if isinstance(error.__context__, AuthError) or _status(error) == HTTPStatus.UNAUTHORIZED:
            raise refused(what) from None
        raise unreachable(what, _status(error)) from None
    except OpenTokException as error:
        if type(error) is not OpenTokException:
            raise  # a specific refusal: the caller knows what it means
        message = f"The platform's answer to the request to {what} could not be understood."
        raise PlatformError(message, _CHECK_VIDEO_KEYS) from None
    except (requests.RequestException, ValueError):
        raise unreachable(what) from None


def refused(what: str) -> AuthenticationRefused:
    """The project key or its secret is wrong."""
    message = f"The platform refused the project's credentials when asked to {what}."
    return AuthenticationRefused(message, _CHECK_VIDEO_KEYS)


def application_refused(what: str) -> AuthenticationRefused:
    """The application's id or its private key is wrong, or its clock."""
    message = f"The platform refused the application's credentials when asked to {what}."
    return AuthenticationRefused(message, _CHECK_APPLICATION)


def unreachable(what: str, status: int | None = None) -> PlatformUnreachable:
    """No answer, or the answer of a broken platform."""
    saw = f"it answered HTTP {status}" if status else "no answer came"
    return PlatformUnreachable(f"The video platform could not {what}: {saw}.")


def dial_failure(error: Exception) -> PlatformError:
    """Say what an exception of the SDK's `dial` means for the leg: none exists, or nobody knows.

    Only failures that surely placed no call may be told apart from `DialUncertain`.
    """
    import requests
    from opentok.exceptions import AuthError, RequestError, SipDialError

    status = _status(error)
    if isinstance(error, AuthError) or status == HTTPStatus.UNAUTHORIZED:
        return refused("dial")
    if isinstance(error, SipDialError):
        return _dial_refused(str(error))
    # A gateway in front of the platform that gave up waiting does not know what became of the dial.
    if isinstance(error, RequestError) and status not in {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}:
        return unreachable("dial", status)
    if isinstance(error, requests.RequestException) and never_sent(error):
        return unreachable("dial")
    return dial_uncertain()


def dial_uncertain() -> DialUncertain:
    """The request was sent and its answer lost."""
    return DialUncertain(
        "The dial was sent, but its answer was lost: the call may be on its way, and billed.",
        "Do not dial again. Run board.hang_up(room): it looks for the leg at the platform and ends it.",
    )


def says_session_gone(body: str) -> bool:
    """Tell whether an error body says that the session does not exist.

    Only the platform's own words count: `message` and `description` of its error JSON. What stands between it and
    us answers 404 as well, often with the address that was asked for, and every address here has "session" in it.
    """
    try:
        told = json.loads(body)
    except ValueError:
        return False
    if not isinstance(told, dict):
        return False
    texts = [re.sub(r"\S*/\S*", "", str(told.get(name))).casefold() for name in ("message", "description")]
    gone = ("not exist", "not found", "unknown session")
    return any("session" in text and any(words in text for words in gone) for text in texts)


def _dial_refused(text: str) -> PlatformError:
    """Tell 404, 409 and 400 apart; the SDK keeps the status only in its own fixed sentences."""
    if "does not exist" in text:
        return session_unknown()
    return not_routed() if "Media Router" in text else address_refused()


def session_unknown() -> SessionGone:
    """A dial's 404: nothing was placed."""
    return SessionGone("The platform does not know the session.")


def not_routed() -> DialRefused:
    """A dial's 409: nothing was placed."""
    return DialRefused(
        "The session is not routed, and SIP calls need the media router.",
        "Open a room under a new name: board.open_room creates routed sessions.",
    )


def address_refused() -> DialRefused:
    """A dial's 400: nothing was placed."""
    return DialRefused(
        "The platform refused the SIP address or its options.",
        "Check CONFERENCE_NUMBER in .env: digits only, with country code, as 12025550100.",
    )


def _status(error: Exception) -> int | None:
    """The HTTP status the SDK put beside its message, if any."""
    return error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else None


def never_sent(error: "requests.RequestException") -> bool:
    """Tell whether a request surely never reached anybody. In doubt it did."""
    import requests
    from urllib3 import exceptions

    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, exceptions.SSLError):  # a refused certificate ends the handshake, before any request
        return bool(reason.args) and isinstance(reason.args[0], ssl.SSLCertVerificationError)
    return isinstance(reason, exceptions.NewConnectionError)
