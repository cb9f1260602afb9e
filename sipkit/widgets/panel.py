"""What every panel is: a state, a view that follows it, a refreshing thread, and a representation that never varies."""

from collections.abc import Sequence
from typing import Any

from anywidget import AnyWidget
from ipywidgets import Button, FileUpload, VBox, Widget
from traitlets import directional_link

from sipkit.switchboard import Switchboard
from sipkit.widgets.call_state import CallState
from sipkit.widgets.cost_state import CostState
from sipkit.widgets.direct_call_state import DirectCallState
from sipkit.widgets.host_state import HostState
from sipkit.widgets.phone_state import PhoneState
from sipkit.widgets.refresh import Refresher


class Panel(VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """A box of widgets over a state, kept true by a `Refresher` until the panel closes.

    Args:
        board: The switchboard whose truth is shown.
        state: The state shown.
        view: The widget that shows it: each trait the two have in common follows the state.
        buttons: The buttons a learner may press, with the states in which each is enabled.
        children: What is in the box, top to bottom.
    """

    _refresher: Refresher | None = None

    def __init__(
        self,
        board: Switchboard,
        state: CallState | CostState | DirectCallState | HostState | PhoneState,
        view: AnyWidget,
        buttons: dict[Button | FileUpload, frozenset[str]],
        children: Sequence[Widget],
    ) -> None:
        super().__init__(children=children)
        self.add_class("sipkit-panel")
        self.state = state
        self.view = view
        self._buttons = buttons
        for name in state.trait_names():
            if view.has_trait(name):
                directional_link((state, name), (view, name))
        state.observe(self._enable, names="state")
        self._enable()
        self._refresher = Refresher(board, state.refresh, state.show, state.take_back)

    def _enable(self, _change: object = None) -> None:
        for button, states in self._buttons.items():
            button.disabled = self.state.state not in states

    def wait_for(self, state: str, timeout: float = 15.0) -> str:
        """Wait until the panel shows `state`; return it.

        Args:
            state: The state to wait for.
            timeout: Seconds to wait at most.

        Raises:
            WaitTimeout: It did not come in time, or something failed meanwhile; the text says what.
        """
        return self.state.wait_for(state, timeout)

    def close(self) -> None:
        """Stop the thread and take the panel off the page. A call goes on: closing a panel hangs nothing up."""
        if self._refresher is not None:
            self._refresher.stop()
        super().close()

    def __repr__(self) -> str:
        labels = [f"{button.description}{' (off)' * button.disabled}" for button in self._buttons]
        facts: dict[str, Any] = {**self._facts(), "state": self.state.state, "buttons": labels}
        return f"{type(self).__name__}({', '.join(f'{name}={fact!r}' for name, fact in facts.items())})"

    def _facts(self) -> dict[str, Any]:
        """What the representation says besides state and buttons: nothing secret, nothing that varies."""
        return {}
