"""The rules of the lessons, as one function each: `python tools/check_notebooks.py` lists what breaks them.

A rule takes a `Notebook` and yields sentences; no sentence means that the rule holds. The tests run the same rules.
"""

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
NOTEBOOKS: Final = ROOT / "notebooks"
sys.path.insert(0, str(ROOT))

from sipkit.lessons import navigation  # noqa: E402 - works from a checkout without an installation too

HEADINGS: Final = (
    "What you will do",
    "What you will learn",
    "What you will need",
    "Set up",
    "Clean up",
    "Recap",
)
MAX_LINES: Final = 8
MAX_EXEMPT: Final = 0.10
MIN_COMPARED: Final = 0.60
EXEMPT: Final = "nbval-ignore-output"
KNOWN_TAGS: Final = frozenset({"nav", "setup", "press", "clean-up", EXEMPT})
KNOWN_METADATA: Final = frozenset({"tags", "exempt"})
WIDGET_VIEW: Final = "application/vnd.jupyter.widget-view+json"
FORBIDDEN_IN_OUTPUTS: Final = {
    "an e-mail address or a SIP user": re.compile(r"[\w.+-]+@[\w-]+\.\w+"),
    "a phone number": re.compile(r"(?<![\w.])\+?\d{7,15}(?!\w)"),
    "a PIN": re.compile(r"\bpin\b\W{0,8}\d{4,10}\b", re.IGNORECASE),
    "a token": re.compile(r"\beyJ[\w-]{8,}|\bT1=="),
    "an invitation": re.compile(r"\binvitation=\S|/room/[\w%.-]+\?"),
    "a session id": re.compile(r"\b[12]_MX[\w-]{8,}"),
    "a leg's id": re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b[0-9a-f]{24,}\b"),
    "a key or password": re.compile(r"(?:secret|password|api_?key)['\"]?\s*[:=]\s*['\"]?(?!•)[\w-]{6,}", re.IGNORECASE),
    "a path of this machine": re.compile(r"(?<![\w.:/])/(?:home|root|tmp|usr|var|opt|mnt|Users|private)/|[A-Z]:\\"),
    "a port": re.compile(r"(?:127\.0\.0\.1|localhost):\d+"),
    "a memory address": re.compile(r"\b0x[0-9a-f]{6,}\b"),
    "a time of day": re.compile(r"\b\d{1,2}:\d{2}:\d{2}\b"),
}


@dataclass(frozen=True)
class Notebook:
    """A stored lesson."""

    path: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        """The whole file."""
        content: dict[str, Any] = json.loads(self.path.read_text("utf-8"))
        return content

    @property
    def cells(self) -> list[dict[str, Any]]:
        """All cells."""
        return list(self.content["cells"])

    @property
    def code(self) -> list[dict[str, Any]]:
        """The code cells."""
        return [cell for cell in self.cells if cell["cell_type"] == "code"]

    @property
    def prose(self) -> str:
        """All Markdown, one cell after the other."""
        return "\n\n".join(source(cell) for cell in self.cells if cell["cell_type"] == "markdown")


def source(cell: dict[str, Any]) -> str:
    """A cell's text."""
    return "".join(cell["source"])


def tags(cell: dict[str, Any]) -> list[str]:
    """A cell's tags."""
    return list(cell["metadata"].get("tags", []))


def exempt(cell: dict[str, Any]) -> bool:
    """Whether nbval does not compare this cell's output."""
    return EXEMPT in tags(cell)


def compared(cell: dict[str, Any]) -> bool:
    """Whether nbval compares an output of this cell, and would notice if it changed."""
    return bool(cell["outputs"]) and not exempt(cell)


def shown(cell: dict[str, Any]) -> str:
    """Everything a code cell's stored outputs show, as one text."""
    texts: list[str] = []
    for output in cell["outputs"]:
        pieces = [output.get("text", ""), *output.get("data", {}).values()]
        texts += [piece if isinstance(piece, str) else "".join(map(str, piece)) for piece in pieces]
    return "\n".join(texts)


def one_title(notebook: Notebook) -> Iterator[str]:
    """A lesson has one heading of the first level, and it comes first."""
    titles = re.findall(r"^# .+$", fences_removed(notebook.prose), re.MULTILINE)
    if len(titles) != 1 or not source(notebook.cells[0]).startswith("# "):
        yield f"needs exactly one title, in its first cell; has {len(titles)}"


def required_headings(notebook: Notebook) -> Iterator[str]:
    """Every lesson has the same frame: do, learn, need, set up, clean up, recap."""
    found = re.findall(r"^## (.+)$", fences_removed(notebook.prose), re.MULTILINE)
    yield from (f"lacks the heading {heading!r}" for heading in HEADINGS if heading not in found)
    places = [found.index(heading) for heading in HEADINGS if heading in found]
    if places != sorted(places):
        yield "has its headings in another order than the other lessons"


def promises(notebook: Notebook) -> Iterator[str]:
    """A lesson states its minutes, asks for one prediction, and says what should be seen."""
    prose = notebook.prose
    if not re.search(r"\*\*About \d+ minutes\*\*", prose):
        yield "does not state its minutes"
    if prose.count("**Predict.**") != 1:
        yield f"asks for {prose.count('**Predict.**')} predictions, not one"
    if "**What you should see.**" not in prose:
        yield "never says what should be seen"


def short_cells(notebook: Notebook) -> Iterator[str]:
    """Plumbing belongs in the package: a cell has at most eight lines, and is not empty."""
    for cell in notebook.cells:
        if not source(cell).strip():
            yield f"cell {cell['id']} is empty"
    for cell in notebook.code:
        lines = len(source(cell).splitlines())
        if lines > MAX_LINES:
            yield f"cell {cell['id']} has {lines} lines"


def same_setup(notebook: Notebook) -> Iterator[str]:
    """Every lesson starts with the same two lines."""
    first = notebook.code[0]
    if "setup" not in tags(first) or source(first) != SETUP:
        yield "does not start with the two lines of set-up the others have"


SETUP: Final = "from sipkit import lessons\n\nkit = lessons.setup()"


def quiet_handlers(notebook: Notebook) -> Iterator[str]:
    """What a button's handler prints is seen by nobody: handlers set traits."""
    for cell in notebook.code:
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.FunctionDef | ast.Lambda) and _prints(node):
                yield f"cell {cell['id']} prints inside a function, where a learner may not see it"


def _prints(function: ast.AST) -> bool:
    names = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(isinstance(name, ast.Name) and name.id in {"print", "display"} for name in names)


def no_secrets(notebook: Notebook) -> Iterator[str]:
    """Stored outputs hold nothing secret, nothing personal, and nothing that varies."""
    for cell in notebook.code:
        text = shown(cell)
        for what, pattern in FORBIDDEN_IN_OUTPUTS.items():
            found = pattern.search(text)
            if found:
                yield f"cell {cell['id']} shows {what}"
        if any(WIDGET_VIEW in output.get("data", {}) for output in cell["outputs"]):
            yield f"cell {cell['id']} keeps a widget's model: build it with `make notebooks`"


def executed_in_order(notebook: Notebook) -> Iterator[str]:
    """A lesson is stored as it ran: every cell, once, from the top, without an error."""
    counts = [cell["execution_count"] for cell in notebook.code]
    if counts != list(range(1, len(counts) + 1)):
        yield "was not stored as it ran from the top: build it with `make notebooks`"
    for cell in notebook.code:
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            yield f"cell {cell['id']} ends in an error"


def strictly_compared(notebook: Notebook) -> Iterator[str]:
    """Exempt cells say why, and tags are spelled as nbval reads them."""
    for cell in notebook.cells:
        unknown = sorted(set(tags(cell)) - KNOWN_TAGS) + sorted(cell["metadata"].keys() - KNOWN_METADATA)
        if unknown:
            yield f"cell {cell['id']} has unknown tags or metadata: {', '.join(unknown)}"
        if exempt(cell) != bool(str(cell["metadata"].get("exempt", "")).strip()):
            yield f"cell {cell['id']} is exempt from comparison without a reason, or the other way round"
        if cell["cell_type"] == "code" and re.search(r"^\s*#\s*nbval", source(cell), re.IGNORECASE | re.MULTILINE):
            yield f"cell {cell['id']} steers nbval by a comment, which learners see: use a tag"


def plain_metadata(notebook: Notebook) -> Iterator[str]:
    """The kernel is everybody's python3, and nothing else about the author's machine is stored."""
    metadata = notebook.content["metadata"]
    if metadata.get("kernelspec", {}).get("name") != "python3":
        yield "does not ask for the kernel python3"
    if metadata.keys() != {"kernelspec", "language_info"} or metadata["language_info"] != {"name": "python"}:
        yield "carries metadata of the machine that ran it: build it with `make notebooks`"


def described_pictures(notebook: Notebook) -> Iterator[str]:
    """A picture that cannot be seen is described: Mermaid by accTitle and accDescr, images by their alt text."""
    for picture in re.findall(r"^```mermaid\n(.*?)^```", notebook.prose, re.MULTILINE | re.DOTALL):
        yield from (f"has a picture without {word}" for word in ("accTitle: ", "accDescr: ") if word not in picture)
    if "```mermaid" not in notebook.prose:
        yield "has no picture of its part of the call"
    if re.search(r"!\[\s*\]\(|<img(?![^>]*\balt=['\"][^'\"])", notebook.prose):
        yield "has an image without alt text"


def fresh_navigation(notebook: Notebook) -> Iterator[str]:
    """The way to the neighbours is generated, at the top and at the end."""
    bar = navigation.bars(navigation.lessons(notebook.path.parent))[notebook.path.name]
    cells = [cell for cell in notebook.cells if "nav" in tags(cell)]
    if len(cells) != 2 or any(source(cell) != bar for cell in cells):
        yield "has stale navigation: build it with `make notebooks`"


def cleans_up(notebook: Notebook) -> Iterator[str]:
    """What a lesson leaves running it says, and its last cell of code cleans up."""
    if "clean-up" not in tags(notebook.code[-1]):
        yield "does not end with a cell that cleans up"
    if "leaves running:" not in notebook.prose:
        yield "does not say what it leaves running"


def fences_removed(prose: str) -> str:
    """The prose without its fenced blocks, where a # is no heading."""
    return re.sub(r"^```.*?^```", "", prose, flags=re.MULTILINE | re.DOTALL)


RULES: Final[tuple[Callable[[Notebook], Iterator[str]], ...]] = (
    one_title,
    required_headings,
    promises,
    short_cells,
    same_setup,
    quiet_handlers,
    no_secrets,
    executed_in_order,
    strictly_compared,
    plain_metadata,
    described_pictures,
    fresh_navigation,
    cleans_up,
)


def shares(notebooks: list[Notebook]) -> tuple[float, float]:
    """How many of all code cells are compared, and how many are exempt."""
    cells = [cell for notebook in notebooks for cell in notebook.code]
    return sum(map(compared, cells)) / len(cells), sum(map(exempt, cells)) / len(cells)


def enough_compared(notebooks: list[Notebook]) -> Iterator[str]:
    """Over all lessons, most cells are compared and few are exempt."""
    good, bad = shares(notebooks)
    if good < MIN_COMPARED:
        yield f"only {good:.0%} of the code cells have a compared output; {MIN_COMPARED:.0%} is the least"
    if bad > MAX_EXEMPT:
        yield f"{bad:.0%} of the code cells are exempt from comparison; {MAX_EXEMPT:.0%} is the most"


def main() -> int:
    """Print every broken rule; return 1 if there is one."""
    notebooks = [Notebook(path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    broken = [f"{nb.path.name} {text}" for nb in notebooks for rule in RULES for text in rule(nb)]
    broken += enough_compared(notebooks)
    print(
        "\n".join(broken)
        or "{} lessons, {:.0%} of the cells compared, {:.0%} exempt".format(len(notebooks), *shares(notebooks))
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
