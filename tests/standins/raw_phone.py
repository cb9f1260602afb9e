"""A phone made of plain sockets and text: SIP and RTP written by hand, so that a test can break every rule.

It shares no code with the sandbox. Nothing happens by itself: a test sends each message and reads each answer.
"""

import hashlib
import re
import secrets
import time
from typing import Self

from sipkit.sandbox.launcher import SandboxInfo
from tests.standins.raw_wire import CRLF, PATIENCE, RawRtp, SipText, Wire


class RawPhone:
    """A caller with one dialog: makes the text of requests; the test decides when they go out.

    Attributes:
        last: the last INVITE sent, as text.
    """

    def __init__(self, info: SandboxInfo, transport: str = "udp") -> None:
        self._info = info
        self.wire = Wire(info, transport)
        self.rtp = RawRtp()
        self.call_id = secrets.token_hex(8)
        self.tag = secrets.token_hex(4)
        self.to_tag = ""
        self.sequence = 0
        self._invited = 0
        self.branch = ""
        self.authorization = ""
        self.last = ""
        self.number = info.number
        self.user, self.password = info.carrier_user, info.carrier_password
        self.target = f"sip:{info.number}@sip.nexmo.com"
        self.answer: SipText | None = None
        self.over = False
        self.contact_port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up if the test did not, and close the sockets."""
        try:
            if self.answer is not None and not self.over:
                self.send(self.request("BYE"))
        except OSError:
            pass  # the test broke the connection
        finally:
            self.wire.close()
            self.rtp.close()

    @property
    def contact(self) -> str:
        """Our Contact URI: where we want in-dialog requests."""
        parameter = "" if self.wire.transport == "udp" else f";transport={self.wire.transport}"
        return f"sip:raw@{self.wire.host}:{self.contact_port or self.wire.port}{parameter}"

    def offer(self, formats: str = "8 0 101", profile: str = "RTP/AVP") -> str:
        """Make an SDP offer for our RTP socket."""
        names = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "101": "telephone-event/8000"}
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        lines += [f"m=audio {self.rtp.port} {profile} {formats}"]
        lines += [f"a=rtpmap:{each} {names[each]}" for each in formats.split()]
        return CRLF.join([*lines, ""])

    def request(
        self, method: str, *, body: str = "", extra: str = "", sequence: int | None = None, fresh: bool = True
    ) -> str:
        """Make a request; ``fresh`` gives it a new branch, ``sequence`` names another CSeq than the next."""
        if fresh:
            self.branch = "z9hG4bK" + secrets.token_hex(8)
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        if method == "INVITE":
            self._invited = sequence
        to = f"<sip:{self.number}@sip.nexmo.com>" + (f";tag={self.to_tag}" if self.to_tag else "")
        via = f"SIP/2.0/{self.wire.transport.upper()} {self.wire.host}:{self.wire.port};branch={self.branch};rport"
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: {via}",
            "Max-Forwards: 70",
            f"From: <sip:12025550177@carrier.example>;tag={self.tag}",
            f"To: {to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {sequence} {method}",
            f"Contact: <{self.contact}>",
        ]
        lines += [extra] if extra else []
        lines += ["Content-Type: application/sdp"] if body else []
        lines += [f"Content-Length: {len(body)}"]
        return CRLF.join([*lines, "", body])

    def invite(self, body: str | None = None, extra: str = "") -> str:
        """Make an INVITE, with the credentials once there are any."""
        headers = CRLF.join(each for each in (self.authorization, extra) if each)
        self.last = self.request("INVITE", body=self.offer() if body is None else body, extra=headers)
        return self.last

    def send(self, text: str) -> None:
        """Send a message."""
        self.wire.send(text.encode())

    def receive(self, timeout: float = PATIENCE) -> SipText:
        """Return the next message; one must come."""
        message = self.wire.receive(timeout)
        assert message is not None, f"nothing came in {timeout:g} s"
        return message

    def final(self, method: str = "INVITE", timeout: float = PATIENCE) -> SipText:
        """Return the next final response to a method, passing over everything else.

        That includes the answer to an earlier INVITE, which comes again when its ACK was slow.
        """
        deadline = time.monotonic() + timeout
        while True:
            message = self.receive(max(0.01, deadline - time.monotonic()))
            if message.status < 200 or message.method != method:
                continue
            if method != "INVITE" or int(message["cseq"].split()[0]) >= self._invited:
                return message

    def silent(self, seconds: float) -> list[SipText]:
        """Return what came within so many seconds; a quiet far end gives none."""
        deadline = time.monotonic() + seconds
        came: list[SipText] = []
        while (left := deadline - time.monotonic()) > 0:
            message = self.wire.receive(left)
            if message is not None:
                came.append(message)
        return came

    def ack_failure(self, response: SipText) -> None:
        """Acknowledge a failure: in the INVITE's transaction."""
        tag = self.to_tag
        self.to_tag = response["to"].partition(";tag=")[2]
        self.send(self.request("ACK", sequence=int(response["cseq"].split()[0]), fresh=False))
        self.to_tag = tag

    def ack(self) -> None:
        """Acknowledge the answer (again)."""
        assert self.answer is not None
        self.send(self.request("ACK", sequence=int(self.answer["cseq"].split()[0])))

    def respond(self, request: SipText, status: str = "200 OK") -> None:
        """Answer a request of the far end."""
        lines = [f"SIP/2.0 {status}", *(f"Via: {value}" for value in request.all("via"))]
        lines += [f"{name}: {request[name.lower()]}" for name in ("From", "To", "Call-ID", "CSeq")]
        self.send(CRLF.join([*lines, "Content-Length: 0", "", ""]))

    def digest(self, challenge: SipText, *, method: str = "INVITE", nc: str = "00000001", **wrong: str) -> str:
        """Make the Authorization header that answers a challenge; ``wrong`` replaces fields after hashing."""
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge["www-authenticate"]))
        cnonce = secrets.token_hex(6)
        ha1 = _md5(f"{self.user}:{fields['realm']}:{self.password}")
        proof = _md5(f"{ha1}:{fields['nonce']}:{nc}:{cnonce}:auth:{_md5(f'{method}:{self.target}')}")
        quoted = {
            "username": self.user,
            "realm": fields["realm"],
            "nonce": fields["nonce"],
            "uri": self.target,
            "response": proof,
            "cnonce": cnonce,
            **wrong,
        }
        pairs = [f'{name}="{value}"' for name, value in quoted.items()]
        return f"Authorization: Digest {', '.join(pairs)}, algorithm=MD5, qop=auth, nc={nc}"

    def challenge(self) -> SipText:
        """Send a first INVITE, get its 401, acknowledge it; ``authorization`` is ready afterwards."""
        self.send(self.invite())
        response = self.final()
        assert response.status == 401, response
        self.ack_failure(response)
        self.authorization = self.digest(response)
        return response

    def dial(self, body: str | None = None, extra: str = "") -> None:
        """Be challenged, and send the INVITE with credentials."""
        self.challenge()
        self.send(self.invite(body, extra))

    def take(self, response: SipText) -> None:
        """Enter the dialog a 200 made."""
        assert response.status == 200, response
        self.answer = response
        self.to_tag = response["to"].partition(";tag=")[2]
        self.target = response.contact
        match = re.search(rb"(?m)^m=audio (\d+)", response.body)
        assert match is not None
        self.rtp.peer = ("127.0.0.1", int(match[1]))

    def call(self, body: str | None = None, extra: str = "") -> SipText:
        """Make a whole call: challenge, answer, ACK."""
        self.dial(body, extra)
        response = self.final()
        self.take(response)
        self.ack()
        return response

    def hang_up(self) -> None:
        """Send BYE and await its answer."""
        self.send(self.request("BYE"))
        assert self.final("BYE").status == 200
        self.over = True

    def hung_up(self, timeout: float = PATIENCE) -> SipText:
        """Wait for the far end's BYE and answer it; returns it."""
        deadline = time.monotonic() + timeout
        while (message := self.receive(max(0.01, deadline - time.monotonic()))).start[:4] != "BYE ":
            pass
        self.respond(message)
        self.over = True
        return message


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
