"""The Voice application pointed here, and given back: what it asked before is in the store before it is changed.

    point()    the former webhooks are written down, then the application is changed
    restore()  it is given back what is written down, unless somebody else has pointed it since

A kernel that was killed leaves the application asking an address that is dead, and the note in the store. The next
`point` recognises that address as one of ours and keeps the note, so `restore` gives back what was there first.
"""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sipkit import voice
from sipkit.errors import SipkitError
from sipkit.numbers import link_number, owned_number
from sipkit.store import Store

if TYPE_CHECKING:
    from sipkit.cloud import Account

_BEFORE_US = "voice_before_sipkit"


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
    """

    def __init__(self, store: Store) -> None:
        self._store = store

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
            self._write(Former(former.application, addresses, former.voice))

        voice.point_application(account, url, keep)
        return changed

    def restore(self, account: "Account") -> bool:
        """Give the application the webhooks it had before us; False if none are known, or it is not ours any more.

        Raises:
            AuthenticationRefused, PlatformError, PlatformUnreachable: It could not be; the note is kept.
        """
        former = self.former(account)
        if former is None:
            return False
        given_back = voice.restore_application(account, former.voice, former.ours)
        self._store.set_fact(_BEFORE_US, "")
        if given_back:
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
            if number is not None and not number.application_id:
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
        try:
            data = json.loads(self._store.fact(_BEFORE_US) or "")
            former = Former(str(data["application"]), tuple(data["ours"]), data["voice"])
        except (KeyError, TypeError, ValueError):
            return None
        return former if former.application == account.application_id else None

    def _write(self, former: Former) -> None:
        self._store.set_fact(_BEFORE_US, json.dumps(asdict(former)))
