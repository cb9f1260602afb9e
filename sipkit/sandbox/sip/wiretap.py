"""Write every SIP message of a user agent into the trace."""

import re

from sipmessage import Response

from sipkit.sandbox.masking import masked_addresses
from sipkit.sandbox.sip.agent import OnMessage, first_line
from sipkit.sandbox.sip.transport import Flow, SipMessage
from sipkit.sandbox.trace import Trace

# What a digest answer proves can be guessed offline from its hash.
_DIGEST_ANSWER = re.compile(r'(response=")[0-9a-f]+(")')


def wiretap(trace: Trace, ua: str) -> OnMessage:
    """Make the hook that traces the messages of the user agent named ``ua``.

    A call inside the sandbox shows twice, once at each end: read the messages of one ``ua`` for a ladder.
    """

    def tap(direction: str, message: SipMessage, flow: Flow) -> None:
        trace.emit(
            "sip",
            ua=ua,
            dir=direction,
            transport=flow.transport,
            peer=f"{flow.remote[0]}:{flow.remote[1]}",
            first_line=masked_addresses(first_line(message)),
            call_id=message.call_id,
            cseq=str(message.cseq),
            status=message.code if isinstance(message, Response) else None,
            message=masked_addresses(_DIGEST_ANSWER.sub(r"\1...\2", bytes(message).decode(errors="replace"))),
        )

    return tap
