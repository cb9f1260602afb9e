"""A browser's peer connection without the browser: ICE checks, the DTLS client and SRTP, each packet made by hand.

It shows what real browsers never send (wrong passwords, foreign certificates, broken packets), and makes load cheaply.
"""

import asyncio
import secrets
from typing import cast

import pylibsrtp
from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from sipkit.sandbox.media.g711 import encode
from sipkit.sandbox.media.source import Tone
from sipkit.sandbox.webrtc import rtp

CODECS = {"PCMU": "0 PCMU/8000", "OPUS": "111 opus/48000/2", "VP8": "96 VP8/90000", "PCMA": "8 PCMA/8000"}
_PROFILE = b"SRTP_AES128_CM_SHA1_80"


class RawBrowser(asyncio.DatagramProtocol):
    """One peer connection that makes the offer.

    Attributes:
        received: RTP packets that came, decrypted.
        feedback: RTCP packets that came.
        answers: STUN answers that came.
        deaf: RTP that comes now is lost on its way.
    """

    def __init__(self, *, direction: str = "sendrecv", audio: str | None = "PCMU", video: str | None = None) -> None:
        self.received: list[bytes] = []
        self.feedback: list[rtp.Rtcp] = []
        self.answers: list[stun.Message] = []
        self.deaf = False
        self.secured = asyncio.Event()
        self.closed = asyncio.Event()
        self._direction = direction
        self._codecs = [codec for codec in (audio, video) if codec is not None]
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(12)
        key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _self_signed(key)
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_certificate(self._certificate)
        context.use_privatekey(key)
        context.set_tlsext_use_srtp(_PROFILE)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self._tls = SSL.Connection(context)
        self._tls.set_connect_state()
        self._socket: asyncio.DatagramTransport | None = None
        self._remote: tuple[str, str, int] | None = None
        self._in: pylibsrtp.Session | None = None
        self._out: pylibsrtp.Session | None = None

    @property
    def offer(self) -> str:
        """The SDP offer."""
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        lines.append(f"a=group:BUNDLE {' '.join(str(mid) for mid in range(len(self._codecs)))}")
        for mid, codec in enumerate(self._codecs):
            kind = "video" if codec == "VP8" else "audio"
            number = CODECS[codec].partition(" ")[0]
            lines += [
                f"m={kind} 9 UDP/TLS/RTP/SAVPF {number}",
                f"a=mid:{mid}",
                f"a={self._direction}",
                f"a=rtpmap:{CODECS[codec]}",
                f"a=ice-ufrag:{self._ufrag}",
                f"a=ice-pwd:{self._password}",
                f"a=fingerprint:sha-256 {self._certificate.fingerprint(hashes.SHA256()).hex(':').upper()}",
                "a=setup:actpass",
                "a=rtcp-mux",
            ]
            if kind == "video":
                lines += [f"a=rtcp-fb:{number} {wish}" for wish in ("nack", "nack pli", "goog-remb")]
        return "\r\n".join([*lines, ""])

    async def open(self, answer: str) -> None:
        """Take the answer and bind a socket; nothing is sent yet."""
        fields = dict(line[2:].partition(":")[::2] for line in answer.splitlines() if line.startswith("a="))
        port = int(fields["candidate"].split()[5])
        self._remote = fields["ice-ufrag"], fields["ice-pwd"], port
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, remote_addr=("127.0.0.1", port))

    async def connect(self, answer: str) -> None:
        """Check, shake hands, and be ready to send."""
        await self.open(answer)
        self.check()
        self._handshake()
        await asyncio.wait_for(self.secured.wait(), 10)

    def check(self, *, password: str | None = None, ufrag: str | None = None) -> None:
        """Send one connectivity check, with other credentials than the answer's if told so."""
        assert self._remote is not None
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{ufrag or self._remote[0]}:{self._ufrag}"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 1
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity((password or self._remote[1]).encode())
        self.send_raw(bytes(request))

    def send_raw(self, data: bytes) -> None:
        """Send a packet as it is."""
        assert self._socket is not None
        self._socket.sendto(data)

    def send(self, packet: bytes) -> None:
        """Send an RTP packet, encrypted."""
        assert self._out is not None
        self.send_raw(self._out.protect(packet))

    async def whistle(self, hz: float, seconds: float) -> None:
        """Send a tone as PCMU, a packet every 20 ms on an absolute clock, as a browser's microphone does."""
        tone, loop = Tone(hz), asyncio.get_running_loop()
        began = loop.time()
        for number in range(round(seconds * 50)):
            frame = tone.next()
            assert frame is not None
            self.send(rtp.HEADER.pack(0x80, 0, number, number * 160, 99) + encode(frame, "PCMU"))
            await asyncio.sleep(max(0.0, began + 0.02 * (number + 1) - loop.time()))

    def send_rtcp(self, packet: bytes) -> None:
        """Send an RTCP packet, encrypted."""
        assert self._out is not None
        self.send_raw(self._out.protect_rtcp(packet))

    def goodbye(self) -> None:
        """Close the DTLS association, as `RTCPeerConnection.close` does."""
        self._tls.shutdown()
        self._flush()

    def close(self) -> None:
        """Close the socket without a word, as a killed process does."""
        if self._socket is not None:
            self._socket.close()

    # From the network

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._socket = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, _: tuple[str, int]) -> None:
        """Take what the sandbox sent."""
        if data[0] < 4:
            self.answers.append(stun.parse_message(data))
        elif data[0] < 128:
            self._tls.bio_write(data)
            self._handshake() if not self.secured.is_set() else self._alert()
        elif rtp.is_rtcp(data) and self._in is not None:
            self.feedback += rtp.read_rtcp(self._in.unprotect_rtcp(data))
        elif self._in is not None and not self.deaf:
            self.received.append(self._in.unprotect(data))

    def _alert(self) -> None:
        try:
            self._tls.recv(1500)
        except SSL.ZeroReturnError:
            self.closed.set()
        except SSL.Error:
            pass

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except SSL.Error:
            self.closed.set()
            return
        self._flush()
        keys = self._tls.export_keying_material(b"EXTRACTOR-dtls_srtp", 60)
        client, server = keys[:16] + keys[32:46], keys[16:32] + keys[46:]
        profile = pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80
        policies = (
            pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=profile)
            for key, kind in ((server, pylibsrtp.Policy.SSRC_ANY_INBOUND), (client, pylibsrtp.Policy.SSRC_ANY_OUTBOUND))
        )
        self._in, self._out = (pylibsrtp.Session(policy) for policy in policies)
        self.secured.set()

    def _flush(self) -> None:
        try:
            while True:
                self.send_raw(self._tls.bio_read(1500))
        except SSL.Error:
            pass


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    from datetime import UTC, datetime, timedelta

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "browser")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
