"""Run every lesson and store its outputs in the one form that reviews well: `make notebooks`.

    python tools/build_notebooks.py [--check] [--keep-home DIR] [LESSON ...]

Each lesson runs from the top in a new kernel, in the sandbox, on a data folder that is thrown away. What is stored
is what strict nbval compares later, and nothing that differs from run to run: no widget models, no time stamps, no
versions, streams in one piece. A second build of unchanged sources changes no byte.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT: Final = Path(__file__).resolve().parent.parent
NOTEBOOKS: Final = ROOT / "notebooks"
sys.path.insert(0, str(ROOT))

from sipkit.lessons import navigation  # noqa: E402 - works from a checkout without an installation too

CELL_SECONDS: Final = 60
WIDGET_VIEW: Final = "application/vnd.jupyter.widget-view+json"
KEPT_METADATA: Final = ("tags", "exempt")
LIVE_NAME: Final = re.compile(
    r"^(account_api|allow_unsigned|api_ca|call_prefixes|conference|ngrok|server|signature|sipkit|ssh_tunnel|tunnel|"
    r"video|voice|vonage)_?",
    re.IGNORECASE,
)
"""Environment variables of a live account; a build must see none of them, whoever runs it."""


def main(argv: list[str] | None = None) -> int:
    """Build the lessons named, or all; return 0 unless one fails or, with --check, would change."""
    parser = argparse.ArgumentParser(description="Run the lessons and store their outputs.")
    parser.add_argument("lessons", nargs="*", type=Path, help="notebooks; all of notebooks/ if none is named")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a build would change a file")
    arguments = parser.parse_args(argv)
    paths = [path.resolve() for path in arguments.lessons] or sorted(NOTEBOOKS.glob("*.ipynb"))
    with tempfile.TemporaryDirectory(prefix="sipkit-build-", ignore_cleanup_errors=True) as folder:
        environ = sandbox_environ(Path(folder))
        try:
            outcomes = [build(path, environ, check=arguments.check) for path in paths]
        finally:
            stop_sandbox(Path(folder))
    return 0 if all(outcomes) else 1


def sandbox_environ(home: Path) -> dict[str, str]:
    """This process's environment with every setting of sipkit replaced: the sandbox, and a data folder in `home`."""
    environ = {name: value for name, value in os.environ.items() if not LIVE_NAME.match(name)}
    return {**environ, "SIPKIT_MODE": "sandbox", "SIPKIT_HOME": str(home), "SIPKIT_PROJECT_ROOT": str(home)}


def stop_sandbox(home: Path) -> None:
    """End the sandbox the lessons started."""
    from sipkit.sandbox import launcher

    if (home / "sandbox" / "sandbox.json").exists():
        launcher.stop(home / "sandbox")


def build(path: Path, environ: dict[str, str], *, check: bool) -> bool:
    """Run one lesson and write it back; tell whether it ran and, when checking, is what it was."""
    before = path.read_text("utf-8")
    notebook = nbformat.reads(before, as_version=4)  # type: ignore[no-untyped-call]
    navigate(notebook, path)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
    )
    try:
        # The kernel's own stderr says only that it talks over TCP on this machine; errors come through the protocol.
        client.execute(env=environ, stderr=subprocess.DEVNULL)
    except CellExecutionError as error:
        print(f"{path.name}: failed\n{error}")
        return False
    normalise(notebook)
    after = nbformat.writes(notebook, version=4).rstrip("\n") + "\n"  # type: ignore[no-untyped-call]
    if not check:
        path.write_text(after, "utf-8")
    print(f"{path.name}: {'unchanged' if after == before else 'changed'}")
    return after == before or not check


def navigate(notebook: Any, path: Path) -> None:
    """Write the generated navigation into the cells tagged `nav`."""
    bar = navigation.bars(navigation.lessons(path.parent))[path.name]
    for cell in notebook.cells:
        if "nav" in cell.metadata.get("tags", []):
            cell.source = bar


def normalise(notebook: Any) -> None:
    """Remove what differs from run to run and from machine to machine."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata = {name: cell.metadata[name] for name in KEPT_METADATA if name in cell.metadata}
        if cell.cell_type == "code":
            cell.outputs = [tidy(output) for output in joined(cell.outputs)]


def joined(outputs: list[Any]) -> list[Any]:
    """Put neighbouring pieces of one stream together: where they are cut is a matter of timing."""
    whole: list[Any] = []
    for output in outputs:
        last = whole[-1] if whole else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            whole.append(output)
    return whole


def tidy(output: Any) -> Any:
    """Keep what a reader sees. A widget's model lives only in a running kernel; its text remains."""
    if "data" in output:
        output.data.pop(WIDGET_VIEW, None)
        output.metadata = {}
    return output


if __name__ == "__main__":
    sys.exit(main())
