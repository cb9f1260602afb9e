"""Twenty people come, see and hear, are seen and heard, and leave: the sandbox is as it was before."""

import pytest
from playwright.sync_api import Page

from tests.standins.browser import LOUD, Pages, ServePages
from tests.standins.lab import wait_for
from tests.standins.probed_sandbox import Holdings, Place
from tests.standins.vendor_pages import Project, open_empty, wait_note

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VISITS = 20
WARM_UP = 5
BY_CLOSED_TAB = 5
"""Every fifth visitor closes the tab instead of saying goodbye."""
MORE = 1.05
RESIDENT_HZ, VISITOR_HZ = 710, 500

# A visit begins with join(), publish() and watch() of the helpers, and ends with leave(), or with the page.
VISIT = f"""
window.send = hz => publish({{audioSource: measure.toneTrack(hz), videoSource: measure.pictureTrack("teal")}});
window.arrive = async hz => {{
  document.querySelector("#subscribers").replaceChildren();
  const joining = join();
  watch();
  await joining;
  await send(hz);
}};
window.perceive = async hz => {{
  const selector = "#subscribers video";
  while (!document.querySelector(selector)?.srcObject) await new Promise(done => setTimeout(done, 20));
  await measure.waitTone(document.querySelector(selector), hz, {LOUD}, 10);
  await measure.waitFrames(document.querySelector(selector), 3, 10);
}};
window.leave = async () => {{
  const left = new Promise(done => session.on("sessionDisconnected", done));
  session.disconnect();
  await left;
}};
"""


class Visits:
    """A session in which somebody lives, and visitors come and go.

    Args:
        place: the sandbox.
        pages: the test's.
        serve: the test's pages' server.
    """

    def __init__(self, place: Place, pages: Pages, serve: ServePages) -> None:
        project = Project(place.lab.info)
        session = project.session()
        self._pages = pages
        self._address = serve(project.page("blank.html", session, project.token(session)))
        self._resident = self._open()
        self._resident.evaluate("hz => arrive(hz)", RESIDENT_HZ)
        self._visitor: Page | None = None

    def _open(self) -> Page:
        page = self._pages()
        page.add_init_script(VISIT)
        open_empty(page, self._address)
        return page

    def one(self, *, by_closed_tab: bool) -> None:
        """Come, see and hear the resident, be seen and heard, and go."""
        page = self._visitor = self._visitor or self._open()
        self._resident.evaluate("notes.length = 0")
        page.evaluate("hz => arrive(hz)", VISITOR_HZ)
        page.evaluate("hz => perceive(hz)", RESIDENT_HZ)
        self._resident.evaluate("hz => perceive(hz)", VISITOR_HZ)
        if by_closed_tab:
            page.context.close()
            self._visitor = None
        else:
            page.evaluate("leave()")
        wait_note(self._resident, "connectionDestroyed clientDisconnected")


def settled(place: Place, tasks: list[str] | None = None) -> Holdings:
    """What the sandbox holds, once it has ended what it was doing (and its tasks are the given ones)."""
    last: list[Holdings] = []

    def quiet() -> bool:
        last.append(place.sandbox.holdings())
        return (last[-1].tasks == tasks) if tasks is not None else len(last) > 1 and last[-1].tasks == last[-2].tasks

    wait_for(quiet, 20, "the sandbox's tasks to be what they were")
    return last[-1]


def test_twenty_visits_leave_nothing_behind(place: Place, new_page: Pages, serve_pages: ServePages) -> None:
    """After 20 people came, were perceived and left, some by closing the tab, the sandbox holds what it held before.

    No connection, the same tasks, no more files and sockets, and memory within 5 %, compared after five more visits.
    """
    visits = Visits(place, new_page, serve_pages)
    for number in range(WARM_UP):
        visits.one(by_closed_tab=number % BY_CLOSED_TAB == 0)
    before = settled(place)
    for number in range(VISITS):
        visits.one(by_closed_tab=number % BY_CLOSED_TAB == 0)
    after = settled(place, before.tasks)

    assert len(place.lab.ledger()["connections"]) == 1
    assert after.files <= before.files
    assert after.memory <= before.memory * MORE, f"{before.memory / 1e6:.1f} MB before, {after.memory / 1e6:.1f} after"
    assert new_page.complaints == []
