"""What a board offers to see what happens: waiting for a state, and the sandbox's phones, people and trace."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from sipkit.errors import SandboxError
from sipkit.rooms import Bridge, BridgeState, Caller, Room

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.health import Health
    from sipkit.phones import SandboxParticipant, SandboxPhone, SandboxTrace
    from sipkit.sandbox.launcher import SandboxInfo
    from sipkit.server import WebhookServer
    from sipkit.settings import Settings
    from sipkit.store import Store

T = TypeVar("T")

TALKS: Final = -45.0
"""Level of a second with speech in it, dBFS; a quiet room is below -60."""


class Lookout:
    """The part of a `Switchboard` that changes nothing of its calls."""

    _settings: "Settings"
    _store: "Store"
    _health: "Health"

    @property
    def mode(self) -> Literal["sandbox", "live"]:
        """Who answers."""
        raise NotImplementedError

    @property
    def number(self) -> str:
        """The number phones dial."""
        raise NotImplementedError

    @property
    def server(self) -> "WebhookServer | None":
        """The webhook server, once it was started."""
        raise NotImplementedError

    def _room(self, room: Room | str) -> Room:
        raise NotImplementedError

    def _account(self) -> "Account":
        raise NotImplementedError

    def trouble(self) -> str:
        """Return why callers hear an apology instead of a prompt, and what to do; empty if they do not."""
        return "" if self.server is None else self.server.trouble

    def notice(self, room: Room | str) -> str:
        """Return what should be known of a room besides its state: the platform is away, or its call will be hung up.

        Empty if there is nothing. Never waits; the platform is looked after from the first call on, for as long as
        somebody goes on asking (`sipkit.health`).
        """
        from sipkit import guard

        warned_of = self._store.warned_of(self._room(room))
        words = {rule: why for rule, why in guard.WORDS.items() if rule == warned_of}
        coming = [f"The call will be hung up in less than a minute: {why}." for why in words.values()]
        return self._health.trouble() or "".join(coming)

    # Waiting

    def wait_for(self, look: Callable[[], T], timeout: float = 10.0, what: str = "what was waited for") -> T:
        """Call `look` every 50 ms until it returns something true, and return that.

        Args:
            look: What to ask.
            timeout: Seconds.
            what: Names the awaited thing in the error.

        Raises:
            WaitTimeout: It stayed false; the error tells what was seen last.
        """
        from sipkit import waiting

        return waiting.wait_for(look, timeout, what)

    def wait_for_bridge(self, room: Room | str, state: BridgeState, timeout: float = 10.0) -> Bridge | None:
        """Wait until a room's bridge is in a state, or beyond it.

        Returns:
            The bridge; None if "ended" was asked for and there is none.

        Raises:
            WaitTimeout: It did not get there; the error tells where it is, and why if it ended.
        """
        from sipkit import waiting

        return waiting.wait_for_bridge(self._store, self._room(room), state, timeout)

    def wait_for_callers(self, room: Room | str, count: int, timeout: float = 10.0) -> list[Caller]:
        """Wait until exactly `count` callers are in a room's conversation, and return them.

        Raises:
            WaitTimeout: The error tells how many there are.
        """
        from sipkit import waiting

        return waiting.wait_for_callers(self._store, self._room(room), count, timeout)

    # The sandbox

    def phone(
        self,
        number: str | None = None,
        from_: str | None = None,
        transport: Literal["udp", "tcp", "tls"] | None = None,
    ) -> "SandboxPhone":
        """Take a phone of the sandbox and dial the number; it returns while the phone is calling.

        Args:
            number: Another number than the conference's.
            from_: The phone's own number.
            transport: What its SIP goes over.

        Raises:
            SandboxError: Live there are no such phones; take a real one.
        """
        from sipkit.phones import SandboxPhone

        return SandboxPhone.call(self._sandbox(), number or self.number, from_, transport)

    def participant(
        self, room: Room | str, tone_hz: float | None = None, text: str | None = None
    ) -> "SandboxParticipant":
        """Put somebody into a room's session without a browser; plays a tone, says a text, or only listens.

        Raises:
            SandboxError: Live there are no such participants; open a browser.
        """
        from sipkit.phones import SandboxParticipant

        return SandboxParticipant.join(self._sandbox(), self._room(room).session_id, tone_hz, text)

    def trace(self) -> "SandboxTrace":
        """Return the sandbox's trace: SIP messages, webhooks, NCCO steps, digits, media figures.

        Raises:
            SandboxError: Vonage shows nothing of the kind.
        """
        from sipkit.phones import SandboxTrace

        return SandboxTrace(self._sandbox())

    def talking(self) -> frozenset[str]:
        """Return the legs whose party is talking, or was within the last two seconds.

        Raises:
            SandboxError: Vonage tells nobody.
        """
        return frozenset(leg for leg, level in self.trace().levels().items() if level > TALKS)

    def _sandbox(self) -> "SandboxInfo":
        from sipkit.sandbox import launcher

        if self.mode != "sandbox":
            raise SandboxError(
                "Only the sandbox has phones, participants and a trace.",
                "Live, use a real phone and a browser, or set SIPKIT_MODE=sandbox.",
            )
        self._account()
        info = launcher.read(self._settings.home / "sandbox")
        if info is None:
            raise SandboxError("The sandbox has just gone.", "Try again: it is started when it is needed.")
        return info
