"""What a called endpoint asks for once it answered: digits, and a document of its own ("NCCO reference", connect)."""

import asyncio
from typing import TYPE_CHECKING

from sipkit.sandbox.voice import ncco
from sipkit.sandbox.voice.callbacks import Webhook
from sipkit.sandbox.voice.outbound import Endpoint
from sipkit.sandbox.voice.steps import Steps

if TYPE_CHECKING:
    from sipkit.sandbox.voice.leg import VoiceLeg

PAUSE = 0.5
"""Seconds a "p" among digits waits (documented: 500 ms)."""


async def greet(leg: "VoiceLeg", endpoint: Endpoint) -> None:
    """Do what an endpoint asks for once it is answered: send digits, execute its own document.

    Raises:
        InvalidNcco, CallbackFailed: its document cannot be used.
    """
    if endpoint.dtmf_answer:
        await send_digits(leg, endpoint.dtmf_answer)
    if endpoint.on_answer is not None:
        webhook = Webhook(endpoint.on_answer, "GET")
        document = await leg.voice.callbacks.fetch(webhook, leg.identity(), leg=leg.uuid)
        await Steps(leg).execute(ncco.parse(document))


async def send_digits(leg: "VoiceLeg", digits: str) -> None:
    """Send digits to a leg; "p" is a pause.

    Raises:
        ValueError: a character is no digit.
    """
    first, *later = digits.split("p")
    await leg.dtmf(first)
    for each in later:
        await asyncio.sleep(PAUSE)
        await leg.dtmf(each)
