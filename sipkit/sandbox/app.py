"""The whole sandbox in one process: video REST, SIP gateway, voice side, phones, and the HTTP server in front.

The video and the voice side share this process and its clock, and nothing else: they meet over SIP and RTP.
"""

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Self

from aiohttp import web

from sipkit.sandbox.account import balance, numbers_rest
from sipkit.sandbox.account.limits import Limits
from sipkit.sandbox.account.numbers import Numbers
from sipkit.sandbox.control import Users, guard, trace_route
from sipkit.sandbox.home import Home, HomeError
from sipkit.sandbox.media.leg import Leg
from sipkit.sandbox.media.mixer import Mixer
from sipkit.sandbox.media.speech import Speech
from sipkit.sandbox.phone.desk import PhoneDesk
from sipkit.sandbox.rest import json_errors
from sipkit.sandbox.sip.agent import OnMessage
from sipkit.sandbox.sip.transport import LOOPBACK, TRANSPORTS
from sipkit.sandbox.sip.wiretap import wiretap
from sipkit.sandbox.trace import Trace
from sipkit.sandbox.video import rest, script
from sipkit.sandbox.video.conferences import Conferences
from sipkit.sandbox.video.gateway import SipGateway
from sipkit.sandbox.video.monitoring import Monitoring
from sipkit.sandbox.video.participants import Participants
from sipkit.sandbox.video.router import Router
from sipkit.sandbox.video.sessions import Sessions
from sipkit.sandbox.video.signalling import Signalling
from sipkit.sandbox.video.tokens import Tokens
from sipkit.sandbox.voice import application_rest
from sipkit.sandbox.voice.application import Applications
from sipkit.sandbox.voice.calls_rest import CallsApi
from sipkit.sandbox.voice.platform import VoicePlatform

MAX_BODY = 20 * 1024 * 1024
"""Largest request: a WAV of ten minutes at 16 kHz."""


class Sandbox:
    """Everything, wired. ``async with Sandbox(home, ports) as sandbox`` runs it."""

    def __init__(self, home: Home, pid: int, ports: dict[str, int]) -> None:
        self.home = home
        self.instance = secrets.token_hex(8)
        self._pid = pid
        self._remembered = home.load_ports()
        self._asked = {name: port for name, port in ports.items() if port}
        self._ports: dict[str, int] = {}
        self.trace = Trace()
        self.users = Users()
        self._speech = Speech(self._tell_speech)
        # Two mixers, one for each side: their audio meets only as RTP.
        self._video_mixer = Mixer(self._report("gateway"))
        self._voice_mixer = Mixer(self._report("voice"))
        self._phone_mixer = Mixer(self._report("phone"))
        credentials = home.credentials
        self.sessions = Sessions(home, credentials.video_api_key, self.trace)
        conferences = Conferences(self._video_mixer)
        self.router = Router(conferences, self._video_mixer, self.trace)
        self._participants = Participants(self.sessions, conferences, self._video_mixer, self.router, self._speech)
        self._gateway = SipGateway(
            home, self.sessions, conferences, self._video_mixer, self.router, self.trace, self._tap("gateway")
        )
        self._tokens = Tokens(home)
        self._signalling = Signalling(self.sessions, self._tokens, self.router, self._gateway, self.trace)
        self._monitoring = Monitoring(home, self.sessions, self.trace)
        self.limits = Limits()
        self._applications = Applications(home)
        self._numbers = Numbers(home)
        self.voice = VoicePlatform(
            home,
            self._applications,
            self._numbers,
            self.limits,
            self._voice_mixer,
            self._speech,
            self.trace,
            self._tap("voice"),
        )
        self.phones = PhoneDesk(home, self._phone_mixer, self._speech, self.trace, self._tap("phone"))
        self._runner: web.AppRunner | None = None
        self._warming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._warming = asyncio.get_running_loop().create_task(self._speech.warm_up())
        sip: dict[str, int] = {}
        for transport in TRANSPORTS:
            sip[transport] = await self._bind(f"sip_{transport}", partial(self.voice.listen, transport))
        self._gateway.route(sip)
        self.phones.route(sip)
        for mixer in (self._video_mixer, self._voice_mixer, self._phone_mixer):
            mixer.start()
        await self.router.open()
        self.voice.exchange.carrier = await self.phones.open()
        await self._serve_http()
        self.voice.recordings.base = self.line()["api_url"]
        self.home.save_ports(self._ports)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up everything, phones first: no leg may be left when the ledger closes."""
        if self._warming is not None:
            self._warming.cancel()
        await self.phones.close()
        await self._signalling.close()
        await self._gateway.close()
        await self._monitoring.close()
        await self.router.close()
        await self.voice.close()
        for mixer in (self._video_mixer, self._voice_mixer, self._phone_mixer):
            await mixer.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        self._speech.close()
        self.sessions.close()

    def line(self) -> dict[str, str]:
        """Return the one line of JSON that tells how to reach the sandbox, secrets included."""
        credentials = asdict(self.home.credentials)
        return {
            "api_url": f"http://{LOOPBACK}:{self._ports['http']}",
            "https_url": f"https://localhost:{self._ports['https']}",
            "sip_udp": f"{LOOPBACK}:{self._ports['sip_udp']}",
            "sip_tcp": f"{LOOPBACK}:{self._ports['sip_tcp']}",
            "sip_tls": f"{LOOPBACK}:{self._ports['sip_tls']}",
            "ca_file": str(self.home.ca_file),
            "private_key_file": str(self.home.private_key_file),
            **credentials,
        }

    @property
    def idle(self) -> bool:
        """True when nobody holds the sandbox, no browser is in a session and no call is up."""
        return not (self.users.holders or self._signalling.busy or self.voice.ledger() or self.phones.busy)

    def routes(self) -> list[tuple[str, str]]:
        """Return method and path of everything that is served over HTTP, once it is."""
        assert self._runner is not None
        routes = self._runner.app.router.routes()
        return [(each.method, each.resource.canonical) for each in routes if each.resource and each.method != "HEAD"]

    async def _serve_http(self) -> None:
        credentials = self.home.credentials
        app = web.Application(middlewares=[json_errors(self.trace), guard(credentials)], client_max_size=MAX_BODY)
        app.add_routes(
            [
                *rest.routes(
                    self.sessions, self._gateway, self._tokens, self.trace, partial(self.limits.take, "video")
                ),
                *self._signalling.routes(),
                *self._monitoring.routes(),
                *script.routes(),
                *self._account_routes(),
                *self._participants.routes(),
                *self.phones.routes(),
                *self.voice.recordings.routes(),
                *self.voice.callbacks.desk.routes(),
                *CallsApi(self.voice, self._applications, self.limits, self.trace).routes(),
                trace_route(self.trace),
                web.get("/sandbox/hold", self.users.hold),
                web.get("/sandbox/health", self._health),
                web.get("/sandbox/ledger", self._ledger),
                web.get("/sandbox/levels", self._levels),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.25)
        await self._runner.setup()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.home.cert_file, self.home.key_file)
        for name, context in (("http", None), ("https", tls)):
            await self._bind(name, partial(self._serve, self._runner, context))

    def _account_routes(self) -> list[web.RouteDef]:
        credentials, numbers, applications = self.home.credentials, self._numbers, self._applications
        return [
            *application_rest.routes(applications, credentials, self.trace, self.limits, numbers.unlink_all),
            *numbers_rest.routes(
                numbers, lambda id_: applications.find(id_) is not None, credentials, self.limits, self.trace
            ),
            *balance.routes(numbers, credentials, self.limits, self.trace),
            *self.limits.routes(),
        ]

    @staticmethod
    async def _serve(runner: web.AppRunner, tls: ssl.SSLContext | None, port: int) -> int:
        """Serve on one port; returns the real one."""
        listener = socket.create_server((LOOPBACK, port))
        await web.SockSite(runner, listener, ssl_context=tls).start()
        return int(listener.getsockname()[1])

    async def _bind(self, name: str, listen: Callable[[int], Awaitable[int]]) -> int:
        """Listen on the port asked for, else on the one of the last run, else on a free one.

        Raises:
            HomeError: the port asked for is taken.
        """
        asked = self._asked.get(name, 0)
        try:
            port = await listen(asked or self._remembered.get(name, 0))
        except OSError as error:
            if asked:
                raise HomeError(f"port {asked} is taken ({error.strerror}); ask for another one, or none") from None
            port = await listen(0)
        self._ports[name] = port
        return port

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "instance": self.instance, "pid": self._pid})

    async def _ledger(self, request: web.Request) -> web.Response:
        legs = [{**asdict(leg), "from": leg.from_} for leg in self.voice.ledger()]
        for leg in legs:
            del leg["from_"]
        connections = [
            {"id": each.id, "sessionId": each.session_id, "kind": each.kind, "state": each.state}
            for each in self.sessions.living()
        ]
        return web.json_response({"legs": legs, "connections": connections})

    async def _levels(self, request: web.Request) -> web.Response:
        """Tell how loud the party of each leg was in the last second, dBFS; Vonage tells nobody."""
        return web.json_response({"levels": self.voice.levels()})

    def _tap(self, ua: str) -> OnMessage:
        return wiretap(self.trace, ua)

    def _report(self, side: str) -> Callable[[Leg, dict[str, Any]], None]:
        def report(leg: Leg, figures: dict[str, Any]) -> None:
            self.trace.emit("media", side=side, leg=leg.name.partition(":")[2], **figures)

        return report

    def _tell_speech(self, text: str) -> None:
        self.trace.emit("speech", notice=text)


async def leave_when_idle(sandbox: Sandbox, seconds: float) -> None:
    """Return when the sandbox has had no user and no call for so long."""
    busy_at = time.monotonic()
    while time.monotonic() - busy_at < seconds:
        await asyncio.sleep(min(1.0, seconds))
        if not sandbox.idle:
            busy_at = time.monotonic()
