"""The OpenTok-compatible browser script: small files, served as one classic script that defines ``window.OT``.

Written from the vendor's public documents (OpenTok.js reference, "JS SDK Callbacks to Promises"). A page written for
Vonage works when the address of its script, and that of the API behind it, are changed.
"""

import hashlib
from functools import cache
from importlib import resources

from aiohttp import web

FILES = (
    "log.js",
    "errors.js",
    "events.js",
    "completion.js",
    "wire.js",
    "capture.js",
    "level.js",
    "peer.js",
    "view.js",
    "boxed.js",
    "stream.js",
    "tracks.js",
    "publisher.js",
    "subscriber.js",
    "signals.js",
    "roster.js",
    "session.js",
    "ot.js",
)
"""In the order in which they need each other."""

PATHS = ("/v2/js/opentok.min.js", "/v2/js/opentok.js")
"""Where the vendor serves its script; both give the same here."""


@cache
def script() -> str:
    """The whole script: every file, in a scope of its own that shares only ``OT`` with the page."""
    here = resources.files(__name__)
    parts = [f"// {name}\n{here.joinpath(name).read_text('utf-8')}" for name in FILES]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def routes() -> list[web.RouteDef]:
    """Serve the script to pages of any origin; it is asked for again whenever it has changed."""
    return [web.get(path, _serve) for path in PATHS]


async def _serve(request: web.Request) -> web.Response:
    text = script()
    etag = hashlib.sha256(text.encode()).hexdigest()[:32]
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "no-cache",
        # A page that isolates itself (COEP) may load it too.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "ETag": f'"{etag}"',
        "X-Content-Type-Options": "nosniff",
    }
    if any(each.value == etag for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(text=text, content_type="application/javascript", headers=headers)
