"""Webhook requests as nobody should send them, and right ones between, so that there are calls for them to disturb."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from tests.standins.forger import ROUTES, token_of
from tests.standins.shot import Shot

TEXTS = (
    *("", " ", "0", "-1", "true", "null", "NaN", "None", "leg", "completed", "+", "*6", "#", "12025550123", "A" * 101),
    *(
        "x" * 1001,
        "9" * 5000,
        "\0",
        "a\0b",
        "\ud800",
        "😀" * 50,
        "\u202eabc",
        "é",
        "\r\nX: y",
        "%00",
        "%2f..",
        "'; DROP TABLE pins",
    ),
    *(
        "<script>alert(1)</script>",
        "{{7*7}}",
        "${x}",
        '{"digits":',
        "[",
        '{"digits":{"digits":"1"}}',
        "\uff11\uff12\uff13\uff14",
        "\x7f",
    ),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    *(None, True, 0, -1, 2**63, 10**400, 1.5, 1e308, float("nan"), float("inf"), [], {}, [[]], [None], ["leg"]),
    *({"digits": "1"}, {"digits": None}, {"digits": 4711}, {"": ""}, {"X-OpenTok-SessionId": ["S"]}),
)
NAMES = (
    *("uuid", "from", "from_user", "to", "dtmf", "status", "headers", "direction", "detail", "reason", "type"),
    *(
        "duration",
        "conversation_uuid",
        "SipHeader_X-OpenTok-SessionId",
        "sipheader_x_opentok_sessionid",
        "UUID",
        "",
        "\0",
    ),
    *("SipHeader_X-Sipkit-Dial", "speech", "timestamp", "price", "rate", "sub_state", "region_url", "x" * 300),
)
METHODS = ("HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "CONNECT", "get", "FOO", "PROPFIND")
PATHS = (
    *("/{0}/", "//{0}", "/{0}%2f", "/%2f{0}", "/{0};x", "/{0}%00", "/../{0}", "/./{0}", "/{0}?", "/{0}#x", "/x/../{0}"),
    *(
        "http://127.0.0.1/{0}",
        "http://evil.example/{0}",
        "/{0}%0d%0aX:y",
        "/{0}\xff",
        "/{0}/x",
        "/",
        "*",
        "/%ff",
        "/{0}%zz",
    ),
    *(
        "/static/room/../../{0}",
        "/static/room/%2e%2e/settings.py",
        "/healthz",
        "/hold-music",
        "/room",
        "/room/",
        "/.env",
    ),
    "/" + "x" * 5000,
)
STATUSES = (
    *(
        "started",
        "ringing",
        "answered",
        "completed",
        "busy",
        "cancelled",
        "unanswered",
        "rejected",
        "failed",
        "timeout",
    ),
    *("human", "machine", "disconnected", "COMPLETED", "input", "record", "transfer"),
)
TYPES = (
    "application/json",
    "text/html",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "x",
    "",
)


class OddCallbacks:
    """Makes the requests.

    Args:
        random: Decides everything, so that a seed tells them all.
        secret: The account's signature secret.
        api_key: The account.
        application_id: The application.
        typed: What phones type: right and wrong PINs.
        sessions: What bridges name: sessions that are open, and others.
    """

    def __init__(
        self,
        random: Random,
        secret: str,
        api_key: str,
        application_id: str,
        typed: Sequence[str],
        sessions: Sequence[str],
    ) -> None:
        self._random = random
        self._secret = secret
        self._claims = {"iss": "Vonage", "api_key": api_key, "application_id": application_id}
        self._typed = typed
        self._sessions = sessions

    def shot(self) -> Shot:
        """The next request."""
        random, pick = self._random, self._random.choice
        route = pick(ROUTES)
        fields = self._fields(route)
        odd = random.random()
        for _ in range(0 if odd < 0.3 else random.randrange(1, 4)):
            self._spoil(fields)
        method = pick(("GET", "POST"))
        query, body = ("", self._body(fields)) if method == "POST" else (self._query(fields), b"")
        target = f"/{route}" + (f"?{query}" if query else "")
        how = "spoilt" if odd >= 0.3 else "right"
        if random.random() < 0.04:
            method, how = pick(METHODS), "method"
        if random.random() < 0.06:
            target, how = pick(PATHS).replace("{0}", route), "path"
        headers = {"Content-Type": pick(TYPES)} if random.random() < 0.3 else {}
        allowed = random.random() < 0.8
        token = self._token(method, body, query) if allowed else self._bad_token(method, body, query)
        headers |= {"Authorization": token} if token else {}
        headers |= self._odd_headers() if random.random() < 0.05 else {}
        kind = f"{route} {how}{'' if allowed else ' forged'}"
        return Shot(kind, method, target, headers, body, chunked=random.random() < 0.1, allowed=allowed)

    def _fields(self, route: str) -> dict[str, Any]:
        """What the platform would say; of few legs, so that their calls go on, and now and then of a new one."""
        pick = self._random.choice
        leg = (
            f"leg-{self._random.randrange(40)}" if self._random.random() < 0.7 else f"{self._random.getrandbits(128):x}"
        )
        fields: dict[str, Any] = {"uuid": leg, "from": f"1202555{self._random.randrange(300):04}", "to": "12025550100"}
        match route:
            case "voice-answer" if self._random.random() < 0.3:
                fields["SipHeader_X-OpenTok-SessionId"] = pick(self._sessions)
            case "voice-dtmf":
                digits = pick(self._typed)
                fields["dtmf"] = pick((digits, {"digits": digits, "timed_out": False}, json.dumps({"digits": digits})))
            case "voice-events":
                fields |= {"status": pick(STATUSES), "direction": pick(("inbound", "outbound")), "duration": "7"}
        return fields

    def _spoil(self, fields: dict[str, Any]) -> None:
        pick = self._random.choice
        name = pick([*fields, *NAMES])
        match self._random.randrange(6):
            case 0:
                fields.pop(name, None)
            case 1:
                deep: Any = pick(VALUES)
                for _ in range(self._random.choice((3, 50))):
                    deep = pick(([deep], {name: deep}))
                fields[name] = deep
            case 2:
                fields.update({f"{name}{number}": pick(TEXTS) for number in range(pick((5, 120)))})
            case _:
                fields[name] = pick(VALUES)

    def _body(self, fields: dict[str, Any]) -> bytes:
        """JSON, in some form or none."""
        text = json.dumps(fields, ensure_ascii=self._random.random() < 0.5)
        forms: Sequence[Callable[[], bytes]] = (
            lambda: text.encode("utf-16", "surrogatepass"),
            lambda: b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass"),
            lambda: text.encode("latin-1", "replace"),
            lambda: text.encode("utf-8", "surrogatepass")[: self._random.randrange(1 + len(text))],
            lambda: (text[:-1] + ', "uuid": "twice", "dtmf": "1"}').encode("utf-8", "surrogatepass"),
            lambda: urlencode({name: str(value) for name, value in fields.items()}, errors="replace").encode(),
            lambda: b"[" * 30_000 + b"]" * 30_000,
            lambda: b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
            lambda: b'{"uuid": ' + b"9" * 5000 + b"}",
            lambda: self._random.randbytes(self._random.randrange(300)),
            lambda: b'{"uuid": "' + b"x" * self._random.choice((60_000, 70_000)) + b'"}',
            lambda: b"",
        )
        plain = self._random.random() < 0.75
        return text.encode("utf-8", "surrogatepass") if plain else self._random.choice(forms)()

    def _query(self, fields: dict[str, Any]) -> str:
        values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        query = urlencode({name[:500]: value[:3000] for name, value in values.items()}, errors="replace")
        odd = (
            "&uuid=twice",
            "&a=%zz",
            "&=&&=",
            "&a=%ff%fe",
            "&%00=%00",
            ";a=b",
            "&a" * 150,
            "&a=" + quote("é" * 900),
            "+",
        )
        return query if self._random.random() < 0.8 else query + self._random.choice(odd)

    def _token(self, method: str, body: bytes, query: str, secret: str | None = None, **changes: Any) -> str:
        payload = body
        if method != "POST":
            parameters = dict(parse_qsl(query, keep_blank_values=True))
            payload = json.dumps(parameters, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        claims = {"iat": int(time.time()), "jti": f"{self._random.getrandbits(128):x}", **self._claims}
        claims |= {"payload_hash": hashlib.sha256(payload).hexdigest(), **changes}
        return f"Bearer {token_of(claims, self._secret if secret is None else secret)}"

    def _bad_token(self, method: str, body: bytes, query: str) -> str:
        """No token, or one that must not be believed."""
        wrong: Sequence[Callable[[], str]] = (
            lambda: "",
            lambda: self._token(method, body, query, "another secret"),
            lambda: self._token(method, body, query, jti="x" * 200),
            lambda: self._token(method, body, query, iat=int(time.time()) - 400),
            lambda: self._token(method, body + b" ", query + "&x=y"),
            lambda: self._token(method, body, query, api_key=None),
            lambda: self._token(method, body, query)[:-6],
            lambda: "Bearer " + self._random.choice(TEXTS).replace("\r\n", ""),
            lambda: "Basic eDp5",
            lambda: "Bearer " + "x.y.z" * 2000,
        )
        return self._random.choice(wrong)()

    def _odd_headers(self) -> dict[str, str]:
        odd: Sequence[dict[str, str]] = (
            {"Expect": "100-continue"},
            {"Host": "evil.example"},
            {"Content-Encoding": "gzip"},
            {"X-Forwarded-For": "127.0.0.1, " * 50},
            {"Accept": "text/html"},
            {"X-HTTP-Method-Override": "DELETE"},
            {f"X-{number}": "y" for number in range(90)},
            {"Cookie": "x" * 4000},
            {"Range": "bytes=0-0"},
            {"If-None-Match": "*"},
        )
        return self._random.choice(odd)
