"""The doctor's card and the form that writes `.env`: what they show, what they write, and what they never keep."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sipkit import lessons
from sipkit.doctor.plan import plan
from sipkit.env_file import write_env
from sipkit.errors import SettingsError, SipkitError
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard
from sipkit.widgets import Confirmation, DoctorCard, EnvForm

SECRETS = ("p'a$s\\w # o\"rd", "it=is;hush", "trailing\\")


def test_the_card_shows_what_was_found_and_looks_again(sandbox_env: Path) -> None:
    """Half a set of credentials fails in the card; once it is mended the button shows what is found then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIPKIT_MODE", "live")
        patch.setenv("VIDEO_API_KEY", "40001234")
        card = DoctorCard()
        assert not card.report.healthy
        assert "also needs" in card.children[0].value
        assert repr(card) == "DoctorCard(no mode, not healthy)"
    card.again.click()
    assert card.report.mode == "sandbox"
    assert "The doctor, sandbox" in card.children[0].value
    assert not card.again.disabled


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own."""
    monkeypatch.setenv("SIPKIT_PROJECT_ROOT", str(tmp_path))
    return tmp_path


def test_the_form_writes_env_for_its_owner_only_and_keeps_nothing(project: Path) -> None:
    """What was typed is in `.env` with mode 0600, and in no field, text or state of the form any more."""
    form = EnvForm()
    form.fields["VOICE_API_SECRET"].value = "hush-hush"
    form.fields["VOICE_API_KEY"].value = " abcd1234 "
    form.save.click()
    path = project / ".env"
    assert path.read_text() == "VOICE_API_KEY=abcd1234\nVOICE_API_SECRET=hush-hush\n"
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert form.said == "Written: VOICE_API_KEY, VOICE_API_SECRET. Restart the kernel."
    states = json.dumps([child.get_state() for child in form.children], default=str)
    assert "hush-hush" not in states + repr(form) + form.said
    form.save.click()
    assert form.said == "Nothing was typed."


def test_the_form_says_what_cannot_be_written_without_saying_it(project: Path) -> None:
    """A private key pasted as text is refused with the fix, and shown nowhere."""
    form = EnvForm()
    form.fields["VONAGE_PRIVATE_KEY"].value = "BEGIN\nhush"
    assert form.write() == []
    assert "give the path of its file" in form.said
    assert "hush" not in form.said
    assert not (project / ".env").exists()


def test_other_lines_of_env_stay_and_values_survive(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments and other lines keep their places, odd characters come back, a second line of a name is gone."""
    path = project / ".env"
    path.write_text("# mine\nPIN_LENGTH=6\nSIGNATURE_SECRET=old\nSIGNATURE_SECRET=older\n")
    monkeypatch.delenv("SIPKIT_MODE")
    for secret in SECRETS:
        account = {"VIDEO_API_KEY": "1", "VIDEO_API_SECRET": "2", "VOICE_API_KEY": "3", "VOICE_API_SECRET": "4"}
        write_env(path, {**account, "CONFERENCE_NUMBER": "+1 202 555 0199", "SIGNATURE_SECRET": secret, "X": ""})
        settings = Settings.load()
        assert settings.signature_secret is not None
        assert settings.signature_secret.get_secret_value() == secret
        assert settings.pin_length == 6
    assert path.read_text().startswith("# mine\nPIN_LENGTH=6\nSIGNATURE_SECRET=")
    assert path.read_text().count("SIGNATURE_SECRET") == 1


def test_a_key_of_many_lines_is_replaced_as_a_whole(project: Path) -> None:
    """A quoted value ends at its closing quote: nothing of the old key stays; a quote never closed is one line."""
    path = project / ".env"
    path.write_text('A=1\nVONAGE_PRIVATE_KEY="-----BEGIN\nPIN_LENGTH=old\\"er\n-----END" # old\nB="2\nPIN_LENGTH=6\n')
    write_env(path, {"VONAGE_PRIVATE_KEY": "key.pem", "PIN_LENGTH": "5"})
    assert path.read_text() == 'A=1\nVONAGE_PRIVATE_KEY=key.pem\nB="2\nPIN_LENGTH=5\n'


def test_a_value_that_would_be_filled_in_is_refused(project: Path) -> None:
    """python-dotenv replaces ${NAME} even in single quotes, so such a secret is refused, and shown nowhere."""
    with pytest.raises(SettingsError, match="SIGNATURE_SECRET") as refusal:
        write_env(project / ".env", {"SIGNATURE_SECRET": "hush${HOME}c"})
    assert "hush" not in str(refusal.value)
    assert not (project / ".env").exists()


def test_an_env_that_cannot_be_written_is_told(project: Path) -> None:
    """A folder in the place of `.env` is an error of ours, with the fix."""
    (project / ".env").mkdir()
    with pytest.raises(SettingsError, match="cannot be read or written"):
        write_env(project / ".env", {"PIN_LENGTH": "5"})


def test_a_billed_call_waits_for_a_yes(board: Switchboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live nothing may be placed before the button was pressed; in the sandbox there is nothing to agree to."""
    Confirmation(board).require()
    monkeypatch.setattr(Switchboard, "mode", "live")
    confirmation = Confirmation(board)
    assert (confirmation.given, repr(confirmation)) == (False, "Confirmation(not given)")
    with pytest.raises(SipkitError, match="nobody has said yes"):
        confirmation.require()
    confirmation.yes.click()
    confirmation.require()
    assert confirmation.yes.disabled


def test_the_plan_says_what_is_billed(board: Switchboard) -> None:
    """In the sandbox nothing is billed; live each leg is, and the application is changed and put back."""
    told = repr(lessons.plan(board))
    assert "nothing: the sandbox plays Vonage" in told
    live = replace(board._account(), mode="live")
    told = repr(plan(board._settings, live))
    assert "SIP interconnect, about 0.005 USD a minute" in told
    assert "put back by restore_application" in told
    assert "is linked to this one; that is not put back" in told
    assert "called directly: an outbound call, by the minute" in told
    assert "yours to enter" in repr(plan(board._settings, replace(live, application_id="")))
    assert live.conference_number not in told
