"""DTLS-SRTP (RFC 5764): the handshake that makes the keys, and the SRTP sessions (RFC 3711) that use them.

The sandbox is always the DTLS server: browsers offer "actpass" and take the active side when the answer is passive.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import pylibsrtp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

MTU = 1200
"""Bytes of the largest DTLS packet: what browsers use for all of WebRTC."""
LARGEST_RECORD = 16_384
_RECORD_HEADER = 13  # RFC 6347 section 4.1; the length is in its last two bytes
_CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
_PROFILE, _LIBRARY_PROFILE = b"SRTP_AES128_CM_SHA1_80", pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80
_KEY_BYTES, _SALT_BYTES = 16, 14  # RFC 5764 section 4.1.2: the profile every browser must have
_REPLAY_WINDOW = 1024  # packets; the default of 128 drops video packets that were resent late
_DIGESTS = {"sha-256": hashes.SHA256(), "sha-384": hashes.SHA384(), "sha-512": hashes.SHA512()}

DtlsState = Literal["connecting", "connected", "failed", "closed"]


class Certificate:
    """The sandbox's self-signed certificate, as each browser profile has its own; it lives with the process.

    Attributes:
        fingerprint: as the SDP attribute writes it (RFC 8122): SHA-256 in upper-case hex with colons.
    """

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sipkit sandbox")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = _fingerprint(certificate, hashes.SHA256())
        self._context = SSL.Context(SSL.DTLS_METHOD)
        # The browser's certificate is self-signed too: its fingerprint in the offer is what is verified.
        self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self._context.use_certificate(certificate)
        self._context.use_privatekey(key)
        self._context.set_cipher_list(_CIPHERS)
        self._context.set_tlsext_use_srtp(_PROFILE)

    def __repr__(self) -> str:
        return "<Certificate>"

    def server(self) -> SSL.Connection:
        """Make the server's end of one handshake."""
        connection = SSL.Connection(self._context)
        connection.set_accept_state()
        connection.set_ciphertext_mtu(MTU)
        return connection


class DtlsSrtp:
    """One association with a browser.

    Args:
        certificate: ours.
        fingerprint: the browser's, ``(algorithm, hex with colons)`` of its offer.
        send: sends a packet to the browser.
        changed: told each new state.
    """

    def __init__(
        self,
        certificate: Certificate,
        fingerprint: tuple[str, str],
        send: Callable[[bytes], None],
        changed: Callable[[DtlsState], None],
    ) -> None:
        self.state: DtlsState = "connecting"
        self._fingerprint = fingerprint
        self._send = send
        self._changed = changed
        self._connection = certificate.server()
        self._timer: asyncio.TimerHandle | None = None
        self._in: pylibsrtp.Session | None = None
        self._out: pylibsrtp.Session | None = None

    def __repr__(self) -> str:
        return f"<DtlsSrtp {self.state}>"

    def receive(self, data: bytes) -> None:
        """Take a DTLS packet: a step of the handshake, or the browser's goodbye."""
        if self.state in ("failed", "closed"):
            return
        try:
            self._connection.bio_write(data)
            if self.state == "connecting":
                self._step()
            else:
                self._connection.recv(LARGEST_RECORD)  # no data channels here: only alerts are of interest
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._enter("closed")
        except SSL.Error:
            # One bad packet ends a handshake, which any stranger with the ICE password may try again anew; later it
            # is dropped (RFC 6347 section 4.1.2.7).
            if self.state == "connecting":
                self._enter("failed")
        self._flush()

    def unprotect(self, data: bytes) -> bytes | None:
        """Decrypt an RTP packet; None when it is forged, replayed, or before the handshake."""
        return _crypt(self._in.unprotect, data) if self._in is not None else None

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        """Decrypt an RTCP packet; None when it is forged, replayed, or before the handshake."""
        return _crypt(self._in.unprotect_rtcp, data) if self._in is not None else None

    def protect(self, data: bytes) -> bytes | None:
        """Encrypt an RTP packet; None before the handshake."""
        return _crypt(self._out.protect, data) if self._out is not None else None

    def protect_rtcp(self, data: bytes) -> bytes | None:
        """Encrypt an RTCP packet; None before the handshake."""
        return _crypt(self._out.protect_rtcp, data) if self._out is not None else None

    def close(self) -> None:
        """Say goodbye (close_notify) and forget the keys."""
        if self.state == "connected":
            with contextlib.suppress(SSL.Error):
                self._connection.shutdown()
            self._flush()
        self.state = "closed"
        self._in = self._out = None
        if self._timer is not None:
            self._timer.cancel()

    def _step(self) -> None:
        self._connection.do_handshake()
        if not self._peer_is_known() or self._connection.get_selected_srtp_profile() != _PROFILE:
            self._enter("failed")
            return
        each = _KEY_BYTES + _SALT_BYTES
        keys = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * each)
        # RFC 5764 section 4.2: client key, server key, client salt, server salt.
        client = keys[:_KEY_BYTES] + keys[2 * _KEY_BYTES : 2 * _KEY_BYTES + _SALT_BYTES]
        server = keys[_KEY_BYTES : 2 * _KEY_BYTES] + keys[2 * _KEY_BYTES + _SALT_BYTES :]
        self._in = _session(client, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._out = _session(server, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._enter("connected")

    def _peer_is_known(self) -> bool:
        """Is the other end the one that made the offer? (RFC 8122 section 6.2)."""
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        algorithm, wanted = self._fingerprint
        digest = _DIGESTS.get(algorithm.lower())
        if certificate is None or digest is None:
            return False
        return secrets.compare_digest(_fingerprint(certificate, digest), wanted.upper())

    def _flush(self) -> None:
        """Send what OpenSSL wrote, whole records to a packet; be there when it wants to repeat itself."""
        written = bytearray()
        with contextlib.suppress(SSL.Error):
            while True:
                written += self._connection.bio_read(LARGEST_RECORD)
        packet = bytearray()
        while written:
            length = _RECORD_HEADER + int.from_bytes(written[_RECORD_HEADER - 2 : _RECORD_HEADER])
            if packet and len(packet) + length > MTU:
                self._send(bytes(packet))
                packet.clear()
            packet += written[:length]
            del written[:length]
        if packet:
            self._send(bytes(packet))
        if self._timer is not None:
            self._timer.cancel()
        wait = self._connection.DTLSv1_get_timeout() if self.state == "connecting" else None
        if wait is not None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._repeat)

    def _repeat(self) -> None:
        """The browser's answer is late: send the last flight again (RFC 6347 section 4.2.4)."""
        self._connection.DTLSv1_handle_timeout()
        self._flush()

    def _enter(self, state: DtlsState) -> None:
        self.state = state
        self._changed(state)


def _crypt(operation: Callable[[bytes], bytes], data: bytes) -> bytes | None:
    try:
        return operation(data)
    except (pylibsrtp.Error, ValueError):  # ValueError: larger than any packet the library takes
        return None


def _session(key: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=_LIBRARY_PROFILE)
    policy.allow_repeat_tx = True  # a packet asked for again by NACK is sent as it was
    policy.window_size = _REPLAY_WINDOW
    return pylibsrtp.Session(policy)


def _fingerprint(certificate: x509.Certificate, digest: hashes.HashAlgorithm) -> str:
    return certificate.fingerprint(digest).hex(":").upper()
