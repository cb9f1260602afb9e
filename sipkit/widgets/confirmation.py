"""The yes that a billed call waits for: a button under the plan, and no call before it was pressed."""

from ipywidgets import HTML, Button, VBox

from sipkit.errors import SipkitError
from sipkit.switchboard import Switchboard


class Confirmation(VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """A button that says yes to what is billed; in the sandbox, where nothing is, yes is said already.

    Args:
        board: Says whether calls are billed.

    Attributes:
        yes: The button.
        given: Whether yes was said.
    """

    def __init__(self, board: Switchboard) -> None:
        self.given = board.mode == "sandbox"
        self.yes = Button(description="Yes, place it", tooltip="Calls from this notebook will be billed")
        self.yes.on_click(lambda _button: self._give())
        self._told = HTML()
        super().__init__(children=[self._told, self.yes])
        self.add_class("sipkit-panel")
        self._show()

    def require(self) -> None:
        """Do nothing if yes was said.

        Raises:
            SipkitError: It was not; nothing may be placed.
        """
        if not self.given:
            raise SipkitError("This call would be billed, and nobody has said yes.", "Press the button above first.")

    def _give(self) -> None:
        self.given = True
        self._show()

    def _show(self) -> None:
        self._told.value = "Confirmed." if self.given else "This places a <b>real, billed</b> call to your number."
        self.yes.disabled = self.given

    def __repr__(self) -> str:
        return f"Confirmation({'given' if self.given else 'not given'})"
