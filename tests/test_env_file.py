"""The file that `.env` becomes: its owner's alone from the first byte on, whole or not there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipkit.env_file import write_env
from sipkit.errors import SettingsError

posix = pytest.mark.skipif(os.name != "posix", reason="Windows keeps no modes")


@pytest.fixture
def no_umask() -> Iterator[None]:
    """A process that would give everybody everything."""
    before = os.umask(0)
    yield
    os.umask(before)


@posix
@pytest.mark.usefixtures("no_umask")
def test_no_byte_of_it_was_ever_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draft has mode 0600 when it is made, though `.env` had 0666 and a file of a guessed name lies about."""
    path = tmp_path / ".env"
    left_behind = tmp_path / f".env.{os.getpid()}.new"
    for each in (path, left_behind):
        each.write_text("PIN_LENGTH=6\n")
    modes: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_env(path, {"SIGNATURE_SECRET": "hush"})
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "PIN_LENGTH=6\nSIGNATURE_SECRET=hush\n"
    assert left_behind.read_text() == "PIN_LENGTH=6\n"


def test_a_write_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the old file, and no draft with a secret in it."""
    path = tmp_path / ".env"
    path.write_text("PIN_LENGTH=6\n")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="cannot be read or written"):
        write_env(path, {"SIGNATURE_SECRET": "hush"})
    assert path.read_text() == "PIN_LENGTH=6\n"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Where `.env` leads to a file elsewhere, that one is written."""
    elsewhere = tmp_path / "secrets"
    elsewhere.write_text("PIN_LENGTH=6\n")
    path = tmp_path / ".env"
    path.symlink_to(elsewhere)
    write_env(path, {"PIN_LENGTH": "5"})
    assert path.is_symlink()
    assert elsewhere.read_text() == "PIN_LENGTH=5\n"
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o600
