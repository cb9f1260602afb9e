"""The Voice application pointed here, and given back: what it asked before is in the store before it is changed.

    point()    the former webhooks are written down, then the application is changed
    restore()  it is given back what is written down, unless somebody else has pointed it since

A kernel that was killed leaves the application asking an address that is dead, and the note in the store. The next
`point` recognises that address as one of ours and keeps the note, so `restore` gives back what was there first.

A note belongs to an application, not to an environment: with another VIDEO_ENVIRONMENT or project the application
is the same one, and with another VONAGE_APPLICATION_ID the former application's note stays.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from sipkit import voice
from sipkit.errors import PlatformError, SipkitError
from sipkit.numbers import link_number, owned_number
from sipkit.processes import FileLock
from sipkit.store import Store
from sipkit.store.schema import DURABLE, READ, facts

if TYPE_CHECKING:
    from sipkit.cloud import Account

_BEFORE_US = "voice_before_sipkit"
_ANY_ENVIRONMENT = ""  # an application is the same one whichever video environment is used with it
_PATIENCE = 60.0  # seconds for another kernel's reading and changing of the application


@dataclass(frozen=True)
class Former:
    """What an application said before us.

    Attributes:
        application: Its id.
        ours: Every answer URL that we have set since, the latest last.
        voice: Its voice capability as it was; None if it had none.
    """

    application: str
    ours: tuple[str, ...]
    voice: dict[str, Any] | None


class Pointing:
    """Points the application of an account, and remembers.

    Args:
        store: Keeps what was there before.
        home: The data folder, whose kernels take turns.
    """

    def __init__(self, store: Store, home: Path) -> None:
        self._store = store
        self._home = home

    def point(self, account: "Account", url: str) -> bool:
        """Point the application at a public address.

        Returns:
            False if it was pointed there already.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It could not be.
        """
        ours = f"{url}/voice-answer"
        changed = False

        def keep(previous: voice.Voice) -> None:
            nonlocal changed
            changed = True
            former = self.former(account)
            address = voice.answer_address(previous)
            if former is None or address not in former.ours:
                # Nobody's note, or somebody else has pointed it since: what it says now is what it gets back.
                if address == ours:
                    return
                former = Former(account.application_id, (), previous)
            addresses = (*(each for each in former.ours if each != ours), ours)
            self._write(former.application, Former(former.application, addresses, former.voice))

        with self._turn():
            voice.point_application(account, url, keep)
        return changed

    def restore(self, account: "Account", unless: Callable[[], bool] | None = None) -> bool:
        """Give the application the webhooks it had before us; False if none are known, or it is not ours any more.

        Args:
            account: Whose application.
            unless: Asked when it is our turn, so that no other kernel points it between the question and the change;
                where it says True, nothing is done.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It could not be; the note is kept.
        """
        with self._turn():
            return not (unless is not None and unless()) and self._restore(account)

    def _restore(self, account: "Account") -> bool:
        self.adopt_older_note(account)
        former = self.former(account)
        if former is None:
            return False
        given_back = voice.restore_application(account, former.voice, former.ours)
        if given_back:
            self._write(former.application, None)
            self._store.record("voice", "The Voice application has its former webhooks again.")
        else:
            self._store.record("voice", "The Voice application asks somebody else by now; it was left as it is.")
        return given_back

    def lead_number(self, account: "Account") -> None:
        """Link the conference number to the application if it is linked to none, and say what stands in the way.

        A number that leads to another application is somebody's choice: it is told in the timeline, not changed.
        """
        try:
            number = owned_number(account, account.conference_number)
            # One with a callback of its own is in use elsewhere, and our link would not bring its calls here.
            if number is not None and not number.application_id and not number.overridden:
                number = link_number(account)
                self._store.record("voice", "The number now leads to the Voice application.")
            if number is None:
                problem = "The account does not own CONFERENCE_NUMBER: no call to it arrives here."
            elif number.overridden:
                problem = f"The number's own {number.callback_type} callback takes its calls past the application."
            elif number.application_id != account.application_id:
                problem = "The number leads to another application: link it in the dashboard (Numbers)."
            else:
                return
        except SipkitError as error:
            problem = f"Where the number leads could not be seen. {error.message}"
        self._store.record("voice", problem)

    def former(self, account: "Account") -> Former | None:
        """What the account's application said before us, as far as it is known."""
        return self._note(account.application_id)

    def _note(self, application: str) -> Former | None:
        query = select(facts.c.value).where(_note_of(application))
        told = self._store.run(READ, lambda conn: conn.scalar(query))
        try:
            data = json.loads(told or "")
            return Former(str(data["application"]), tuple(data["ours"]), data["voice"])
        except (KeyError, TypeError, ValueError):
            return None

    def adopt_older_note(self, account: "Account") -> None:
        """Bring the note of an earlier version, which kept one an environment, into today's form.

        The earliest held the voice capability alone: of the account's application, whose address was the public one.
        """
        try:
            data = json.loads(self._store.fact(_BEFORE_US) or "")
            if "application" in data:
                former = Former(str(data["application"]), tuple(data["ours"]), data["voice"])
            else:
                url = self._store.fact("public_url")
                former = Former(account.application_id, (f"{url}/voice-answer",) if url else (), data)
        except (KeyError, TypeError, ValueError):
            return
        if self._note(former.application) is None:
            self._write(former.application, former)
        self._store.set_fact(_BEFORE_US, "")

    def _write(self, application: str, former: Former | None) -> None:
        """Keep, or forget, a note; it survives a power failure, for nobody else knows what it holds."""

        def work(conn: Connection) -> None:
            conn.execute(delete(facts).where(_note_of(application)))
            if former is not None:
                row = {"environment": _ANY_ENVIRONMENT, "key": f"{_BEFORE_US}:{application}", "set_at": time.time()}
                conn.execute(insert(facts).values(value=json.dumps(asdict(former)), **row))

        self._store.run(DURABLE, work)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one kernel of the folder at a time read and change the application."""
        lock = FileLock(self._home / "pointing.lock")
        if not lock.acquire(_PATIENCE):
            message = "Another notebook is changing the Voice application and does not finish."
            raise PlatformError(message, "Try again; if it stays so, restart the other notebook's kernel.")
        try:
            yield
        finally:
            lock.release()


def _note_of(application: str) -> ColumnElement[bool]:
    return (facts.c.environment == _ANY_ENVIRONMENT) & (facts.c.key == f"{_BEFORE_US}:{application}")
