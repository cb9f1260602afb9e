"""The scripts and styles of the views, each with what it shares with the others put in front.

A view reaches the page as one text, and a text cannot import a file that lies beside it. So there is still no build
step, but the pieces are put together here, once, as the view's module is imported: whoever changes a view restarts the
kernel. `shared.js` exports nothing, and what it declares a view's own script uses without further ado.
"""

from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOM_PAGE: Final = HERE.parent / "room_page" / "static"


def script(name: str, *parts: str) -> str:
    """The JavaScript module of a view: `shared.js`, then the parts it has in common with the room page, then its own.

    Args:
        name: Of the view's own `<name>.js`.
        parts: Names of modules of the room page that import nothing.
    """
    return _joined(HERE / "shared.js", *(ROOM_PAGE / f"{part}.js" for part in parts), HERE / f"{name}.js")


def style(*names: str) -> str:
    """The style sheet of a view: `shared.css`, then each `<name>.css`."""
    return _joined(HERE / "shared.css", *(HERE / f"{name}.css" for name in names))


def _joined(*files: Path) -> str:
    return "\n".join(file.read_text("utf-8") for file in files)
