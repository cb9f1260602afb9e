"""Digest authentication (RFC 7616 with MD5 and qop=auth): the server's judgement, and the client's answers."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sipmessage import AuthChallenge, AuthCredentials, AuthParameters

from sipkit.sandbox.sip import digest
from sipkit.sandbox.sip.digest import DigestClient, DigestServer

URI = "sip:12025550100@sip.nexmo.com"


@pytest.fixture
def server() -> DigestServer:
    """A server that knows Ann."""
    return DigestServer("sip.nexmo.com", {"ann": "open sesame"})


def _answer(server: DigestServer, client: DigestClient = DigestClient("ann", "open sesame")) -> AuthCredentials:  # noqa: B008 - frozen
    credentials = client.answer(server.challenge(), "INVITE", URI)
    assert credentials is not None
    return credentials


def _changed(credentials: AuthCredentials, **fields: str) -> AuthCredentials:
    assert credentials.parameters is not None
    return AuthCredentials("Digest", AuthParameters(**{**credentials.parameters, **fields}))


def test_published_example() -> None:
    """The example of RFC 2617 section 3.5 gives its published response."""
    response = digest._response(
        user="Mufasa",
        realm="testrealm@host.com",
        password="Circle Of Life",
        method="GET",
        uri="/dir/index.html",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        nc="00000001",
        cnonce="0a4f113b",
    )
    assert response == "6629fae49393a05397450978507c4ef1"


def test_right_password(server: DigestServer) -> None:
    """The right answer names its user."""
    assert server.verify(_answer(server), "INVITE") == ("ok", "ann")


def test_printed_and_parsed_credentials_are_the_same(server: DigestServer) -> None:
    """What travels as text is what was meant."""
    text = str(_answer(server))
    assert server.verify(AuthCredentials.parse(text), "INVITE") == ("ok", "ann")


@pytest.mark.parametrize(("user", "password"), [("ann", "wrong"), ("bob", "open sesame"), ("", ""), ("ann", "")])
def test_wrong_password(server: DigestServer, user: str, password: str) -> None:
    """A wrong password and an unknown user look the same."""
    assert server.verify(_answer(server, DigestClient(user, password)), "INVITE") == ("wrong", None)


def test_each_answer_counts_once(server: DigestServer) -> None:
    """The same nonce count again is stale; a higher one is taken, a lower one not."""
    challenge = server.challenge()
    client = DigestClient("ann", "open sesame")
    credentials = client.answer(challenge, "INVITE", URI)
    assert server.verify(credentials, "INVITE")[0] == "ok"
    assert server.verify(credentials, "INVITE")[0] == "stale"


def test_answer_is_bound_to_its_method(server: DigestServer) -> None:
    """Credentials for an INVITE are no credentials for a BYE."""
    assert server.verify(_answer(server), "BYE")[0] == "wrong"


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"nonce": "made-up-0123"}, "stale"),
        ({"nonce": "é-é-é"}, "stale"),
        ({"nonce": ""}, "stale"),
        ({"realm": "elsewhere"}, "missing"),
        ({"response": "é"}, "wrong"),
        ({"response": ""}, "wrong"),
        ({"qop": "auth-int"}, "wrong"),
        ({"nc": "00000002"}, "wrong"),
        ({"nc": "zz"}, "wrong"),
        ({"cnonce": "x"}, "wrong"),
        ({"uri": "sip:other@sip.nexmo.com"}, "wrong"),
    ],
)
def test_tampered_answers(server: DigestServer, fields: dict[str, str], verdict: str) -> None:
    """No field can be changed after the answer was made."""
    assert server.verify(_changed(_answer(server), **fields), "INVITE") == (verdict, None)


def test_no_credentials(server: DigestServer) -> None:
    """Nothing is missing, not wrong: a challenge is due."""
    assert server.verify(None, "INVITE") == ("missing", None)


def test_nonces_die(server: DigestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to a challenge older than its life is stale, and the next challenge says so."""
    credentials = _answer(server)
    monkeypatch.setattr(digest, "NONCE_LIFE", -1.0)
    assert server.verify(credentials, "INVITE")[0] == "stale"
    assert server.challenge(stale=True).parameters["stale"] == "true"


def test_nonces_of_another_server_are_stale(server: DigestServer) -> None:
    """A restarted server does not take its predecessor's nonces, and asks again."""
    other = DigestServer("sip.nexmo.com", {"ann": "open sesame"})
    assert server.verify(_answer(other), "INVITE")[0] == "stale"


def test_memory_of_nonces_is_bounded(server: DigestServer) -> None:
    """Ten thousand calls later the server remembers some thousand counts, the newest among them."""
    last = None
    for _ in range(5000):
        last = _answer(server)
        assert server.verify(last, "INVITE")[0] == "ok"
    assert len(server._counts) <= 4096
    assert server.verify(last, "INVITE")[0] == "stale"


@pytest.mark.parametrize(("scheme", "algorithm"), [("Basic", "MD5"), ("Digest", "SHA-256"), ("Bearer", "MD5")])
def test_client_knows_what_it_cannot_answer(scheme: str, algorithm: str) -> None:
    """Other schemes and algorithms are not answered, rather than answered wrongly."""
    challenge = AuthChallenge(scheme, AuthParameters(realm="r", nonce="n", algorithm=algorithm))
    assert DigestClient("ann", "x").answer(challenge, "INVITE", URI) is None


def test_client_returns_opaque() -> None:
    """Opaque data goes back unchanged (RFC 7616 section 3.3)."""
    challenge = AuthChallenge("Digest", AuthParameters(realm="r", nonce="n", qop="auth", opaque="5ccc"))
    answer = DigestClient("ann", "x").answer(challenge, "INVITE", URI)
    assert answer is not None
    assert answer.parameters is not None
    assert answer.parameters["opaque"] == "5ccc"


def test_password_stays_out_of_the_repr() -> None:
    """A client shows its user, not its password."""
    assert "secret" not in repr(DigestClient("ann", "secret-password"))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"]), st.text()
    )
)
def test_no_credentials_break_the_server(fields: dict[str, str]) -> None:
    """Whatever a header holds, the verdict is never `ok` and never an exception."""
    server = DigestServer("sip.nexmo.com", {"ann": "open sesame"})
    credentials = AuthCredentials("Digest", AuthParameters(**{"realm": "sip.nexmo.com", **fields}))
    assert server.verify(credentials, "INVITE")[0] in ("missing", "stale", "wrong")


def test_challenge_is_new_each_time(server: DigestServer) -> None:
    """No two nonces are alike, and none tells anything but a time."""
    nonces = {server.challenge().parameters["nonce"] for _ in range(100)}
    assert len(nonces) == 100
    assert all(nonce and re.fullmatch(r"[0-9a-f.-]+", nonce) for nonce in nonces)
