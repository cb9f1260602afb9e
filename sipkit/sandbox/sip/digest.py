"""Digest authentication, both ways (RFC 3261 section 22, RFC 7616; MD5 with qop=auth, as at Vonage).

The server side keeps no challenge: a nonce is a signed time. What it keeps is the highest nonce count seen for
each nonce in its short life, so that credentials cannot be played again.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sipmessage import AuthChallenge, AuthCredentials, AuthParameters

NONCE_LIFE = 60.0
"""Seconds a challenge can be answered."""

Verdict = Literal["ok", "missing", "stale", "wrong"]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _response(*, user: str, realm: str, password: str, method: str, uri: str, nonce: str, nc: str, cnonce: str) -> str:
    ha1 = _md5(f"{user}:{realm}:{password}")
    ha2 = _md5(f"{method}:{uri}")
    return _md5(f"{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")


def _same(one: str, other: str) -> bool:
    """Compare in constant time; as bytes, for a stranger's text need not be ASCII."""
    return hmac.compare_digest(one.encode(), other.encode())


class DigestServer:
    """Challenge requests and verify the answers."""

    def __init__(self, realm: str, passwords: Mapping[str, str]) -> None:
        self.realm = realm
        self._passwords = passwords
        self._key = secrets.token_bytes(32)
        self._counts: dict[str, int] = {}

    def challenge(self, *, stale: bool = False) -> AuthChallenge:
        """Make a WWW-Authenticate value with a fresh nonce."""
        stamp = f"{time.monotonic():.3f}-{secrets.token_hex(6)}"
        parameters = {"realm": self.realm, "nonce": f"{stamp}-{self._sign(stamp)}"}
        parameters |= {"algorithm": "MD5", "qop": "auth"}
        if stale:
            parameters["stale"] = "true"
        return AuthChallenge("Digest", AuthParameters(**parameters))

    def verify(self, credentials: AuthCredentials | None, method: str) -> tuple[Verdict, str | None]:
        """Judge an Authorization header.

        Returns:
            The verdict, and the user it proves (None unless ``ok``). ``stale`` means the credentials may be right
            but answer a challenge that is used or too old.
        """
        fields = credentials.parameters if credentials else None
        if fields is None or fields.get("realm") != self.realm:
            return "missing", None
        nonce, user = fields.get("nonce", ""), fields.get("username", "")
        stamp, _, signature = nonce.rpartition("-")
        if not stamp or not _same(signature, self._sign(stamp)):
            return "stale", None
        if time.monotonic() - float(stamp.partition("-")[0]) > NONCE_LIFE:
            return "stale", None
        password = self._passwords.get(user)
        expected = _response(
            user=user,
            realm=self.realm,
            # An unknown user costs the same time as a wrong password.
            password=password if password is not None else secrets.token_hex(8),
            method=method,
            uri=fields.get("uri", ""),
            nonce=nonce,
            nc=fields.get("nc", ""),
            cnonce=fields.get("cnonce", ""),
        )
        if fields.get("qop") != "auth" or not _same(expected, fields.get("response", "")):
            return "wrong", None
        try:
            count = int(fields.get("nc", ""), 16)
        except ValueError:
            return "wrong", None
        if count <= self._counts.get(nonce, 0):
            return "stale", None
        self._remember(nonce, count)
        return "ok", user

    def _sign(self, stamp: str) -> str:
        return hmac.new(self._key, stamp.encode(), hashlib.sha256).hexdigest()[:24]

    def _remember(self, nonce: str, count: int) -> None:
        self._counts[nonce] = count
        if len(self._counts) > 4096:  # nonces die after a minute: the oldest half is long dead
            for old in list(self._counts)[:2048]:
                del self._counts[old]


@dataclass(frozen=True)
class DigestClient:
    """Credentials that answer challenges."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"DigestClient(user={self.user!r})"

    def answer(self, challenge: AuthChallenge, method: str, uri: str) -> AuthCredentials | None:
        """Answer a challenge, or return None when its scheme or algorithm is not ours."""
        fields = challenge.parameters
        if challenge.scheme.lower() != "digest" or fields.get("algorithm", "MD5").upper() != "MD5":
            return None
        realm, nonce, cnonce, count = (
            fields.get("realm", ""),
            fields.get("nonce", ""),
            secrets.token_hex(8),
            "00000001",
        )
        answer = {
            "username": self.user,
            "realm": realm,
            "nonce": nonce,
            "uri": uri,
            "response": _response(
                user=self.user,
                realm=realm,
                password=self.password,
                method=method,
                uri=uri,
                nonce=nonce,
                nc=count,
                cnonce=cnonce,
            ),
            "algorithm": "MD5",
            "qop": "auth",
            "nc": count,
            "cnonce": cnonce,
        }
        if "opaque" in fields:
            answer["opaque"] = fields["opaque"]
        return AuthCredentials("Digest", AuthParameters(**answer))
