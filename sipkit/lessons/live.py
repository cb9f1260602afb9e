"""Try a `.env` without having one, and say what going live will do; nothing here calls anybody."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sipkit.cloud import cloud_for
from sipkit.doctor.plan import Plan
from sipkit.doctor.plan import plan as plan_of
from sipkit.errors import SipkitError
from sipkit.lessons.shown import Lines
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from sipkit.tunnel import tunnel_for


def try_env(text: str) -> Lines:
    """Read `text` as if it were `.env`, and nothing else; show the settings, or the error with its fix."""
    try:
        return Lines([repr(_load(text))])
    except SipkitError as error:
        return Lines([error.message, f"Fix: {error.fix}"])


def tunnel_of(text: str) -> str:
    """Say which kind of tunnel a `.env` of this text would choose.

    Raises:
        SettingsError: The text makes no usable settings.
    """
    return type(tunnel_for(_load(text))).__name__


def plan(board: Switchboard) -> Plan:
    """Say what the webhook server and one call of this board will create, change and cost."""
    settings = Settings.load(mode=board.mode)
    return plan_of(settings, cloud_for(settings, hold=False).account())


def _load(text: str) -> Settings:
    with tempfile.TemporaryDirectory() as folder, _without_settings():
        Path(folder, ".env").write_text(text, "utf-8")
        return Settings.load(project_root=Path(folder))


@contextmanager
def _without_settings() -> Iterator[None]:
    """Hide the settings of this process's environment: they win over `.env`, and here only the text counts."""
    names = {_flat(name) for field in Settings.model_fields for name in (field, f"sipkit_{field}")}
    hidden = {name: value for name, value in os.environ.items() if _flat(name) in names}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _flat(name: str) -> str:
    return name.lower().replace("_", "")
