"""Checks of this machine: Python, packages, kernel, JupyterLab's widgets, the data folder and the port."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Final

from sipkit.doctor.finding import Finding, failure, ok, skipped, warning
from sipkit.doctor.patient import Patient
from sipkit.http_server import HOST, listen

PYTHON: Final = ((3, 11), (3, 14))
"""The first version that will do, and the first that will not."""

PARTS: Final = (
    "aiohttp", "aioice", "anywidget", "flask", "ipywidgets", "itsdangerous", "jwt", "numpy", "opentok", "OpenSSL",
    "pydantic_settings", "pylibsrtp", "requests", "segno", "sqlalchemy", "vonage", "vonage_voice", "waitress",
)  # fmt: skip
FRONT_ENDS: Final = ("@jupyter-widgets/jupyterlab-manager", "anywidget")
_KERNEL: Final = "python3"  # the one every lesson asks for


def python(_patient: Patient, version: tuple[int, int] | None = None) -> Finding:
    """Is this Python one that sipkit is tested with?"""
    first, beyond = PYTHON
    found = version or (sys.version_info.major, sys.version_info.minor)
    seen = f"Python {found[0]}.{found[1]}"
    if first <= found < beyond:
        return ok("Python", seen)
    return failure("Python", f"{seen} is not supported.", "Install Python 3.11, 3.12 or 3.13, then run make lab again.")


def packages(_patient: Patient, parts: tuple[str, ...] = PARTS) -> Finding:
    """Is everything installed that the kit is made of?"""
    missing = [name for name in parts if importlib.util.find_spec(name) is None]
    if not missing:
        return ok("packages", f"all {len(parts)} parts are there")
    return failure(
        "packages",
        f"{', '.join(missing)} cannot be imported.",
        "Close JupyterLab and start it with make lab, which installs what is missing.",
    )


def kernel(_patient: Patient) -> Finding:
    """Does JupyterLab start its kernel with the Python that this runs on?"""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    fix = "Run python -m ipykernel install --sys-prefix, with the Python of make lab (.venv/bin/python)."
    try:
        argv = KernelSpecManager().get_kernel_spec(_KERNEL).argv
    except (NoSuchKernel, OSError, json.JSONDecodeError):
        return failure("kernel", f"JupyterLab knows no kernel called {_KERNEL}.", fix)
    program = argv[0] if argv else ""
    if Path(program).is_absolute() and not os.access(program, os.X_OK):
        return failure("kernel", f"The kernel {_KERNEL} starts a Python that is not there (any more).", fix)
    # Compared without following links: an environment's python is a link to the system's.
    if Path(program).is_absolute() and Path(program).parent != Path(sys.executable).parent:
        return warning("kernel", f"The kernel {_KERNEL} starts another Python than this one.", fix)
    return ok("kernel", f"the kernel {_KERNEL} starts this Python")


def widgets(_patient: Patient) -> Finding:
    """Can JupyterLab show buttons and panels?"""
    from jupyter_core.paths import jupyter_path

    folders = [Path(folder) for folder in jupyter_path("labextensions")]
    missing = [name for name in FRONT_ENDS if not any((folder / name).is_dir() for folder in folders)]
    if not missing:
        return ok("JupyterLab widgets", "buttons and panels can be shown")
    fix = "Run pip install ipywidgets anywidget, then reload the page."
    return failure("JupyterLab widgets", f"JupyterLab lacks {', '.join(missing)}.", fix)


def data_folder(patient: Patient) -> Finding:
    """Can rooms and PINs be kept, and by nobody else be read?"""
    home = patient.settings.home
    if not (home.is_dir() and os.access(home, os.W_OK | os.X_OK)):
        fix = "Make the folder .sipkit beside the notebooks' folder writable, or name another one in SIPKIT_HOME."
        return failure("data folder", "Nothing can be written there.", fix)
    if os.name == "posix" and home.stat().st_mode & 0o077:
        return warning("data folder", "Other users of this machine may look into it.", "Run chmod 700 .sipkit.")
    return ok("data folder", "writable, and private")


def env_file(patient: Patient) -> Finding:
    """Is `.env`, with its secrets, readable by its owner only?"""
    path = patient.settings.project_root / ".env"
    if not path.is_file():
        return skipped(".env", "There is no such file.")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        return warning(".env", "Other users of this machine may read its secrets.", "Run chmod 600 .env.")
    return ok(".env", "only you can read it")


def port(patient: Patient) -> Finding:
    """Can the webhook server listen where it shall, or does it already?"""
    wished, running = patient.settings.webhook_port, patient.server()
    if running is not None and wished in (0, running.port):
        return ok("port", f"the webhook server answers on {HOST}:{running.port}")
    try:
        listen(wished).close()
    except (OSError, OverflowError):
        return failure(
            "port",
            f"Port {wished} on {HOST} is taken by another program, or may not be used.",
            "Stop that program, or choose another WEBHOOK_PORT in .env (0: any free one; not with SERVER_URL).",
        )
    return ok("port", f"{wished or 'any'} is free on {HOST}")
