"""The base of what stands behind a widget: traits a view can follow, and a way to wait for them. No pixels in here."""

import threading
from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from traitlets import HasTraits, Unicode

from sipkit.errors import SipkitError, WaitTimeout

P = ParamSpec("P")
S = TypeVar("S", bound="Waitable")

HOPELESS: Final = frozenset({"ended", "failed", "sandbox-only"})
"""States that never turn into another one by themselves: waiting on would be waiting for nothing."""


class Waitable(HasTraits):
    """Something with a `state`, an `error` for the banner, and `wait_for`.

    Attributes:
        state: One word, from the vocabulary of the subclass.
        error: What went wrong and how to mend it, or an empty string.
        notice: What is to be known besides, for as long as it is so: the platform is away, the call will be hung up.
    """

    state = Unicode("idle")
    error = Unicode("")
    notice = Unicode("")

    def __init__(self, **traits: Any) -> None:
        self._told = threading.Condition()
        super().__init__(**traits)
        self.observe(self._tell, names="state")

    def _tell(self, _change: object) -> None:
        with self._told:
            self._told.notify_all()

    def wait_for(self, state: str, timeout: float = 15.0) -> str:
        """Wait until the state is `state`; return it.

        Args:
            state: The state to wait for.
            timeout: Seconds to wait at most.

        Raises:
            WaitTimeout: The state did not come in time, or it cannot come any more because something failed.
        """
        deadline = monotonic() + timeout
        with self._told:
            while self.state != state:
                if self.state in HOPELESS:
                    raise WaitTimeout(f"Waiting for {state!r} ended at {self.state!r}.", self._fix())
                left = deadline - monotonic()
                if left <= 0:
                    raise WaitTimeout(f"Waited {timeout:g} s for {state!r}; the state is {self.state!r}.", self._fix())
                self._told.wait(left)
        return state

    def _fix(self) -> str:
        return self.error or "Look at the panel and at board.events(room): the last lines say what happened."

    def show(self, error: Exception) -> None:
        """Put `error` into the banner; one of sipkit's own brings its fix along."""
        self.error = _words(error)

    def take_back(self, error: Exception) -> None:
        """Take `error` out of the banner, if nothing else is in it by now."""
        if self.error == _words(error):
            self.error = ""


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, SipkitError) else f"{type(error).__name__}: {error}"


def in_banner(handler: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Decorate a method a button calls: what it raises goes to the banner, and the state to `failed`.

    In JupyterLab the traceback of a button's handler is shown to nobody.
    """
    return _guarded(handler, "failed")


def in_passing(handler: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Decorate as `in_banner` does, but leave the state: a word that could not be said ends no call."""
    return _guarded(handler, None)


def _guarded(handler: Callable[Concatenate[S, P], None], state_after: str | None) -> Callable[Concatenate[S, P], None]:
    @wraps(handler)
    def guarded(state: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        state.error = ""
        try:
            handler(state, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the learner has to see it
            state.show(error)
            state.state = state_after or state.state

    return guarded
