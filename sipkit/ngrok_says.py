"""What ngrok, its agent and pyngrok say, in our own words and with what to do about it.

The authtoken reaches no error and no log: ngrok itself prints a refused one in full.
"""

import contextlib
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sipkit.errors import (
    AgentMissing,
    AuthtokenMissing,
    NetworkUnreachable,
    TunnelError,
    TunnelRefused,
    TunnelTimeout,
)

if TYPE_CHECKING:
    from pyngrok.conf import PyngrokConfig

_NO_NETWORK = re.compile(
    r"no such host|failed to dial|dial tcp|i/o timeout|network is unreachable|connection refused",
    re.IGNORECASE,
)
_REASON_SHOWN = 240  # characters
_NO_TOKEN = "ERR_NGROK_4018"  # noqa: S105 - an error code (ngrok.com/docs/errors/err_ngrok_4018)
_FIXES = {
    # https://ngrok.com/docs/errors/
    "ERR_NGROK_105": "Copy the authtoken again (dashboard.ngrok.com, 'Your Authtoken'), set NGROK_AUTHTOKEN.",
    "ERR_NGROK_107": "The authtoken was revoked, or is nobody's: copy it again and set NGROK_AUTHTOKEN.",
    "ERR_NGROK_108": "Stop the account's other agents (dashboard.ngrok.com, 'Agents'), then try again.",
    "ERR_NGROK_121": "The ngrok program is too old: run `ngrok update`, or delete it to download it anew.",
    "ERR_NGROK_324": "Close other endpoints of this account, then try again.",
    "ERR_NGROK_334": "Stop the agent that serves this address (dashboard.ngrok.com, 'Endpoints').",
}


def authtokens(config: "PyngrokConfig") -> list[str]:
    """The authtokens the agent would use: the one given, and those of its own ngrok.yml."""
    from pyngrok import conf, installer

    tokens = [config.auth_token]
    path = conf.get_config_path(config)
    if Path(path).is_file():
        with contextlib.suppress(Exception):  # not our file: what is wrong with it, the agent says best
            file = installer.get_ngrok_config(path, use_cache=False)
            tokens += [file.get("authtoken"), (file.get("agent") or {}).get("authtoken")]
    return [str(token) for token in tokens if token]


def why_silent(said: list[str], deadline: float) -> TunnelError:
    """Say why there is no tunnel at the deadline, from what the agent logged as errors until then."""
    if _NO_NETWORK.search(" ".join(said)):
        return NetworkUnreachable(f"The ngrok agent did not reach ngrok within {deadline:.0f} s.")
    return TunnelTimeout(f"The ngrok agent was not ready within {deadline:.0f} s.")


def why(error: Exception, said: list[str], tokens: list[str]) -> TunnelError:
    """Say in our own words what pyngrok, the agent or the system said."""
    from pyngrok.exception import PyngrokNgrokInstallError

    if isinstance(error, PyngrokNgrokInstallError):
        return AgentMissing("There is no ngrok program on this machine, and it could not be downloaded.")
    if isinstance(error, OSError):
        return AgentMissing(f"The ngrok program could not be run ({type(error).__name__}).")
    # An HTTP error has its code in the body only; a failed start, in the agent's log.
    parts = [getattr(error, "body", None), getattr(error, "ngrok_error", None), *said]
    told = " ".join(dict.fromkeys(str(part) for part in parts if part))
    if code := re.search(r"ERR_NGROK_\d+", told):
        if code[0] == _NO_TOKEN:
            return AuthtokenMissing(f"ngrok asks for an authtoken ({code[0]}).")
        fix = _FIXES.get(code[0], f"Read https://ngrok.com/docs/errors/{code[0].lower()}")
        return TunnelRefused(f"ngrok refused the tunnel ({code[0]}): {_reason(told, tokens)}", fix)
    if _NO_NETWORK.search(told):
        return NetworkUnreachable("The ngrok agent does not reach ngrok.")
    return TunnelError(
        "The ngrok agent ended, or answered with an error, before the tunnel was up.",
        "Run `ngrok diagnose`, or `ngrok http 80` by hand, and read what it says.",
    )


def _reason(told: str, tokens: list[str]) -> str:
    match = re.search(r'"err":\s*"((?:[^"\\]|\\.)*)"', told)
    text = str(json.loads(f'"{match[1]}"')) if match else told
    words = text.replace("\\n", " ").split()  # the agent's log writes line breaks as two characters
    return _without(tokens, " ".join(words))[:_REASON_SHOWN]


def _without(tokens: Iterable[str], text: str) -> str:
    for token in tokens:
        text = text.replace(token, "•••")
    # ngrok quotes a refused token: ERR_NGROK_105 and 107 say "Your authtoken: ...".
    return re.sub(r"(?i)(your authtoken:\s*)\w+", r"\1•••", text)


class _Redaction(logging.Filter):
    """Takes authtokens out of log records."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _without(self.tokens, record.getMessage()), ()
        return True


_redaction = _Redaction()


def hide_in_logs(tokens: Iterable[str]) -> None:
    """Keep the tokens out of what pyngrok logs, which a notebook shows from WARNING on."""
    _redaction.tokens.update(tokens)
    for name in ("pyngrok.process.ngrok", "pyngrok.process", "pyngrok.ngrok"):
        logging.getLogger(name).addFilter(_redaction)
