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


def write_env(path: Path, values: Mapping[str, str]) -> list[str]:
    """Set `values` in the `.env` at `path`, which is made if it is not there; its mode becomes 0600.

    Args:
        path: The file.
        values: By name in capitals; empty ones are left as they are in the file.

    Returns:
        The names that were written, sorted.

    Raises:
        SettingsError: A value has a line break, or the file cannot be read or written. No text holds a value.
    """
    given = {name: value.strip() for name, value in values.items() if value.strip()}
    broken = sorted(name for name, value in given.items() if re.search(r"[\r\n\0]", value))
    if broken:
        message = f"{', '.join(broken)} has a line break in it."
        raise SettingsError(message, "Paste one line; of a private key, give the path of its file.")
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        write_private(path, "\n".join([*_merged(lines, given), ""]))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read or written ({type(error).__name__}).") from None
    return sorted(given)


def _merged(lines: list[str], given: dict[str, str]) -> list[str]:
    """The lines with the given values in their places; a second line of the same name would win, so it goes."""
    merged: list[str] = []
    written: set[str] = set()
    for line in lines:
        match = _LINE.match(line)
        name = match.group(1) if match else ""
        if name not in given:
            merged.append(line)
        elif name not in written:
            merged.append(_line(name, given[name]))
            written.add(name)
    return merged + [_line(name, value) for name, value in given.items() if name not in written]


def _line(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"
