"""Pointing an application changes its voice webhooks and nothing else, whatever else it holds."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sipkit.voice import pointed, restored

URL = "https://calls.example.com"
OURS = {"answer_url": (f"{URL}/voice-answer", "GET"), "event_url": (f"{URL}/voice-events", "POST")}

NAMES = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
WEBHOOK = st.dictionaries(st.sampled_from(["address", "http_method", "socket_timeout", "x"]), JSON, max_size=4)
WEBHOOKS = st.dictionaries(
    st.sampled_from(["answer_url", "event_url", "fallback_answer_url"]) | NAMES, WEBHOOK, max_size=4
)
VOICE = st.dictionaries(NAMES, JSON, max_size=3).flatmap(
    lambda more: st.fixed_dictionaries(
        {}, optional={"webhooks": WEBHOOKS, "signed_callbacks": st.booleans(), "region": st.text(max_size=8)}
    ).map(lambda voice: {**more, **voice})
)
APPLICATION = st.builds(
    lambda more, known: {**more, **known},
    st.dictionaries(NAMES, JSON, max_size=3),
    st.fixed_dictionaries(
        {"id": st.text(max_size=8), "name": st.text(max_size=8)},
        optional={
            "capabilities": st.fixed_dictionaries(
                {}, optional={"video": JSON, "voice": VOICE, "rtc": JSON, "network_apis": JSON}
            ),
            "keys": st.fixed_dictionaries({}, optional={"public_key": st.text(), "private_key": st.text()}),
            "privacy": JSON,
            "_links": JSON,
        },
    ),
)


def without_ours(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what pointing may change and what only the platform writes; empty shells go as well."""
    rest = copy.deepcopy(document)
    for name in ("id", "_links"):
        rest.pop(name, None)
    if isinstance(rest.get("keys"), dict):
        rest["keys"].pop("private_key", None)
    capabilities = rest.setdefault("capabilities", {})
    voice = capabilities.setdefault("voice", {})
    voice.pop("signed_callbacks", None)
    webhooks = voice.setdefault("webhooks", {})
    for name in OURS:
        webhook = webhooks.setdefault(name, {})
        webhook.pop("address", None)
        webhook.pop("http_method", None)
    return rest


@given(APPLICATION)
def test_pointing_changes_nothing_else(application: dict[str, Any]) -> None:
    """Every field but two webhooks' address and method, and the signing, is kept, `video` above all."""
    before = copy.deepcopy(application)
    body = pointed(application, URL)
    assert application == before
    assert without_ours(body) == without_ours(application)
    voice = body["capabilities"]["voice"]
    assert {name: (voice["webhooks"][name]["address"], voice["webhooks"][name]["http_method"]) for name in OURS} == OURS
    assert voice["signed_callbacks"] is True
    if "video" in before.get("capabilities", {}):
        assert body["capabilities"]["video"] == before["capabilities"]["video"]


@given(APPLICATION)
def test_restoring_takes_all_of_it_back(application: dict[str, Any]) -> None:
    """What was pointed and is restored has the capabilities it had, to the last field."""
    capabilities = application.get("capabilities", {})
    back = restored(pointed(application, URL), capabilities.get("voice"))
    assert back["capabilities"] == capabilities


@given(APPLICATION, JSON)
def test_restoring_keeps_what_others_changed(application: dict[str, Any], other: Any) -> None:
    """What somebody else changed while we had the webhooks stays: another capability, a region, the name."""
    body = pointed(application, URL)
    body["capabilities"]["video"] = other
    body["capabilities"]["voice"]["region"] = "eu-west"
    body["name"] = "renamed"
    back = restored(body, application.get("capabilities", {}).get("voice"))
    assert back["capabilities"]["video"] == other
    assert back["capabilities"]["voice"]["region"] == "eu-west"
    assert back["name"] == "renamed"
