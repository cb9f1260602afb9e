"""A platform and its forgers: signed webhook requests by the thousand, and what strangers make of them.

Tokens are put together from HMAC and base64 here, without the kit or PyJWT: no mistake of theirs can hide itself.
"""

import base64
import hashlib
import hmac
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from pydantic import SecretStr

from sipkit.app import create_app
from sipkit.cloud import Account
from sipkit.settings import Settings
from sipkit.store import Store

ROUTES = ("voice-answer", "voice-dtmf", "voice-keys", "voice-events")
NAMES = ("Zoë", "O'Brien & Søn", "渡辺", 'say "hi"\\', "a+b=c%20", "\u2028line", "+", "😀")
REFUSED = 401
STATUSES = ("started", "ringing", "answered", "completed", "failed", "news")


@dataclass(frozen=True)
class Sent:
    """One request: what a server gets to see."""

    method: str
    route: str
    fields: dict[str, str]
    token: str

    @property
    def body(self) -> bytes:
        """The JSON of a POST."""
        return json.dumps(self.fields).encode() if self.method == "POST" else b""

    def send(self, app: Flask) -> tuple[int, str]:
        """Send it; returns status and body."""
        path = f"/{self.route}?{urlencode(self.fields)}" if self.method == "GET" else f"/{self.route}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = app.test_client().open(path, method=self.method, data=self.body, headers=headers)
        return answer.status_code, answer.text


class Forger:
    """Makes genuine requests, and false ones out of them.

    Args:
        secret: The account's signature secret.
        api_key: The account.
        application_id: The application.
        seed: The same seed makes the same requests.
    """

    def __init__(self, secret: str, api_key: str, application_id: str, seed: int = 0) -> None:
        self._secret = secret
        self._names = {"api_key": api_key, "application_id": application_id}
        self._random = random.Random(seed)
        self._others = random.Random(seed + 1)

    def genuine(self) -> Sent:
        """A request as the platform sends it."""
        pick = self._random.choice
        fields = {"uuid": f"{self._random.getrandbits(128):032x}", "from": f"1202555{self._random.randrange(10**4):04}"}
        route = pick(ROUTES)
        fields |= {"to": "12025550100", "SipHeader_X-Name": pick(NAMES)} if route == "voice-answer" else {}
        fields |= {"dtmf": '{"digits":"0","timed_out":false}'} if route in {"voice-dtmf", "voice-keys"} else {}
        fields |= {"status": pick(STATUSES), "detail": pick(NAMES)} if route == "voice-events" else {}
        return self.signed(Sent(pick(("GET", "POST")), route, fields, ""))

    def signed(self, sent: Sent, secret: str | None = None, alg: str = "HS256", **changes: Any) -> Sent:
        """Sign a request; `changes` replace claims, those that are ... are left out."""
        payload = sent.body
        if sent.method == "GET":
            payload = json.dumps(sent.fields, separators=(",", ":"), ensure_ascii=False).encode()
        # Somewhere in the time for which a token is good, and ten seconds off both ends of it.
        claims: dict[str, Any] = {
            "iat": int(time.time()) + self._random.randrange(-280, 20),
            "jti": f"{self._random.getrandbits(128):032x}",
            "iss": "Vonage",
            "payload_hash": hashlib.sha256(payload).hexdigest(),
            **self._names,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not ...}
        return replace(sent, token=token_of(claims, self._secret if secret is None else secret, alg))

    def false(self) -> tuple[str, Sent, Sent | None]:
        """A request to be refused: its kind, itself, and for a replay the genuine one that comes before it."""
        good, pick = self.genuine(), self._others.choice
        kind = pick(("forged", "forged", "stale", "altered", "altered", "misdirected", "incomplete", "replayed"))
        now = int(time.time())
        match kind:
            case "forged":
                unsigned = replace(good, token=pick(("", "x", good.token.rpartition(".")[0] + ".")))
                other_key = self.signed(good, secret=pick(("", "secret", self._secret + " ", self._secret.upper())))
                return kind, pick((unsigned, other_key, self.signed(good, alg=pick(("none", "HS384", "HS512"))))), None
            case "stale":
                times = ({"iat": now - 320}, {"iat": now - 86400}, {"iat": now + 60}, {"exp": now - 40}, {"iat": "now"})
                return kind, self.signed(good, **pick(times)), None
            case "altered":
                return kind, pick((self._other_fields, self._other_letter, self._other_claims))(good), None
            case "misdirected":
                wrong = ({"api_key": "other"}, {"application_id": "other"}, {"iss": "vonage"}, {"aud": "me"})
                return kind, self.signed(good, **pick(wrong)), None
            case "incomplete":
                left_out: dict[str, Any] = {pick(("iat", "jti", "iss", "payload_hash", *self._names)): ...}
                return kind, self.signed(good, **left_out), None
        again = good if pick((True, False)) else replace(good, route=pick([r for r in ROUTES if r != good.route]))
        return kind, again, good

    def _other_fields(self, good: Sent) -> Sent:
        name = self._others.choice([*good.fields])
        return replace(good, fields={**good.fields, name: good.fields[name] + "1"})

    def _other_letter(self, good: Sent) -> Sent:
        """Change one letter of header or claims; the signature's last one may hold bits that nobody reads."""
        place = self._others.randrange(len(good.token.rpartition(".")[0]))
        letter = "A" if good.token[place] != "A" else "B"
        return replace(good, token=good.token[:place] + letter + good.token[place + 1 :])

    def _other_claims(self, good: Sent) -> Sent:
        """Fresh claims under the old signature."""
        fresh = self.signed(good, iat=int(time.time()))
        return replace(good, token=f"{fresh.token.rpartition('.')[0]}.{good.token.rpartition('.')[2]}")


def token_of(claims: dict[str, Any], secret: str, alg: str = "HS256") -> str:
    """A JSON Web Token (RFC 7519), by hand."""
    head, payload = (_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": alg}, claims))
    hashes = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
    if alg not in hashes:
        return f"{head}.{payload}."
    return f"{head}.{payload}.{_base64(hmac.new(secret.encode(), f'{head}.{payload}'.encode(), hashes[alg]).digest())}"


def app_of_an_account(home: Path, secret: str, store_url: str | None = None) -> Flask:
    """The kit's app for a made-up account: key KEY, application APP; its store is a file unless told otherwise."""
    nothing = SecretStr("x")
    account = Account(
        mode="sandbox",
        video_api_url="http://127.0.0.1:1",
        video_api_key="46000001",
        video_api_secret=nothing,
        voice_api_url="http://127.0.0.1:1",
        voice_api_key="KEY",
        voice_api_secret=nothing,
        application_id="APP",
        signature_secret=SecretStr(secret),
        conference_number="12025550100",
    )
    store = Store.open(store_url or f"sqlite:///{home}/db", "sandbox:1")
    app = create_app(Settings.load(mode="sandbox", home=home), account, store)
    store.set_fact("public_url", "https://calls.example.com")
    return app


def accepted(app: Flask, forger: Forger, count: int) -> int:
    """Send so many genuine requests; returns how many were accepted."""
    return sum(forger.genuine().send(app)[0] == 200 for _ in range(count))


def refused(app: Flask, forger: Forger, count: int) -> tuple["Counter[str]", "Counter[str]"]:
    """Send so many false requests; returns by kind how many were refused, and how many were sent.

    A repeated request is taken for refused when it is, or when it has the first answer and no effect: a second wrong
    PIN would be told another number of tries, and every other effect is an entry in the timeline.
    """
    good: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    last = 0
    for _ in range(count):
        kind, request, before = forger.false()
        first = before.send(app) if before is not None else None
        last, _ = _effects(app, last) if first is not None else (last, False)
        again = request.send(app)
        sent[kind] += 1
        good[kind] += again[0] == REFUSED or (again == first and not _effects(app, last)[1])
    return good, sent


def _effects(app: Flask, since: int) -> tuple[int, bool]:
    """Return the timeline's newest number, and whether anything but refusals came since."""
    events = app.extensions["sipkit"].store.events(since=since)
    return max((event.id for event in events), default=since), any(event.kind != "refused" for event in events)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
