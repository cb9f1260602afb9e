"""docs/fidelity.md holds what the sandbox really has: its routes, the fields it sends, the options it reads."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sipkit.sandbox.app import Sandbox
from sipkit.sandbox.home import Home
from sipkit.sandbox.voice import ncco, webhook_fields
from tests.standins.tool import tool

fidelity = tool("build_fidelity")


@pytest.fixture(scope="module")
def table() -> list[Any]:
    """The table."""
    return fidelity.rows()


def named(table: list[Any], group: str) -> set[str]:
    """The names in one group of the table."""
    return {row.name for row in table if row.group == group}


def test_the_page_is_the_table(table: list[Any]) -> None:
    """Who changes the table runs `python tools/build_fidelity.py`."""
    assert fidelity.PAGE.read_text() == fidelity.page(table)


def test_every_route_of_the_vendor_is_listed_and_no_other(table: list[Any], tmp_path: Path) -> None:
    """A route nobody judged, or a row whose route is gone, fails. The sandbox's own control paths are not judged."""

    async def routes() -> set[str]:
        async with Sandbox(Home.open(tmp_path / "sandbox"), 1, {}) as sandbox:
            return {f"{method} {path}" for method, path in sandbox.routes() if not path.startswith("/sandbox/")}

    assert asyncio.run(routes()) == named(table, "endpoints")


def test_every_webhook_field_is_listed_and_no_other(table: list[Any]) -> None:
    """`voice/webhook_fields.py` is what the callbacks may carry; the table judges each."""
    sent = {f"{kind}.{field}" for kind, fields in webhook_fields.FIELDS.items() for field in fields}
    assert sent == named(table, "webhooks")


def test_every_ncco_option_is_listed_and_no_other(table: list[Any]) -> None:
    """`ncco.OPTIONS` is what the reader of call documents knows; the table judges each."""
    known = {f"{action}.{option}" for action, options in ncco.OPTIONS.items() for option in options}
    assert known == named(table, "ncco")
