"""Signed webhooks: what is accepted, and each way to be refused."""

import contextlib
import hashlib
import hmac
import json
import warnings
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sipkit.errors import SignatureRefused
from sipkit.signatures import MAX_AGE, payload_hash, verify

SECRET = "a-signature-secret-of-32-letters"
NOW = 1_800_000_000.0
BODY = b'{"uuid":"leg"}'
QUERY = [("to", "12025550100"), ("from", "12025550123"), ("name", "Zoë & Ça/\u2028\x7f")]


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good POST token, changed."""
    good = {
        "iat": int(NOW),
        "jti": "id",
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(BODY).hexdigest(),
        "api_key": "KEY",
        "application_id": "APP",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def bearer(payload: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    """Sign a payload."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return f"Bearer {jwt.encode(payload, secret, algorithm)}"


def check(authorization: str | None, **changes: Any) -> dict[str, Any]:
    """Verify a POST of BODY."""
    given: dict[str, Any] = {
        "secret": SECRET,
        "method": "POST",
        "body": BODY,
        "query": [],
        "api_key": "KEY",
        "application_id": "APP",
        "now": NOW,
    }
    return verify(authorization, **{**given, **changes})


def test_good_post() -> None:
    """A fresh token for this body is accepted, and its claims returned."""
    assert check(bearer(claims())) == claims()
    assert check(bearer(claims(extra=1)).replace("Bearer", "bearer"))["jti"] == "id"


def test_good_get() -> None:
    """The hash of a GET is that of its parameters as JSON.stringify writes them: compact, letters raw."""
    text = '{"to":"12025550100","from":"12025550123","name":"Zoë & Ça/\u2028\x7f"}'
    token = bearer(claims(payload_hash=hashlib.sha256(text.encode()).hexdigest()))
    assert check(token, method="GET", query=QUERY, body=b"ignored")
    with pytest.raises(SignatureRefused, match="body or query"):
        check(token, method="GET", query=QUERY[::-1])
    with pytest.raises(SignatureRefused, match="twice"):
        check(token, method="GET", query=[*QUERY, QUERY[0]])


def test_control_characters_as_javascript_writes_them() -> None:
    """Quotes, backslashes and control characters are escaped as JSON.stringify does it."""
    query = [("a", '"\\\b\f\n\r\t\x01\x1f')]
    wanted = '{"a":"\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f"}'
    assert payload_hash("GET", b"", query) == hashlib.sha256(wanted.encode()).hexdigest()


def test_unknown_application_is_not_compared() -> None:
    """Without VONAGE_APPLICATION_ID any application of the account is good."""
    assert check(bearer(claims(application_id="other")), application_id=None)
    assert check(bearer(claims(application_id="other")), application_id="")


REFUSED: dict[str, tuple[Callable[[], str | None], str]] = {
    "no header": (lambda: None, "not signed"),
    "empty header": (lambda: "", "not signed"),
    "no token": (lambda: "Bearer ", "not signed"),
    "other scheme": (lambda: bearer(claims()).replace("Bearer", "Basic"), "not signed"),
    "no scheme": (lambda: bearer(claims()).removeprefix("Bearer "), "not signed"),
    "garbage": (lambda: "Bearer a.b.c", "malformed"),
    "not ascii": (lambda: "Bearer é.ü.ß", "malformed"),
    "nested header": (lambda: f"Bearer {jwt.utils.base64url_encode(b'[' * 5000).decode()}.e30.x", "malformed"),
    "too long": (lambda: bearer(claims(extra="x" * 9000)), "too long"),
    "two tokens": (lambda: f"{bearer(claims())} {bearer(claims())}", "malformed"),
    "other secret": (lambda: bearer(claims(), "another-secret-of-at-least-32-letters"), "another secret"),
    "hs512": (lambda: bearer(claims(), SECRET, "HS512"), "malformed"),
    "none": (lambda: bearer(claims(), "", "none"), "malformed"),
    "no claims": (lambda: f"Bearer {jwt.api_jws.encode(b'[1]', SECRET, 'HS256')}", "no claims"),
    "not json": (lambda: f"Bearer {jwt.api_jws.encode(b'hello', SECRET, 'HS256')}", "malformed"),
    **{
        f"no {name}": (lambda name=name: bearer(claims(**{name: ...})), f"lacks {name}")  # type: ignore[misc]
        for name in ("iat", "jti", "iss", "payload_hash", "api_key", "application_id")
    },
    "old": (lambda: bearer(claims(iat=int(NOW - MAX_AGE - 1))), "too old"),
    "future": (lambda: bearer(claims(iat=int(NOW + 31))), "future"),
    "not yet": (lambda: bearer(claims(nbf=int(NOW + 31))), "future"),
    "expired": (lambda: bearer(claims(exp=int(NOW - 31))), "too old"),
    "nan": (lambda: bearer(claims(iat=float("nan"))), "too old"),
    "time as text": (lambda: f"Bearer {_raw(claims(iat='now'))}", "not numbers"),
    "time as truth": (lambda: f"Bearer {_raw(claims(iat=True))}", "not numbers"),
    "issuer": (lambda: f"Bearer {_raw(claims(iss='vonage'))}", "not issued"),
    "issuer in a list": (lambda: f"Bearer {_raw(claims(iss=['Vonage']))}", "not issued"),
    "empty id": (lambda: bearer(claims(jti="")), "no proper id"),
    "endless id": (lambda: bearer(claims(jti="x" * 101)), "no proper id"),
    "id that is no text": (lambda: bearer(claims(jti="a\x00b")), "no proper id"),
    "audience": (lambda: bearer(claims(aud="KEY")), "somebody else"),
    "other account": (lambda: bearer(claims(api_key="OTHER")), "another account"),
    "account as number": (lambda: bearer(claims(api_key=7)), "another account"),
    "other application": (lambda: bearer(claims(application_id="OTHER")), "another application"),
    "other body": (lambda: bearer(claims(payload_hash=hashlib.sha256(b"x").hexdigest())), "another body"),
    "hash in a list": (lambda: bearer(claims(payload_hash=[])), "another body"),
}


def _raw(payload: dict[str, Any]) -> str:
    """Sign claims that PyJWT's encoder would refuse to write."""
    return jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, "HS256")


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """Each forged, stale or misdirected token is refused for its own reason, which never quotes the token."""
    make, reason = REFUSED[case]
    authorization = make()
    with pytest.raises(SignatureRefused, match=reason) as caught:
        check(authorization)
    for part in (authorization or "").removeprefix("Bearer ").split("."):
        assert len(part) < 8 or part not in f"{caught.value} {caught.value.__cause__}"


def test_clocks_may_differ_a_little() -> None:
    """Thirty seconds ahead and five minutes behind are still good."""
    assert check(bearer(claims(iat=int(NOW + 30))))
    assert check(bearer(claims(iat=int(NOW - MAX_AGE), exp=int(NOW - 30))))


def test_empty_secret_verifies_nothing() -> None:
    """Without a secret everything is refused, even what was signed with an empty one."""
    header = jwt.utils.base64url_encode(b'{"alg":"HS256"}').decode()
    with pytest.raises(SignatureRefused, match="no signature secret"):
        check(f"Bearer {header}.e30.x", secret="")


def test_short_secret_is_accepted_without_noise() -> None:
    """The account's real secret decides its length: a short one works and warns nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(bearer(claims(), "short"), secret="short")


@given(st.text(max_size=200) | st.text("abc.-_=", max_size=50))
def test_any_other_header_is_refused(text: str) -> None:
    """Whatever stands in the header, the answer is a SignatureRefused."""
    for header in (text, f"Bearer {text}"):
        with pytest.raises(SignatureRefused):
            check(header)


@given(st.integers(0, 10_000))
def test_every_changed_letter_is_noticed(place: int) -> None:
    """A token with any one letter changed is refused, and be it one whose bits base64 has no use for."""
    token = bearer(claims())
    place = 7 + place % (len(token) - 7)
    changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
    with pytest.raises(SignatureRefused):
        check(changed)


HEADERS = st.fixed_dictionaries(
    {"alg": st.sampled_from(["HS256", "hs256", "HS512", "none", "", None, 7])},
    optional={
        "typ": st.just("JWT"),
        "kid": st.text(max_size=5),
        "crit": st.lists(st.just("b64")),
        "b64": st.booleans(),
    },
)
SPOILS: list[Callable[[str], str]] = [
    lambda token: token,
    lambda token: f"{token}=",
    lambda token: f"{token}.",
    lambda token: token.replace(".", "..", 1),
    lambda token: token.rpartition(".")[0],
    lambda token: f"{token[:-1]}+",
    lambda token: f"{token[:-1]}\n{token[-1]}",
    lambda token: token.swapcase(),
]


@given(HEADERS, st.booleans(), st.sampled_from(SPOILS))
@example({"alg": "HS256", "b64": False}, True, SPOILS[0])
@example({"alg": "HS256", "crit": ["b64"], "b64": True}, True, SPOILS[0])
def test_nothing_is_accepted_that_pyjwt_refuses(header: Any, ours: bool, spoil: Callable[[str], str]) -> None:
    """PyJWT, told the one algorithm, is the judge: what is accepted here it accepts too, with the same claims.

    It accepts more only where it looks away from base64's padding, or knows what a critical header asks for.
    """
    head, payload = (jwt.utils.base64url_encode(json.dumps(part).encode()).decode() for part in (header, claims()))
    secret = SECRET if ours else f"{SECRET} "
    mac = hmac.digest(secret.encode(), f"{head}.{payload}".encode(), "sha256")
    token = spoil(f"{head}.{payload}.{jwt.utils.base64url_encode(mac).decode()}")
    judged, found = None, None
    with contextlib.suppress(jwt.InvalidTokenError):
        judged = json.loads(jwt.api_jws.PyJWS(["HS256"]).decode(token, SECRET, algorithms=["HS256"]))
    with contextlib.suppress(SignatureRefused):
        found = check(f"Bearer {token}")
    assert found == (None if "=" in token or "crit" in header else judged)
