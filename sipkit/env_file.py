"""Write settings into `.env` without losing what else is in it, and readable by its owner only.

Lines that are there keep their place and their comments; what is set anew replaces the line of its name, and what has
no line yet comes last. Values are quoted as python-dotenv reads them, so that no character of a secret is lost.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sipkit.errors import SettingsError
from sipkit.processes import write_private

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_LINE: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_QUOTED: Final = re.compile(r"^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*(?P<mark>['\"])(?P<rest>.*)", re.DOTALL)


def write_env(path: Path, values: Mapping[str, str]) -> list[str]:
    """Set `values` in the `.env` at `path`, which is made if it is not there; its mode becomes 0600.

    Args:
        path: The file.
        values: By name in capitals; empty ones are left as they are in the file.

    Returns:
        The names that were written, sorted.

    Raises:
        SettingsError: A value has a line break or `${` in it, or the file cannot be read or written. No text holds a
            value.
    """
    given = {name: value.strip() for name, value in values.items() if value.strip()}
    broken = sorted(name for name, value in given.items() if re.search(r"[\r\n\0]", value))
    if broken:
        message = f"{', '.join(broken)} has a line break in it."
        raise SettingsError(message, "Paste one line; of a private key, give the path of its file.")
    # python-dotenv fills in ${NAME} whatever the quotes are, and knows no way to write it otherwise.
    filled_in = sorted(name for name, value in given.items() if "${" in value)
    if filled_in:
        message = f"{', '.join(filled_in)} has ${{ in it, which .env would read as the name of another setting."
        raise SettingsError(message, "Have another one made without ${, or set it in the environment, not in .env.")
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        # Of a link the file it leads to: whoever keeps secrets elsewhere wants them there.
        write_private(path.resolve(), "\n".join([*_merged(lines, given), ""]))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read or written ({type(error).__name__}).") from None
    return sorted(given)


def _merged(lines: list[str], given: dict[str, str]) -> list[str]:
    """The lines with the given values in their places; a second line of the same name would win, so it goes."""
    merged: list[str] = []
    written: set[str] = set()
    at = 0
    while at < len(lines):
        end = _end_of(lines, at)
        match = _LINE.match(lines[at])
        name = match.group(1) if match else ""
        if name not in given:
            merged += lines[at:end]
        elif name not in written:
            merged.append(_line(name, given[name]))
            written.add(name)
        at = end
    return merged + [_line(name, value) for name, value in given.items() if name not in written]


def _end_of(lines: list[str], at: int) -> int:
    """The index after the setting that begins at a line: a quoted value, such as a private key, may have many.

    A quote that is never closed is, as python-dotenv reads it, a mistake of that one line.
    """
    opened = _QUOTED.match(lines[at])
    if opened is None:
        return at + 1
    closing = re.compile(rf"(?:\\.|[^\\{opened['mark']}])*{opened['mark']}", re.DOTALL)
    rest = opened["rest"]
    for end in range(at + 1, len(lines) + 1):
        if closing.match(rest):
            return end
        if end < len(lines):
            rest += f"\n{lines[end]}"
    return at + 1


def _line(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"
