"""The room's page in a notebook, over a real switchboard, sandbox and webhook server; the browser has its own test."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest
import requests
from nbclient import NotebookClient

from sipkit.rooms import Room
from sipkit.switchboard import Switchboard
from sipkit.widgets import RoomView, room_state
from sipkit.widgets.refresh import stop_all
from sipkit.widgets.room_state import as_picture

ROOT = Path(__file__).resolve().parent.parent
CALL_SECONDS = 15.0
PAGE_SECONDS = 20.0


@pytest.fixture
def room(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A room of a board whose views ask for the webhook server each time they look; no view looks afterwards."""
    monkeypatch.setattr(room_state, "LOOK_EVERY", 0.0)
    yield board.open_room("pictures")
    stop_all(board)


@pytest.fixture
def view(board: Switchboard, room: Room) -> RoomView:
    """A view of the room's page."""
    board.start_webhook_server()
    return RoomView(board, room, name="Ada")


def get(url: str) -> requests.Response:
    """Open a page of this machine, past any proxy."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=10)


def texts(view: RoomView) -> str:
    """Everything a notebook could store of the displayed view."""
    bundles = [each._repr_mimebundle_() for each in (view, view.view, view.invite)]
    return json.dumps([bundles, *map(repr, (view, view.view, view.state, view.invite))], default=str)


def test_shows_the_page_as_its_host(board: Switchboard, view: RoomView) -> None:
    """The frame's address opens the room's page on this machine, greets the host, and may be framed by a notebook."""
    assert (view.view.page, view.view.error) == ("open", "")
    server = board.server
    assert server is not None
    assert view.view.url.startswith(f"http://127.0.0.1:{server.port}/room/pictures?")
    answer = get(view.view.url)
    assert answer.status_code == 200
    assert "Ada" in answer.text
    assert "Hang up" in answer.text
    ancestors = next(
        part for part in answer.headers["Content-Security-Policy"].split(";") if part.strip().startswith("frame-ancest")
    )
    assert "http://localhost:*" in ancestors
    assert "http://127.0.0.1:*" in ancestors


def test_has_the_states_of_the_call_panel(board: Switchboard, room: Room, view: RoomView) -> None:
    """Whoever dials and hangs up, the state follows and can be waited for, as with a call panel."""
    assert view.view.state == "idle"
    board.dial_out(room)
    assert view.wait_for("connected", CALL_SECONDS) == "connected"
    board.hang_up(room)
    assert view.wait_for("idle", CALL_SECONDS) == "idle"


def test_guests_are_invited_behind_a_button(view: RoomView) -> None:
    """One press shows a link that opens the page as a guest, and its QR code; the next takes both off the screen."""
    assert (view.view.link, view.view.qr) == ("", "")
    view.invite.click()
    assert view.invite.description == "Hide the invitation"
    assert view.view.link != view.view.url
    page = get(view.view.link)
    assert page.status_code == 200
    assert "Ada" not in page.text
    assert view.view.qr.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    view.invite.click()
    assert (view.view.link, view.view.qr, view.invite.description) == ("", "", "Invite guests")


def test_no_link_is_in_what_a_notebook_stores(room: Room, view: RoomView) -> None:
    """Neither representation nor mimebundle has the host's or the guests' token, or the PIN."""
    view.invite.click()
    tokens = [urlsplit(url).query.partition("=")[2] for url in (view.view.url, view.view.link)]
    assert all(len(token) > 40 for token in tokens)
    assert not any(secret in texts(view) for secret in (*tokens, room.pin))
    assert repr(view) == ("RoomView(room='pictures', mode='sandbox', state='idle', buttons=['Hide the invitation'])")


def test_without_a_server_it_says_what_to_do(board: Switchboard, room: Room, wait_until: Callable[..., Any]) -> None:
    """No empty frame: the banner has the fix, and once the server runs the page comes by itself."""
    view = RoomView(board, room)
    assert (view.view.page, view.view.url, view.view.state) == ("gone", "", "idle")
    assert "\nFix: run board.start_webhook_server()" in view.view.error
    view.invite.click()
    assert view.view.link == ""
    assert "\nFix: " in view.view.error
    board.start_webhook_server()
    wait_until(lambda: view.view.page == "open", PAGE_SECONDS, "the page")
    assert view.view.error == ""
    assert get(view.view.url).status_code == 200


def test_follows_a_server_that_goes_and_comes_back(
    board: Switchboard, view: RoomView, wait_until: Callable[..., Any]
) -> None:
    """A server that was stopped takes the page off; one at another address brings it, and the old invitation goes."""
    first = view.view.url
    view.invite.click()
    assert board.server is not None
    board.server.stop()
    wait_until(lambda: view.view.page == "gone", PAGE_SECONDS, "the page to be taken off")
    assert "does not run" in view.view.error
    board.start_webhook_server()
    wait_until(lambda: view.view.page == "open" and view.view.url != first, PAGE_SECONDS, "the page at its new place")
    assert (view.view.error, view.view.link) == ("", "")
    assert get(view.view.url).status_code == 200


def test_one_late_answer_takes_nobody_out_of_the_room(view: RoomView, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is busy for a moment keeps its page on the screen; only the second miss in a row counts."""
    stop_all(view.state._board)
    server = view.state._board.server
    assert server is not None
    with monkeypatch.context() as patch:
        patch.setattr(type(server), "alive", False)
        view.state.refresh()
        assert view.view.page == "open"
    view.state.refresh()
    with monkeypatch.context() as patch:
        patch.setattr(type(server), "alive", False)
        view.state.refresh()
        assert view.view.page == "open"
        view.state.refresh()
        assert view.view.page == "gone"


def test_the_server_is_not_asked_all_the_time(board: Switchboard, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is read four times a second; the server is asked every two seconds."""
    monkeypatch.setattr(room_state, "LOOK_EVERY", 2.0)
    asked: list[float] = []
    server = board.start_webhook_server()

    def alive(_server: object) -> bool:
        asked.append(time.monotonic())
        return True

    monkeypatch.setattr(type(server), "alive", property(alive))
    view = RoomView(board, room)
    first = len(asked)
    for _ in range(5):
        view.state.refresh()
    assert len(asked) == first


def test_a_drawing_for_an_image_names_its_namespace() -> None:
    """A browser draws an SVG image only with the namespace that HTML does without."""
    assert as_picture('<svg width="9">') == '<svg xmlns="http://www.w3.org/2000/svg" width="9">'
    whole = '<svg xmlns="http://www.w3.org/2000/svg">'
    assert as_picture(whole) == whole


CELLS = [
    "from sipkit.switchboard import Switchboard\nboard = Switchboard.from_env()\nserver = board.start_webhook_server()",
    "from sipkit.widgets import RoomView\nview = RoomView(board, 'pictures')\nview",
    "view.invite.click()\nview.view",
    "board.invite('pictures')",
    "len(view.view.url.partition('invitation=')[2]) > 40, len(view.view.link) > 40",
    "view.close()\nboard.close()",
]


@pytest.mark.slow
def test_an_executed_notebook_has_no_token(sandbox_env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a real kernel and stored as JupyterLab stores it, without widgets' state, a notebook lets nobody in."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", store_widget_state=False)
    client.execute(cwd=str(tmp_path), stderr=subprocess.DEVNULL)
    stored = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    assert notebook.cells[4].outputs[0]["data"]["text/plain"] == "(True, True)"
    assert "RoomView(room='pictures'" in stored
    for cell in notebook.cells:
        for output in cell.outputs:
            assert "invitation=" not in json.dumps(output)
            assert "/room/" not in json.dumps(output)
