"""The phone panel: a telephone of the sandbox with a keypad, and the learner's own microphone and speaker if they like.

In live mode you have a real telephone in your pocket.
"""

from typing import Any, Final

from anywidget import AnyWidget
from ipywidgets import Button, FileUpload, GridBox, HBox, Layout, Text
from traitlets import Int, Unicode

from sipkit.phones import SandboxPhone
from sipkit.switchboard import Switchboard
from sipkit.widgets.face import script, style
from sipkit.widgets.panel import Panel
from sipkit.widgets.phone_state import PhoneState
from sipkit.widgets.receiver import Receiver

KEYPAD: Final = "123456789*0#"
KEY_NAMES: Final = {"*": "star", "#": "hash"}
GREETING: Final = "Hello, this is the phone speaking."


class PhoneView(AnyWidget):
    """The phone's screen: its state, the keys pressed, what it hears, and the banner."""

    _esm = script("phone_panel")
    _css = style("panel")
    mode = Unicode().tag(sync=True)
    calls = Int().tag(sync=True)
    state = Unicode().tag(sync=True)
    number = Unicode().tag(sync=True)
    keyed = Unicode().tag(sync=True)
    hears = Unicode().tag(sync=True)
    error = Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return "PhoneView()"


class PhonePanel(Panel):
    """One telephone: call the number, press keys, speak - with your own voice, or by typing -, hang up.

    Args:
        board: The switchboard; in live mode the panel only says that its phones belong to the sandbox.

    Attributes:
        call: The *Call* button; `panel.call.click()` presses it.
        hang_up: The *Hang up* button.
        say: The button that speaks what stands in `text`.
        tone: The button that whistles 440 Hz for two seconds.
        file: The button that plays a WAV file of this computer into the phone.
        receiver: Your microphone and speaker, once their box is ticked.
        keypad: The twelve keys, by what is printed on them.
        text: The field with the words to say.
        state: The `PhoneState` behind the view.
    """

    state: PhoneState

    def __init__(self, board: Switchboard) -> None:
        state = PhoneState(board)
        self.call = Button(
            description="Call", icon="phone", button_style="success", tooltip="Call the number from this phone"
        )
        self.hang_up = Button(description="Hang up", button_style="danger", tooltip="Put the receiver down")
        self.say = Button(description="Say it", tooltip="Speak the words of the field into the phone")
        self.tone = Button(description="Whistle", tooltip="Play a 440 Hz tone into the phone for two seconds")
        self.file = FileUpload(
            accept=".wav,audio/wav", description="Play a file", tooltip="Play a WAV file into the phone"
        )
        self.text = Text(value=GREETING, description="Words", continuous_update=False)
        self.keypad = {key: self._key(key, state) for key in KEYPAD}
        self.call.on_click(lambda _button: state.call())
        self.hang_up.on_click(lambda _button: state.hang_up())
        self.say.on_click(lambda _button: state.say(self.text.value))
        self.tone.on_click(lambda _button: state.tone())
        self.file.observe(lambda _change: self._play(), names="value")
        up = frozenset({"answered"})
        buttons = {
            self.call: frozenset({"idle", "ended", "failed"}),
            self.hang_up: frozenset({"calling", "ringing", "answered"}),
            self.say: up,
            self.tone: up,
            self.file: up,
        }
        view = PhoneView()
        grid = GridBox(
            list(self.keypad.values()), layout=Layout(grid_template_columns="repeat(3, 4em)", grid_gap="2px")
        )
        grid.add_class("sipkit-keypad")
        self.receiver = Receiver(state)
        words = HBox([self.text, self.say, self.tone, self.file], layout=Layout(flex_flow="row wrap"))
        rows = [view, HBox([self.call, self.hang_up]), self.receiver, grid, words]
        super().__init__(board, state, view, buttons | dict.fromkeys(self.keypad.values(), up), rows)

    def _play(self) -> None:
        """Play what was just chosen, and forget it: the same file may be chosen again."""
        if self.file.value:
            [chosen] = self.file.value
            self.state.play(bytes(chosen["content"]))
            self.file.value = ()

    @staticmethod
    def _key(key: str, state: PhoneState) -> Button:
        button = Button(description=key, tooltip=f"Key {KEY_NAMES.get(key, key)}", layout=Layout(width="auto"))
        button.on_click(lambda _button: state.press(key))
        return button

    @property
    def phone(self) -> SandboxPhone | None:
        """The telephone itself; None before the first call."""
        return self.state.phone

    def press(self, keys: str) -> None:
        """Press several keys, one after the other, as a finger would."""
        for key in keys:
            self.keypad[key].click()

    def _facts(self) -> dict[str, Any]:
        return {"mode": self.state.mode}

    def __repr__(self) -> str:
        labels = [f"{button.description}{' (off)' * button.disabled}" for button in (self.call, self.hang_up)]
        shown = f"mode={self.state.mode!r}, state={self.state.state!r}, buttons={labels!r}, keys={len(self.keypad)}"
        return f"PhonePanel({shown})"
