"""The checks of the first lesson: is this machine ready, and if not, what is to be done?"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jupyter_core.paths import jupyter_path

from sipkit.doctor.machine import FRONT_ENDS, PARTS
from sipkit.errors import SipkitError
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard

PYTHON: Final = (3, 11)


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, and the fix if it failed."""

    name: str
    fix: str = ""

    @property
    def passed(self) -> bool:
        """Whether there is nothing to fix."""
        return not self.fix

    def __repr__(self) -> str:
        return f"✔ {self.name}" if self.passed else f"✘ {self.name}\n  Fix: {self.fix}"


def python(at_least: tuple[int, int] = PYTHON) -> Check:
    """Is this Python new enough?"""
    wanted = ".".join(map(str, at_least))
    fix = f"choose a kernel with Python {wanted} or newer (Kernel > Change Kernel), or run make lab again."
    return Check(f"this kernel runs Python {wanted} or newer", "" if sys.version_info >= at_least else fix)


def parts() -> Check:
    """Does this kernel see everything the kit is made of?"""
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    fix = f"this kernel does not have {', '.join(missing)}. Close JupyterLab and start it with make lab."
    return Check("this kernel has all parts of the kit", fix if missing else "")


def widgets() -> Check:
    """Can JupyterLab show buttons and panels?"""
    folders = [Path(folder) for folder in jupyter_path("labextensions")]
    missing = [name for name in FRONT_ENDS if not any((folder / name).is_dir() for folder in folders)]
    fix = f"JupyterLab lacks {', '.join(missing)}. Run pip install ipywidgets anywidget, then reload the page."
    return Check("JupyterLab can show buttons and panels", fix if missing else "")


def data_folder() -> Check:
    """Can rooms be kept?"""
    home = Settings.load().home
    writable = home.is_dir() and os.access(home, os.W_OK)
    fix = "make the folder .sipkit beside the notebooks' folder writable, or name another one in SIPKIT_HOME."
    return Check("rooms can be kept in the data folder", "" if writable else fix)


def cloud(board: Switchboard) -> Check:
    """Does somebody answer who can make calls?"""
    name = "the sandbox answers" if board.mode == "sandbox" else "your Vonage project answers"
    return _tried(name, lambda: board.open_room("check your setup"))


def server(board: Switchboard) -> Check:
    """Can the platform ask us what to do with a call?"""
    return _tried("the webhook server answers", board.start_webhook_server)


def _tried(name: str, action: Callable[[], object]) -> Check:
    try:
        action()
    except SipkitError as error:
        return Check(name, f"{error.message} {error.fix}")
    return Check(name)


def all_checks(board: Switchboard) -> Iterator[Check]:
    """Do every check, the quick ones first."""
    yield from (python(), parts(), widgets(), data_folder(), cloud(board), server(board))
