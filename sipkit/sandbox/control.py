"""The sandbox's own HTTP API under ``/sandbox``: health, hold, trace, ledger, and what phones and participants share.

Not Vonage's: it drives the people and shows the inside. HTTP Basic with the voice API key and secret, errors as
``{"error": "..."}``.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sipkit.sandbox.home import Credentials
from sipkit.sandbox.media.hearing import Hearing, from_wav
from sipkit.sandbox.media.source import Pcm, Source, Tone
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.rest import basic_auth_matches
from sipkit.sandbox.trace import Trace

PREFIX = "/sandbox/"
HOLD_BEAT = 1.0
"""Seconds between the spaces a holder is sent."""
MAX_TEXT = 1500
HIGHEST_TONE = 3800.0
LONGEST_TONE = 600.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guard(credentials: Credentials) -> Any:
    """Make the middleware that asks control requests for their password and answers errors as JSON."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(PREFIX):
            return await handler(request)
        known = basic_auth_matches(request, credentials.voice_api_key, credentials.voice_api_secret)
        if request.path != PREFIX + "health" and not known:
            return web.json_response({"error": "HTTP Basic with the voice API key and secret is needed"}, status=401)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return web.json_response({"error": error.reason}, status=error.status)

    return middleware


class Users:
    """Who holds the sandbox: it leaves when nobody did for a while and no call is up."""

    def __init__(self) -> None:
        self.holders = 0

    async def hold(self, request: web.Request) -> web.StreamResponse:
        """Answer a space a second until the holder goes away."""
        response = web.StreamResponse()
        await response.prepare(request)
        self.holders += 1
        try:
            while True:
                await response.write(b" ")
                await asyncio.sleep(HOLD_BEAT)
        except ConnectionError:
            return response
        finally:
            self.holders -= 1


def trace_route(trace: Trace) -> web.RouteDef:
    """Serve the trace as NDJSON: ``?since=SEQ`` for what is there, ``&follow=1`` to go on."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            since = int(request.query.get("since", "0"))
        except ValueError:
            raise web.HTTPBadRequest(reason="since must be a number") from None
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        if request.query.get("follow") != "1":
            lines = [json.dumps(event) for event in trace.since(since)]
            await response.write("".join(f"{line}\n" for line in lines).encode())
            return response
        try:
            async for event in trace.follow(since):
                await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionError:
            pass
        return response

    return web.get(PREFIX + "trace", handle)


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read a JSON object; an empty body is an empty one."""
    body = await request.read()
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise web.HTTPBadRequest(reason="the body is not JSON") from None
    if not isinstance(value, dict):
        raise web.HTTPBadRequest(reason="the body must be a JSON object")
    return value


async def sound_of(wish: dict[str, Any], speech: Speech) -> Source | None:
    """Make what a body asks to play: ``{"tone_hz"|"hz", "seconds"?}`` or ``{"text"}``; None when it asks nothing."""
    hz = wish.get("tone_hz", wish.get("hz"))
    if hz is not None:
        seconds = wish.get("seconds")
        if not isinstance(hz, int | float) or not 0 < hz <= HIGHEST_TONE:
            raise web.HTTPBadRequest(reason=f"a tone is 1 to {HIGHEST_TONE:g} Hz")
        if seconds is not None and (not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TONE):
            raise web.HTTPBadRequest(reason=f"seconds must be up to {LONGEST_TONE:g}")
        return Tone(hz, seconds)
    text = wish.get("text")
    if text is None:
        return None
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
        raise web.HTTPBadRequest(reason=f"text must be 1 to {MAX_TEXT} characters")
    return Pcm(await speech.say(text))


async def recording_of(request: web.Request) -> Source:
    """Make what a WAV body holds."""
    try:
        return Pcm(await asyncio.to_thread(from_wav, await request.read()))
    except ValueError as error:
        raise web.HTTPBadRequest(reason=str(error)) from None


async def wav_answer(hearing: Hearing) -> web.Response:
    """Answer a recording; ten minutes are copied beside the audio loop, not on it."""
    return web.Response(body=await asyncio.to_thread(hearing.wav), content_type="audio/wav")
