"""Ways to show a document, a list of facts or a ladder in a notebook, with nothing secret and nothing that varies."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

HIDDEN: Final = "•••"
_SECRET: Final = re.compile(r"password|secret|username|token|(?:^|_)pin$", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\+?\d{7,15}(?=@|$)|(?<=sip:)\+?\d{7,15}")
_HOST: Final = re.compile(r"(https?://)[^/]+")


class Document:
    """A JSON document, shown the way people write it.

    Args:
        content: Anything JSON can say.
    """

    def __init__(self, content: Any) -> None:
        self.content = content

    def __repr__(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False)


class Lines:
    """Text for the eye, one thing a line."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)

    def __repr__(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class Step:
    """One message of a ladder: from the left side to the right one, or back."""

    to_the_right: bool
    text: str


class Ladder:
    """The messages between two sides, time running down; JupyterLab draws it, everybody else reads it.

    Args:
        left: Who stands on the left.
        right: Who stands on the right.
        steps: The messages in their order.
    """

    def __init__(self, left: str, right: str, steps: Sequence[Step]) -> None:
        self._left, self._right, self._steps = left, right, list(steps)

    def __repr__(self) -> str:
        width = max([len(step.text) for step in self._steps], default=0) + 6
        arrows = [
            f"-- {step.text} ".ljust(width, "-") + ">"
            if step.to_the_right
            else "<" + f" {step.text} --".rjust(width, "-")
            for step in self._steps
        ]
        indent = " " * len(self._left)
        head = f"{self._left} {' ' * (width + 1)} {self._right}"
        return "\n".join([head, *(f"{indent} {arrow}" for arrow in arrows)])

    def _repr_markdown_(self) -> str:
        told = "; ".join(f"{self._side(step)}: {step.text}" for step in self._steps)
        lines = [
            "sequenceDiagram",
            f"accTitle: SIP between {self._left} and {self._right}",
            f"accDescr: {told.replace(';', ',')}",
            f"participant a as {self._left}",
            f"participant b as {self._right}",
            *(f"{'a->>b' if step.to_the_right else 'b->>a'}: {step.text}" for step in self._steps),
        ]
        return "```mermaid\n" + "\n  ".join(lines) + "\n```"

    def _side(self, step: Step) -> str:
        return self._left if step.to_the_right else self._right


def hidden(content: Any, name: str = "") -> Any:
    """Copy a document with every secret, telephone number and host in it hidden."""
    if isinstance(content, dict):
        return {key: hidden(value, str(key)) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [hidden(value, name) for value in content]
    if isinstance(content, str):
        return HIDDEN if _SECRET.search(name) else _HOST.sub(rf"\1{HIDDEN}", _NUMBER.sub(HIDDEN, content))
    return content


def read_token(token: str) -> dict[str, Any]:
    """Read what a token claims, without asking whether it is true: a token is signed, not encrypted (RFC 7519)."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims
