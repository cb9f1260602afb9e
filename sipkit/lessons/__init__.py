"""What the lessons need besides the kit itself: a set-up of two lines, checks, and ways to show things.

    from sipkit import lessons
    kit = lessons.setup()

Everything here shows only what is the same in every run and for every reader, since a lesson's outputs are stored
and compared: no PIN, no telephone number, no id, no port, no time of day.
"""

from sipkit.lessons.exercises import answer, heard
from sipkit.lessons.kit import ROOMS, Kit, setup
from sipkit.lessons.live import plan, try_env, tunnel_of
from sipkit.lessons.shown import Document, read_token
from sipkit.lessons.sound import hears, note, quiet, tone, voice

__all__ = [
    "ROOMS",
    "Document",
    "Kit",
    "answer",
    "heard",
    "hears",
    "note",
    "plan",
    "quiet",
    "read_token",
    "setup",
    "tone",
    "try_env",
    "tunnel_of",
    "voice",
]
