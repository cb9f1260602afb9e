"""The receiver of a phone panel: the learner's own microphone and speaker, if the browser and the learner allow it.

The page and the sandbox exchange one offer and one answer (RFC 8829), and this kernel carries both: the page never
learns where the sandbox's control API is, nor its password. From then on the sound goes past the kernel, by WebRTC.

    page:    off --box ticked--> asking --allowed, or not--> ready --a call--> connecting --> talking
                                                                                   |
                          {"offer": SDP, "call": 1, "id": ...}  -->  kernel       +-- waiting, while a cell runs
                          {"answer": SDP, "id": ...}            <--  kernel

A kernel reads what a page says between two cells only, unless JupyterLab (4.4) and the kernel (ipykernel 7) both know
subshells. While it reads nothing the page says so, and goes on by itself as soon as the answer comes. With subshells,
ipykernel hands a message to the loop that last spoke on the same widget: a receiver that were told of each call from a
cell would have to wait for that very cell. So nothing is told to it; its page asks the phone's view beside it.
"""

from typing import Any, Final

from anywidget import AnyWidget
from traitlets import Bool, Unicode

from sipkit.errors import SipkitError
from sipkit.widgets.face import script, style
from sipkit.widgets.phone_state import PhoneState
from sipkit.widgets.state import Waitable

LONGEST_OFFER: Final = 100_000
"""Letters; a browser's offer of one audio line has about three thousand."""


class Receiver(AnyWidget):
    """*Use my microphone and speaker*: the browser as mouth and ear of a sandbox phone.

    Args:
        phone: The phone whose receiver it is.

    Attributes:
        state: What the page tells: `off`, `asking`, `ready`, `waiting`, `connecting`, `talking`, `listening` (without
            a microphone) or `failed`.
        why: One word for what is missing, which the page explains: `refused`, `no-microphone`, `busy-microphone`,
            `insecure`, `unsupported`, `elsewhere`, `blocked`, `lost` or `sandbox`; else empty.
        muted: Whether the microphone is silent; the page and the kernel may both set it.
        usable: Whether there is a phone at all: live there is none.
    """

    _esm = script("receiver")
    _css = style("receiver")
    usable = Bool().tag(sync=True)
    muted = Bool(False).tag(sync=True)
    state = Unicode("off").tag(sync=True)
    why = Unicode("").tag(sync=True)

    def __init__(self, phone: PhoneState) -> None:
        super().__init__(usable=phone.mode == "sandbox")
        self._phone = phone
        self._waitable = Waitable(state=self.state)
        self.observe(lambda change: self._waitable.set_trait("state", change.new), names="state")
        self.on_msg(self._read)

    def wait_for(self, state: str, timeout: float = 15.0) -> str:
        """Wait until the page tells `state`, such as `talking`; return it.

        Args:
            state: The state to wait for.
            timeout: Seconds to wait at most.

        Raises:
            WaitTimeout: It did not come in time, or not any more.
        """
        return self._waitable.wait_for(state, timeout)

    def _read(self, _widget: object, content: Any, _buffers: object) -> None:
        """Read a message of the page: an offer, which gets an answer or a reason, or that the receiver is down."""
        if not isinstance(content, dict) or not isinstance(content.get("call"), int):
            return
        offer = content.get("offer")
        try:
            if isinstance(offer, str) and len(offer) <= LONGEST_OFFER:
                self.send({"id": content.get("id"), "answer": self._phone.lift(content["call"], offer)})
            elif content.get("down") is True:
                self._phone.lay_down(content["call"])
        except Exception as error:  # noqa: BLE001 - whatever it is, a page that waits for an answer has to get one
            told = str(error) if isinstance(error, SipkitError) else f"The kernel met a {type(error).__name__}."
            self.send({"id": content.get("id"), "refused": told})

    def __repr__(self) -> str:
        return f"Receiver(state={self.state!r})"
