"""How SIP messages are carried: datagrams, and streams framed by Content-Length (RFC 3261 section 18)."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipkit.sandbox.sip import transport
from sipkit.sandbox.sip.transport import StreamFlow
from tests.standins.answering_app import AnsweringApp
from tests.standins.lab import Lab, wait_for
from tests.standins.raw_phone import RawPhone

STAY = [{"action": "conversation", "name": "transport"}]


@pytest.fixture
def stream(lab: Lab, app: AnsweringApp) -> Iterator[RawPhone]:
    """A TCP phone that sends its writes at once."""
    app.on("/answer", STAY)
    with RawPhone(lab.info, "tcp") as phone:
        phone.wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield phone


def _closed(phone: RawPhone) -> bool:
    """Tell whether the far end closed the connection; reads what is left on it."""
    phone.wire.socket.settimeout(5)
    try:
        while phone.wire.socket.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_two_messages_in_one_segment(stream: RawPhone) -> None:
    """Messages that arrive glued together are both answered, in order."""
    first, second = stream.request("OPTIONS"), stream.request("OPTIONS")
    stream.wire.send((first + second).encode())
    assert [stream.final("OPTIONS")["cseq"] for _ in range(2)] == ["1 OPTIONS", "2 OPTIONS"]


def test_one_message_in_many_segments(stream: RawPhone, lab: Lab) -> None:
    """A call whose every message arrives in pieces of seven bytes is a call."""
    for text in (stream.invite(),):
        for start in range(0, len(text), 7):
            stream.wire.send(text[start : start + 7].encode())
    challenge = stream.final()
    assert challenge.status == 401
    stream.ack_failure(challenge)
    stream.authorization = stream.digest(challenge)
    text = stream.invite()
    for start in range(0, len(text), 7):
        stream.wire.send(text[start : start + 7].encode())
    stream.take(stream.final())
    stream.ack()
    lab.wait_joined(1)
    stream.hang_up()


def test_body_glued_to_the_next_message(stream: RawPhone, lab: Lab) -> None:
    """ACK and BYE in the segment of a re-INVITE with a body: the body ends where Content-Length says."""
    stream.call()
    lab.wait_joined(1)
    invite = stream.request("INVITE", body=stream.offer())
    stream.wire.send((invite + stream.request("OPTIONS") + stream.request("BYE")).encode())
    answers = {(m.method, m.status) for m in (stream.final("INVITE"), stream.final("OPTIONS"), stream.final("BYE"))}
    assert answers == {("INVITE", 200), ("OPTIONS", 200), ("BYE", 200)}
    stream.over = True
    lab.wait_legs(0)


def test_good_message_before_garbage_is_answered(stream: RawPhone) -> None:
    """A whole message counts even when what follows it in the segment breaks the framing."""
    stream.wire.send((stream.request("OPTIONS") + "NONSENSE\r\n\r\n").encode())
    assert stream.final("OPTIONS").status == 200
    assert _closed(stream)


def test_keep_alive_is_answered(stream: RawPhone) -> None:
    """Two line ends are a ping, one comes back (RFC 5626 section 4.4.1); messages after it are understood."""
    stream.wire.send(b"\r\n\r\n")
    stream.wire.socket.settimeout(5)
    assert stream.wire.socket.recv(10) == b"\r\n"
    stream.wire.send(b"\r\n" + stream.request("OPTIONS").encode())
    assert stream.final("OPTIONS").status == 200


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="HTTP"),
        pytest.param(b"OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKa\r\n\r\n", id="no length"),
        pytest.param(b"OPTIONS sip:x@y SIP/2.0\r\nContent-Length: -5\r\n\r\n", id="negative length"),
        pytest.param(b"OPTIONS sip:x@y SIP/2.0\r\nContent-Length: 99999999\r\n\r\n", id="huge body"),
        pytest.param(b"OPTIONS sip:x@y SIP/2.0\r\nX: " + b"x" * 20000, id="endless header"),
    ],
)
def test_stream_without_framing_is_closed(stream: RawPhone, data: bytes) -> None:
    """Nothing more can be believed on a connection that lost its framing: it is closed."""
    stream.wire.send(data)
    assert _closed(stream)


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_platform_hangs_up_over_the_connection(lab: Lab, app: AnsweringApp, kind: str) -> None:
    """The platform's BYE comes over the connection the call was made on, named as such in Via and Contact."""
    app.on("/answer", [{"action": "input", "type": ["dtmf"], "dtmf": {"timeOut": 0.3}}])
    with RawPhone(lab.info, kind) as phone:
        answer = phone.call()
        assert f";transport={kind}" in answer.contact
        bye = phone.hung_up()
        assert bye["via"].startswith(f"SIP/2.0/{kind.upper()} ")
    lab.wait_legs(0)


def test_connection_lost_before_the_answer(lab: Lab, app: AnsweringApp) -> None:
    """A caller whose connection breaks after the INVITE disturbs nobody; its leg goes at the end of its document."""
    app.on("/answer", [{"action": "input", "type": ["dtmf"], "dtmf": {"timeOut": 0.3}}])
    phone = RawPhone(lab.info, "tcp")
    phone.dial()
    lab.wait_legs(1)
    phone.wire.close()
    phone.rtp.close()
    lab.wait_legs(0, timeout=5)


def test_certificate_is_the_sandboxs(lab: Lab) -> None:
    """TLS shows a certificate of the sandbox's own CA for every name it is reached by, at version 1.2 or later."""
    context = ssl.create_default_context(cafile=lab.info.ca_file)
    for name in ("sip.nexmo.com", "localhost", "127.0.0.1"):
        host, _, port = lab.info.sip_tls.partition(":")
        with (
            socket.create_connection((host, int(port)), 5) as raw,
            context.wrap_socket(raw, server_hostname=name) as tls,
        ):
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
    with (
        socket.create_connection((host, int(port)), 5) as raw,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(raw, server_hostname="sip.example.com")


def test_plain_text_on_the_tls_port(lab: Lab) -> None:
    """Somebody who speaks TCP to the TLS port is cut off, and TLS callers go on."""
    host, _, port = lab.info.sip_tls.partition(":")
    with socket.create_connection((host, int(port)), 5) as raw:
        raw.sendall(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
        raw.settimeout(5)
        with suppress(ConnectionResetError):
            while raw.recv(1000):
                """An alert may come before the end."""
    with RawPhone(lab.info, "tls") as phone:
        phone.send(phone.request("OPTIONS"))
        assert phone.final("OPTIONS").status == 200


def test_datagram_longer_than_its_length(lab: Lab) -> None:
    """Content-Length trims a datagram; one that promises more than came is dropped (section 18.3)."""
    with RawPhone(lab.info) as phone:
        phone.wire.send(phone.request("OPTIONS").encode() + b"trailing")
        assert phone.final("OPTIONS").status == 200
        phone.send(phone.request("OPTIONS").replace("Content-Length: 0", "Content-Length: 10"))
        assert phone.silent(0.3) == []


def test_too_many_connections_are_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch, own_lab: Lab) -> None:
    """Beyond its limit the server cuts new connections and keeps the old ones."""
    monkeypatch.setattr(transport, "MAX_CONNECTIONS", 2)
    phones = [RawPhone(own_lab.info, "tcp") for _ in range(2)]
    for phone in phones:
        phone.send(phone.request("OPTIONS"))
        assert phone.final("OPTIONS").status == 200
    with RawPhone(own_lab.info, "tcp") as third:
        assert _closed(third)
    for phone in phones:
        phone.send(phone.request("OPTIONS"))
        assert phone.final("OPTIONS").status == 200
        phone.wire.close()
        phone.rtp.close()

    def fits() -> bool:
        with RawPhone(own_lab.info, "tcp") as fourth:
            fourth.send(fourth.request("OPTIONS"))
            try:
                message = fourth.wire.receive(1)
            except ConnectionResetError:
                return False
            return message is not None

    wait_for(fits, what="room for a new connection")


MESSAGE = (
    "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h:1;branch=z9hG4bK{n}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"
    "Call-ID: {n}\r\nCSeq: {n} OPTIONS\r\nContent-Length: {length}\r\n\r\n{body}"
)


@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(st.text("ab\r\n: ", max_size=30), max_size=6), cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_framing_does_not_depend_on_segments(bodies: list[str], cuts: list[int]) -> None:
    """However a stream is cut, the same messages with the same bodies come out."""
    received: list[tuple[int, bytes]] = []
    flow = StreamFlow(
        "tcp",
        lambda message, _: received.append((message.cseq.sequence, message.body)),
        lambda _: True,
        lambda _: None,
    )
    texts = (MESSAGE.format(n=n, length=len(body), body=body) for n, body in enumerate(bodies, 1))
    data = "".join(texts).encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(edges):
        flow.data_received(data[start:end])
    assert received == [(n, body.encode()) for n, body in enumerate(bodies, 1)]
