"""The walls of docs/architecture.md: who may know whom, checked on the code as it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
SANDBOX = "sipkit.sandbox"

TRESPASSES = {
    "sipkit/sandbox/trace.py": "from sipkit import errors as _errors",
    "sipkit/timeline.py": "from sipkit.sandbox import trace as _trace",
    "sipkit/sandbox/video/rest.py": "from sipkit.sandbox.voice import application as _application",
    "sipkit/ncco.py": "import requests as _requests",
    "sipkit/sandbox/webrtc/peer.py": "import jwt as _jwt",
}
"""One forbidden import for each contract of pyproject.toml."""


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the configuration and on the package of `folder`."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    environ = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environ, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom inside sipkit."""
    return grimp.build_graph("sipkit", cache_dir=None)


def loaded_by(statement: str) -> set[str]:
    """Names in `sys.modules` after a new interpreter ran `statement`."""
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_the_walls_stand() -> None:
    """import-linter finds each contract of pyproject.toml kept."""
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout


def test_each_wall_is_real(tmp_path: Path) -> None:
    """An import across any of the walls breaks the contract that stands for it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "sipkit", tmp_path / "sipkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name, trespass in TRESPASSES.items():
        with (tmp_path / name).open("a") as module:
            module.write(f"\n{trespass}\n")
    run = lint_imports(tmp_path)
    assert run.returncode == 1
    assert re.search(rf"0 kept, {len(TRESPASSES)} broken", run.stdout), run.stdout


def test_the_sandbox_knows_nothing_of_the_kit(graph: grimp.ImportGraph) -> None:
    """No module of the sandbox imports anything of sipkit outside it, the package itself included."""
    strangers = {
        (module, target)
        for module in graph.find_descendants(SANDBOX) | {SANDBOX}
        for target in graph.find_modules_directly_imported_by(module)
        if not f"{target}.".startswith(f"{SANDBOX}.")
    }
    assert strangers == set()


def test_the_kit_knows_only_the_launcher(graph: grimp.ImportGraph) -> None:
    """Whatever the kit imports of the sandbox is its launcher, and that stands on the standard library."""
    sandbox = graph.find_descendants(SANDBOX) | {SANDBOX}
    known = {
        target
        for module in graph.modules - sandbox
        for target in graph.find_modules_directly_imported_by(module)
        if target in sandbox
    }
    assert known == {f"{SANDBOX}.launcher"}
    loaded = loaded_by(f"import {SANDBOX}.launcher")
    assert not loaded & {"aiohttp", "cryptography", "jwt", "numpy", "requests", "trustme"}


def test_starting_the_sandbox_does_not_load_the_kit() -> None:
    """The sandbox's process holds none of the kit's modules, though both live in one package."""
    ours = {name for name in loaded_by("import sipkit.sandbox.__main__") if name.startswith("sipkit")}
    assert {name for name in ours if not name.startswith(SANDBOX)} == {"sipkit"}


def test_webhooks_start_without_the_sdks() -> None:
    """The webhook server is up before anybody needs opentok or the vonage client, so it loads neither."""
    assert not loaded_by("import sipkit.webhooks") & {"opentok", "vonage", "vonage_video"}


def test_the_core_needs_no_widgets() -> None:
    """A board works where there is no notebook: ipywidgets and anywidget stay unloaded."""
    assert not loaded_by("from sipkit import Switchboard") & {"ipywidgets", "anywidget", "IPython"}
