"""The arithmetic of guessing, to play with: how long a PIN holds, for its length and for who guesses."""

from typing import Any

from ipywidgets import HTML, IntSlider, VBox
from traitlets import HasTraits, Int, Unicode, observe

from sipkit import guessing
from sipkit.pins import DEFAULT_LENGTH, MAX_LENGTH, MIN_LENGTH, OWN_LENGTH, how_many

_ROWS = (
    ("a guesser with caller ids of its own, as the kit is set", "fixed"),
    ("the same, if nothing were remembered across calls", "unlimited"),
    ("caller ids that change on each call: to the host's lobby", "changing"),
    (f"the same, to get in by somebody's own PIN of {OWN_LENGTH} digits", "own"),
)


class GuessingState(HasTraits):
    """A guesser and what it is up against.

    Attributes:
        digits: Of a room's PIN.
        rooms: Open at once, each with one PIN; hitting any of them counts.
        lines: Calls that are kept up at once, day and night.
        fixed, unlimited, changing, own: The time until a chance of 50 %, in words; see `_ROWS`.
    """

    digits = Int(DEFAULT_LENGTH)
    rooms = Int(10)
    lines = Int(30)
    fixed = Unicode()
    unlimited = Unicode()
    changing = Unicode()
    own = Unicode()

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._reckon()

    @observe("digits", "rooms", "lines")
    def _reckon(self, _change: object = None) -> None:
        quick = guessing.changing_rate(self.lines)
        rates = {"fixed": guessing.fixed_rate(self.lines), "unlimited": quick, "changing": quick}
        for name, rate in rates.items():
            setattr(self, name, guessing.in_words(guessing.seconds_to_half(self.digits, self.rooms, rate)))
        self.own = guessing.in_words(guessing.seconds_to_half(OWN_LENGTH, self.rooms, quick))


class GuessingPanel(VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Three sliders and a table.

    Attributes:
        state: The `GuessingState` behind it.
    """

    def __init__(self, **traits: Any) -> None:
        self.state = state = GuessingState(**traits)
        wide = {"style": {"description_width": "9em"}}
        digits = IntSlider(state.digits, MIN_LENGTH, MAX_LENGTH, description="digits of a PIN", **wide)
        rooms = IntSlider(state.rooms, 1, 100, description="open rooms", **wide)
        lines = IntSlider(state.lines, 1, 200, description="lines that guess", **wide)
        self.table = HTML()
        for slider, name in ((digits, "digits"), (rooms, "rooms"), (lines, "lines")):
            slider.observe(lambda change, name=name: setattr(state, name, change["new"]), names="value")
        state.observe(lambda _change: self._write())
        super().__init__(children=[digits, rooms, lines, self.table])
        self._write()

    def _write(self) -> None:
        state = self.state
        rows = "".join(f"<tr><td>{words}</td><td><b>{getattr(state, name)}</b></td></tr>" for words, name in _ROWS)
        head = f"<caption>Time until a 50 % chance to hit one of {how_many(state.digits):,} PINs</caption>"
        self.table.value = f"<table>{head}{rows}</table>"

    def __repr__(self) -> str:
        state = self.state
        return f"GuessingPanel(digits={state.digits}, rooms={state.rooms}, lines={state.lines}, fixed={state.fixed!r})"
