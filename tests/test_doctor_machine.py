"""The doctor's checks of this machine: each finds what it looks for, and each can fail."""

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from sipkit import ncco
from sipkit.cloud import Account
from sipkit.doctor import Finding, Patient, Report, calls, machine
from sipkit.settings import Settings

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """Somebody with a data folder of their own; no check of this file asks the account for anything."""
    settings = Settings.load(mode="sandbox", home=tmp_path / "data", project_root=tmp_path)
    settings.home.mkdir(mode=0o700)
    secret = SecretStr("made-up")
    account = Account("sandbox", NOWHERE, "k", secret, NOWHERE, "k", secret, "app", secret, "12025550100")
    return Patient(settings, account, None)


def other(patient: Patient, **settings: object) -> Patient:
    """The same patient with other settings."""
    changed = patient.settings.model_copy(update=settings)
    return Patient(changed, patient.account, patient.public_url)


def test_a_good_machine_is_told_so(patient: Patient) -> None:
    """On this machine, where the tests run, every check of it is ok; without .env that one is skipped."""
    checks = (machine.python, machine.packages, machine.data_folder, machine.port, calls.documents)
    assert {check(patient).state for check in checks} == {"ok"}
    assert machine.env_file(patient).state == "skipped"


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_a_python_that_is_not_supported(patient: Patient, version: tuple[int, int]) -> None:
    """Too old and too new a Python are told with the ones that will do."""
    found = machine.python(patient, version)
    assert found.state == "failure"
    assert "3.11, 3.12 or 3.13" in found.fix


def test_a_missing_package_is_named(patient: Patient) -> None:
    """What cannot be imported is named, and nothing else."""
    found = machine.packages(patient, ("flask", "no_such_part"))
    assert (found.state, found.seen) == ("failure", "no_such_part cannot be imported.")


def kernels(folder: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str] | None) -> None:
    """Make `folder` the only place with kernels, with one called python3 if `argv` is given."""
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager._kernel_dirs_default", lambda _: [str(folder)])
    monkeypatch.setattr("jupyter_client.kernelspec.NATIVE_KERNEL_NAME", "another")
    if argv is not None:
        (folder / "python3").mkdir()
        spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
        (folder / "python3" / "kernel.json").write_text(json.dumps(spec))


@pytest.mark.parametrize(
    ("argv", "state"),
    [
        (None, "failure"),
        (["/nowhere/bin/python", "-m", "ipykernel_launcher"], "failure"),
        (["/bin/sh"], "warning"),
        ([sys.executable, "-m", "ipykernel_launcher"], "ok"),
    ],
)
def test_a_kernel_that_is_another_python(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str] | None, state: str
) -> None:
    """No kernel and one whose program is gone fail, another environment's is a warning, this one is right."""
    kernels(tmp_path, monkeypatch, argv)
    assert machine.kernel(patient).state == state


def test_jupyterlab_without_the_widgets_front_end(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each missing front end is named; with both there it is ok."""
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(tmp_path)])
    (tmp_path / "anywidget").mkdir()
    found = machine.widgets(patient)
    assert found.state == "failure"
    assert "jupyterlab-manager" in found.seen
    assert "anywidget." not in found.seen
    (tmp_path / "@jupyter-widgets" / "jupyterlab-manager").mkdir(parents=True)
    assert machine.widgets(patient).state == "ok"


def test_a_data_folder_that_others_can_read_or_nobody_can_write(patient: Patient) -> None:
    """A folder open to others is a warning; one that is not there is a failure."""
    patient.settings.home.chmod(0o755)
    assert machine.data_folder(patient).state == "warning"
    patient.settings.home.rmdir()
    assert machine.data_folder(patient).state == "failure"


def test_an_env_file_that_others_can_read(patient: Patient) -> None:
    """`.env` must be its owner's alone, and the finding tells nothing of what is in it."""
    path = patient.settings.project_root / ".env"
    path.write_text("VIDEO_API_SECRET=hush")
    path.chmod(0o644)
    found = machine.env_file(patient)
    assert (found.state, found.fix) == ("warning", "Run chmod 600 .env.")
    assert "hush" not in repr(found)
    path.chmod(0o600)
    assert machine.env_file(patient).state == "ok"


def test_a_port_that_is_taken(patient: Patient) -> None:
    """The webhook server's port, held by another program, is a failure, and free again it is ok."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = other(patient, webhook_port=taken.getsockname()[1])
        assert machine.port(asked).state == "failure"
    assert machine.port(asked).state == "ok"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([{"action": "talk", "text": "a" * 1500}], ""),
        ([{"action": "talk", "text": "a" * 1501}], "1500 characters"),
        ([{"action": "input", "dtmf": {"maxDigits": 21}}], "20 keys"),
        ([{"action": "input", "dtmf": {"timeOut": 11}}], "10 s"),
    ],
)
def test_a_call_document_beyond_the_limits(patient: Patient, document: ncco.Ncco, words: str) -> None:
    """A text, a number of keys or a wait that the platform would refuse fails; the longest allowed does not."""
    found = calls.documents(patient, [document])
    assert found.state == ("failure" if words else "ok")
    assert words in found.seen


def test_webhooks_in_the_clear_are_a_warning(patient: Patient) -> None:
    """Live, a public address without https is a warning; on this machine the sandbox needs none."""
    from sipkit.doctor import application

    def through(url: str | None, mode: str) -> str:
        account = replace(patient.account, mode="live" if mode == "live" else "sandbox")
        return application.secure_webhooks(Patient(patient.settings, account, url)).state

    assert through("http://calls.example.org", "live") == "warning"
    assert through("https://calls.example.org", "live") == "ok"
    assert through("http://127.0.0.1:5000", "sandbox") == "ok"
    assert through(None, "live") == "skipped"


def test_a_report_is_told_in_three_ways() -> None:
    """As text with each fix, as JSON for programs, as a table that lets no markup through; failures set the code."""
    fine = Report("live", [Finding("a", "ok", "seen"), Finding("b", "warning", "hm", "mend")], 1.25)
    assert (fine.exit_code, fine.summary()) == (0, "healthy (1 ok, 1 warning)")
    assert repr(fine) == "✔ a\n! b: hm\n  Fix: mend"
    bad = Report("live", [Finding("<c>", "failure", "<script>", "do")], 0)
    assert (bad.exit_code, bad.summary()) == (1, "not healthy (1 failure)")
    assert "&lt;script&gt;" in bad._repr_html_()
    assert "<script>" not in bad._repr_html_()
    assert 'aria-label="failure"' in bad._repr_html_()
    assert json.loads(json.dumps(bad.as_json()))["findings"][0]["fix"] == "do"
    assert bad["<c>"].state == "failure"
    with pytest.raises(KeyError):
        bad["nothing"]
