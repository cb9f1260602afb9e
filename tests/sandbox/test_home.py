"""The sandbox's home: identity that survives restarts, private and whole."""

import json
import os
import socket
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sipkit.sandbox import home as home_module
from sipkit.sandbox.home import Home, HomeBusy, HomeError

DEADLINE = 30.0


def test_credentials_have_the_vendors_forms(home: Home) -> None:
    """Keys and secrets look like Vonage's, are long enough to sign with, and no secret has a dot."""
    made = home.credentials
    assert made.video_api_key.isdigit()
    assert len(made.video_api_key) == 8
    assert len(made.video_api_secret) == 40
    assert len(made.voice_api_key) == 8
    assert int(made.voice_api_key, 16) >= 0
    assert len(made.voice_api_secret) >= 16
    assert made.voice_api_secret.isalnum()
    assert len(made.signature_secret) >= 32
    assert made.number == "12025550100"
    assert not any("." in value for value in asdict(made).values())


def test_secrets_never_show_in_the_repr(home: Home) -> None:
    """Printing a home tells keys but no secret."""
    shown = repr(home)
    assert home.credentials.video_api_key in shown
    for name, value in asdict(home.credentials).items():
        if "secret" in name or "password" in name:
            assert value not in shown


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_everything_in_the_home_is_private(home: Home) -> None:
    """The folder is 0700 and each file 0600, even when the folder was wider before."""
    home.path.chmod(0o755)
    Home.open(home.path).save_ports({"http": 5080})
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in home.path.iterdir()}
    assert len(modes) >= 6
    assert set(modes.values()) == {0o600}, modes


def test_opening_again_changes_nothing(home: Home) -> None:
    """A restart finds the same credentials, certificates and key."""
    before = {file.name: file.read_bytes() for file in home.path.iterdir()}
    assert Home.open(home.path).credentials == home.credentials
    assert {file.name: file.read_bytes() for file in home.path.iterdir()} == before


def test_processes_that_open_a_new_home_at_once_agree(tmp_path: Path) -> None:
    """Of several processes opening one new home, one makes it and all others load the same."""
    program = (
        "import sys\nfrom sipkit.sandbox.home import Home\nprint(Home.open(sys.argv[1]).credentials.video_api_secret)"
    )

    def secret(_: int) -> str:
        command = [sys.executable, "-c", program, str(tmp_path / "sandbox")]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(secret, range(4)))) == 1


def test_damaged_credentials_are_told_not_replaced(home: Home) -> None:
    """The learner's rooms hang on the credentials: a damaged file is an error that says what to do."""
    file = home.path / "credentials.json"
    for damage in ("{", "[]", json.dumps({"video_api_key": "1"})):
        file.write_text(damage)
        with pytest.raises(HomeError, match="delete the folder"):
            Home.open(home.path)
        assert file.read_text() == damage


def test_a_home_that_cannot_be_a_folder_is_a_clear_error(tmp_path: Path) -> None:
    """A file where the folder should be gives a HomeError, not a bare OSError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot use"):
        Home.open(tmp_path / "file" / "sandbox")


@pytest.mark.parametrize(
    "name", ["localhost", "127.0.0.1", "sip.nexmo.com", "sip-eu1.nexmo.com", "x.vonage.com", "d.sip-us.vonage.com"]
)
def test_the_certificate_is_trusted_through_the_ca_for_every_name(home: Home, name: str) -> None:
    """A client that trusts only ca.pem completes a TLS handshake with the server's certificate."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(home.cert_file, home.key_file)
    client = ssl.create_default_context(cafile=str(home.ca_file))
    left, right = socket.socketpair()
    left.settimeout(DEADLINE)
    right.settimeout(DEADLINE)
    with left, right, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(server.wrap_socket, left, server_side=True)
        with client.wrap_socket(right, server_hostname=name) as secured, serving.result(DEADLINE):
            assert secured.version() in {"TLSv1.2", "TLSv1.3"}


def test_a_certificate_that_lacks_a_name_is_issued_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older home gets a certificate for the names of today, and keeps its credentials."""
    before = home.cert_file.read_bytes()
    monkeypatch.setattr(home_module, "CERTIFICATE_NAMES", (*home_module.CERTIFICATE_NAMES, "new.example"))
    again = Home.open(home.path)
    assert again.cert_file.read_bytes() != before
    assert again.credentials == home.credentials


def test_a_crash_while_the_certificates_were_written_is_mended(home: Home) -> None:
    """Without the certificate, which is written last, all of them are issued again."""
    home.cert_file.unlink()
    Home.open(home.path)
    assert home.cert_file.exists()


def test_the_application_key_is_what_the_sdk_wants(home: Home) -> None:
    """RSA 2048 in PKCS #8 PEM; the public half belongs to it."""
    pem = home.private_key_file.read_bytes()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    key = load_pem_private_key(pem, None)
    assert isinstance(key, RSAPrivateKey)
    assert key.key_size == 2048
    assert load_pem_public_key(home.public_key().encode()) == key.public_key()


def test_ports_are_kept_for_the_next_run(home: Home) -> None:
    """Saved ports come back; a damaged file only means that the system chooses again."""
    assert home.load_ports() == {}
    home.save_ports({"http": 5080, "sip": 5060})
    assert Home.open(home.path).load_ports() == {"http": 5080, "sip": 5060}
    for damage in ("{", "[1]", '{"http": "x", "sip": 70000, "tls": true}'):
        (home.path / "ports.json").write_text(damage)
        assert home.load_ports() == {}


def test_only_one_process_serves_from_a_home(home: Home) -> None:
    """A second claim is refused while the first lasts, and given when it ends."""
    with home.claim(), pytest.raises(HomeBusy, match="another sandbox"), home.claim(timeout=0):
        pytest.fail("two sandboxes would share one home")
    with home.claim(timeout=0):
        pass


def test_the_claim_ends_with_its_process(home: Home) -> None:
    """The system gives the lock back after kill -9 of the sandbox."""
    program = (
        "import sys\nfrom sipkit.sandbox.home import Home\n"
        "with Home.open(sys.argv[1]).claim():\n print('claimed', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(home.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "claimed\n"
        with pytest.raises(HomeBusy), home.claim(timeout=0):
            pytest.fail("the other process still serves")
        holder.kill()
    with home.claim(timeout=DEADLINE):
        pass


def test_the_state_file_names_the_process_and_only_its_owner_removes_it(home: Home) -> None:
    """`publish` adds pid, birth mark and instance; `withdraw` of another instance leaves it alone."""
    home.publish({"api_url": "http://127.0.0.1:1"}, instance="one", pid=os.getpid())
    state = json.loads(home.state_file.read_text())
    assert (state["api_url"], state["pid"], state["instance"]) == ("http://127.0.0.1:1", os.getpid(), "one")
    assert state["create_time"]
    home.withdraw("other")
    assert home.state_file.exists()
    home.withdraw("one")
    assert not home.state_file.exists()
    home.withdraw("one")
