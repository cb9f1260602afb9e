"""What a learner presses and watches: panels, a player and a log for JupyterLab.

Every widget is two things side by side. Its *state* (`*_state.py`, `audio.py`) is plain Python and traits, knows the
switchboard and no pixel; its *view* is buttons and a little JavaScript beside it (`*.js`, `*.css`), which JupyterLab
loads as they are: there is no build step. Handlers never print. They set traits, and what goes wrong shows in the
widget's own banner, because in JupyterLab the output of a handler goes nowhere a learner looks.
"""

from sipkit.widgets.call_panel import CallPanel
from sipkit.widgets.confirmation import Confirmation
from sipkit.widgets.cost_panel import CostPanel
from sipkit.widgets.direct_call_panel import DirectCallPanel
from sipkit.widgets.doctor_card import DoctorCard
from sipkit.widgets.env_form import EnvForm
from sipkit.widgets.event_log import EventLog
from sipkit.widgets.guessing_panel import GuessingPanel
from sipkit.widgets.host_panel import HostPanel
from sipkit.widgets.phone_panel import PhonePanel
from sipkit.widgets.recording import Recording
from sipkit.widgets.room_view import RoomView

__all__ = [
    "CallPanel",
    "Confirmation",
    "CostPanel",
    "DirectCallPanel",
    "DoctorCard",
    "EnvForm",
    "EventLog",
    "GuessingPanel",
    "HostPanel",
    "PhonePanel",
    "Recording",
    "RoomView",
]
