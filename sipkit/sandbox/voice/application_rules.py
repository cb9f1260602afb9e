"""The rules of an application's configuration (Application OpenAPI 2.4.1), and what breaks them.

One kindness is needed and taken: webhook addresses may be plain http on this machine, where Vonage wants a public
https address.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_public_key

DEFAULT_METHODS = {"answer_url": "GET", "event_url": "POST", "fallback_answer_url": "GET"}
CONNECT_TIMEOUT_MS = (300, 1000)
SOCKET_TIMEOUT_MS = {  # lowest, highest; the highest is the default
    "answer_url": (1000, 5000),
    "event_url": (1000, 10_000),
    "fallback_answer_url": (1000, 5000),
}
# Both names are about: Vonage's SDKs say the first, its reference showed the second.
CONNECT_TIMEOUT_NAMES = ("connect_timeout", "connection_timeout")
CAPABILITIES = frozenset({"voice", "rtc", "messages", "vbc", "verify", "video", "network_apis"})
REGIONS = frozenset({"na-east", "na-west", "eu-east", "eu-west", "apac-sng", "apac-australia"})
_VOICE_FIGURES = {"conversations_ttl": (1, 9000, "hours"), "leg_persistence_time": (1, 31, "days")}


class InvalidApplication(ValueError):
    """The application's new configuration breaks the rules.

    Attributes:
        problems: [{"name": path of the field, "reason": what is wrong}].
    """

    def __init__(self, problems: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{each['name']} {each['reason']}" for each in problems))
        self.problems = problems


def check(body: dict[str, Any]) -> None:
    """Hold a body of POST or PUT against the rules.

    Raises:
        InvalidApplication: a field is missing or wrong; every problem is told.
    """
    found = _Problems()
    name = body.get("name")
    found.check(isinstance(name, str) and bool(name.strip()), "name", "must be a text.")
    key = found.inner(body, "keys").get("public_key")
    found.check(key is None or _is_public_key(key), "keys.public_key", "must be a public key in PEM.")
    improve = found.inner(body, "privacy").get("improve_ai", False)
    found.check(isinstance(improve, bool), "privacy.improve_ai", "must be true or false.")
    capabilities = found.inner(body, "capabilities")
    for each in capabilities:
        path = f"capabilities.{each}"
        found.check(each in CAPABILITIES, path, "is not a capability.")
        capability = found.inner(capabilities, path)
        if each == "voice":
            _check_voice(found, capability, path)
    if found:
        raise InvalidApplication(found)


class _Problems(list[dict[str, str]]):
    """What is wrong with a body, collected field by field."""

    def check(self, good: bool, name: str, reason: str) -> None:
        if not good:
            self.append({"name": name, "reason": reason})

    def inner(self, parent: dict[str, Any], path: str) -> dict[str, Any]:
        """The object in `parent` named by the end of `path`; empty when it is missing, or wrong and told."""
        value = parent.get(path.rpartition(".")[2], {})
        self.check(isinstance(value, dict), path, "must be an object.")
        return value if isinstance(value, dict) else {}


def _check_voice(found: _Problems, voice: dict[str, Any], path: str) -> None:
    signed = voice.get("signed_callbacks", True)
    found.check(isinstance(signed, bool), f"{path}.signed_callbacks", "must be true or false.")
    for field, (lowest, highest, unit) in _VOICE_FIGURES.items():
        good = type(voice.get(field, highest)) is int and lowest <= voice.get(field, highest) <= highest
        found.check(good, f"{path}.{field}", f"must be from {lowest} to {highest} {unit}.")
    region = voice.get("region")
    found.check(
        region is None or (isinstance(region, str) and region in REGIONS),
        f"{path}.region",
        f"must be one of {', '.join(sorted(REGIONS))}.",
    )
    webhooks = found.inner(voice, f"{path}.webhooks")
    for name, webhook in webhooks.items():
        here = f"{path}.webhooks.{name}"
        if name not in DEFAULT_METHODS:
            found.check(good=False, name=here, reason="is not a webhook of voice.")
        elif not isinstance(webhook, dict):
            found.check(good=False, name=here, reason="must be an object.")
        else:
            _check_webhook(found, name, webhook, here)


def _check_webhook(found: _Problems, name: str, webhook: dict[str, Any], path: str) -> None:
    found.check(_is_url(webhook.get("address")), f"{path}.address", "must be an http or https URL.")
    method = webhook.get("http_method", DEFAULT_METHODS[name])
    found.check(method in ("GET", "POST"), f"{path}.http_method", "must be GET or POST.")
    limits = {
        "socket_timeout": SOCKET_TIMEOUT_MS[name],
        **dict.fromkeys(CONNECT_TIMEOUT_NAMES, CONNECT_TIMEOUT_MS),
    }
    for field, (lowest, highest) in limits.items():
        value = webhook.get(field, highest)
        good = type(value) is int and lowest <= value <= highest
        found.check(good, f"{path}.{field}", f"must be from {lowest} to {highest} ms.")


def _is_url(value: Any) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):  # printable ASCII (RFC 3986)
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a half IPv6 address
        return False


def _is_public_key(value: Any) -> bool:
    try:
        load_pem_public_key(value.encode())
    except (AttributeError, ValueError):
        return False
    return True
