"""Every error sipkit raises on purpose, and what to do about each.

    SipkitError                  a message, and the fix
    ├── SettingsError            a value in .env or the environment is wrong
    │   └── MissingCredential    half a set of credentials was given
    ├── RoomError
    │   ├── BadRoomName          empty, too long, or not printable
    │   ├── RoomNotFound         no open room has this name
    │   └── PinSpaceExhausted    every PIN of this length is taken
    ├── PlatformError            Vonage, or the sandbox, answered otherwise than hoped
    │   ├── AuthenticationRefused   the key and secret do not fit
    │   ├── SessionGone          the platform no longer knows the session
    │   ├── DialRefused          the dial request was refused; no leg exists
    │   ├── DialUncertain        no answer came; a leg may exist
    │   └── PlatformUnreachable  no connection at all
    ├── CallError                a call that is not placed
    │   ├── NumberRefused        no number, or none that may be called
    │   ├── CallNotConfirmed     nobody agreed to a billed call
    │   └── BudgetSpent          the room's budget is used up
    ├── InvitationError          an invitation that cannot be made like this
    │   ├── InvitationRefused    a link that is none of ours, was altered, or is another room's
    │   └── InvitationExpired    a link whose time is over
    ├── SignatureRefused         a webhook that Vonage did not sign, or not for this body
    ├── ServerError
    │   ├── PortTaken            another program listens on the wished port
    │   └── ServerDidNotStart    the webhook server left or stayed silent
    ├── TunnelError
    │   ├── AgentMissing         there is no ngrok program
    │   ├── AuthtokenMissing     ngrok wants an authtoken
    │   ├── NetworkUnreachable   the tunnel service cannot be reached
    │   ├── TunnelTimeout        the agent did not become ready in time
    │   ├── TunnelEnded          it was up, and its program has left
    │   └── TunnelRefused        the service said no (domain in use, limit reached, ...)
    │       ├── LoginRefused     the SSH relay accepts none of our keys
    │       └── HostKeyRefused   the SSH relay is not the one known by this name
    ├── SandboxError
    │   ├── SandboxDidNotStart   the sandbox process left or stayed silent
    │   └── PhoneError           a sandbox phone cannot do this (now)
    ├── StoreError               the data folder cannot be read or written
    └── WaitTimeout              what was waited for did not happen in time

An error text never holds a secret, a token or a PIN: it may end in a notebook that is
committed, or in a screenshot.
"""

from typing import ClassVar


class SipkitError(Exception):
    """The root of all errors of this package.

    Args:
        message: What went wrong, in one sentence.
        fix: What the reader can do now. Without it the class's usual fix is shown.

    Attributes:
        message: As given.
        fix: As given, or the class's usual fix.
    """

    usual_fix: ClassVar[str] = "Run the notebook 00-check-your-setup; it says what is missing."

    def __init__(self, message: str, fix: str | None = None) -> None:
        # Both go to `args`, so the error survives pickling between processes.
        super().__init__(message, fix)
        self.message = message
        self.fix = fix or self.usual_fix

    def __str__(self) -> str:
        return f"{self.message}\nFix: {self.fix}"


class SettingsError(SipkitError):
    """A value in `.env` or in the environment cannot be used."""

    usual_fix = "Correct the value in .env (see .env.example), then restart the kernel."


class MissingCredential(SettingsError):
    """Some credentials of the live account were given, but not all of them."""

    usual_fix = (
        "Add the missing lines to .env (see .env.example), or set SIPKIT_MODE=sandbox to work without an account."
    )


class RoomError(SipkitError):
    """Something about a room's name or PIN."""


class BadRoomName(RoomError):
    """A room's name must be 1 to 64 printable characters."""

    usual_fix = "Choose a name of 1 to 64 printable characters, such as 'standup'."


class RoomNotFound(RoomError):
    """No open room has this name here."""

    usual_fix = "Open it first: board.open_room(name)."


class PinSpaceExhausted(RoomError):
    """All PINs of the chosen length are in use by open rooms."""

    usual_fix = "Close rooms that nobody uses, or set a greater PIN_LENGTH (up to 10) in .env."


class PlatformError(SipkitError):
    """The platform (Vonage, or the sandbox in its place) did not do what was asked."""

    usual_fix = "Look at the timeline and at the dashboard's logs, then try again."


class AuthenticationRefused(PlatformError):
    """The platform does not accept the key and secret."""

    usual_fix = "Compare the keys and secrets in .env with the dashboard's; beware of stray spaces."


class SessionGone(PlatformError):
    """The platform does not know this session (any more)."""

    usual_fix = "Open the room again: board.open_room(name) gives it a new session."


class DialRefused(PlatformError):
    """The platform refused to dial. No leg exists and nothing is billed."""

    usual_fix = "Read the reason above; check CONFERENCE_NUMBER and that the session is routed."


class DialUncertain(PlatformError):
    """The dial request went out but no answer came back: a billed leg may exist."""

    usual_fix = "Look at board.bridge(room) and at the dashboard before you dial again."


class PlatformUnreachable(PlatformError):
    """There is no connection to the platform."""

    usual_fix = "Check the network connection (and a proxy, if you need one), then try again."


class CallError(SipkitError):
    """A call that is not placed, for a reason of ours."""


class NumberRefused(CallError):
    """The number is none, or none that may be called from here."""

    usual_fix = "Call an ordinary line of an allowed country; CALL_PREFIXES in .env says which are."


class CallNotConfirmed(CallError):
    """Nobody agreed to a real, billed call."""

    usual_fix = "Pass confirm=, a function that is shown what will happen and returns True if it shall."


class BudgetSpent(CallError):
    """The room has cost what it may."""

    usual_fix = "Give it more: board.set_budget(room, amount). board.costs(room) says what it was spent on."


class InvitationError(SipkitError):
    """An invitation to a room that cannot be made like this, or does not open it."""

    usual_fix = "Make it with board.invite(room), for a guest or a host, for at most 30 days."


class InvitationRefused(InvitationError):
    """A link that this project did not make, or not for this room, or that was altered on its way."""

    usual_fix = "Ask the host for a link, and open it whole: a line break in a message may have cut it."


class InvitationExpired(InvitationError):
    """A link that was right, but whose time is over."""

    usual_fix = "Ask the host for a new link."


class SignatureRefused(SipkitError):
    """A webhook request that is unsigned, forged, stale, or signed for another body."""

    usual_fix = (
        "Compare SIGNATURE_SECRET with the dashboard (API settings, signature secret), switch "
        "signed webhooks on for the application, and check this machine's clock."
    )


class ServerError(SipkitError):
    """The webhook server cannot run."""


class PortTaken(ServerError):
    """Another program listens on the wished port."""

    usual_fix = "Choose another port, or 0 for any free one."


class ServerDidNotStart(ServerError):
    """The webhook server's process left, or did not become healthy in time."""

    usual_fix = "Read its log: board.server.log() or .sipkit/server.log."


class TunnelError(SipkitError):
    """No public address for the webhook server."""


class AgentMissing(TunnelError):
    """There is no ngrok program and it cannot be downloaded."""

    usual_fix = "Install ngrok and put it on PATH, or set PYNGROK_NGROK_PATH, or use SERVER_URL."


class AuthtokenMissing(TunnelError):
    """The ngrok program wants an authtoken."""

    usual_fix = "Set NGROK_AUTHTOKEN in .env (dashboard.ngrok.com, 'Your Authtoken')."


class NetworkUnreachable(TunnelError):
    """The tunnel service cannot be reached."""

    usual_fix = "Check the network connection; company networks often block tunnels."


class TunnelTimeout(TunnelError):
    """The tunnel was not ready in time."""

    usual_fix = "Try again; if it stays silent, start ngrok by hand and read what it says."


class TunnelRefused(TunnelError):
    """The tunnel service refused."""

    usual_fix = "Stop other ngrok agents of this account, or use SERVER_URL."


class LoginRefused(TunnelRefused):
    """The SSH relay lets nobody in by the keys that were offered."""

    usual_fix = "Make a key (ssh-keygen -t ed25519), make it known to the relay, and check the user in SSH_TUNNEL."


class HostKeyRefused(TunnelRefused):
    """The SSH relay shows another host key than the one known for it."""

    usual_fix = "Ask the relay's operator whether its key has changed; until then, take it for a stranger."


class TunnelEnded(TunnelError):
    """The tunnel was up, and its program has left."""

    usual_fix = "Run board.start_webhook_server() again; it opens the tunnel anew."


class SandboxError(SipkitError):
    """Something about the sandbox on this machine."""

    usual_fix = "Read .sipkit/sandbox/sandbox.log; `make clean` removes the sandbox and its data."


class SandboxDidNotStart(SandboxError):
    """The sandbox's process left, or did not become ready in time."""


class PhoneError(SandboxError):
    """A sandbox phone cannot do what was asked, or not in its present state."""

    usual_fix = "Wait until it is answered: phone.wait_for('answered', timeout=10)."


class StoreError(SipkitError):
    """The store of rooms, PINs, bridges and callers cannot be read or written."""

    usual_fix = "Check that the data folder (.sipkit or SIPKIT_HOME) is writable and has space."


class WaitTimeout(SipkitError):
    """What was waited for did not happen before the deadline."""

    usual_fix = "Look at board.events() to see how far it came, then wait longer or try again."
