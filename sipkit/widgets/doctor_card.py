"""The doctor as a card: what every check found, and a button to look again."""

from ipywidgets import HTML, Button, VBox

from sipkit.doctor import Report, examine_env
from sipkit.errors import SipkitError


class DoctorCard(VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """The findings of `sipkit doctor` as a table, examined when the card is made and whenever its button is pressed.

    Attributes:
        report: What was found last.
        again: The button.
    """

    def __init__(self) -> None:
        self.report = examine_env()
        self.again = Button(description="Examine again", tooltip="Do every check once more; a few seconds")
        self.again.on_click(lambda _button: self.examine())
        self._table = HTML(self.report._repr_html_())
        super().__init__(children=[self._table, self.again])
        self.add_class("sipkit-panel")

    def examine(self) -> Report:
        """Do every check once more; what goes wrong meanwhile shows in the card."""
        self.again.disabled = True
        try:
            self.report = examine_env()
            self._table.value = self.report._repr_html_()
        except SipkitError as error:
            self._table.value = f"<p>{error.message}</p>"
        finally:
            self.again.disabled = False
        return self.report

    def __repr__(self) -> str:
        return f"DoctorCard({self.report.mode or 'no mode'}, {'healthy' if self.report.healthy else 'not healthy'})"
