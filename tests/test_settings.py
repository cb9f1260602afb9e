"""Settings: what `.env` and the environment mean together, and that secrets stay secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sipkit.cloud import LiveCloud, cloud_for
from sipkit.errors import MissingCredential, SettingsError
from sipkit.settings import REQUIRED, Settings, find_project_root

LIVE = {
    "VIDEO_API_KEY": "46000001",
    "VIDEO_API_SECRET": "video-secret-value",
    "VOICE_API_KEY": "abcd1234",
    "VOICE_API_SECRET": "voice-secret-value",
    "CONFERENCE_NUMBER": "+1 (202) 555-0100",
}
TUTORIAL = {
    "videoApiKey": "46000001",
    "videoApiSecret": "video-secret-value",
    "voiceApiKey": "abcd1234",
    "voiceApiSecret": "voice-secret-value",
    "conferenceNumber": "12025550100",
    "serverUrl": "https://example.org",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which is the working directory, and no setting in the environment."""
    for name in ("SIPKIT_MODE", "SIPKIT_HOME", "SIPKIT_PROJECT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sipkit").mkdir()
    (tmp_path / "webhook_server.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_env(folder: Path, values: dict[str, str]) -> None:
    """Write `.env`."""
    lines = [f'{name}="{value}"' for name, value in values.items()]
    (folder / ".env").write_text("\n".join(lines), "utf-8")


def test_no_credentials_mean_sandbox(project: Path) -> None:
    """Without any setting there is a sandbox, a PIN of four digits and a data folder in the project."""
    settings = Settings.load()
    assert (settings.mode, settings.pin_length, settings.webhook_port) == ("sandbox", 6, 0)
    assert settings.home == project / ".sipkit"
    assert settings.store_url == f"sqlite:///{project / '.sipkit' / 'sipkit.db'}"


def test_env_example_means_sandbox(project: Path) -> None:
    """The example file as it is, copied to .env, means the sandbox: empty lines are no settings."""
    example = Path(__file__).parent.parent / ".env.example"
    (project / ".env").write_text(example.read_text("utf-8"), "utf-8")
    assert Settings.load().mode == "sandbox"


def test_env_example_names_every_setting() -> None:
    """Each setting has its line in the example file, and no line there is unknown."""
    example = (Path(__file__).parent.parent / ".env.example").read_text("utf-8")
    named = {line.partition("=")[0] for line in example.splitlines() if "=" in line and line[0] != "#"}
    assert named == {name.upper() for name in Settings.model_fields if name != "project_root"}


def test_env_example_says_what_belongs_together() -> None:
    """Its first part, "all or none", is what the live account needs; nothing in its other parts is asked for."""
    example = (Path(__file__).parent.parent / ".env.example").read_text("utf-8")
    part = example.partition("all or none\n")[2].partition("# ---")[0]
    named = [line.partition("=")[0].lower() for line in part.splitlines() if line and line[0] != "#"]
    assert named == [*REQUIRED, "signature_secret"]


def test_first_part_of_the_example_is_enough(project: Path) -> None:
    """With the six lines of the first part filled in and the rest as it is, the settings are a live account's."""
    example = (Path(__file__).parent.parent / ".env.example").read_text("utf-8")
    for name, value in {**LIVE, "SIGNATURE_SECRET": "signs-the-webhooks"}.items():
        example = example.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    (project / ".env").write_text(example, "utf-8")
    account = cloud_for(Settings.load()).account()
    assert account.mode == "live"
    assert account.signature_secret.get_secret_value() == "signs-the-webhooks"


@pytest.mark.parametrize("name", ["SIPKIT_STORE", "SIPKIT_STORE_URL"])
def test_the_store_by_url(project: Path, name: str) -> None:
    """The store's URL is taken by its name and by its former one, reaches child processes, and is shown to nobody."""
    url = "postgresql+psycopg://someone:store-secret@db.example.com/sipkit"
    write_env(project, {name: url})
    settings = Settings.load()
    assert settings.store_url == settings.child_environ()["SIPKIT_STORE"] == url
    assert "store-secret" not in f"{settings} {settings!r} {settings.sipkit_store}"


@pytest.mark.parametrize("names", [LIVE, TUTORIAL], ids=["capitals", "tutorial"])
def test_whole_set_means_live(project: Path, names: dict[str, str]) -> None:
    """All credentials mean live, by the names in capitals and by the tutorial's; the number becomes digits."""
    write_env(project, names)
    settings = Settings.load()
    assert settings.mode == "live"
    assert settings.conference_number == "12025550100"
    account = cloud_for(settings).account()
    assert (account.environment, account.voice_api_key) == ("live:46000001", "abcd1234")
    assert account.voice_api_secret.get_secret_value() == "voice-secret-value"


@pytest.mark.parametrize("missing", LIVE)
def test_half_a_set_names_what_is_missing(project: Path, missing: str) -> None:
    """One credential less is an error that names it, says the fix, and shows no other value."""
    write_env(project, {name: value for name, value in LIVE.items() if name != missing})
    with pytest.raises(MissingCredential, match=missing) as caught:
        Settings.load()
    assert "SIPKIT_MODE=sandbox" in str(caught.value)
    assert "secret-value" not in str(caught.value)


def test_a_signature_secret_alone_is_half_a_set(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any single credential shows that the live account is wanted."""
    monkeypatch.setenv("SIGNATURE_SECRET", "something")
    with pytest.raises(MissingCredential, match=r"VIDEO_API_KEY.*CONFERENCE_NUMBER"):
        Settings.load()


def test_mode_sandbox_ignores_credentials(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIPKIT_MODE=sandbox drops every credential, even those that could not be read."""
    write_env(project, {**LIVE, "CONFERENCE_NUMBER": "nonsense"})
    monkeypatch.setenv("SIPKIT_MODE", " Sandbox ")
    settings = Settings.load()
    assert settings.mode == "sandbox"
    assert settings.video_api_secret is None
    assert settings.conference_number is None


def test_mode_live_needs_credentials(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIPKIT_MODE=live without credentials is an error, not a sandbox."""
    monkeypatch.setenv("SIPKIT_MODE", "live")
    with pytest.raises(MissingCredential):
        Settings.load()


def test_environment_wins_over_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value in the environment beats .env, by whichever of its names; an override beats both."""
    write_env(project, {**LIVE, "PIN_LENGTH": "5"})
    monkeypatch.setenv("videoApiKey", "46000002")
    monkeypatch.setenv("PIN_LENGTH", "6")
    assert Settings.load().video_api_key == "46000002"
    assert Settings.load().pin_length == 6
    assert Settings.load(pin_length=7, mode="sandbox").pin_length == 7


def test_found_from_a_subfolder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel in notebooks/ finds the project's .env and data folder."""
    write_env(project, {"PIN_LENGTH": "8"})
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    settings = Settings.load()
    assert (settings.pin_length, settings.project_root, settings.home) == (8, project, project / ".sipkit")


def test_found_from_anywhere_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Outside of any project it is the checkout the package was imported from."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert find_project_root(elsewhere) == Path(__file__).resolve().parent.parent


def test_relative_home_belongs_to_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative SIPKIT_HOME is a folder of the project, whatever the working directory."""
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    monkeypatch.setenv("SIPKIT_HOME", "data")
    assert Settings.load().home == project / "data"


BAD = {
    "CONFERENCE_NUMBER": ["555", "0012025550100", "12025550100x", "1202555010012345", "sip:secretvalue"],
    "PIN_LENGTH": ["3", "11", "secretvalue"],
    "SERVER_URL": [
        "secretvalue",
        "ftp://example.org",
        "https://example.org/secretvalue",
        "https://u:secretvalue@example.org",
        "https://",
        "https://example.org:secretvalue",
        "https://[secretvalue",
    ],
    "WEBHOOK_PORT": ["-1", "65536"],
    "SIPKIT_MODE": ["secretvalue"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_bad_value_names_the_setting_only(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A value that cannot be used is a SettingsError with the setting's name and without its value."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        Settings.load()
    text = f"{caught.value!s} {caught.value!r} {caught.value.__cause__}"
    assert "secretvalue" not in text
    assert "pydantic" not in text


def test_file_that_is_no_text(project: Path) -> None:
    """A .env that is not UTF-8 is a SettingsError."""
    (project / ".env").write_bytes(b"VIDEO_API_KEY=\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.load()


def test_unknown_override() -> None:
    """A misspelt override is an error, not ignored."""
    with pytest.raises(SettingsError, match="pin_lenght"):
        Settings.load(pin_lenght=5)


def test_secrets_stay_out_of_every_repr(project: Path) -> None:
    """Neither settings, nor account, nor their dumps show a secret."""
    write_env(project, {**LIVE, "SIGNATURE_SECRET": "signature-secret-value", "NGROK_AUTHTOKEN": "ngrok-secret-value"})
    settings = Settings.load()
    account = LiveCloud(settings).account()
    shown = [repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json(), repr(account)]
    assert not [text for text in shown if "secret-value" in text]
    assert repr(settings) == "Settings(mode='live', pin_length=6)"


def _by_field() -> dict[str, str]:
    return {name.lower(): value for name, value in LIVE.items()}


def test_child_loads_the_same_settings(project: Path) -> None:
    """A child process in another folder, given child_environ(), has the same settings, secrets included."""
    settings = Settings.load(pin_length=6, server_url="https://example.org/", **_by_field())
    code = "from sipkit.settings import Settings; print(Settings.load().fingerprint())"
    environ = {**settings.child_environ(), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == settings.fingerprint()
    assert Settings.load().fingerprint() != settings.fingerprint()


def test_child_of_a_forced_sandbox_is_a_sandbox(project: Path) -> None:
    """Credentials in .env do not come back in the child when the parent forced the sandbox."""
    write_env(project, LIVE)
    environ = Settings.load(mode="sandbox").child_environ()
    assert environ["SIPKIT_MODE"] == "sandbox"
    assert not [name for name in environ if "API_SECRET" in name]


def test_sandbox_account(settings: Settings) -> None:
    """The sandbox's account comes from the running sandbox, and asking again costs no new one."""
    cloud = cloud_for(settings)
    try:
        account = cloud.account()
        assert account == cloud.account()
        assert (cloud.mode, account.conference_number) == ("sandbox", "12025550100")
        assert account.environment == f"sandbox:{account.video_api_key}"
        assert len(account.signature_secret.get_secret_value()) >= 32
    finally:
        cloud.close()
        cloud.close()
