"""A form that writes `.env`: what is typed goes to the file, and never into the notebook.

Each secret has a field that shows dots. When the form is saved, the fields are emptied in the same moment; the
notebook keeps neither what was typed nor how long it was.
"""

from typing import Final

from ipywidgets import HTML, Button, Password, Text, VBox

from sipkit.env_file import write_env
from sipkit.errors import SipkitError
from sipkit.settings import Settings

FIELDS: Final = {
    "VIDEO_API_KEY": ("OpenTok project: key", False),
    "VIDEO_API_SECRET": ("OpenTok project: secret", True),
    "VOICE_API_KEY": ("account: key", False),
    "VOICE_API_SECRET": ("account: secret", True),
    "SIGNATURE_SECRET": ("account: signature secret", True),
    "CONFERENCE_NUMBER": ("your number, with country code", True),
    "VONAGE_APPLICATION_ID": ("application: id", False),
    "VONAGE_PRIVATE_KEY": ("application: path of its private key", False),
    "NGROK_AUTHTOKEN": ("ngrok: authtoken", True),
}
"""What is asked for, in words, and whether it is hidden while typed."""


class EnvForm(VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Fields for a live account, and a button that writes what was typed into `.env`, for its owner only (0600).

    An empty field leaves the file's line as it is.

    Attributes:
        fields: The fields by the names of their settings.
        save: The button.
        said: What came of it; never a value.
    """

    def __init__(self) -> None:
        self._path = Settings.load(mode="sandbox").project_root / ".env"
        wide = {"description_width": "20em"}
        self.fields = {
            name: (Password if secret else Text)(description=words, style=wide, layout={"width": "44em"})
            for name, (words, secret) in FIELDS.items()
        }
        self.save = Button(description="Write .env", tooltip="Write what you typed into .env and empty the fields")
        self.save.on_click(lambda _button: self.write())
        self._told = HTML("")
        self.said = ""
        super().__init__(children=[*self.fields.values(), self.save, self._told])
        self.add_class("sipkit-panel")

    def write(self) -> list[str]:
        """Write what was typed, empty the fields, and return the names that were written."""
        typed = {name: field.value for name, field in self.fields.items()}
        for field in self.fields.values():
            field.value = ""
        names: list[str] = []
        try:
            names = write_env(self._path, typed)
        except SipkitError as error:
            self._say(f"{error.message} {error.fix}")
        else:
            self._say(f"Written: {', '.join(names)}. Restart the kernel." if names else "Nothing was typed.")
        return names

    def _say(self, text: str) -> None:
        self.said = text
        self._told.value = text  # names and fixed words only

    def __repr__(self) -> str:
        return f"EnvForm({len(self.fields)} fields)"
