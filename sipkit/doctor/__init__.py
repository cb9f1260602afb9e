"""The doctor: is everything there for a call, and if not, which command or dashboard step mends it?

    report = examine_env()          # or: sipkit doctor [--json]
    print(report.text())

Each check is one small function that looks at one thing of the `Patient` and returns a `Finding`. They run side by
side, since most of the time is waiting for answers; the report has them in the order in which they are best mended:
a wrong clock makes every credential look wrong. Nothing here places a call or costs money; all that it leaves at the
platform is an empty video session, made to try the credentials.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sipkit.cloud import Account, cloud_for
from sipkit.doctor import access, application, calls, machine, number
from sipkit.doctor.finding import Finding, Report, failure
from sipkit.doctor.patient import Patient
from sipkit.errors import SipkitError
from sipkit.settings import Settings

__all__ = ["CHECKS", "Finding", "Patient", "Report", "examine", "examine_env"]

CHECKS: Final[tuple[Callable[[Patient], Finding], ...]] = (
    machine.python,
    machine.packages,
    machine.kernel,
    machine.widgets,
    machine.data_folder,
    machine.env_file,
    machine.port,
    access.clock,
    access.account_key,
    access.video_project,
    access.application_key,
    application.capabilities,
    application.webhooks,
    application.secure_webhooks,
    application.signed,
    number.owned,
    number.linked,
    number.overriding,
    calls.tunnel,
    calls.documents,
    calls.balance,
    calls.price,
)
"""Every check, in the order of the report."""

_AT_ONCE: Final = 8


def examine_env() -> Report:
    """Examine what `.env` and the environment describe. What cannot even be loaded is a finding, too."""
    began = time.monotonic()
    try:
        settings = Settings.load()
    except SipkitError as error:
        return Report("", [failure("settings", error.message, error.fix)], time.monotonic() - began)
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        cloud = cloud_for(settings)
    except (OSError, SipkitError) as error:
        fix = getattr(error, "fix", "Name a folder you may write to in SIPKIT_HOME.")
        found = failure("settings", "The data folder cannot be made.", fix)
        return Report(settings.mode, [found], time.monotonic() - began)
    try:
        return examine(settings, cloud.account(), began=began)
    except SipkitError as error:
        return Report(settings.mode, [failure("cloud", error.message, error.fix)], time.monotonic() - began)
    finally:
        cloud.close()


def examine(
    settings: Settings,
    account: Account,
    *,
    clock: Callable[[], float] = time.time,
    began: float | None = None,
) -> Report:
    """Do every check.

    Args:
        settings: As loaded from `.env` and the environment.
        account: The cloud's account.
        clock: This machine's clock, seconds since 1970.
        began: When the examination began, by `time.monotonic`; now if not given.
    """
    start = time.monotonic() if began is None else began
    patient = Patient(settings, account, _public_url(settings, account), clock)
    with ThreadPoolExecutor(_AT_ONCE, "doctor") as pool:
        findings = list(pool.map(lambda check: _examined(check, patient), CHECKS))
    return Report(account.mode, findings, time.monotonic() - start)


def _examined(check: Callable[[Patient], Finding], patient: Patient) -> Finding:
    """Do one check; what it did not foresee is a finding, too, and must not cost the reader all the others."""
    try:
        return check(patient)
    except Exception as error:  # noqa: BLE001 - the kind only: the text of a foreign exception may quote secrets
        name = check.__name__.replace("_", " ")
        fix = "Run sipkit doctor again; if it stays, report it with the version of sipkit and this line."
        return failure(name, f"The check itself failed ({type(error).__name__}).", fix)


def _public_url(settings: Settings, account: Account) -> str | None:
    """The address under which the webhook server was made public; None if it never was, or nobody can tell."""
    from sipkit.store import Store

    try:
        store = Store.open(settings.store_url, account.environment, settings.pin_length, settings.pin_hours)
    except SipkitError:
        return None
    try:
        return store.fact("public_url") or None
    finally:
        store.close()
