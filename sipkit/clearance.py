"""Hang up everything: all bridges of a project, all phones on record, and strangers if that is asked for.

As many at once as the platform takes (`sipkit.pace`), and one that cannot be hung up, or gives no answer, keeps none of
the others waiting.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from sipkit import voice_calls
from sipkit.errors import SipkitError
from sipkit.orphans import Call, strangers_among
from sipkit.pace import take_turn

if TYPE_CHECKING:
    from sipkit.cloud import Account
    from sipkit.rooms import Bridge, HangUp
    from sipkit.store import Store

T = TypeVar("T")

AT_ONCE: Final = 8
"""Requests whose answers may be awaited together."""


def clear(
    store: "Store", account: "Callable[[], Account]", hang_up: "Callable[[Bridge], HangUp]", *, strangers: bool
) -> "list[HangUp]":
    """End every bridge on record, then every phone; return what was done about each bridge.

    Args:
        store: Where they are on record; several processes may be at it.
        account: Gives the account as it is now.
        hang_up: Ends a bridge.
        strangers: End the number's calls that are not on record, too.

    Raises:
        SipkitError: The first thing that went wrong; all others were seen to all the same.
    """
    outcomes, problems = _each(hang_up, store.living_bridges())
    if voice_calls.can_call(account()):
        problems += _each(partial(_hang_up_phone, account, store), store.phones_there())[1]
        if strangers:
            problems += _end_strangers(store, account)
    if problems:
        raise problems[0]
    return outcomes


def _hang_up_phone(account: "Callable[[], Account]", store: "Store", leg_uuid: str) -> None:
    take_turn(store)
    now = store.caller(leg_uuid)
    if now is not None and now.state == "left":
        return  # by itself meanwhile, with its bridge, or by somebody who presses at the same time
    if not voice_calls.hang_up_leg(account(), leg_uuid):
        store.caller_left(leg_uuid)


def _end_strangers(store: "Store", account: "Callable[[], Account]") -> list[SipkitError]:
    now = account()
    try:
        calls = voice_calls.calls_up(now, partial(take_turn, store))
    except SipkitError as error:
        return [error]
    found = strangers_among(calls, store.legs_on_record([call.uuid for call in calls]), now.conference_number)

    def hang_up_stranger(call: Call) -> bool:
        take_turn(store)
        return voice_calls.hang_up_leg(account(), call.uuid)

    ended, problems = _each(hang_up_stranger, found)
    if any(ended):
        store.record("hang-up", f"{sum(ended)} of the number's calls were hung up that were not on record here.")
    return problems


def _each(deed: Callable[..., T], things: Iterable[object]) -> tuple[list[T], list[SipkitError]]:
    """Do something about each thing; return what came of it, and what went wrong."""

    def tried(thing: object) -> T | SipkitError:
        try:
            return deed(thing)
        except SipkitError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as hands:
        told = list(hands.map(tried, things))
    good = [each for each in told if not isinstance(each, SipkitError)]
    return good, [each for each in told if isinstance(each, SipkitError)]
