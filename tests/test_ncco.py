"""The call documents, exactly as they are sent."""

import json

from sipkit import ncco
from sipkit.phrases import ENGLISH

URL = "https://example.org/voice-dtmf"


def test_a_phone_joins_the_session() -> None:
    """A phone's leg joins the conversation named after the session; leaving it ends nothing."""
    assert ncco.join("SESSION") == [{"action": "conversation", "name": "SESSION"}]


def test_the_bridge_ends_the_conversation() -> None:
    """The bridge's leg ends the conversation when it leaves."""
    assert ncco.join("SESSION", end_on_exit=True) == [{"action": "conversation", "name": "SESSION", "endOnExit": True}]


def test_ask_pin() -> None:
    """The prompt can be interrupted, and is followed by an input for as many keys as a PIN has."""
    talk, collect = ncco.ask_pin(URL, 6)
    assert talk == {"action": "talk", "text": ENGLISH.text("enter_pin"), "bargeIn": True}
    assert collect == {
        "action": "input",
        "type": ["dtmf"],
        "dtmf": {"timeOut": 8, "maxDigits": 7, "submitOnHash": True},
        "eventUrl": [URL],
        "eventMethod": "POST",
    }


def test_asking_again_differs_by_its_words_only() -> None:
    """After a wrong PIN and after silence the same input follows other words."""
    first = ncco.ask_pin(URL, 4)
    for again in (ncco.wrong_pin(URL, 4, 2), ncco.wrong_pin(URL, 4, 1), ncco.nothing_typed(URL, 4)):
        assert again[1] == first[1]
        assert again[0]["text"] != first[0]["text"]
    assert "one more try" in ncco.wrong_pin(URL, 4, 1)[0]["text"]


def test_goodbye_is_the_last_word() -> None:
    """Goodbye is a single talk, after which the platform hangs up."""
    assert ncco.goodbye("goodbye_full") == [{"action": "talk", "text": ENGLISH.text("goodbye_full")}]


def test_documents_are_plain_json() -> None:
    """Every document survives JSON as it is."""
    for document in (ncco.join("S", end_on_exit=True), ncco.ask_pin(URL, 4), ncco.goodbye("sorry")):
        assert json.loads(json.dumps(document)) == document
