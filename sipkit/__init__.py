"""sipkit: let people join a Vonage Video session by phone, from a notebook, with or without an account.

A name is imported when it is first asked for. Starting fast matters twice: a lesson's first cell imports
the kit, and every child process (the webhook server, the sandbox) passes through this file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sipkit.errors import SipkitError
    from sipkit.rooms import Bridge, Caller, HangUp, Room
    from sipkit.settings import Settings
    from sipkit.switchboard import Switchboard

__version__ = "0.1.0"

__all__ = ["Bridge", "Caller", "HangUp", "Room", "Settings", "SipkitError", "Switchboard", "__version__"]

_HOMES = {
    "Bridge": "sipkit.rooms",
    "Caller": "sipkit.rooms",
    "HangUp": "sipkit.rooms",
    "Room": "sipkit.rooms",
    "Settings": "sipkit.settings",
    "SipkitError": "sipkit.errors",
    "Switchboard": "sipkit.switchboard",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
