"""A player for what a phone or a session heard.

IPython's own player puts the sound itself into the notebook, where no two runs agree; this one sends it to the page
and leaves only a verdict behind.
"""

from anywidget import AnyWidget
from traitlets import Bytes, Unicode

from sipkit.widgets import audio
from sipkit.widgets.face import script, style
from sipkit.widgets.state import Waitable


class Recording(AnyWidget):
    """A recording with a title, a play button and a verdict on what is in it.

    Args:
        wav: 16 bit mono WAV audio.
        title: Who heard it, for example `what the phone heard`.

    Attributes:
        verdict: What is in it, in words: `silence`, `speech`, `tone 440 Hz`, joined by `, then`.
        state: `ready`, then `playing` and `played` as the page tells.

    Raises:
        ValueError: `wav` is not 16 bit mono WAV audio.
    """

    _esm = script("recording")
    _css = style("recording")
    sound = Bytes().tag(sync=True)
    title = Unicode().tag(sync=True)
    verdict = Unicode().tag(sync=True)
    length = Unicode().tag(sync=True)
    state = Unicode("ready").tag(sync=True)

    def __init__(self, wav: bytes, title: str) -> None:
        length = f"{audio.seconds(wav):.1f} s"
        super().__init__(sound=wav, title=title, verdict=audio.verdict(wav), length=length)
        self._waitable = Waitable(state=self.state)
        self.observe(lambda change: self._waitable.set_trait("state", change.new), names="state")

    def hears(self, hz: float) -> bool:
        """Tell whether a tone of `hz` Hz is in it, alone or among other sounds."""
        return audio.hears(self.sound, hz)

    def wait_for(self, state: str, timeout: float = 15.0) -> str:
        """Wait until the player is `ready`, `playing` or `played`; return it.

        The page can only tell between two cells: in the cell that shows the player nothing but `ready` can come.

        Args:
            state: The state to wait for.
            timeout: Seconds to wait at most.

        Raises:
            WaitTimeout: It did not come in time.
        """
        return self._waitable.wait_for(state, timeout)

    def __repr__(self) -> str:
        return f"Recording({self.title!r}: {self.verdict})"
