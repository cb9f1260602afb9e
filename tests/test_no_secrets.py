"""Nothing that a demonstration shows, logs, traces or writes down tells a PIN, a whole number, a token or a password.

What the committed notebooks show is judged by `test_notebook_rules`, whose rules know such things by their looks.
"""

import base64
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

DEMO_SECONDS = 120.0
ROOT = Path(__file__).resolve().parents[1]

KEEPERS = ("sipkit.db", "sipkit.db-wal", "sandbox/credentials.json", "sandbox/sandbox.json", "sandbox/private.key")
"""The files of a data folder that hold secrets, because their owner's programs have to know them: the store, and the
sandbox's part of Vonage. Their owner alone can read them."""


class Shown(NamedTuple):
    """What a whole demonstration left.

    Attributes:
        home: Its data folder.
        texts: All that it showed and wrote: a name and the bytes of each.
        secrets: What none of them may tell: what it is, and itself.
    """

    home: Path
    texts: dict[str, bytes]
    secrets: dict[str, str]


@pytest.fixture
def shown(sandbox_env: Path, sandbox_home: Path, tmp_path: Path) -> Shown:
    """Phones with wrong and right PINs, a lobby, a direct call, pages, errors: by real processes that log all."""
    before = (sandbox_home.parent / f"{sandbox_home.name}.log").stat().st_size
    command = [sys.executable, "-m", "tests.standins.whole_demo", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=DEMO_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    texts = {"stdout": done.stdout, "stderr": done.stderr, "trace": (tmp_path / "trace").read_bytes()}
    texts["sandbox.log"] = (sandbox_home.parent / f"{sandbox_home.name}.log").read_bytes()[before:]
    for path in files_of(sandbox_env):
        name = str(path.relative_to(sandbox_env))
        if name not in KEEPERS:
            texts[name] = path.read_bytes()
    with closing(sqlite3.connect(sandbox_env / "sipkit.db")) as conn:
        texts["timeline"] = json.dumps(conn.execute("SELECT * FROM events").fetchall(), ensure_ascii=False).encode()
    return Shown(sandbox_env, texts, json.loads((tmp_path / "secrets").read_text()))


def files_of(home: Path) -> Iterator[Path]:
    """Every file of a data folder, the sandbox's too."""
    for folder, _, names in os.walk(home, followlinks=True):
        yield from (Path(folder) / name for name in names)


def place_of(secret: str, text: bytes) -> int | None:
    """Where a text tells a secret, in whatever disguise; None if it does not."""
    found = (re.search(form, text) for form in disguises(secret))
    return next((told.start() for told in found if told), None)


def disguises(secret: str) -> set[bytes]:
    """How a secret may appear, as patterns: as it is, in a URL, in base64, or spelt."""
    plain = secret.encode()
    # A text's base64 depends on where among three bytes it begins; what its neighbours have a part in is cut off.
    cut, coded = (0, 2, 3), set()
    for before in range(3):
        after = -(before + len(plain)) % 3
        letters = base64.b64encode(b"x" * before + plain + b"x" * after)
        coded.add(letters[cut[before] : len(letters) - cut[after]])
    spelt = {" ".join(secret).encode(), "-".join(secret).encode()} if secret.isdigit() else set()
    escaped = {re.escape(form) for form in {quote(secret, safe="").encode(), *coded, *spelt}}
    if not secret.isdigit():
        return {re.escape(plain), *escaped}
    # In some dozen runs, any six digits are once among the nonces, ids and fractions of a second of a trace: what is a
    # part of a longer hexadecimal number, or of a fraction, is not the PIN. What follows an escape may be.
    begins = rb"(?:(?<![0-9a-f])(?<![0-9]\.)|(?<=%[0-9A-Fa-f]{2})|(?<=\\u00[0-9a-f]{2}))"
    return {begins + plain + rb"(?![0-9a-f])", *escaped - {plain}}


def test_nothing_tells_a_secret(shown: Shown) -> None:
    """Output, logs, trace, timeline, errors and files are searched for every secret, plain and disguised.

    What does keep secrets, and all else in the data folder, is its owner's alone.
    """
    assert {"server.log", "stdout", "trace", "timeline"} <= shown.texts.keys()
    assert len(shown.secrets) > 15
    for name, sign in (("trace", b"voice-dtmf"), ("timeline", b"typed its own PIN"), ("server.log", b"/voice-")):
        assert sign in shown.texts[name], f"{name} shows nothing of the calls"
    assert "•••0165".encode() in shown.texts["timeline"]
    told = [
        f"{what} in {name}: {text[max(0, place - 80) : place + 20]!r}"
        for what, secret in shown.secrets.items()
        for name, text in shown.texts.items()
        if (place := place_of(secret, text)) is not None
    ]
    assert not told, "\n".join(told)

    files = {str(path.relative_to(shown.home)): stat.S_IMODE(path.stat().st_mode) for path in files_of(shown.home)}
    assert {"sipkit.db", "sandbox/credentials.json", "sandbox/private.key"} <= files.keys()
    if sys.platform != "win32":  # which has no such modes
        assert stat.S_IMODE(shown.home.stat().st_mode) == 0o700
        assert not {name: oct(mode) for name, mode in files.items() if mode != 0o600}


@pytest.mark.parametrize("secret", ["493817", "12025550161", "a/b+c d=e%f"])
def test_the_search_can_find(secret: str) -> None:
    """A PIN, a number and a password are found in whatever disguise they are in a text."""
    texts = [secret, f"?x={quote(secret, safe='')}"]
    texts += [base64.b64encode(f"{before}{secret}&x".encode()).decode() for before in ("", "=", "pin=", "digits")]
    texts += [" ".join(secret)] if secret.isdigit() else []
    texts += [f"dtmf=%7B%22digits%22%3A%22{quote(secret, safe='')}%22%7D", f"PIN%20{quote(secret, safe='')}"]
    texts += [f"\\u0022{secret}", f"%22{quote(secret, safe='')}"]
    texts += [f"{before}{secret}{after}" for before, after in (("pin=", "&"), ('"', '#"'), ("PIN", "."), ("\n", "\n"))]
    for text in texts:
        assert place_of(secret, text.encode()) is not None, text


def test_what_only_looks_like_a_pin_is_none() -> None:
    """Six digits of a nonce, of a number, or of a fraction of a second tell nothing."""
    for text in ("22ca09f4938172af", "14938170", "1764500000.493817", "493817e1"):
        assert place_of("493817", text.encode()) is None, text
