"""The kit's app as `webhook_path` measures it under granian: everything on, its platform a stand-in on this machine.

    BENCH_ACCOUNT   JSON: signature_secret, and video_api_url, where dials go

The data folder and the store are the settings', from the environment.
"""

import base64
import json
import os
import secrets

from pydantic import SecretStr

from sipkit.app import create_app, freeze_loaded
from sipkit.cloud import Account
from sipkit.settings import Settings
from sipkit.store import Store
from webhook_load import API_KEY, APPLICATION_ID, NUMBER

PROJECT = "46000001"


def account_of(signature_secret: str, video_api_url: str) -> Account:
    """A made-up account of a platform on this machine."""
    return Account(
        mode="sandbox",
        video_api_url=video_api_url,
        video_api_key=PROJECT,
        video_api_secret=SecretStr("a-video-secret-of-forty-letters-and-more"),
        voice_api_url=video_api_url,
        voice_api_key=API_KEY,
        voice_api_secret=SecretStr("x"),
        application_id=APPLICATION_ID,
        signature_secret=SecretStr(signature_secret),
        conference_number=NUMBER,
    )


def session_id() -> str:
    """A new session id that names the account's project, as who makes a token for it checks."""
    parts = f"1~{PROJECT}~~1700000000000~{secrets.token_hex(8)}~~"
    return f"1_{base64.urlsafe_b64encode(parts.encode()).decode().rstrip('=')}"


if "BENCH_ACCOUNT" in os.environ:
    account = account_of(**json.loads(os.environ["BENCH_ACCOUNT"]))
    settings = Settings.load(mode="sandbox")
    store = Store.open(settings.store_url, account.environment)
    # Pages may dial: the stand-in platform connects nobody, so there is nothing to hang up.
    app = create_app(settings, account, store, require_end=lambda _owner: None)
    freeze_loaded()
