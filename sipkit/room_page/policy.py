"""Where the page's video script comes from, and what the page may load and talk to because of it.

One page serves both clouds: the vendor's script and the sandbox's have the same API. Which origins the vendor's
script needs is documented nowhere as a list. Taken together here are

* the domains of Vonage's network requirements: *.tokbox.com and *.opentok.com over HTTPS and secure WebSockets
  (support.tokbox.com, "What are the firewall requirements"), and *.vonage.com of the unified environment;
* what Vonage's own opentok-rtc found when it got its policy: the script puts inline styles into the page, so
  `style-src` needs 'unsafe-inline' (opentok/opentok-rtc, pull request 881).

The sandbox's script needs nothing of that: styles are set by script alone, which the policy does not restrict.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sipkit.cloud import Account

SCRIPT_PATH: Final = "/v2/js/opentok.min.js"
LEGACY: Final = "https://static.opentok.com"
UNIFIED: Final = "https://video.standard.vonage.com"

_VENDORS: Final = ("*.opentok.com", "*.tokbox.com", "*.vonage.com")

FRAMES: Final = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"
"""Who may frame the page: itself, and notebooks of this machine."""


@dataclass(frozen=True, slots=True)
class VideoScript:
    """The script a page loads, and what it needs.

    Attributes:
        url: Its address.
        connects: Origins it talks to.
        inline_styles: Whether it writes `style` attributes and elements.
    """

    url: str
    connects: tuple[str, ...]
    inline_styles: bool

    @property
    def origin(self) -> str:
        """Where it comes from."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def video_script(account: Account) -> VideoScript:
    """Return the script that fits an account: the sandbox's own, the OpenTok one, or the unified one."""
    if account.mode == "sandbox" or account.browser_url:
        api = (account.browser_url or account.video_api_url).rstrip("/")
        sockets = api.replace("http", "ws", 1)
        return VideoScript(f"{api}{SCRIPT_PATH}", (api, sockets), inline_styles=False)
    home = UNIFIED if account.video_environment == "unified" else LEGACY
    connects = tuple(f"{scheme}://{host}" for scheme in ("https", "wss") for host in _VENDORS)
    return VideoScript(f"{home}{SCRIPT_PATH}", connects, inline_styles=True)


def headers(script: VideoScript | None) -> dict[str, str]:
    """Return the headers of a page: one with a video script and its needs, or one with scripts of ours alone."""
    return {
        "Content-Security-Policy": _content_policy(script),
        "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(), geolocation=(), payment=()",
        **COMMON,
    }


COMMON: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Headers of every answer of the room page."""


def _content_policy(script: VideoScript | None) -> str:
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": FRAMES,
    }
    if script is not None:
        rules |= {
            "script-src": f"'self' {script.origin}",
            "connect-src": f"'self' {' '.join(script.connects)}",
            "media-src": "blob:",
        }
        if script.inline_styles:
            rules |= {
                "style-src": f"'self' 'unsafe-inline' {script.origin}",
                "img-src": f"'self' data: {script.origin}",
                "worker-src": "blob:",
            }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
