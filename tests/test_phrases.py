"""What phones are told: every phrase in every language, within the platform's limits."""

import string

import pytest

from sipkit.errors import SettingsError
from sipkit.keypad import Keypad
from sipkit.phrases import ENGLISH, LOCALES, PHRASES, TALK_LIMIT, TEXTS, Phrase, Speaker, checked_language

VALUES = {"tries": 2, "key": "star 6", "phones": 49, "browsers": 1000}


def places(text: str) -> set[str]:
    """The names of the places that a text has for values."""
    return {name for _text, name, _form, _conversion in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("phrase", PHRASES)
def test_every_phrase_in_every_language(language: str, phrase: Phrase) -> None:
    """Each language has each phrase, with the places of the English one, and short enough to be spoken."""
    text = TEXTS[language][phrase]
    assert text.strip() == text
    assert text
    assert places(text) == places(TEXTS["en"][phrase])
    assert places(text) <= VALUES.keys()
    assert len(text.format(**VALUES)) <= TALK_LIMIT // 10


def test_no_language_has_more_than_the_others() -> None:
    """No text is left over that nobody says."""
    assert {frozenset(texts) for texts in TEXTS.values()} == {frozenset(PHRASES)}


@pytest.mark.parametrize("locale", LOCALES)
def test_every_locale_speaks(locale: str) -> None:
    """Each tag that can be chosen has its words, and says keys in them."""
    speaker = Speaker(locale)
    assert speaker.text("wrong_pin", tries=2)
    told = [speaker.text("help_mute", key=speaker.keys(keys)) for _deed, keys in Keypad().deeds()]
    assert all("*" not in text and "#" not in text for text in told)


def test_keys_in_words() -> None:
    """Star and hash are said by their names, digits as they are."""
    assert ENGLISH.keys("*6") == "star 6"
    assert Speaker("de-DE").keys("#0*") == "Raute 0 Stern"


@pytest.mark.parametrize("tag", ["de-DE", "DE-de", " de_DE "])
def test_tags_are_read_leniently(tag: str) -> None:
    """A tag in any case, and with a low line, is the platform's."""
    assert checked_language(tag) == "de-DE"


@pytest.mark.parametrize("tag", ["", "de", "tlh", "de-CH"])
def test_an_unknown_language_names_those_there_are(tag: str) -> None:
    """What nobody speaks here is a SettingsError whose fix names what there is."""
    with pytest.raises(SettingsError) as caught:
        checked_language(tag)
    assert all(locale in caught.value.fix for locale in LOCALES)
