"""What holds for every pytest run of this repository, the notebooks' runs by nbval included.

nbval's kernels inherit this process's environment and know no fixtures, so the safety of a run is made here,
before anything is collected: no run may ever reach a real Vonage account or the data folder of its user.
"""

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

_OWN_HOME = pytest.StashKey[Path]()

LIVE_SETTINGS = frozenset(
    {
        "account_api_url",
        "allow_unsigned_webhooks",
        "api_ca_file",
        "call_prefixes",
        "conference_number",
        "conferencenumber",
        "ngrok_authtoken",
        "server_url",
        "serverurl",
        "signature_secret",
        "signaturesecret",
        "sipkit_store",
        "sipkit_store_url",
        "ssh_tunnel",
        "tunnel",
        "video_api_key",
        "video_api_secret",
        "video_api_url",
        "video_environment",
        "videoapikey",
        "videoapisecret",
        "voice_api_key",
        "voice_api_secret",
        "voice_api_url",
        "voiceapikey",
        "voiceapisecret",
        "vonage_application_id",
        "vonage_private_key",
    }
)
"""Names of the settings that could make a test talk to the world, in lower case."""


# A busy machine is slow, not wrong: what must be fast is measured by bench/, not by a property's deadline.
hypothesis_settings.register_profile("sipkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("sipkit")


def pytest_configure(config: pytest.Config) -> None:
    """Give this process (each xdist worker is one) a data folder of its own and the sandbox as its cloud.

    SIPKIT_TEST_HOME names a folder to use and keep instead, to run the lessons on a used data folder.
    """
    for name in [name for name in os.environ if name.lower() in LIVE_SETTINGS]:
        del os.environ[name]
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    kept = os.environ.get("SIPKIT_TEST_HOME")
    if kept:
        home = Path(kept).resolve() / worker
        home.mkdir(parents=True, exist_ok=True)
    else:
        home = Path(tempfile.mkdtemp(prefix=f"sipkit-{worker}-"))
        config.stash[_OWN_HOME] = home
    os.environ["SIPKIT_HOME"] = str(home)
    os.environ["SIPKIT_MODE"] = "sandbox"
    os.environ["SIPKIT_PROJECT_ROOT"] = str(home)  # no .env lives there


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the sandbox that lessons may have started in this run's data folder, and remove the folder."""
    home = Path(os.environ["SIPKIT_HOME"])
    if (home / "sandbox" / "sandbox.json").exists():
        from sipkit.sandbox import launcher

        launcher.stop(home / "sandbox")
    own = config.stash.get(_OWN_HOME, None)
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)


def _skips_are_failures() -> bool:
    return os.environ.get("SIPKIT_FORBID_SKIPS") == "1"


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that tells the skip's reason; an expected failure stays what it is."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which SIPKIT_FORBID_SKIPS=1 forbids: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped, a skipped test fails."""
    report = yield
    if _skips_are_failures():
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Where nothing may be skipped, a file that skips itself as a whole fails."""
    report = yield
    if _skips_are_failures():
        _refuse_skip(report)
    return report
