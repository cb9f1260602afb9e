"""One outgoing call over UDP as a small state machine (RFC 3261, 13, 15 and 17; digest of RFC 2617, 8760).

Independent of sipkit on purpose: what it accepts and refuses is a second opinion on the sandbox's signalling.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field

T1 = 0.5  # seconds, first retransmission (RFC 3261, 17.1.1.1)
GIVE_UP = 32.0  # seconds, timer B

HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


@dataclass
class Dialog:
    """A caller's view of one call; every method returns the datagrams to send, and none touches a socket."""

    number: str
    user: str
    password: str = field(repr=False)
    server: tuple[str, int]
    local: tuple[str, int]
    rtp_port: int
    caller: str
    call_id: str = field(default_factory=lambda: secrets.token_hex(12))
    state: str = "new"
    failure: str | None = None
    media: tuple[str, int] = ("127.0.0.1", 9)

    def __post_init__(self) -> None:
        """Draw what makes this dialog unlike any other."""
        self._tag = secrets.token_hex(4)
        self._to = f"<sip:{self.number}@{self.server[0]}:{self.server[1]}>"
        self._target = f"sip:{self.number}@{self.server[0]}:{self.server[1]}"
        self._cseq = 0
        self._branch = ""
        self._authorized = False
        self._pending: tuple[bytes, float, float, float] | None = None  # message, resend at, gap, give up at
        self._ack = b""

    @property
    def talking(self) -> bool:
        """Whether media flows."""
        return self.state == "talking"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state == "ended"

    @staticmethod
    def call_id_of(data: bytes) -> str:
        """The Call-ID of a message, empty if it has none."""
        found = re.search(rb"^(?:Call-ID|i)\s*:\s*(\S+)", data, re.IGNORECASE | re.MULTILINE)
        return found.group(1).decode("ascii", "replace") if found else ""

    def invite(self, now: float) -> bytes:
        """Begin the call."""
        self.state = "inviting"
        return self._request("INVITE", now, body=self._offer())

    def bye(self, now: float) -> bytes | None:
        """Hang up; None if there is no call (any more)."""
        if self.state != "talking":
            self._end(self.failure or "hung up before it was answered")
            return None
        self.state = "leaving"
        return self._request("BYE", now)

    def due(self, now: float) -> bytes | None:
        """The retransmission that is due at `now`, if any."""
        if self._pending is None:
            return None
        message, at, gap, end = self._pending
        if now >= end:
            self._end("no answer from the server")
        elif now >= at:
            gap = min(gap * 2, 4.0)
            self._pending = (message, now + gap, gap, end)
            return message
        return None

    def received(self, data: bytes, now: float) -> list[bytes]:
        """Take one datagram of this call and return what must be sent for it."""
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode("utf-8", "replace").split("\r\n")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]
        if not start.startswith("SIP/2.0"):
            return self._asked(start.split(" ", 1)[0], headers)
        status = int(start.split(" ", 2)[1])
        method = _first(headers, "cseq").split()[-1]
        if method == "INVITE":
            return self._invite_answered(status, start, headers, body.decode("utf-8", "replace"), now)
        if method == "BYE" and status >= 200:
            self._end(None)
        return []

    def _invite_answered(
        self, status: int, start: str, headers: list[tuple[str, ...]], body: str, now: float
    ) -> list[bytes]:
        if status < 200:
            if self._pending:
                # A provisional answer stops the retransmissions of an INVITE (17.1.1.2).
                self._pending = (self._pending[0], now + GIVE_UP, GIVE_UP, now + 2 * GIVE_UP)
            return []
        sequence = int(_first(headers, "cseq").split()[0])
        to = _first(headers, "to")
        if status < 300:
            if self.state == "inviting":
                self._pending = None
                self._to = to
                contact = re.search(r"<([^>]+)>", _first(headers, "contact"))
                self._target = contact.group(1) if contact else self._target
                port, host = (
                    re.search(r"^m=audio (\d+)", body, re.MULTILINE),
                    re.search(r"^c=IN IP4 (\S+)", body, re.MULTILINE),
                )
                if port and host:
                    self.media = (host.group(1), int(port.group(1)))
                self.state = "talking"
                self._ack = self._message("ACK", sequence, self._to, f"z9hG4bK{secrets.token_hex(8)}")
            return [self._ack]
        if sequence != self._cseq or self.state != "inviting":
            return []
        ack = self._message("ACK", sequence, to, self._branch, uri=self._target)
        if status in {401, 407} and not self._authorized:
            self._authorized = True
            name = "www-authenticate" if status == 401 else "proxy-authenticate"
            answer = "Authorization" if status == 401 else "Proxy-Authorization"
            credentials = self._digest("INVITE", _first(headers, name))
            return [ack, self._request("INVITE", now, f"{answer}: {credentials}\r\n", self._offer())]
        self._end(start)
        return [ack]

    def _asked(self, method: str, headers: list[tuple[str, ...]]) -> list[bytes]:
        """Answer a request of the server inside the dialog; its BYE ends the call."""
        if method == "ACK":
            return []
        echoed = "".join(
            f"{name}: {value}\r\n"
            for name, value in headers
            if name.lower() in {"via", "v", "from", "f", "to", "t", "call-id", "i", "cseq"}
        )
        if method == "BYE":
            self._end(None if self.state == "leaving" else "the server hung up")
        status = "200 OK" if method in {"BYE", "OPTIONS", "UPDATE", "INFO"} else "488 Not Acceptable Here"
        return [f"SIP/2.0 {status}\r\n{echoed}Content-Length: 0\r\n\r\n".encode()]

    def _end(self, failure: str | None) -> None:
        self.state, self._pending = "ended", None
        self.failure = failure

    def _request(self, method: str, now: float, extra: str = "", body: str = "") -> bytes:
        self._cseq += 1
        self._branch = f"z9hG4bK{secrets.token_hex(8)}"
        message = self._message(method, self._cseq, self._to, self._branch, extra=extra, body=body)
        self._pending = (message, now + T1, T1, now + GIVE_UP)
        return message

    def _message(
        self,
        method: str,
        sequence: int,
        to: str,
        branch: str,
        *,
        uri: str = "",
        extra: str = "",
        body: str = "",
    ) -> bytes:
        host, port = self.local
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{method} {uri or self._target} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport\r\n"
            f"Max-Forwards: 70\r\n"
            f"From: <sip:{self.caller}@{host}>;tag={self._tag}\r\n"
            f"To: {to}\r\n"
            f"Call-ID: {self.call_id}\r\n"
            f"CSeq: {sequence} {method}\r\n"
            f"Contact: <sip:{self.caller}@{host}:{port}>\r\n"
            f"{extra}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def _offer(self) -> str:
        host = self.local[0]
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp_port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        )

    def _digest(self, method: str, challenge: str) -> str:
        given = dict(re.findall(r'(\w+)=(?:"([^"]*)"|)', challenge))
        given |= {key: value for key, value in re.findall(r'(\w+)=([^",\s]+)', challenge) if not given.get(key)}
        algorithm = given.get("algorithm", "MD5")

        def digest(text: str) -> str:
            return HASHES[algorithm.upper()](text.encode()).hexdigest()

        nonce, uri, cnonce, count = given["nonce"], self._target, secrets.token_hex(8), "00000001"
        secret = digest(f"{self.user}:{given['realm']}:{self.password}")
        request = digest(f"{method}:{uri}")
        parts = (
            f'Digest username="{self.user}", realm="{given["realm"]}", nonce="{nonce}", uri="{uri}", '
            f"algorithm={algorithm}"
        )
        if "opaque" in given:
            parts += f', opaque="{given["opaque"]}"'
        if "auth" in given.get("qop", "").split(","):
            response = digest(f"{secret}:{nonce}:{count}:{cnonce}:auth:{request}")
            return f'{parts}, qop=auth, nc={count}, cnonce="{cnonce}", response="{response}"'
        return f'{parts}, response="{digest(f"{secret}:{nonce}:{request}")}"'


def _first(headers: list[tuple[str, ...]], name: str) -> str:
    """The value of the first header of that (lower-case) name, long or compact, empty if there is none."""
    short = {"to": "t", "from": "f", "contact": "m", "via": "v", "call-id": "i"}.get(name)
    return next((value for key, value in headers if key.lower() in {name, short}), "")
