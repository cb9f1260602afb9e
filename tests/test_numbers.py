"""The conference number and the application it leads to, against the sandbox's Numbers API."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from sipkit import numbers
from sipkit.cloud import Account, cloud_for
from sipkit.errors import AuthenticationRefused, PlatformError, PlatformUnreachable, SettingsError
from sipkit.numbers import OwnedNumber, e164, link_number, owned_number
from sipkit.settings import Settings


def update(account: Account, **fields: str) -> None:
    """Change the conference number as the dashboard does."""
    found = owned_number(account, account.conference_number)
    assert found is not None
    answer = requests.post(
        f"{account.account_api_url}/number/update",
        data={"country": found.country, "msisdn": found.msisdn, **fields},
        auth=(account.voice_api_key, account.voice_api_secret.get_secret_value()),
        verify=account.ca_file,
        timeout=5,
    )
    answer.raise_for_status()


@pytest.fixture
def account(settings: Settings) -> Iterator[Account]:
    """The running sandbox's account; its number is put back afterwards."""
    cloud = cloud_for(settings)
    account = cloud.account()
    yield account
    update(account, app_id=account.application_id)
    cloud.close()


def test_linked_number_is_left_alone(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that leads to the application already: nothing is written."""
    update(account, app_id=account.application_id)
    asked: list[str] = []
    real = requests.request

    def noting(method: str, *args: Any, **kwargs: Any) -> requests.Response:
        asked.append(method)
        return real(method, *args, **kwargs)

    monkeypatch.setattr(requests, "request", noting)
    found = link_number(account)
    assert found.application_id == account.application_id
    assert not found.overridden
    assert asked == ["GET"]


def test_unlinked_number_is_linked(account: Account) -> None:
    """A number without application is linked; its webhook for messages is kept."""
    update(account, moHttpUrl="https://example.com/messages")
    found = owned_number(account, f"+{account.conference_number}")
    assert found is not None
    assert found.application_id == ""
    linked = link_number(account)
    assert linked.application_id == account.application_id
    assert linked.messages_url == "https://example.com/messages"


def test_own_callback_is_seen_and_only_removed_when_told(account: Account) -> None:
    """A number's own sip or tel callback overrides the application: said, kept, and removed on demand."""
    update(account, voiceCallbackType="tel", voiceCallbackValue="12025550188")
    linked = link_number(account)
    assert linked.application_id == account.application_id
    assert linked.overridden
    assert linked.callback_value == "12025550188"
    assert link_number(account).overridden
    assert not link_number(account, override=True).overridden


def test_number_of_somebody_else(account: Account) -> None:
    """A number the account does not own: said without the whole number."""
    with pytest.raises(PlatformError, match="has no number") as caught:
        link_number(account, "+1 202 555 0199")
    assert "2025550199" not in str(caught.value)
    assert owned_number(account, account.conference_number[:-1]) is None


def test_no_application_to_link_to(account: Account) -> None:
    """Without VONAGE_APPLICATION_ID there is nothing to link to, and an unknown one is refused."""
    with pytest.raises(SettingsError, match="VONAGE_APPLICATION_ID"):
        link_number(replace(account, application_id=""))
    with pytest.raises(PlatformError, match="refuses"):
        link_number(replace(account, application_id="00000000-0000-4000-8000-000000000000"))


def test_wrong_secret_and_nobody_there(account: Account) -> None:
    """Typed errors, without the secret and without a library's exception behind them."""
    wrong = replace(account, voice_api_secret=SecretStr("wrong-and-secret"))
    with pytest.raises(AuthenticationRefused) as caught:
        owned_number(wrong, account.conference_number)
    assert "wrong-and-secret" not in f"{caught.value!r} {caught.value.__context__!r}"
    with pytest.raises(PlatformUnreachable):
        owned_number(replace(account, account_api_url="https://127.0.0.1:9"), account.conference_number)


@pytest.mark.parametrize("text", ["12025550100", "+1 (202) 555-0100", "0012025550100", "+1.202.555\u20130100"])
def test_numbers_as_people_write_them(text: str) -> None:
    """Plus, 00, spaces, brackets, dots and dashes go; digits stay."""
    assert e164(text) == "12025550100"


@pytest.mark.parametrize(
    "text",
    ["", "+", "4711", "0202555010", "+12025550100x", "1" * 16, "+\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668"],
)
def test_what_is_no_number(text: str) -> None:
    """Too short, too long, with letters, with a national prefix, in other digits: refused, and not repeated."""
    with pytest.raises(SettingsError) as caught:
        e164(text)
    assert not text or text not in caught.value.message


def test_repr_hides_the_number() -> None:
    """A notebook that shows the object shows at most four digits."""
    assert repr(OwnedNumber("12025550100", "US", "app")) == "OwnedNumber(•••0100, linked=True)"
    assert numbers.OwnedNumber("12025550100", "US").overridden is False
