"""Which video environment the settings mean, and the forms of the values that came with it."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sipkit.cloud import LiveCloud
from sipkit.errors import MissingCredential, SettingsError
from sipkit.settings import Settings

VOICE = {"voice_api_key": "abcd1234", "voice_api_secret": "voice-secret-value", "conference_number": "12025550100"}
OPENTOK = {"video_api_key": "46000001", "video_api_secret": "video-secret-value"}
APPLICATION = "29f760f8-7ce1-46c9-ade3-f2dedee4ed5f"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """An application's private key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:
    """Return a key's PEM text."""
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Settings:
    """Load settings of nothing but what is given."""
    for name in ("SIPKIT_MODE", "SIPKIT_HOME", "VIDEO_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    return Settings.load(project_root=tmp_path, **given)


def test_an_application_and_its_key_mean_unified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: rsa.RSAPrivateKey
) -> None:
    """Without a project's key the application is the video project; the key may be PEM in one line, or a path."""
    older = pem(key, serialization.PrivateFormat.TraditionalOpenSSL)
    (tmp_path / "private.key").write_text(older)
    for text in (pem(key), pem(key).replace("\n", "\\n"), older, "private.key", str(tmp_path / "private.key")):
        settings = load(tmp_path, monkeypatch, **VOICE, vonage_application_id=APPLICATION, vonage_private_key=text)
        account = LiveCloud(settings).account()
        assert (settings.mode, account.video_environment, account.video_api_key) == ("live", "unified", APPLICATION)
        assert account.private_key.get_secret_value() == pem(key)
        assert account.video_api_url == "https://video.api.vonage.com"
        assert account.environment == f"live:{APPLICATION}"
        assert "PRIVATE" not in f"{settings!r} {account!r} {settings.model_dump()!r}"


def test_both_sets_need_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: rsa.RSAPrivateKey) -> None:
    """With credentials of both environments VIDEO_ENVIRONMENT must say which; nobody guesses."""
    both = {**VOICE, **OPENTOK, "vonage_application_id": APPLICATION, "vonage_private_key": pem(key)}
    with pytest.raises(SettingsError, match="both video environments") as caught:
        load(tmp_path, monkeypatch, **both)
    assert "VIDEO_ENVIRONMENT" in caught.value.fix
    opentok = LiveCloud(load(tmp_path, monkeypatch, **both, video_environment="OpenTok")).account()
    assert (opentok.video_environment, opentok.video_api_key) == ("opentok", "46000001")
    assert opentok.private_key.get_secret_value()  # the voice side's application has it all the same
    unified = LiveCloud(load(tmp_path, monkeypatch, **both, video_environment="unified")).account()
    assert (unified.video_environment, unified.video_api_secret.get_secret_value()) == ("unified", "")


def test_half_a_unified_set_names_the_other_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: rsa.RSAPrivateKey
) -> None:
    """A key without its application, and a choice without credentials, name what is missing."""
    with pytest.raises(MissingCredential, match="VONAGE_APPLICATION_ID"):
        load(tmp_path, monkeypatch, **VOICE, vonage_private_key=pem(key))
    with pytest.raises(MissingCredential, match="VONAGE_PRIVATE_KEY"):
        load(tmp_path, monkeypatch, **VOICE, video_environment="unified", vonage_application_id=APPLICATION)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vonage_private_key", "no-such-file"),
        ("vonage_private_key", "-----BEGIN PRIVATE KEY-----\nsecretvalue\n-----END PRIVATE KEY-----"),
        ("call_prefixes", "+1 secretvalue"),
        ("voice_api_url", "http://secretvalue.example"),
        ("video_api_url", "https://example.org/secretvalue"),
        ("api_ca_file", "secretvalue"),
        ("video_environment", "secretvalue"),
        ("tunnel", "secretvalue"),
    ],
)
def test_values_of_another_form_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A value that cannot be used is an error that names the setting and not the value."""
    with pytest.raises(SettingsError, match=name.upper()) as caught:
        load(tmp_path, monkeypatch, **VOICE, **OPENTOK, **{name: value})
    assert "secretvalue" not in f"{caught.value!r}"


def test_as_if_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live credentials with an API's address on this machine are live, and the platform is known to be here."""
    local = "https://localhost:5443"
    settings = load(tmp_path, monkeypatch, **VOICE, **OPENTOK, voice_api_url=local, account_api_url=f"{local}/")
    account = LiveCloud(settings).account()
    assert (settings.mode, settings.platform_is_local) == ("live", True)
    assert (account.voice_api_url, account.account_api_url) == (local, local)
    assert account.video_api_url == "https://api.opentok.com"
    assert not load(tmp_path, monkeypatch, **VOICE, **OPENTOK).platform_is_local
    assert load(tmp_path, monkeypatch).platform_is_local


def test_only_many_words_allow_unsigned_webhooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mere yes does not open the webhooks to anybody."""
    words = "Yes, let anybody call my webhooks."
    assert load(tmp_path, monkeypatch, allow_unsigned_webhooks=words).unsigned_webhooks_allowed
    assert not load(tmp_path, monkeypatch, allow_unsigned_webhooks="yes").unsigned_webhooks_allowed
    assert not load(tmp_path, monkeypatch).unsigned_webhooks_allowed
