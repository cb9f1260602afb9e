"""No method of the official SDKs is left unjudged: each is called right and wrong by a story of its judge.

The methods come from the SDKs themselves, the calls from the syntax trees of the judges' files. A call is *wrong* where
the test expects an error of it: under `pytest.raises`, or among the cases of a test that has one. Any other is *right*.
"""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import opentok
import pytest
from vonage_video import Video
from vonage_voice import Voice

from tests.sandbox.test_judge_opentok import ABSENT as NOT_OF_OPENTOK
from tests.sandbox.test_judge_vonage_video import ABSENT as NOT_OF_VIDEO

HERE = Path(__file__).parent
application: Any = importlib.import_module("vonage_application")  # ships no types
numbers: Any = importlib.import_module("vonage_numbers")


@dataclass(frozen=True)
class Judge:
    """A client of an SDK and the file that judges it.

    Attributes:
        local: methods that ask nobody.
        absent: methods of what the sandbox has not; that they fail in the SDK's own words is all there is to see.
    """

    client: Any
    file: str
    local: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()

    def methods(self) -> set[str]:
        """The client's public methods that ask the platform."""
        public = {name for name, value in vars(self.client).items() if callable(value) and not name.startswith("_")}
        assert self.local | self.absent <= public, "the SDK has lost a method"
        return public - self.local


JUDGES = [
    Judge(
        opentok.Client,
        "test_judge_opentok.py",
        local=frozenset({"append_to_user_agent", "generate_token", "validate_websocket_options"})
        | {"get_headers", "get_json_headers", "headers", "json_headers"},
        absent=frozenset(NOT_OF_OPENTOK),
    ),
    Judge(
        Video,
        "test_judge_vonage_video.py",
        local=frozenset({"generate_client_token"}),
        absent=frozenset(NOT_OF_VIDEO),
    ),
    Judge(Voice, "test_judge_voice.py"),
    Judge(application.Application, "test_judge_application.py"),
    Judge(numbers.Numbers, "test_judge_numbers.py"),
]


def raises(node: ast.AST) -> bool:
    """Does a `with` expect an error?"""
    return isinstance(node, ast.With) and any("pytest.raises" in ast.unparse(item) for item in node.items)


def mentions(node: ast.AST, *, wrong: bool, cases: bool) -> Iterator[tuple[str, bool]]:
    """Name each attribute or text below a node, and tell whether an error is expected of it.

    Args:
        node: a part of a syntax tree.
        wrong: an error is expected of everything here.
        cases: the test expects errors, so what its lists and parameters hold are wrong calls.
    """
    wrong = wrong or raises(node) or (cases and isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict))
    match node:
        case ast.Attribute():
            yield node.attr, wrong
        case ast.Constant(value=str(text)) if wrong:
            yield text, True
    for child in ast.iter_child_nodes(node):
        yield from mentions(child, wrong=wrong, cases=cases)


def judged(source: str) -> tuple[set[str], set[str]]:
    """Return what a file calls right and what it calls wrong."""
    found: set[tuple[str, bool]] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found |= set(mentions(node, wrong=False, cases=any(raises(each) for each in ast.walk(node))))
    return {name for name, wrong in found if not wrong}, {name for name, wrong in found if wrong}


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.client.__module__)
def test_every_method_is_called_right_and_wrong(judge: Judge) -> None:
    """A method that a new version of an SDK brings fails here until its judge calls it."""
    right, wrong = judged((HERE / judge.file).read_text())
    methods = judge.methods()
    assert methods - judge.absent - right == set(), "never called right"
    assert methods - judge.absent - wrong == set(), "never called wrong"


STORY = '''
def test_a():
    """Says that sdk.docs() is there."""
    sdk.good()
    with pytest.raises(Error):
        sdk.bad()

def test_b():
    calls = [lambda: sdk.listed(), sdk.bare]
    sdk.called()
    for call in calls:
        with pytest.raises(Error):
            call()

def test_c():
    wait_for(lambda: sdk.waited())
    for call in [lambda: sdk.fine()]:
        call()

@pytest.mark.parametrize("method", ["named"])
def test_d(method):
    with pytest.raises(Error):
        getattr(sdk, method)()
'''


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (0, {"good", "called", "waited", "fine"}),
        (1, {"bad", "listed", "bare", "named"}),
    ],
)
def test_right_and_wrong_are_told_apart(part: int, names: set[str]) -> None:
    """Under `raises`, in a list of cases and by name: wrong; everywhere else right; a docstring is no call."""
    every = {"good", "called", "waited", "fine", "bad", "listed", "bare", "named", "docs"}
    assert judged(STORY)[part] & every == names
