"""Webhooks by the hundred, genuine and false, sent to the real app; tokens judged by Vonage's own package as well."""

import time
import uuid
import warnings
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from vonage_jwt import VonageVerifyJwtError, verify_signature

from sipkit import signatures
from sipkit.errors import SignatureRefused
from sipkit.signatures import CLOCK_LEEWAY, MAX_AGE, payload_hash, verify
from tests.standins.forger import Forger, accepted, app_of_an_account, refused, token_of

SECRET = "a-signature-secret-of-32-letters"
BODY = b'{"uuid":"leg"}'
SEEDED = 400
"""`make bench` sends 10 000 of each."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The real app on a store of its own."""
    return app_of_an_account(tmp_path_factory.mktemp("forgeries"), SECRET)


def test_genuine_requests_are_all_accepted(app: Flask) -> None:
    """Whatever the method, the route and the letters in it: what the platform signed is answered."""
    assert accepted(app, Forger(SECRET, "KEY", "APP", seed=1), SEEDED) == SEEDED


def test_false_requests_are_all_refused(app: Flask) -> None:
    """Forged, stale, altered, misdirected, incomplete: refused; repeated ones are, too, or have no second effect."""
    good, sent = refused(app, Forger(SECRET, "KEY", "APP", seed=2), SEEDED)
    assert good == sent
    assert sent.keys() == {"forged", "stale", "altered", "misdirected", "incomplete", "replayed"}


def test_the_count_can_fail(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures tell when a check is missing: of an app that believes every token they say so."""
    assert accepted(app, Forger(SECRET, "KEY", "OTHER", seed=3), 20) == 0

    def believe(*_: object, **__: object) -> dict[str, Any]:
        return {"jti": uuid.uuid4().hex, "payload_hash": ""}

    monkeypatch.setattr(signatures, "verify", believe)
    good, sent = refused(app, Forger(SECRET, "KEY", "APP", seed=4), 100)
    assert all(good[kind] < sent[kind] for kind in sent)


def theirs(token: str, secret: str) -> bool:
    """What Vonage's own package says of a token: it looks at the signature and at exp, nbf, iat and aud."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about short secrets
        try:
            return verify_signature(token, secret)
        except VonageVerifyJwtError:
            return False


def ours(token: str, secret: str) -> bool:
    """What the kit says of it."""
    account: dict[str, Any] = {"api_key": "KEY", "application_id": "APP"}
    try:
        verify(f"Bearer {token}", secret=secret, method="POST", body=BODY, query=[], now=time.time(), **account)
    except SignatureRefused:
        return False
    return True


# Seconds from now; none so near to a limit that the time the test takes could matter.
AGES = st.sampled_from([0, -1, -200, -int(MAX_AGE) + 20, -int(MAX_AGE) - 20, -86400, int(CLOCK_LEEWAY) + 60, 86400])
LATER = st.sampled_from([60, 600, -60, -600])


@given(
    secret=st.sampled_from([SECRET, "short", "é"])
    | st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1),
    signer=st.sampled_from(["same", "other"]),
    alg=st.sampled_from(["HS256", "HS256", "HS384", "HS512", "none"]),
    age=AGES,
    times=st.dictionaries(st.sampled_from(["exp", "nbf"]), LATER),
    changes=st.dictionaries(
        st.sampled_from(["iss", "api_key", "application_id", "payload_hash", "jti", "aud"]),
        st.sampled_from(["other", "", 7, None]),
        max_size=2,
    ),
)
@hypothesis_settings(max_examples=300, deadline=None)
def test_judged_by_vonages_own_package(
    secret: str, signer: str, alg: str, age: int, times: dict[str, int], changes: dict[str, Any]
) -> None:
    """What `vonage_jwt` refuses, the kit refuses; what the kit refuses besides is stale or has other claims."""
    now = int(time.time())
    claims = {
        "iat": now + age,
        "jti": "id",
        "iss": "Vonage",
        "payload_hash": payload_hash("POST", BODY, []),
        "api_key": "KEY",
        "application_id": "APP",
        **{name: now + seconds for name, seconds in times.items()},
        **changes,
    }
    token = token_of(claims, secret if signer == "same" else secret + "!", alg)
    judged, kept = theirs(token, secret), ours(token, secret)
    assert judged or not kept
    wrong = {name for name, value in changes.items() if not (name == "jti" and value == "other")}
    if judged and not wrong and age >= -MAX_AGE:
        assert kept
