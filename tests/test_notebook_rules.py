"""The lessons keep their rules, the rules catch who breaks them, and strict nbval notices a changed word."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.standins.tool import tool

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
NBVAL_SECONDS = 120

Content = dict[str, Any]


rules = tool("check_notebooks")
builder = tool("build_notebooks")


def by_name(function: Callable[..., Any]) -> str:
    """Name a case after the rule."""
    return function.__name__


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("rule", rules.RULES, ids=by_name)
def test_every_lesson_keeps_every_rule(rule: Callable[..., Iterator[str]], path: Path) -> None:
    """No rule has anything to say about any committed lesson."""
    assert list(rule(rules.Notebook(path))) == []


def test_the_lessons_are_all_there() -> None:
    """The nine lessons, in their order."""
    assert [path.stem for path in LESSONS] == [
        "00-check-your-setup",
        "01-create-a-session",
        "02-receive-webhooks",
        "03-dial-out-and-hang-up",
        "04-call-in-with-a-pin",
        "05-go-live",
        "06-join-from-the-browser",
        "07-host-a-call",
        "99-clean-up",
    ]


def test_most_cells_are_compared_and_few_are_exempt() -> None:
    """At least 60 % of the code cells have a compared output, at most 10 % are exempt."""
    assert list(rules.enough_compared([rules.Notebook(path) for path in LESSONS])) == []


def test_few_sanitize_rules_and_each_anchored() -> None:
    """At most five, each replacing a whole text: a rule without anchors could hide a wrong output."""
    lines = SANITIZE.read_text("ascii").splitlines()
    patterns = [line.removeprefix("regex: ") for line in lines if line.startswith("regex: ")]
    assert len(patterns) <= 5
    assert all(pattern.startswith("^") and pattern.endswith("$") for pattern in patterns)
    assert len(patterns) == len([line for line in lines if line.startswith("replace: ")])
    assert all(re.compile(pattern) for pattern in patterns)


def code(content: Content, place: int = 1) -> Content:
    """One code cell of a notebook, to be spoiled."""
    cells: list[Content] = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    return cells[place]


def markdown(content: Content, cell_id: str) -> Content:
    """One Markdown cell, by its id."""
    found: Content = next(cell for cell in content["cells"] if cell["id"] == cell_id)
    return found


def show(content: Content, text: str) -> None:
    """Let a cell have printed `text`."""
    code(content)["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [text]}]


def second_title(content: Content) -> None:
    """Give it a second title."""
    markdown(content, "info")["source"] = ["# Another title"]


def lost_heading(content: Content) -> None:
    """Take the recap's heading away."""
    markdown(content, "recap")["source"] = ["That was it."]


def two_predictions(content: Content) -> None:
    """Ask twice for a prediction."""
    markdown(content, "recap")["source"].append("\n**Predict.** And now?")


def long_cell(content: Content) -> None:
    """Write a cell of nine lines."""
    code(content)["source"] = ["a = 1\n"] * 9


def other_setup(content: Content) -> None:
    """Start differently from the other lessons."""
    code(content, 0)["source"] = ["from sipkit import lessons\n", "\n", "kit = lessons.setup() "]


def printing_handler(content: Content) -> None:
    """Print in a handler."""
    code(content)["source"] = ["button.on_click(lambda pressed: print('pressed'))"]


def out_of_order(content: Content) -> None:
    """Store a cell that was run twice."""
    code(content)["execution_count"] = 7


def error_output(content: Content) -> None:
    """Store an error."""
    code(content)["outputs"] = [{"output_type": "error", "ename": "E", "evalue": "", "traceback": []}]


def exempt_without_reason(content: Content) -> None:
    """Exempt a cell and do not say why."""
    code(content)["metadata"]["tags"] = ["nbval-ignore-output"]


def misspelt_tag(content: Content) -> None:
    """Spell a tag in a way that nbval silently ignores."""
    code(content)["metadata"]["tags"] = ["nbval_ignore_output"]


def own_kernel(content: Content) -> None:
    """Ask for a kernel nobody else has."""
    content["metadata"]["kernelspec"]["name"] = "mine"


def undescribed_picture(content: Content) -> None:
    """Draw a picture without a description."""
    markdown(content, "picture")["source"] = ["```mermaid\n", "flowchart LR\n", "  a --> b\n", "```"]


def typed_navigation(content: Content) -> None:
    """Type a link by hand."""
    markdown(content, "nav-end")["source"] = ["[next](elsewhere.ipynb)"]


def no_clean_up(content: Content) -> None:
    """Leave the clean-up out."""
    code(content, -1)["metadata"] = {}


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        (rules.one_title, second_title),
        (rules.required_headings, lost_heading),
        (rules.promises, two_predictions),
        (rules.short_cells, long_cell),
        (rules.same_setup, other_setup),
        (rules.quiet_handlers, printing_handler),
        (rules.executed_in_order, out_of_order),
        (rules.executed_in_order, error_output),
        (rules.strictly_compared, exempt_without_reason),
        (rules.strictly_compared, misspelt_tag),
        (rules.plain_metadata, own_kernel),
        (rules.described_pictures, undescribed_picture),
        (rules.fresh_navigation, typed_navigation),
        (rules.cleans_up, no_clean_up),
    ],
    ids=by_name,
)
def test_a_broken_rule_is_found(
    tmp_path: Path, rule: Callable[..., Iterator[str]], spoil: Callable[[Content], None]
) -> None:
    """Each rule speaks up when a good lesson is spoiled in its matter."""
    assert list(rule(spoiled(tmp_path, spoil)))


@pytest.mark.parametrize(
    "text",
    [
        "call +12025550100",
        "from 442071838750",
        "PIN: 4711",
        "{'pin': '4711'}",
        "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "T1==cGFydG5lcl9pZD0x",
        "http://calls.example.org/room/studio?invitation=.eJw9jDsOgDAMx",
        "?invitation=x",
        "1_MX40MDAwMTIzNH5-fjE3",
        "leg 51da3f89-aeb5-4ab3-9f0e-c55fb5ea1005",
        "leg_uuid='51da3f89aeb54ab39f0ec55fb5ea1005'",
        "password='hunter2hunter2'",
        "in /home/ada/sipkit/.env",
        "saved to C:\\Users\\ada",
        "http://127.0.0.1:40213/voice-answer",
        "<object at 0x7f3f43ff3ba0>",
        "at 12:34:56",
        "sip:ada@example.org",
    ],
)
def test_secrets_and_passing_things_in_outputs_are_found(tmp_path: Path, text: str) -> None:
    """A stored output may hold no number, PIN, id, key, path, port, address or time."""
    assert list(rules.no_secrets(spoiled(tmp_path, lambda content: show(content, text))))


def spoiled(folder: Path, spoil: Callable[[Content], None]) -> Any:
    """A copy of all lessons in `folder`; returns the one that was spoiled."""
    for path in LESSONS:
        shutil.copy(path, folder)
    path = folder / LESSONS[1].name
    content = json.loads(path.read_text("utf-8"))
    spoil(content)
    path.write_text(json.dumps(content), "utf-8")
    return rules.Notebook(path)


def test_what_differs_from_run_to_run_is_not_stored() -> None:
    """The build keeps what a reader sees: streams in one piece, no widget models, no versions, no time stamps."""
    import nbformat

    notebook: Any = nbformat.from_dict(copy.deepcopy(RAW))  # type: ignore[no-untyped-call]
    builder.normalise(notebook)
    cell = notebook.cells[0]
    assert cell.metadata == {"tags": ["press"]}
    assert [output.get("text") for output in cell.outputs] == ["one\ntwo\n", None]
    assert cell.outputs[1].data == {"text/plain": "Button()"}
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}


RAW: Content = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"language_info": {"name": "python", "version": "3.11.7"}, "widgets": {"state": {}}},
    "cells": [
        {
            "id": "a",
            "cell_type": "code",
            "source": "button",
            "execution_count": 1,
            "metadata": {"tags": ["press"], "execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"}},
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "one\n"},
                {"output_type": "stream", "name": "stdout", "text": "two\n"},
                {
                    "output_type": "execute_result",
                    "execution_count": 1,
                    "metadata": {"a": "b"},
                    "data": {"text/plain": "Button()", builder.WIDGET_VIEW: {"model_id": "8f14e45f"}},
                },
            ],
        }
    ],
}


def test_a_build_sees_no_live_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the environment of the person who builds holds, the lessons run in the sandbox without it."""
    monkeypatch.setenv("VIDEO_API_SECRET", "real")
    monkeypatch.setenv("videoApiKey", "real")
    monkeypatch.setenv("SIPKIT_MODE", "live")
    environ = builder.sandbox_environ(tmp_path)
    assert environ["SIPKIT_MODE"] == "sandbox"
    assert "real" not in environ.values()


@pytest.mark.slow
def test_strict_nbval_notices_a_changed_label_and_a_changed_verdict(tmp_path: Path) -> None:
    """With another word on the button and another verdict in the code, exactly the cells that show them fail."""
    shutil.copytree(ROOT / "sipkit", tmp_path / "sipkit", ignore=shutil.ignore_patterns("__pycache__"))
    edit(tmp_path / "sipkit/widgets/call_panel.py", '"Dial out",', '"Call out",')
    edit(tmp_path / "sipkit/widgets/audio.py", 'f"tone {', 'f"note {')
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for path in LESSONS[:2]:
        shutil.copy(path, folder)
    outcome = nbval(folder, tmp_path)
    failed = re.findall(r"^FAILED \S*?(\d\d)-[\w-]+\.ipynb::Cell (\d+)", outcome, re.MULTILINE)
    assert failed == [("00", showing("test tone")), ("01", showing("CallPanel"))], outcome
    assert "2 failed" in outcome
    assert "Call out" in outcome
    assert "note 440 Hz" in outcome


def showing(text: str) -> str:
    """The number nbval gives to the cell of the first two lessons whose source has `text`."""
    cells = [rules.Notebook(path).code for path in LESSONS[:2]]
    return next(str(place) for lesson in cells for place, cell in enumerate(lesson) if text in rules.source(cell))


def edit(path: Path, old: str, new: str) -> None:
    """Change one place of a copied module."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def nbval(notebooks: Path, package_root: Path) -> str:
    """Run strict nbval on a folder with the package of `package_root`; return what it printed."""
    home = package_root / "home"
    environ = {**os.environ, "PYTHONPATH": str(package_root), "SIPKIT_HOME": str(home), "SIPKIT_MODE": "sandbox"}
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=60", f"--nbval-sanitize-with={SANITIZE}"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", "--color=no", *options, str(notebooks)]
    try:
        done = subprocess.run(
            command, cwd=package_root, env=environ, capture_output=True, text=True, timeout=NBVAL_SECONDS, check=False
        )
    finally:
        from sipkit.sandbox import launcher

        launcher.stop(home / "sandbox")
    return done.stdout
