"""The call documents (NCCO) we answer with: pure functions over vonage_voice's models.

An NCCO is a list of actions that the platform executes in order for one leg; after the last one
the call is hung up. Developer.vonage.com, Voice API, "NCCO reference".
"""

from typing import Any, Final, Literal

from vonage_voice.models.connect_endpoints import PhoneEndpoint
from vonage_voice.models.input_types import Dtmf
from vonage_voice.models.ncco import Connect, Conversation, Input, NccoAction, Stream, Talk, Wait

from sipkit.phrases import ENGLISH, Phrase, Speaker

Ncco = list[dict[str, Any]]

NEXT_DIGIT_SECONDS: Final = 8
"""Seconds without a key after which what was typed is submitted; the platform allows up to 10. It has this one timer,
for the first key as for the next ones: who needs longer for the first is asked again (`nothing_typed`)."""

LOBBY_ROUNDS: Final = 50
"""How often the music of 12 s is played to a phone that waits: ten minutes. Then the call ends by itself, whoever else
is gone, so that nobody pays for a phone that everybody has forgotten."""

SHORTEST_WAIT: Final = 0.1
"""Seconds; NCCO reference, "wait"."""


class KeysOfACall(Input):  # type: ignore[misc] # the package ships no types
    """An input that does not wait: every key pressed from now on is posted by itself (NCCO reference, input, mode).

    The package's model knows no mode yet. In this one, says the reference, nothing may be set in ``dtmf``.
    """

    mode: Literal["asynchronous"] = "asynchronous"


def join(session_id: str, *, end_on_exit: bool = False) -> Ncco:
    """Put the leg into the conversation named after the session.

    Args:
        session_id: The video session; every leg that names it hears every other one.
        end_on_exit: End the conversation, for everybody, when this leg leaves it. Said of the
            bridge: without it phones would stay connected, and billed, after the hang-up.
    """
    return _document(Conversation(name=session_id, endOnExit=True if end_on_exit else None))


def join_phone(
    session_id: str, *, keys_url: str | None = None, music_url: str | None = None, host: bool = False
) -> Ncco:
    """Put a phone into the conversation named after the session, from where its keys are heard.

    Args:
        session_id: The video session.
        keys_url: Where the platform shall post each key; None: nowhere.
        music_url: What the phone hears until the conversation starts, for it does not start it. None: it does.
        host: It is a host's in a room that waits for its host: it starts the conversation, and ends it for everybody.
    """
    conversation = Conversation(name=session_id)
    if host:
        conversation = Conversation(name=session_id, startOnEnter=True, endOnExit=True)
    elif music_url is not None:
        conversation = Conversation(name=session_id, startOnEnter=False, musicOnHoldUrl=[music_url])
    if keys_url is None:
        return _document(conversation)
    return _document(KeysOfACall(type=["dtmf"], eventUrl=[keys_url], eventMethod="POST"), conversation)


def ask_pin(
    event_url: str,
    pin_length: int,
    phrase: Phrase = "enter_pin",
    *,
    speaker: Speaker = ENGLISH,
    seconds: int = NEXT_DIGIT_SECONDS,
    **values: int | str,
) -> Ncco:
    """Speak, and collect the keys of a PIN; the first key interrupts the speech.

    Args:
        event_url: Where the platform shall post the keys.
        pin_length: Digits of a PIN. One key more is taken, the ``#`` that submits: were the input over with the
            last digit, that ``#`` would come too late and interrupt the next prompt.
        phrase: What to say.
        speaker: In which language and voice.
        seconds: How long without a key until the keys so far are posted, or that there are none.
        **values: What the phrase has places for.
    """
    dtmf = Dtmf(timeOut=seconds, maxDigits=pin_length + 1, submitOnHash=True)
    # With bargeIn the next action must be an input.
    return _document(
        _talk(speaker, speaker.text(phrase, **values), barge_in=True),
        Input(type=["dtmf"], dtmf=dtmf, eventUrl=[event_url], eventMethod="POST"),
    )


def wrong_pin(
    event_url: str,
    pin_length: int,
    tries_left: int,
    *,
    speaker: Speaker = ENGLISH,
    seconds: int = NEXT_DIGIT_SECONDS,
) -> Ncco:
    """Say that no room has this PIN, how many more tries there are, and ask again; else as `ask_pin`."""
    if tries_left == 1:
        return ask_pin(event_url, pin_length, "last_try", speaker=speaker, seconds=seconds)
    return ask_pin(event_url, pin_length, "wrong_pin", speaker=speaker, seconds=seconds, tries=tries_left)


def nothing_typed(
    event_url: str, pin_length: int, *, speaker: Speaker = ENGLISH, seconds: int = NEXT_DIGIT_SECONDS
) -> Ncco:
    """Say that no key was heard, and ask again; else as `ask_pin`."""
    return ask_pin(event_url, pin_length, "no_keys", speaker=speaker, seconds=seconds)


def wait_in_lobby(music_url: str, speaker: Speaker = ENGLISH) -> Ncco:
    """Let a phone wait, with music, until it is moved on (Voice API, transfer) or ten minutes are over.

    Args:
        music_url: Where the music can be had.
        speaker: In which language and voice.
    """
    return _document(
        _talk(speaker, speaker.text("wait")),
        Stream(streamUrl=[music_url], loop=LOBBY_ROUNDS),
        _talk(speaker, speaker.text("goodbye_not_admitted")),
    )


def goodbye(phrase: Phrase, speaker: Speaker = ENGLISH) -> Ncco:
    """Say something last; the platform hangs up after it."""
    return _document(_talk(speaker, speaker.text(phrase)))


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


def _talk(speaker: Speaker, text: str, *, barge_in: bool = False) -> Talk:
    """Speak; what the platform does anyway when it is told nothing is not told."""
    return Talk(
        text=text,
        bargeIn=True if barge_in else None,
        language=None if speaker.language == ENGLISH.language else speaker.language,
        style=speaker.style or None,
    )


def _document(*actions: NccoAction) -> Ncco:
    return [action.model_dump(mode="json", by_alias=True, exclude_none=True) for action in actions]
