"""What is installed, shipped and tracked agrees with itself and gives nothing away."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES: list[str] = PROJECT["dependencies"]
TEST_DEPENDENCIES: list[str] = PROJECT["optional-dependencies"]["test"]

HEAVY = {
    "OpenSSL",
    "aiohttp",
    "aioice",
    "flask",
    "ipywidgets",
    "numpy",
    "onnxruntime",
    "opentok",
    "pylibsrtp",
    "requests",
    "segno",
    "sqlalchemy",
    "vonage",
}
"""Libraries that take long to import: nobody who says `import sipkit` has asked for them yet."""

PAGES = {"widgets": {".js", ".css"}, "sandbox/video/script": {".js"}, "room_page": {".html", ".js", ".css"}}
"""What browsers load, by folder: kinds of files that no import would miss."""

# Written in pieces, so that this file is not itself a finding.
REGISTRY_HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "deb.debian" + ".org"]
MACHINE_PATHS = ["/" + "work/", "/" + "tmp/scratch", "/" + "root/", "/home/" + "runner", "/" + "Users/"]
SECRETS = [
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
]


def tracked_files() -> list[Path]:
    """Every file a commit of the present tree would hold."""
    if not (ROOT / ".git").exists():
        return [path for path in ROOT.rglob("*") if path.is_file() and not _made(path.relative_to(ROOT))]
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def _made(path: Path) -> bool:
    """Whether a file of a tree without git was made by a tool: in a hidden folder, or compiled."""
    return any(part == "__pycache__" or (part.startswith(".") and part != ".ci") for part in path.parts[:-1])


def modules_loaded_by(statement: str) -> set[str]:
    """The top-level names and sipkit's modules in `sys.modules` after a new interpreter ran `statement`."""
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    environ = {**os.environ, "SIPKIT_MODE": "sandbox"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, check=True, capture_output=True, text=True
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_environment_and_pyproject_ask_for_the_same() -> None:
    """environment.yml names exactly the run-time dependencies of pyproject.toml, with the same bounds."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    asked = {str(Requirement(line)) for line in pip if line != "-e ."}
    assert "-e ." in pip
    assert asked == {str(Requirement(line)) for line in DEPENDENCIES}
    python = next(entry for entry in conda if isinstance(entry, str) and entry.startswith("python "))
    assert python.removeprefix("python ").strip() == PROJECT["requires-python"]


def test_each_dependency_says_who_needs_it() -> None:
    """Every dependency of environment.yml carries a comment on its own line."""
    lines = (ROOT / "environment.yml").read_text().splitlines()
    entries = lines[lines.index("dependencies:") + 1 :]
    bare = [line for line in entries if line.strip() != "- pip:" and not re.search(r"\S\s+# \w.{15,}", line)]
    assert bare == []


def test_constraints_pin_every_dependency_exactly() -> None:
    """constraints.txt pins each direct dependency, only with ==, and in a version pyproject.toml allows."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(pins) == len(lines)
    for requirement in map(Requirement, DEPENDENCIES + TEST_DEPENDENCIES):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"


def test_the_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    """The wheel has every module, py.typed, all scripts, styles and pages, the licence and the command."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("sipkit_notebooks-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [entry_points] = [name for name in names if name.endswith("entry_points.txt")]
        assert "sipkit = sipkit.cli:main" in archive.read(entry_points).decode()
    ours = {str(path.relative_to(ROOT)) for path in tracked_files() if path.is_relative_to(ROOT / "sipkit")}
    assert ours <= names
    assert "sipkit/py.typed" in names
    for folder, kinds in PAGES.items():
        shipped = {Path(name).suffix for name in names if name.startswith(f"sipkit/{folder}/")}
        assert kinds <= shipped, f"{folder} lacks {kinds - shipped}"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if not name.startswith(("sipkit/", "sipkit_notebooks-"))]


def test_tracked_files_name_no_registry_no_machine_and_no_secret() -> None:
    """No tracked text file holds a package registry's host, a machine's path, a private key or a token."""
    findings = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        findings += [f"{path.name}: {needle}" for needle in REGISTRY_HOSTS + MACHINE_PATHS if needle in text]
        findings += [f"{path.name}: {pattern.pattern}" for pattern in SECRETS if pattern.search(text)]
    assert findings == []


def test_no_env_file_is_tracked() -> None:
    """The .env of whoever works here stays out of the repository; its example is in."""
    names = {path.name for path in tracked_files()}
    assert ".env" not in names
    assert ".env.example" in names


def test_public_names_exist() -> None:
    """Each name of `sipkit.__all__` can be imported, and `dir(sipkit)` offers it."""
    import sipkit

    assert len(sipkit.__all__) == len(set(sipkit.__all__))
    for name in sipkit.__all__:
        assert getattr(sipkit, name) is not None
        assert name in dir(sipkit)


def test_import_sipkit_is_light() -> None:
    """`import sipkit` loads none of its heavy libraries and nothing of the sandbox."""
    loaded = modules_loaded_by("import sipkit")
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith("sipkit.sandbox")}


def test_command_line_starts_light() -> None:
    """`sipkit --help` shows its sub-commands without loading what they need."""
    loaded = modules_loaded_by(
        "import sipkit.cli\ntry: sipkit.cli.main(['--help'])\nexcept SystemExit: pass",
    )
    assert not loaded & HEAVY


@pytest.mark.parametrize("target", ["demo", "test", "notebooks", "bench", "soak"])
def test_make_targets_force_the_sandbox(target: str, tmp_path: Path) -> None:
    """Whatever the environment says, every command of every target but `make lab` runs in sandbox mode."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    seen = tmp_path / "seen"
    for name in ("python", "sipkit", "ruff", "mypy", "lint-imports"):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/sh\necho "$SIPKIT_MODE" >> "{seen}"\n')
        stub.chmod(0o755)
    ready = tmp_path / "ready"
    ready.touch()
    subprocess.run(
        ["make", target, f"BIN={tmp_path}", f"READY={ready}"],
        cwd=ROOT, env={**os.environ, "SIPKIT_MODE": "live"}, check=True, capture_output=True,
    )  # fmt: skip
    assert set(seen.read_text().split()) == {"sandbox"}


def test_make_lists_its_targets() -> None:
    """`make` alone prints each target with one line of help."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    listing = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in ("lab", "demo", "test", "notebooks", "bench", "soak", "lint", "live-check", "clean"):
        assert re.search(rf"make {target}\s+\w.+", listing)
