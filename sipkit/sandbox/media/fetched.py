"""Sound files an application names by URL: 16-bit WAV or MP3 ("NCCO reference", stream), of this machine only.

The platform fetches them from anywhere; a sandbox asks nobody outside.
"""

import asyncio
import ipaddress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from sipkit.sandbox.media.g711 import Samples
from sipkit.sandbox.media.hearing import from_wav
from sipkit.sandbox.media.sound_files import from_mp3, is_mp3

MAX_SOUND = 20 * 1024 * 1024
"""Bytes: ten minutes at 16 kHz."""
FETCH_TIMEOUT = 5.0


class SoundRefused(Exception):
    """The file cannot be played; the text says why."""


async def fetch_sound(url: str) -> Samples:
    """Fetch a WAV or MP3 file as 8 kHz mono. No redirect is followed: it could lead off this machine.

    Raises:
        SoundRefused: the URL is not on this machine or gives no file, or the file is neither a 16-bit WAV nor MP3.
    """
    return await asyncio.to_thread(_fetch, url)


def _fetch(url: str) -> Samples:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SoundRefused(f"{url} is no URL") from None
    if not _on_this_machine(host):
        raise SoundRefused(f"{url} is not on this machine: the sandbox plays files of 127.0.0.1 only")
    connection = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(host, port, timeout=FETCH_TIMEOUT)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        data = answer.read(MAX_SOUND + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise SoundRefused(f"{url} cannot be fetched: {type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise SoundRefused(f"{url} answered HTTP {answer.status}")
    if len(data) > MAX_SOUND:
        raise SoundRefused(f"{url} is longer than {MAX_SOUND} bytes")
    # By what it holds: files are often served under a wrong type, or none.
    mp3 = is_mp3(data) or (answer.getheader("Content-Type") or "").startswith("audio/mpeg")
    try:
        return from_mp3(data) if mp3 else from_wav(data)
    except ValueError as error:
        raise SoundRefused(f"{url}: {error}") from None


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
