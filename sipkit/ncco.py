"""The call documents (NCCO) we answer with: pure functions over vonage_voice's models.

An NCCO is a list of actions that the platform executes in order for one leg; after the last one
the call is hung up. Developer.vonage.com, Voice API, "NCCO reference".
"""

from typing import Any, Final

from vonage_voice.models.connect_endpoints import PhoneEndpoint
from vonage_voice.models.input_types import Dtmf
from vonage_voice.models.ncco import Connect, Conversation, Input, NccoAction, Stream, Talk, Wait

Ncco = list[dict[str, Any]]

PROMPT: Final = "Please enter a pin code to join the session, followed by the hash key."
PROMPT_AFTER_SILENCE: Final = "I did not hear any keys. Please enter the pin code, followed by the hash key."
GOODBYE_AFTER_SILENCE: Final = "I did not hear any keys. Goodbye."
GOODBYE_AFTER_WRONG_PINS: Final = "That pin code is not right either. Goodbye."
GOODBYE_UNKNOWN_SESSION: Final = "This session is not open here. Goodbye."
GOODBYE_PAUSE: Final = "Too many wrong pin codes came from your number. Please call again later. Goodbye."
GOODBYE_LOCKED: Final = "The host lets nobody else in. Goodbye."
GOODBYE_FULL: Final = "The room is full. Please call again later. Goodbye."
PLEASE_WAIT: Final = "Thank you. Please wait until the host lets you in."
GOODBYE_NOT_ADMITTED: Final = "Nobody could let you in. Please call again later. Goodbye."
SORRY: Final = "Sorry, something went wrong. Please call again later."

INPUT_TIMEOUT: Final = 8
"""Seconds without a key after which what was typed is submitted; the platform allows up to 10."""

LOBBY_ROUNDS: Final = 50
"""How often the music of 12 s is played to a phone that waits: ten minutes. Then the call ends by itself, whoever else
is gone, so that nobody pays for a phone that everybody has forgotten."""

SHORTEST_WAIT: Final = 0.1
"""Seconds; NCCO reference, "wait"."""


def join(session_id: str, *, end_on_exit: bool = False) -> Ncco:
    """Put the leg into the conversation named after the session.

    Args:
        session_id: The video session; every leg that names it hears every other one.
        end_on_exit: End the conversation, for everybody, when this leg leaves it. Said of the
            bridge: without it phones would stay connected, and billed, after the hang-up.
    """
    return _document(Conversation(name=session_id, endOnExit=True if end_on_exit else None))


def ask_pin(event_url: str, pin_length: int, text: str = PROMPT) -> Ncco:
    """Speak, and collect the keys of a PIN; the first key interrupts the speech.

    Args:
        event_url: Where the platform shall post the keys.
        pin_length: Digits of a PIN. One key more is taken, the ``#`` that submits: were the input over with the
            last digit, that ``#`` would come too late and interrupt the next prompt.
        text: What to say.
    """
    dtmf = Dtmf(timeOut=INPUT_TIMEOUT, maxDigits=pin_length + 1, submitOnHash=True)
    # With bargeIn the next action must be an input.
    return _document(
        Talk(text=text, bargeIn=True),
        Input(type=["dtmf"], dtmf=dtmf, eventUrl=[event_url], eventMethod="POST"),
    )


def wrong_pin(event_url: str, pin_length: int, tries_left: int) -> Ncco:
    """Say that no room has this PIN, and ask again.

    Args:
        event_url: As for `ask_pin`.
        pin_length: As for `ask_pin`.
        tries_left: How many more there are, to be told.
    """
    left = "one more try" if tries_left == 1 else f"{tries_left} more tries"
    text = f"That pin code is not right. You have {left}. Please enter the pin code."
    return ask_pin(event_url, pin_length, text)


def nothing_typed(event_url: str, pin_length: int) -> Ncco:
    """Say that no key was heard, and ask again."""
    return ask_pin(event_url, pin_length, PROMPT_AFTER_SILENCE)


def wait_in_lobby(music_url: str) -> Ncco:
    """Let a phone wait, with music, until it is moved on (Voice API, transfer) or ten minutes are over.

    Args:
        music_url: Where the music can be had.
    """
    return _document(
        Talk(text=PLEASE_WAIT), Stream(streamUrl=[music_url], loop=LOBBY_ROUNDS), Talk(text=GOODBYE_NOT_ADMITTED)
    )


def goodbye(text: str) -> Ncco:
    """Say something last; the platform hangs up after it."""
    return _document(Talk(text=text))


def leave() -> Ncco:
    """Let a leg that nobody wants go without a word: the shortest action there is, and after it the hang-up."""
    return _document(Wait(timeout=SHORTEST_WAIT))


def call_phone(number: str, caller_id: str) -> Ncco:
    """Connect the leg to a phone, which rings now.

    Args:
        number: Whom to call, E.164 digits.
        caller_id: What that phone shows: a number of the account.
    """
    return _document(Connect(endpoint=[PhoneEndpoint(number=number)], from_=caller_id))


def _document(*actions: NccoAction) -> Ncco:
    return [action.model_dump(mode="json", by_alias=True, exclude_none=True) for action in actions]
