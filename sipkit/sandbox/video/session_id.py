"""Session ids: OpenTok's form, made and read."""

import base64
import re
import secrets
import time


def new_session_id(project: str) -> str:
    """An id of OpenTok's form: `1_` or `2_` + URL-safe base64 of `1~project~~milliseconds~random~~`.

    SDKs decode it and look for their key, or application id, between the tildes. More tildes fill it up to a multiple
    of three bytes, so the base64 needs no padding.
    """
    milliseconds = time.time_ns() // 1_000_000
    text = f"1~{project}~~{milliseconds}~{secrets.token_urlsafe(18).replace('-', 'a').replace('_', 'b')}~"
    text += "~" * (-len(text) % 3)
    return "1_" + base64.urlsafe_b64encode(text.encode()).decode()


def project_of(session_id: str) -> str | None:
    """The project key or application id inside a session id; None when it is not one."""
    if not re.fullmatch(r"[12]_[A-Za-z0-9_-]+", session_id):
        return None
    packed = session_id[2:]
    try:
        parts = base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True).decode().split("~")
    except ValueError:
        return None
    return parts[1] if parts[0] == "1" and parts[1:] else None
