"""The doctor's checks of the account: the sandbox is made to fail each of them, one at a time."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from sipkit import doctor
from sipkit.cloud import Account
from sipkit.doctor import Finding, Patient, access, application, calls, machine, number
from sipkit.settings import Settings
from sipkit.switchboard import Switchboard

ROOT = Path(__file__).resolve().parent.parent
GOAL_SECONDS = 5.0

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def account(board: Switchboard) -> Account:
    """The running sandbox's account."""
    return board._account()


@pytest.fixture
def patient(board: Switchboard, settings: Settings, account: Account) -> Patient:
    """The sandbox's learner, who has no webhook server yet."""
    return Patient(settings, account, None)


def asked(account: Account, method: str, path: str, **more: Any) -> requests.Response:
    """Ask the sandbox for something with the account's key and secret."""
    return requests.request(
        method,
        f"{account.voice_api_url}{path}",
        auth=(account.voice_api_key, account.voice_api_secret.get_secret_value()),
        verify=account.ca_file,
        timeout=10,
        **more,
    )


@pytest.fixture
def edit(account: Account) -> Iterator[Callable[[Edit], None]]:
    """`edit(change)` changes the voice application as the dashboard would; afterwards it is as it was."""
    path = f"/v2/applications/{account.application_id}"
    before = asked(account, "GET", path).json()

    def put(change: Edit) -> None:
        body = deepcopy(before)
        change(body)
        del body["id"], body["_links"]
        asked(account, "PUT", path, json=body).raise_for_status()

    yield put
    put(lambda _: None)


def test_a_sandbox_with_a_running_server_is_healthy(board: Switchboard, settings: Settings, account: Account) -> None:
    """After start_webhook_server nothing fails and the way here is proven, within the goal of five seconds."""
    board.start_webhook_server()
    report = doctor.examine(settings, account)
    assert report.healthy, report.text()
    assert {report[name].state for name in ("tunnel", "webhook URLs", "port", "clock")} == {"ok"}
    assert report.seconds < GOAL_SECONDS


def test_nothing_secret_is_in_a_report(board: Switchboard, settings: Settings, account: Account) -> None:
    """No key, secret or telephone number is in any of a report's forms."""
    board.start_webhook_server()
    report = doctor.examine(settings, account)
    told = report.text() + json.dumps(report.as_json()) + repr(report) + report._repr_html_()
    hidden = (account.voice_api_secret, account.video_api_secret, account.signature_secret)
    for secret in (*(each.get_secret_value() for each in hidden), account.conference_number, "PRIVATE KEY"):
        assert secret not in told


@pytest.mark.parametrize(("off", "state"), [(0, "ok"), (-12, "warning"), (12, "warning"), (90, "failure")])
def test_a_clock_that_is_off(settings: Settings, account: Account, off: float, state: str) -> None:
    """A machine whose clock is seconds off is warned, one that is minutes off fails, and is told how much."""
    found = access.clock(Patient(settings, account, None, clock=lambda: time.time() + off))
    assert found.state == state
    assert off == 0 or str(abs(off) - 1) in found.seen or str(abs(off) - 2) in found.seen or str(abs(off)) in found.seen


def test_an_api_that_tells_no_time_is_no_wrong_clock(settings: Settings, account: Account) -> None:
    """Where nobody answers the clock is not judged, and the account's key is not called wrong."""
    away = replace(account, voice_api_url="http://127.0.0.1:9", account_api_url="http://127.0.0.1:9")
    patient = Patient(settings, away, None)
    assert access.clock(patient).state == "skipped"
    assert "could not be asked" in access.account_key(patient).seen


def test_wrong_credentials_are_told_one_from_another(settings: Settings, account: Account) -> None:
    """A wrong secret of the video project and one of the account each fail their own check, with their own fix."""
    wrong = SecretStr("not-the-secret" * 3)
    video = Patient(settings, replace(account, video_api_secret=wrong), None)
    assert (access.video_project(video).state, access.account_key(video).state) == ("failure", "ok")
    assert "VIDEO_API_SECRET" in access.video_project(video).fix
    voice = Patient(settings, replace(account, voice_api_secret=wrong), None)
    assert (access.video_project(voice).state, access.account_key(voice).state) == ("ok", "failure")
    assert "VOICE_API_SECRET" in access.account_key(voice).fix
    assert application.capabilities(voice).state == "failure"
    assert application.signed(voice).state == "skipped"


def pem() -> str:
    """A private key that belongs to nobody."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def test_a_private_key_that_is_not_the_applications(settings: Settings, account: Account) -> None:
    """The sandbox's key is accepted; another pair's, no key at all, and none given are told apart."""

    def with_key(text: str) -> tuple[str, str]:
        found = access.application_key(Patient(settings, replace(account, private_key=SecretStr(text)), None))
        return found.state, found.seen

    assert access.application_key(Patient(settings, account, None)).state == "ok"
    assert with_key(pem())[0] == "failure"
    assert with_key("hush") == ("failure", "VONAGE_PRIVATE_KEY is no RSA private key in PEM.")
    assert with_key("")[0] == "skipped"


def test_a_key_pair_that_the_application_no_longer_has(
    settings: Settings, account: Account, edit: Callable[[Edit], None]
) -> None:
    """When the application was given a new public key in the dashboard, the old private key is called old."""
    key = serialization.load_pem_private_key(pem().encode(), None).public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    edit(lambda body: body["keys"].update(public_key=key.public_bytes(*form).decode()))
    found = access.application_key(Patient(settings, account, None))
    assert found.state == "failure"
    assert "older key pair" in found.seen


def test_an_application_that_is_not_there_or_cannot_take_calls(
    settings: Settings, account: Account, edit: Callable[[Edit], None]
) -> None:
    """No id is a warning, an unknown id fails, and so does an application without the capability voice."""
    unknown = replace(account, application_id="78d335fa-323d-0114-9c3d-d6f0d48968cf")
    assert application.capabilities(Patient(settings, unknown, None)).state == "failure"
    none = replace(account, application_id="")
    assert application.capabilities(Patient(settings, none, None)).state == "warning"
    edit(lambda body: body["capabilities"].pop("voice"))
    found = application.capabilities(Patient(settings, account, None))
    assert (found.state, found.seen) == ("failure", "The application lacks the capability voice.")


def test_a_unified_application_needs_the_capability_video(
    settings: Settings, account: Account, edit: Callable[[Edit], None]
) -> None:
    """What the OpenTok environment does not need, the unified one does."""
    edit(lambda body: body["capabilities"].pop("video"))
    assert application.capabilities(Patient(settings, account, None)).state == "ok"
    unified = replace(account, video_environment="unified")
    found = application.capabilities(Patient(settings, unified, None))
    assert (found.state, found.seen) == ("failure", "The application lacks the capability video.")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("answer_url", {"address": "https://elsewhere.example.org/answer"}, "answer_url points somewhere else"),
        ("event_url", {"address": "https://elsewhere.example.org/events"}, "event_url points somewhere else"),
        ("answer_url", {"http_method": "POST"}, "answer_url is asked with POST, not GET"),
        ("event_url", {"http_method": "GET"}, "event_url is asked with GET, not POST"),
        ("answer_url", None, "answer_url is not set"),
    ],
)
def test_webhooks_that_do_not_lead_here(
    board: Switchboard, settings: Settings, account: Account, name: str, change: dict[str, str] | None, words: str
) -> None:
    """A webhook that somebody pointed elsewhere, with another method, or removed, is told by name."""
    server = board.start_webhook_server()
    path = f"/v2/applications/{account.application_id}"
    body = asked(account, "GET", path).json()
    hooks = body["capabilities"]["voice"]["webhooks"]
    hooks.update({name: {**hooks[name], **change}}) if change else hooks.pop(name)
    asked(account, "PUT", path, json={key: body[key] for key in body if key not in ("id", "_links")})
    found = application.webhooks(Patient(settings, account, server.url))
    assert (found.state, found.seen) == ("failure", words)
    assert "start_webhook_server" in found.fix


def test_webhooks_are_not_judged_while_no_server_runs(patient: Patient) -> None:
    """Before the server runs it is said who will enter them; a tunnel is not missed either."""
    assert application.webhooks(patient).state == "skipped"
    assert calls.tunnel(patient).state == "skipped"


def test_without_an_application_id_nothing_is_judged_by_the_list_of_applications(
    settings: Settings, account: Account
) -> None:
    """Without an id the same address is the list: both checks are skipped, and say what to do by hand."""
    nameless = Patient(settings, replace(account, application_id=""), None)
    for check in (application.webhooks, application.signed):
        found = check(nameless)
        assert found.state == "skipped"
        assert "VONAGE_APPLICATION_ID is not set. In the dashboard" in found.seen


def test_a_check_that_breaks_is_a_finding(
    settings: Settings, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a check does not foresee is told by its kind only, beside what all others found."""

    def odd_check(_: Patient) -> Finding:
        raise ValueError("hush")

    monkeypatch.setattr(doctor, "CHECKS", (odd_check, machine.python))
    report = doctor.examine(settings, account)
    assert report["odd check"].state == "failure"
    assert "ValueError" in report["odd check"].seen
    assert "hush" not in report.text()
    assert report["Python"].state == "ok"


def test_unsigned_webhooks(settings: Settings, account: Account, edit: Callable[[Edit], None]) -> None:
    """Signing switched off in the application fails, and so does a missing secret."""
    no_secret = replace(account, signature_secret=SecretStr(""))
    assert "SIGNATURE_SECRET" in application.signed(Patient(settings, no_secret, None)).fix
    edit(lambda body: body["capabilities"]["voice"].update(signed_callbacks=False))
    found = application.signed(Patient(settings, account, None))
    assert found.state == "failure"
    assert "not signed" in found.seen


def test_a_public_address_that_leads_to_somebody_else(
    board: Switchboard, settings: Settings, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our instance id must come back through the public address; the sandbox's own port answers, but is not ours."""
    monkeypatch.setattr("sipkit.tunnel._PAUSE", 0.0)
    board.start_webhook_server()
    elsewhere = Patient(settings, replace(account, mode="live"), account.video_api_url)
    found = calls.tunnel(elsewhere)
    assert found.state == "failure"
    assert "another program answers" in found.seen
    assert calls.tunnel(Patient(settings, account, None)).state == "failure"


def test_a_way_here_that_lacks_something(settings: Settings, account: Account) -> None:
    """Before any server runs it is said what the tunnel lacks: here the port that SERVER_URL leads to."""
    live = settings.model_copy(update={"sipkit_mode": "live", "server_url": "https://calls.example.org"})
    found = calls.tunnel(Patient(live, replace(account, mode="live"), None))
    assert found.state == "failure"
    assert "WEBHOOK_PORT" in found.fix


@pytest.fixture
def rented(account: Account) -> Iterator[Callable[..., None]]:
    """`rented(**behaviour)` sets what the number does, as the Numbers API does; afterwards it is as it was."""

    def update(**behaviour: str) -> None:
        form = {"country": "US", "msisdn": account.conference_number, **behaviour}
        asked(account, "POST", "/number/update", data=form).raise_for_status()

    yield update
    update(app_id=account.application_id)


def test_a_number_that_is_not_linked_here(settings: Settings, account: Account, rented: Callable[..., None]) -> None:
    """A number linked to nothing, and one of another application, fail; ours is ok."""
    assert number.linked(Patient(settings, account, None)).state == "ok"
    rented()
    assert "no application" in number.linked(Patient(settings, account, None)).seen
    other = asked(account, "POST", "/v2/applications", json={"name": "another"}).json()["id"]
    rented(app_id=other)
    assert "another application" in number.linked(Patient(settings, account, None)).seen
    asked(account, "DELETE", f"/v2/applications/{other}").raise_for_status()


def test_a_number_that_forwards_its_calls_itself(
    settings: Settings, account: Account, rented: Callable[..., None]
) -> None:
    """A number's own forwarding goes past the application, linked or not; the finding does not tell where to."""
    callback = {"voiceCallbackType": "tel", "voiceCallbackValue": "12025550177"}
    rented(app_id=account.application_id, **callback)
    found = number.overriding(Patient(settings, account, None))
    assert found.state == "failure"
    assert "12025550177" not in repr(found)
    rented(app_id=account.application_id)
    assert number.overriding(Patient(settings, account, None)).state == "ok"


def test_a_number_that_is_not_the_accounts(settings: Settings, account: Account) -> None:
    """A number nobody rented fails; what hangs on it is skipped, not guessed."""
    patient = Patient(settings, replace(account, conference_number="12025550199"), None)
    assert number.owned(patient).state == "failure"
    assert {number.linked(patient).state, number.overriding(patient).state} == {"skipped"}


@pytest.mark.parametrize(("euros", "state"), [(0, "failure"), (0.4, "warning"), (25, "ok")])
def test_an_account_without_credit(settings: Settings, account: Account, euros: float, state: str) -> None:
    """No credit fails and little is a warning, for a call would end in the middle."""
    asked(account, "PUT", "/sandbox/balance", json={"value": euros}).raise_for_status()
    assert calls.balance(Patient(settings, account, None)).state == state
    asked(account, "PUT", "/sandbox/balance", json={"value": 10}).raise_for_status()


def test_the_price_is_an_estimate_with_its_parts(settings: Settings, account: Account) -> None:
    """Live, the price names SIP interconnect and what the platform tells of the number's own country."""
    seen = calls.price(Patient(settings, replace(account, mode="live"), None)).seen
    assert "0.005 USD" in seen
    assert "direct call within US" in seen


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `sipkit doctor` as a person does, with this process's environment and more."""
    import os

    command = [sys.executable, "-m", "sipkit.cli", "doctor", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)


def test_the_command_tells_programs_and_people(board: Switchboard) -> None:
    """`sipkit doctor --json` prints one JSON object, `sipkit doctor` a line for each check; both exit 0 if healthy."""
    board.start_webhook_server()
    done = run("--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["mode"], told["healthy"]) == (0, "sandbox", True)
    assert len(told["findings"]) == len(doctor.CHECKS)
    assert told["seconds"] < GOAL_SECONDS


def test_the_command_fails_when_something_is_missing(sandbox_env: Path) -> None:
    """Half a set of credentials is a finding with its fix and exit code 1, not a traceback."""
    done = run(SIPKIT_MODE="live", VIDEO_API_KEY="40001234")
    assert done.returncode == 1
    assert done.stdout.startswith("✘ settings: The live account also needs")
    assert "Fix: " in done.stdout
    assert done.stderr == ""
