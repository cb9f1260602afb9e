"""The settings of what a phone hears and can do in a call (docs/phones.md)."""

import math
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings

from sipkit.errors import SettingsError
from sipkit.keypad import NO_KEY, Keypad, checked_keys, told_apart
from sipkit.phrases import Speaker, checked_language


def _language(value: str) -> str:
    try:
        return checked_language(value)
    except SettingsError as error:
        raise ValueError(f"{error.message} {error.fix}".rstrip(".")) from None


Language = Annotated[str, AfterValidator(_language)]
Keys = Annotated[str, BeforeValidator(lambda value: checked_keys(value) if isinstance(value, str) else value)]


class PhoneSettings(BaseSettings):
    """The part of `Settings` that is about phones.

    Attributes:
        phone_language: What phones are told is told in this language, unless their room has another one.
        phone_style: The voice: one of the platform's styles of that language.
        first_digit_seconds: How long a caller may take to the first digit of its PIN, at least, prompts not counted.
        next_digit_seconds: How long without a digit until what was typed counts; the platform takes up to 10.
        key_mute: The keys by which a phone mutes and unmutes itself in a call, or ``off``.
        key_hand: Likewise, by which it raises and lowers its hand.
        key_count: Likewise, by which it hears how many are there.
        key_help: Likewise, by which it hears the keys.
        wait_for_host: Whether phones of a new room hear music until a host is in; `board.wait_for_host` decides later.
        phone_tones: Whether a tone tells that a phone has joined or left.
        alone_seconds: After how long a phone is told that it is alone; 0: never.
    """

    phone_language: Language = "en-US"
    phone_style: int = Field(0, ge=0, le=99)
    first_digit_seconds: int = Field(16, ge=1, le=60)
    next_digit_seconds: int = Field(8, ge=1, le=10)
    key_mute: Keys = "*6"
    key_hand: Keys = "*9"
    key_count: Keys = "*1"
    key_help: Keys = "*#"
    wait_for_host: bool = False
    phone_tones: bool = True
    alone_seconds: float = Field(20.0, ge=0, le=3600, allow_inf_nan=False)

    @property
    def keypad(self) -> Keypad:
        """The keys of a call."""
        keys = (self.key_mute, self.key_hand, self.key_count, self.key_help)
        return Keypad(*("" if each == NO_KEY else each for each in keys))

    @property
    def silent_rounds(self) -> int:
        """How often a caller that types nothing is asked: the platform has one timer, so its rounds are counted."""
        return math.ceil(self.first_digit_seconds / self.next_digit_seconds)

    def speaker(self, language: str = "") -> Speaker:
        """Return who speaks to phones.

        Args:
            language: Of their room; empty: the setting's. The style is one of the setting's language alone.
        """
        own = Speaker(self.phone_language, self.phone_style)
        return Speaker(language) if language and language != own.language else own

    @model_validator(mode="after")
    def _keys_are_told_apart(self) -> Self:
        if not told_apart(self.keypad):
            rule = "KEY_MUTE, KEY_HAND, KEY_COUNT and KEY_HELP must differ, and none may be within another"
            raise ValueError(rule)
        return self
