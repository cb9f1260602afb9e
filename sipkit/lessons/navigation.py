"""The way through the lessons: each knows the one before and the one after it, from the files' names and titles.

`tools/build_notebooks.py` writes what `bars` returns into the cells tagged `nav`, so that no link is typed by hand.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Lesson:
    """One notebook.

    Attributes:
        file: Its file name.
        title: Its heading of the first level.
    """

    file: str
    title: str

    @property
    def link(self) -> str:
        """A Markdown link to it from its neighbours."""
        return f"[{self.title}]({self.file})"


def lessons(folder: Path) -> list[Lesson]:
    """List the lessons of a folder in their order.

    Raises:
        ValueError: A notebook has no title.
    """
    return [Lesson(path.name, _title(path)) for path in sorted(folder.glob("*.ipynb"))]


def _title(path: Path) -> str:
    notebook: dict[str, Any] = json.loads(path.read_text("utf-8"))
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line.removeprefix("# ").strip()
    raise ValueError(f"{path.name} has no title: a Markdown line that starts with '# '")


def bars(lessons: list[Lesson]) -> dict[str, str]:
    """Write each lesson's navigation, as Markdown by file name."""
    return {lesson.file: _bar(lessons, place) for place, lesson in enumerate(lessons)}


def _bar(lessons: list[Lesson], place: int) -> str:
    parts = [f"Lesson {lessons[place].file.partition('-')[0]}"]
    if place > 0:
        parts.append(f"before: {lessons[place - 1].link}")
    if place + 1 < len(lessons):
        parts.append(f"next: {lessons[place + 1].link}")
    return " · ".join(parts)
