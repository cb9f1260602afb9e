"""docs/fidelity.md holds what the sandbox really has: its routes, the fields it sends, the options it reads."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox.app import Sandbox
from sipkit.sandbox.home import Home
from sipkit.sandbox.voice import ncco, webhook_fields
from tests.standins.tool import tool

fidelity = tool("build_fidelity")

SMALL = """
[sources]
book = "The Book"

[ncco]
"talk.text" = ["documented", "book: page 7"]
"talk.tune" = ["assumed", "it would be nice", "hummed"]
"""


@pytest.fixture(scope="module")
def table() -> list[Any]:
    """The table."""
    return list(fidelity.rows())


def routes(home: Path) -> set[str]:
    """The vendor's routes of the sandbox; its own control paths are not judged."""

    async def found() -> set[str]:
        async with Sandbox(Home.open(home), 1, {}) as sandbox:
            return {f"{method} {path}" for method, path in sandbox.routes() if not path.startswith("/sandbox/")}

    return asyncio.run(found())


def sent() -> set[str]:
    """Every field that a callback may have: `test_webhook_schemas` holds what is sent against this list."""
    return {f"{kind}.{field}" for kind, fields in webhook_fields.FIELDS.items() for field in fields}


def options() -> set[str]:
    """Every option of an NCCO that is known: what is read is held against this list below."""
    return {f"{action}.{option}" for action, names in ncco.OPTIONS.items() for option in names}


def test_the_page_is_the_table(table: list[Any]) -> None:
    """Who changes the table runs `python tools/build_fidelity.py`."""
    assert fidelity.PAGE.read_text() == fidelity.page(table)


def test_every_route_field_and_option_is_listed_and_no_other(table: list[Any], tmp_path: Path) -> None:
    """One that nobody judged, or a row for something that is gone, fails; so does an invented one of each."""
    for group, real in (("endpoints", routes(tmp_path / "sandbox")), ("webhooks", sent()), ("ncco", options())):
        assert fidelity.differences(table, group, real) == []
        assert fidelity.differences(table, group, {*real, "a new one"}) == ["a new one is not in the table"]
        assert len(fidelity.differences(table, group, ())) == len(real) > 10


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        ("book: page 7", "novel: page 7", "says 'documented' by 'novel: page 7'"),
        ('"documented"', '"guessed"', "says 'guessed'"),
        ('"it would be nice"', '""', "says 'assumed' by ''"),
        ("[ncco]", "[songs]", "songs is no group"),
        ('book = "The Book"', 'book = "The Book"\npaper = "The Paper"', r"no row names the sources \['paper'\]"),
    ],
)
def test_a_row_without_a_true_source_is_refused(good: str, bad: str, why: str) -> None:
    """A source that is none of the table's, an unknown degree or group, and a source that stands for nothing."""
    documented, assumed = fidelity.rows(SMALL)
    assert (documented.source, assumed.source, assumed.differs) == ("The Book: page 7", "it would be nice", "hummed")
    assert SMALL.count(good) == 1
    with pytest.raises(fidelity.BadTable, match=why):
        fidelity.rows(SMALL.replace(good, bad))


class Asked(dict[str, Any]):
    """An action that notes which of its fields are asked for."""

    def __init__(self, fields: dict[str, Any], asked: set[str]) -> None:
        super().__init__(
            {name: Asked(each, set()) if isinstance(each, dict) else each for name, each in fields.items()}
        )
        self.asked = asked

    def get(self, name: str, default: Any = None) -> Any:
        """Note the name, unless it is that of the action itself."""
        self.asked |= {name} - {"action"}
        return super().get(name, default)


ACTIONS: Iterable[dict[str, Any]] = (
    {"action": "talk", "text": "a", "language": "en-GB"},
    {"action": "stream", "streamUrl": ["http://127.0.0.1/a.wav"]},
    {"action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 1}},
    {"action": "conversation", "name": "a"},
    {"action": "connect", "endpoint": [{"type": "phone", "number": "12025550144"}], "from": "12025550100"},
    {"action": "connect", "endpoint": [{"type": "phone", "number": "12025550144"}], "machineDetection": "hangup"},
    {"action": "record", "format": "wav", "timeOut": 3, "endOnSilence": 3},
    {"action": "notify", "payload": {}, "eventUrl": ["http://127.0.0.1/a"]},
    {"action": "wait"},
    {"action": "transfer", "conversationId": "CON-1"},
)


def test_every_option_that_is_read_is_known_and_every_known_one_is_read() -> None:
    """The reader asks each action for the options of `ncco.OPTIONS`, all of them and no other (endpoints apart)."""
    read: dict[str, set[str]] = defaultdict(set)
    for fields in ACTIONS:
        document = Asked(fields, read[fields["action"]])
        ncco.parse([document])
        if "dtmf" in document:
            read["input.dtmf"] |= document["dtmf"].asked
    actions = {action: set(names) for action, names in ncco.OPTIONS.items() if not action.startswith("endpoint.")}
    assert read == {action: names for action, names in actions.items() if names}
