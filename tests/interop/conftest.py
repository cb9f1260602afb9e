"""What foreign phones need: the running sandbox, and an application for it to ask."""

from tests.standins.calls import app, lab, session_app, session_lab

__all__ = ["app", "lab", "session_app", "session_lab"]
