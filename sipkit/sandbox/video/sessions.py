"""Sessions of the video side, the connections in them, and where a dialled connection leads.

Sessions survive a restart of the sandbox, as they survive at Vonage; connections do not: their calls died
with the process.
"""

import base64
import json
import os
import re
import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from sipkit.sandbox.home import MAX_PORT, Home
from sipkit.sandbox.trace import Trace

ConnectionKind = Literal["sip", "synthetic"]
Reason = Literal["clientDisconnected", "forceDisconnected", "networkDisconnected"]


def now_ms() -> int:
    """The time as OpenTok writes it: milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass
class Connection:
    """One client in a session.

    Attributes:
        kind: "sip" (dialled) or "synthetic" (a participant made over the control API).
        data: the connection data of the token.
        created_at: milliseconds since the epoch.
        state: "connecting" until the far end answered.
    """

    id: str
    stream_id: str
    session_id: str
    kind: ConnectionKind
    data: str
    created_at: int
    state: Literal["connecting", "connected"] = "connecting"


@dataclass
class Session:
    """A video session.

    Attributes:
        routed: through the Media Router; only routed sessions can dial.
        created_at: milliseconds since the epoch.
        connections: those alive now, by id.
    """

    session_id: str
    routed: bool
    created_at: int
    connections: dict[str, Connection] = field(default_factory=dict)


@dataclass(frozen=True)
class SipTarget:
    """Whom `/dial` calls, and how.

    Attributes:
        from_: the caller shown, `user@host`; None = the gateway's default.
        headers: custom `X-` headers of the INVITE.
        secure: SRTP asked for.
        user, host, port, transport: read from `uri`; transport is "udp", "tcp" or "tls".
    """

    uri: str
    from_: str | None
    headers: dict[str, str]
    username: str | None
    password: str | None = field(repr=False)
    secure: bool
    user: str = field(init=False)
    host: str = field(init=False)
    port: int | None = field(init=False)
    transport: str = field(init=False)

    def __post_init__(self) -> None:
        """Read the URI (RFC 3261 section 19.1; IPv6 hosts and embedded headers are not taken).

        Raises:
            ValueError: it is not a SIP URI with a user, or asks for an unknown transport.
        """
        match = _SIP_URI.fullmatch(self.uri)
        if match is None:
            raise ValueError("the SIP URI must look like sip:user@host;transport=tls")
        parameters = dict(part.partition("=")[::2] for part in match["parameters"].lower().split(";")[1:])
        transport = parameters.get("transport", "tls" if match["scheme"].lower() == "sips" else "udp")
        if transport not in {"udp", "tcp", "tls"}:
            raise ValueError("the transport of the SIP URI must be udp, tcp or tls")
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port <= MAX_PORT:
            raise ValueError("the port of the SIP URI is out of range")
        for name, value in (
            ("user", match["user"]),
            ("host", match["host"].lower()),
            ("port", port),
            ("transport", transport),
        ):
            object.__setattr__(self, name, value)  # frozen: computed once, from the URI

    @property
    def inside(self) -> bool:
        """Does the host belong to Vonage's voice side? The sandbox answers for those and calls no other."""
        return _VOICE_HOST.fullmatch(self.host) is not None


_SIP_URI = re.compile(
    r"(?P<scheme>sips?):(?P<user>[A-Za-z0-9\-_.!~*'()&=+$,;?/%]+)@"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>\d{1,5}))?"
    r"(?P<parameters>(?:;[A-Za-z0-9\-_.!~*'()+%]+(?:=[A-Za-z0-9\-_.!~*'()+%:/&$\[\]]+)?)*)",
    re.IGNORECASE,
)
_VOICE_HOST = re.compile(r"sip\.nexmo\.com|sip-[a-z0-9-]+\.nexmo\.com|(?:[a-z0-9-]+\.)+vonage\.com")


class Sessions:
    """Every session of one project, and the connections alive in them. For one asyncio loop."""

    def __init__(self, home: Home, project_key: str, trace: Trace) -> None:
        """Load the sessions kept in `home`."""
        self.project_key = project_key
        self._trace = trace
        self._sessions: dict[str, Session] = {}
        self._connections: dict[str, Connection] = {}
        descriptor = os.open(home.sessions_file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "a+b", buffering=0)
        self._load()

    def __enter__(self) -> Self:
        """Use as a context manager to close the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file of sessions."""
        self._file.close()

    def create(self, routed: bool, **properties: Any) -> Session:
        """Make a session and write it down; `properties` (archiveMode, location, e2ee) are kept with it.

        It survives the death of this process at once, and that of the machine after `settle`.
        """
        session = Session(_new_session_id(self.project_key), routed, now_ms())
        line = {
            "sessionId": session.session_id,
            "routed": routed,
            "createdAt": session.created_at,
            "properties": properties,
        }
        self._file.write(json.dumps(line).encode() + b"\n")
        self._sessions[session.session_id] = session
        return session

    def settle(self) -> None:
        """Wait for the disk (tens of ms: call it in a thread, never on the loop that carries audio)."""
        os.fsync(self._file.fileno())

    def get(self, session_id: str) -> Session | None:
        """The session of that id, if it was created here."""
        return self._sessions.get(session_id)

    def connection(self, connection_id: str) -> Connection | None:
        """The living connection of that id."""
        return self._connections.get(connection_id)

    def living(self) -> Iterator[Connection]:
        """Every connection alive now, over all sessions."""
        yield from tuple(self._connections.values())

    def add(self, session: Session, kind: ConnectionKind, data: str) -> Connection:
        """A client comes in, still connecting."""
        ids = str(uuid.uuid4()), str(uuid.uuid4())
        connection = Connection(*ids, session.session_id, kind, data, now_ms())
        session.connections[connection.id] = connection
        self._connections[connection.id] = connection
        self._tell("created", connection)
        return connection

    def connected(self, connection_id: str) -> None:
        """The far end answered; unknown ids (it hung up meanwhile) change nothing."""
        connection = self._connections.get(connection_id)
        if connection is not None and connection.state != "connected":
            connection.state = "connected"
            self._tell("connected", connection)

    def remove(self, connection_id: str, reason: Reason) -> Connection | None:
        """A client leaves. Returns it, or None when it was gone already: the first reason counts."""
        connection = self._connections.pop(connection_id, None)
        if connection is not None:
            del self._sessions[connection.session_id].connections[connection_id]
            self._tell("destroyed", connection, reason=reason)
        return connection

    def _tell(self, event: str, connection: Connection, **more: str) -> None:
        self._trace.emit(
            "connection",
            event=event,
            client=connection.kind,
            connectionId=connection.id,
            streamId=connection.stream_id,
            sessionId=connection.session_id,
            **more,
        )

    def _load(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        if content and not content.endswith(b"\n"):
            # Killed in mid-line: that session was never acknowledged. The next one gets a line of its own.
            self._file.write(b"\n")
        for line in content.splitlines():
            try:
                kept = json.loads(line)
                session = Session(kept["sessionId"], kept["routed"], kept["createdAt"])
            except (ValueError, KeyError, TypeError):
                continue
            self._sessions[session.session_id] = session


def _new_session_id(project_key: str) -> str:
    """An id of OpenTok's form: `1_` or `2_` + URL-safe base64 of `1~project~~milliseconds~random~~`.

    SDKs decode it and look for their key between the tildes. More tildes fill it up to a multiple of three
    bytes, so the base64 needs no padding.
    """
    text = f"1~{project_key}~~{now_ms()}~{secrets.token_urlsafe(18).replace('-', 'a').replace('_', 'b')}~"
    text += "~" * (-len(text) % 3)
    return "1_" + base64.urlsafe_b64encode(text.encode()).decode()


def project_of(session_id: str) -> str | None:
    """The project key inside a session id; None when it is not one."""
    if not re.fullmatch(r"[12]_[A-Za-z0-9_-]+", session_id):
        return None
    packed = session_id[2:]
    try:
        parts = base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True).decode().split("~")
    except ValueError:
        return None
    return parts[1] if parts[0] == "1" and parts[1:] else None
