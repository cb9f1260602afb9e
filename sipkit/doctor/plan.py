"""What a call will create, change and cost: said before it is placed, so that nobody is surprised by a bill."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sipkit.cloud import Account
from sipkit.settings import Settings

Part = Literal["created", "changed", "billed"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The three lists of a plan, each in words.

    Attributes:
        created: What will be there that was not.
        changed: What will be another, at the platform, and whether it is put back.
        billed: What costs money, and how much about.
    """

    created: Sequence[str]
    changed: Sequence[str]
    billed: Sequence[str]

    def __repr__(self) -> str:
        parts: tuple[Part, ...] = ("created", "changed", "billed")
        return "\n".join(
            line for part in parts for line in (f"{part}:", *(f"  {each}" for each in getattr(self, part)))
        )


def plan(settings: Settings, account: Account) -> Plan:
    """Say what the webhook server and one call of these settings will do; asks nobody, and changes nothing.

    Args:
        settings: Decide how the platform reaches this machine.
        account: Whose number and application.
    """
    live = account.mode == "live"
    way = "none is needed on this machine"
    if live:
        way = "your own SERVER_URL" if settings.server_url else "a tunnel, until the webhook server is let go"
    created = [
        "a session for the room; without connections it costs nothing",
        f"a webhook server on this machine; its public address: {way}",
    ]
    changed = [
        "the voice application's answer URL, event URL and signed webhooks; put back by restore_application"
        if account.application_id
        else "nothing: VONAGE_APPLICATION_ID is not set, so the webhooks are yours to enter and to put back",
    ]
    if account.application_id:
        changed.append(
            "the number, if it is linked to no application and has no callback of its own, is linked to this one; "
            "that is not put back"
        )
    if not live:
        return Plan(created, changed, ["nothing: the sandbox plays Vonage on this machine"])
    sip = settings.prices["sip"]
    billed = [
        f"the bridge: SIP interconnect, about {sip} a minute, and an inbound call to your number",
        "each phone: an inbound call to your number; each browser: its video minutes",
        "each phone that is called directly: an outbound call, by the minute, at the price of the country called",
    ]
    return Plan(created, changed, billed)
